"""Launches one kernel through the CUDA driver, between guard zones."""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from lumir.runtime.cuda_kernel import launch_kernel
from lumir.schedule.family import KernelCode

GUARD_BYTES = 4096
POISON = 0x5A
"""The byte that outputs and guards are filled with before a kernel runs."""


def gpu_is_there() -> bool:
    """Whether the driver loads and sees a GPU."""
    try:
        from cuda.bindings import driver  # pyright: ignore[reportAttributeAccessIssue]
    except ImportError:
        return False
    try:
        return driver.cuInit(0)[0] == driver.CUresult.CUDA_SUCCESS and driver.cuDeviceGetCount()[1] > 0
    except RuntimeError:
        return False


def _extra_bytes(code: KernelCode) -> list[int]:
    """Sizes of the buffers that follow a kernel's operands and results."""
    return [size for size in (code.workspace_bytes, 4 * code.counters) if size]


class Device:
    """The first GPU of this machine."""

    @staticmethod
    @functools.cache
    def first() -> "Device":
        return Device()

    def __init__(self):
        from cuda.bindings import driver  # pyright: ignore[reportAttributeAccessIssue]

        self.driver: Any = driver
        self.call("cuInit", 0)
        self.device = self.call("cuDeviceGet", 0)
        context = self.call("cuDevicePrimaryCtxRetain", self.device)
        self.call("cuCtxSetCurrent", context)

    def call(self, name: str, *arguments: Any) -> Any:
        """A driver function's result; its error as an exception."""
        status, *results = getattr(self.driver, name)(*arguments)
        if status != self.driver.CUresult.CUDA_SUCCESS:
            raise RuntimeError(f"{name}: {status.name}")
        return results[0] if len(results) == 1 else results

    def load(self, ptx: str, name: str, shared_bytes: int) -> tuple[Any, Any]:
        """The loaded module and its kernel `name`, allowed that much dynamic shared memory."""
        module = self.call("cuModuleLoadData", ptx.encode() + b"\0")
        function = self.call("cuModuleGetFunction", module, name.encode())
        if shared_bytes:
            limit = self.driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
            self.call("cuFuncSetAttribute", function, limit, shared_bytes)
        return module, function

    def launch(
        self, ptx: str, name: str, code: KernelCode, inputs: Sequence[np.ndarray], outputs: list[np.ndarray]
    ) -> None:
        """Run the kernel once on copies of `inputs`; fill `outputs`; check the guards around every buffer."""
        module, function = self.load(ptx, name, code.shared_bytes)
        sizes = [*(a.nbytes for a in (*inputs, *outputs)), *_extra_bytes(code)]
        buffers = [self._guarded(size) for size in sizes]
        if code.counters:
            self.call("cuMemsetD8", buffers[-1] + GUARD_BYTES, 0, sizes[-1])
        for array, pointer in zip(inputs, buffers):
            if array.nbytes:
                self.call("cuMemcpyHtoD", pointer + GUARD_BYTES, np.ascontiguousarray(array).ctypes.data, array.nbytes)
        if 0 not in code.grid:
            self._start(function, code, [pointer + GUARD_BYTES for pointer in buffers])
        self.call("cuCtxSynchronize")
        for array, pointer in zip(outputs, buffers[len(inputs) :]):
            if array.nbytes:
                self.call("cuMemcpyDtoH", array.ctypes.data, pointer + GUARD_BYTES, array.nbytes)
        if code.counters and self._read(buffers[-1] + GUARD_BYTES, sizes[-1]).any():
            raise AssertionError("the kernel did not leave its counters at zero")
        for size, pointer in zip(sizes, buffers, strict=True):
            self._check_guards(pointer, size)
            self.call("cuMemFree", pointer)
        self.call("cuModuleUnload", module)

    def _start(self, function: Any, code: KernelCode, pointers: list[int], stream: Any = 0) -> None:
        launch_kernel(function, code, code.grid, pointers, (), stream)

    def _guarded(self, nbytes: int) -> int:
        pointer = int(self.call("cuMemAlloc", nbytes + 2 * GUARD_BYTES))
        self.call("cuMemsetD8", pointer, POISON, nbytes + 2 * GUARD_BYTES)
        return pointer

    def _check_guards(self, pointer: int, nbytes: int) -> None:
        for start in (pointer, pointer + GUARD_BYTES + nbytes):
            if not (self._read(start, GUARD_BYTES) == POISON).all():
                raise AssertionError("the kernel wrote outside its buffers")

    def _read(self, pointer: int, nbytes: int) -> np.ndarray:
        data = np.empty(nbytes, np.uint8)
        self.call("cuMemcpyDtoH", data.ctypes.data, pointer, nbytes)
        return data

    def seconds(self, ptx: str, name: str, code: KernelCode, sizes: Sequence[int], repeats: int = 20) -> float:
        """The time of one launch among many back to back in a CUDA graph, on zeroed buffers of `sizes` bytes."""
        module, function = self.load(ptx, name, code.shared_bytes)
        sizes = [*sizes, *_extra_bytes(code)]
        pointers = [int(self.call("cuMemAlloc", max(size, 1))) for size in sizes]
        for pointer, size in zip(pointers, sizes, strict=True):
            self.call("cuMemsetD8", pointer, 0, max(size, 1))
        stream = self.call("cuStreamCreate", 1)
        self.call("cuStreamBeginCapture", stream, self.driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_RELAXED)
        for _ in range(repeats):
            self._start(function, code, pointers, stream)
        graph = self.call("cuStreamEndCapture", stream)
        executable = self.call("cuGraphInstantiate", graph, 0)
        times = [self._replayed(executable, stream) for _ in range(4)]
        self.call("cuGraphExecDestroy", executable)
        self.call("cuGraphDestroy", graph)
        self.call("cuStreamDestroy", stream)
        for pointer in pointers:
            self.call("cuMemFree", pointer)
        self.call("cuModuleUnload", module)
        return min(times) / repeats

    def _replayed(self, executable: Any, stream: Any) -> float:
        """Seconds of one replay of a graph."""
        before, after = (self.call("cuEventCreate", 0) for _ in range(2))
        self.call("cuEventRecord", before, stream)
        self.call("cuGraphLaunch", executable, stream)
        self.call("cuEventRecord", after, stream)
        self.call("cuStreamSynchronize", stream)
        elapsed = self.call("cuEventElapsedTime", before, after)
        self.call("cuEventDestroy", before)
        self.call("cuEventDestroy", after)
        return elapsed / 1000
