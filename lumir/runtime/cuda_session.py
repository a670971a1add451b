"""One plan on a GPU: inputs and outputs have fixed places in GPU memory, so that one graph serves every run."""

import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from lumir.artifact.dtypes import PACKED_4BIT, byte_size, numpy_dtype, pack_4bit, unpack_4bit
from lumir.artifact.launches import Copy, Launch
from lumir.artifact.plan import Plan
from lumir.artifact.tensors import BufferRef, TensorSpec
from lumir.diagnostics import UserError
from lumir.runtime.cuda_clock import Stopwatch
from lumir.runtime.cuda_driver import call
from lumir.runtime.cuda_launch import Launcher
from lumir.runtime.cuda_memory import DeviceArray, DeviceMemory, PinnedMemory, aligned, current, release_with
from lumir.runtime.dlpack import ForeignTensor
from lumir.runtime.inputs import Tensor
from lumir.runtime.memory import address_of
from lumir.runtime.session import LaunchResult

if TYPE_CHECKING:
    from lumir.runtime.cuda import CudaDevice


class CudaSession:
    """Buffers and graph of one plan. Made with the device's context current; not reentrant."""

    def __init__(self, device: "CudaDevice", plan: Plan):
        self._device, self._plan = device, plan
        specs = [*plan.inputs, *plan.outputs]
        self._offsets, nbytes = [], 0
        for spec in specs:
            self._offsets.append(nbytes)
            nbytes += aligned(spec.nbytes)
        self._staging = DeviceMemory(device.context, nbytes, "inputs and outputs")
        self._pinned = PinnedMemory(device.context, nbytes)
        self._host = [
            self._pinned.view(offset, np.dtype(np.uint8), (spec.nbytes,)) for offset, spec in zip(self._offsets, specs)
        ]
        self._launcher = Launcher(device.code, device.stream)
        self._graph = self._launcher.capture(plan.work, self.address)
        release_with(self, device.context, "cuGraphExecDestroy", self._graph)

    def run(self, inputs: Sequence[Tensor], outputs: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        with current(self._device.context):
            self.stage(inputs)
            call("cuGraphLaunch", self._graph, self._device.stream)
            first = len(self._plan.inputs)
            for i, spec in enumerate(self._plan.outputs, first):
                if spec.nbytes:
                    source = self._staging.address + self._offsets[i]
                    call("cuMemcpyDtoHAsync", address_of(self._host[i]), source, spec.nbytes, self._device.stream)
            call("cuStreamSynchronize", self._device.stream)
        return [
            _from_bytes(self._host[first + i], spec, given)
            for i, (spec, given) in enumerate(zip(self._plan.outputs, outputs))
        ]

    def run_device(self, inputs: Sequence[Tensor]) -> list[DeviceArray]:
        arrays = []
        context, stream = self._device.context, self._device.stream
        with current(context):
            self.stage(inputs)
            call("cuGraphLaunch", self._graph, stream)
            for spec, offset in zip(self._plan.outputs, self._offsets[len(self._plan.inputs) :]):
                memory = DeviceMemory(context, spec.nbytes, f"output {spec.name!r}")
                if spec.nbytes:
                    call("cuMemcpyDtoDAsync", memory.address, self._staging.address + offset, spec.nbytes, stream)
                arrays.append(DeviceArray(context, self._device.ordinal, memory, *_shareable(spec)))
            call("cuStreamSynchronize", stream)
        return arrays

    def read(self, source: BufferRef) -> int:
        number = np.empty(1, np.int64)
        with current(self._device.context):
            call("cuMemcpyDtoH", address_of(number), self.address(source), number.nbytes)
        return int(number[0])

    def run_each(self, inputs: Sequence[Tensor]) -> Iterator[LaunchResult]:
        with current(self._device.context):
            self.stage(inputs)
            call("cuStreamSynchronize", self._device.stream)
        for i, launch in enumerate(self._plan.work):
            with current(self._device.context):
                start = time.perf_counter()
                self._launcher.enqueue(launch, self.address)
                call("cuStreamSynchronize", self._device.stream, launch=i, nodes=", ".join(launch.nodes))
                elapsed = (time.perf_counter() - start) * 1e6
                results = self._results(launch)
            kernel = launch.kernel if isinstance(launch, Launch) else "copy"
            yield LaunchResult(i, kernel, launch.nodes, results, elapsed)

    def graph_seconds(self, samples: int) -> float:
        """The median time of the graph by the GPU's clock, on the inputs that were staged last."""
        with current(self._device.context):
            watch = Stopwatch(self._device.context, self._device.stream)
            launch = partial(call, "cuGraphLaunch", self._graph, self._device.stream)
            times = [watch.seconds(launch) for _ in range(samples + 3)]
        return float(np.median(times[3:]))

    def stage(self, inputs: Sequence[Tensor]) -> None:
        """Enqueue the copies of the inputs to their places; with the context current."""
        for i, (spec, tensor) in enumerate(zip(self._plan.inputs, inputs)):
            if not spec.nbytes:
                continue
            target = self._staging.address + self._offsets[i]
            if isinstance(tensor, ForeignTensor):
                source = _gpu_source(spec, tensor, self._device.ordinal)
                call("cuMemcpyDtoDAsync", target, source, spec.nbytes, self._device.stream)
                continue
            if spec.dtype in PACKED_4BIT:
                self._host[i][:] = pack_4bit(tensor)
            else:
                np.copyto(self._host[i].view(tensor.dtype).reshape(tensor.shape), tensor)
            call("cuMemcpyHtoDAsync", target, address_of(self._host[i]), spec.nbytes, self._device.stream)

    def address(self, ref: BufferRef) -> int:
        """Where a buffer of the plan lies in GPU memory."""
        if ref.space in ("arena", "counters"):
            memory = self._device.arena if ref.space == "arena" else self._device.counters
            return memory.address + ref.offset
        if ref.space == "weight":
            return self._device.weight_address(ref.name) + ref.offset
        index = ref.index + (len(self._plan.inputs) if ref.space == "output" else 0)
        return self._staging.address + self._offsets[index] + ref.offset

    def _results(self, launch: Launch | Copy) -> dict[str, np.ndarray]:
        results = launch.results if isinstance(launch, Launch) else ()
        tensors = {}
        for result in results:
            data = np.empty(byte_size(result.dtype, result.shape), np.uint8)
            if data.nbytes:
                call("cuMemcpyDtoH", address_of(data), self.address(launch.args[result.arg]), data.nbytes)
            spec = TensorSpec(result.name, result.dtype, result.shape)
            tensors[result.name] = _from_bytes(data, spec, None)
        return tensors


def _shareable(spec: TensorSpec) -> tuple[str, tuple[int, ...]]:
    """Type and shape under which an output is shared: packed 4-bit types as their bytes."""
    return ("uint8", (spec.nbytes,)) if spec.dtype in PACKED_4BIT else (spec.dtype, spec.dims)


def _from_bytes(data: np.ndarray, spec: TensorSpec, given: np.ndarray | None) -> np.ndarray:
    """Bytes as the array that the user sees, copied out of the staging buffer."""
    if spec.dtype in PACKED_4BIT:
        array = unpack_4bit(data, spec.dtype, spec.dims)
    else:
        array = data.view(numpy_dtype(spec.dtype)).reshape(spec.dims)
    if given is None:
        return array.copy()
    given[...] = array
    return given


def _gpu_source(spec: TensorSpec, tensor: ForeignTensor, ordinal: int) -> int:
    if tensor.device_id != ordinal:
        raise UserError(
            f"input {spec.name!r} is on GPU {tensor.device_id}, and the model is on GPU {ordinal}",
            code="input-device",
            hint=f"move it there, or load the artifact with device='cuda:{tensor.device_id}'",
        )
    if not tensor.is_contiguous:
        raise UserError(
            f"input {spec.name!r} on the GPU is not contiguous",
            code="input-layout",
            values={"shape": list(tensor.shape), "strides": list(tensor.strides)},
            hint="make it so: tensor.contiguous()",
        )
    return tensor.address
