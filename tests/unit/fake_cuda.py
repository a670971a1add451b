"""A stand-in for the CUDA driver over host memory: it runs kernels that are written in numpy.

It takes the functions' names, argument counts and enumerations from the real bindings, so that a call which these would
not take fails here too. What only a GPU can show is tested in tests/gpu.
"""

import ctypes
import itertools
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
from cuda.bindings import driver  # pyright: ignore[reportAttributeAccessIssue]

from lumir.runtime.memory import array_at

real: Any = driver
_HANDLES = itertools.count(1000)
OK = real.CUresult.CUDA_SUCCESS
CAPABILITY_MAJOR = real.CUdevice_attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR
CAPABILITY_MINOR = real.CUdevice_attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR
L2_BYTES = real.CUdevice_attribute.CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE
SHARED_OPTIN = real.CUdevice_attribute.CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN


def parameters(name: str) -> int:
    """How many arguments the real binding of a function takes."""
    signature = getattr(real, name).__doc__.splitlines()[0]
    inside = signature[signature.index("(") + 1 : signature.rindex(")")]
    depth = commas = 0
    for character in inside:
        depth += (character == "[") - (character == "]")
        commas += character == "," and depth == 0
    return commas + 1 if inside.strip() else 0


class FakeDriver:
    """One GPU of compute capability 9.0, whose clock goes on by `kernel_seconds` with each kernel.

    Args:
        kernels: by symbol, functions of the kernel's arguments that compute the whole grid.
        memory: bytes of GPU memory.
    """

    def __init__(self, kernels: dict[str, Callable], memory: int = 1 << 30):
        self.kernels, self.free = kernels, memory
        self.capability, self.count, self.rejects = (9, 0), 1, b""
        self.calls: Counter[str] = Counter()
        self.launched: list[tuple] = []
        self.attributes: list[list[tuple]] = []
        self.maps: dict[int, tuple] = {}
        self.allocations: dict[int, Any] = {}
        self.contexts: list[Any] = []
        self.handles: dict[int, Any] = {}
        self.capturing: list[Callable] | None = None
        self.clock, self.kernel_seconds = 0.0, 3e-6
        self._lock = threading.RLock()

    def __getattr__(self, name: str) -> Any:
        if not (name.startswith("cu") and name[2].isupper()):
            return getattr(real, name)
        function, expected = object.__getattribute__(self, f"do_{name}"), parameters(name)

        def checked(*args: Any) -> tuple:
            assert len(args) == expected, f"{name} takes {expected} arguments and got {len(args)}"
            needs_context = not name.startswith(("cuInit", "cuDevice", "cuCtx", "cuDriver"))
            assert self.contexts or not needs_context, f"{name} without a context"
            with self._lock:
                self.calls[name] += 1
                result = function(*args)
            return result if isinstance(result, tuple) else (OK,) if result is None else (OK, result)

        return checked

    def handle(self, value: Any) -> int:
        """A handle that no other driver gave out: what an object of an earlier test frees late is not this one's."""
        handle = next(_HANDLES)
        self.handles[handle] = value
        return handle

    def enqueue(self, work: Callable) -> None:
        if self.capturing is None:
            work()
        else:
            self.capturing.append(work)

    def do_cuInit(self, flags):
        return None if self.count else (real.CUresult.CUDA_ERROR_NO_DEVICE,)

    def do_cuDeviceGetCount(self):
        return self.count

    def do_cuDeviceGet(self, ordinal):
        return ordinal

    def do_cuDeviceGetName(self, length, device):
        return b"Imaginary GPU".ljust(length, b"\0")

    def do_cuDeviceGetAttribute(self, attribute, device):
        values = {
            CAPABILITY_MAJOR: self.capability[0],
            CAPABILITY_MINOR: self.capability[1],
            SHARED_OPTIN: 232448,
            L2_BYTES: 1 << 20,
        }
        return values[attribute]

    def do_cuDriverGetVersion(self):
        return 13000

    def do_cuDevicePrimaryCtxRetain(self, device):
        return "context"

    def do_cuCtxPushCurrent(self, context):
        self.contexts.append(context)

    def do_cuCtxPopCurrent(self):
        return self.contexts.pop()

    def do_cuStreamCreate(self, flags):
        return 77

    def do_cuStreamDestroy(self, stream):
        assert stream == 77

    def do_cuStreamSynchronize(self, stream):
        assert self.capturing is None

    def do_cuCtxSynchronize(self):
        assert self.contexts

    def do_cuMemAlloc(self, nbytes):
        if nbytes > self.free:
            return (real.CUresult.CUDA_ERROR_OUT_OF_MEMORY,)
        return real.CUdeviceptr(self._allocate(nbytes))

    def do_cuMemHostAlloc(self, nbytes, flags):
        return self._allocate(nbytes)

    def _allocate(self, nbytes: int) -> int:
        assert nbytes > 0
        memory = (ctypes.c_uint8 * (nbytes + 256))()
        address = ctypes.addressof(memory) + -ctypes.addressof(memory) % 256
        self.allocations[address] = memory
        self.free -= nbytes
        return address

    def do_cuMemFree(self, address):
        memory = self.allocations.pop(int(address))
        self.free += len(memory) - 256

    do_cuMemFreeHost = do_cuMemFree

    def do_cuMemGetInfo(self):
        return OK, self.free, 1 << 30

    def do_cuMemsetD8(self, target, value, nbytes):
        ctypes.memset(int(target), value, nbytes)

    def do_cuMemcpyHtoD(self, target, source, nbytes):
        ctypes.memmove(int(target), int(source), nbytes)

    do_cuMemcpyDtoH = do_cuMemcpyDtoD = do_cuMemcpyHtoD

    def do_cuMemcpyDtoDAsync(self, target, source, nbytes, stream):
        assert stream == 77
        self.enqueue(lambda: ctypes.memmove(int(target), int(source), nbytes))

    do_cuMemcpyHtoDAsync = do_cuMemcpyDtoHAsync = do_cuMemcpyDtoDAsync

    def do_cuLibraryLoadData(self, code, options, values, count, *_):
        assert code[-1] == 0 and code.count(0) == 1
        assert count == len(options) == len(values)
        if self.rejects:
            values[0][: len(self.rejects)] = self.rejects
            return (real.CUresult.CUDA_ERROR_INVALID_PTX,)
        return self.handle(code)

    def do_cuLibraryUnload(self, library):
        assert library in self.handles

    def do_cuLibraryGetModule(self, library):
        return library

    def do_cuModuleGetFunction(self, module, name):
        if name not in self.handles[module]:
            return (real.CUresult.CUDA_ERROR_NOT_FOUND,)
        return name.decode()

    def do_cuFuncSetAttribute(self, function, attribute, value):
        assert attribute == real.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES

    def do_cuFuncLoad(self, function):
        raise RuntimeError("Function cuFuncLoad not found")

    def do_cuTensorMapEncodeTiled(self, data_type, rank, address, dims, strides, box, steps, *modes):
        assert address % 16 == 0 and len(modes) == 4
        assert (len(dims), len(strides), len(box), len(steps)) == (rank, rank - 1, rank, rank)
        tensor_map = real.CUtensorMap()
        self.maps[tensor_map.getPtr()] = (
            data_type,
            address,
            *([int(n) for n in part] for part in (dims, strides, box)),
        )
        return tensor_map

    def do_cuTensorMapEncodeIm2col(
        self, data_type, rank, address, dims, strides, lower, upper, channels, pixels, steps, *modes
    ):
        assert address % 16 == 0 and len(modes) == 4
        assert (len(dims), len(strides), len(lower), len(upper), len(steps)) == (rank, rank - 1, *[rank - 2] * 2, rank)
        tensor_map = real.CUtensorMap()
        self.maps[tensor_map.getPtr()] = (lower, upper, int(channels), int(pixels), [int(n) for n in steps])
        return tensor_map

    def do_cuLaunchKernelEx(self, config, function, parameters, extra):
        values, types = parameters or ((), ())
        grid = (config.gridDimX, config.gridDimY, config.gridDimZ)
        block = (config.blockDimX, config.blockDimY, config.blockDimZ)
        assert (int(config.hStream), extra) == (77, 0)
        assert min(*grid, *block) > 0
        assert len(values) == len(types)
        assert set(types) <= {ctypes.c_void_p, ctypes.c_int64, None}
        self.launched.append((function, grid, block, config.sharedMemBytes))
        self.attributes.append([(attribute.id, attribute.value) for attribute in config.attrs])
        given = [self.maps[value.getPtr()] if kind is None else value for value, kind in zip(values, types)]
        self.enqueue(lambda: self._run(function, given))

    def _run(self, function: str, given: list) -> None:
        self.kernels[function](*given)
        self.clock += self.kernel_seconds

    def do_cuEventCreate(self, flags):
        return self.handle({"at": None})

    def do_cuEventRecord(self, event, stream):
        assert stream == 77
        self.enqueue(lambda: self.handles[event].update(at=self.clock))

    def do_cuEventElapsedTime(self, before, after):
        return (self.handles[after]["at"] - self.handles[before]["at"]) * 1000

    def do_cuEventDestroy(self, event):
        self.handles[event].clear()

    def do_cuStreamBeginCapture(self, stream, mode):
        assert mode == real.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        self.capturing = []

    def do_cuStreamEndCapture(self, stream):
        graph, self.capturing = self.capturing, None
        return self.handle(graph)

    def do_cuGraphInstantiate(self, graph, flags):
        return self.handle(list(self.handles[graph]))

    def do_cuGraphLaunch(self, graph, stream):
        assert stream == 77
        for work in self.handles[graph]:
            work()

    def do_cuGraphDestroy(self, graph):
        self.handles[graph].clear()

    def do_cuGraphExecDestroy(self, graph):
        self.handles[graph].clear()


def floats(address: int, *shape: int) -> np.ndarray:
    return array_at(address, np.dtype(np.float32), shape)
