"""Every launch of a loaded artifact by itself: on the data that it sees in the model, but not from the L2 cache."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lumir.artifact.dtypes import byte_size
from lumir.artifact.launches import Copy, Launch
from lumir.artifact.plan import Plan
from lumir.artifact.tensors import BufferRef
from lumir.measure.timing import Timing, calls_in_graph, time_together
from lumir.runtime.cuda import CudaDevice
from lumir.runtime.cuda_clock import Stopwatch
from lumir.runtime.cuda_driver import call
from lumir.runtime.cuda_launch import Launcher
from lumir.runtime.cuda_memory import DeviceMemory, aligned, current, release_with

_CACHES, _MOST_SETS = 4, 64


@dataclass(frozen=True)
class LaunchTime:
    """One kernel of a plan.

    Args:
        calls: how often the plan launches it on operands of these sizes.
        nbytes: of its operands and results.
    """

    kernel: str
    nodes: tuple[str, ...]
    calls: int
    nbytes: int
    timing: Timing


class LaunchBench:
    """Times the launches of one plan of an executable on a GPU.

    Args:
        session: of the plan; its buffers are used.
    """

    def __init__(self, device: CudaDevice, session: Any, plan: Plan):
        self._device, self._session, self._plan = device, session, plan
        self._launcher = Launcher(device.code, device.gpu.stream)

    def measure(self, inputs: Sequence[np.ndarray], samples: int) -> Iterator[LaunchTime]:
        """Run the plan launch by launch; time each kernel where it first comes, with its operands as they are then."""
        sizes = _sizes(self._device, self._plan)
        alike: dict[Any, int] = {}
        for launch, nbytes in zip(self._plan.work, sizes, strict=True):
            alike[_what(launch, nbytes)] = alike.get(_what(launch, nbytes), 0) + 1
        seen = set()
        with current(self._device.context):
            self._session.stage(inputs)
        for launch, nbytes in zip(self._plan.work, sizes, strict=True):
            what = _what(launch, nbytes)
            with current(self._device.context):
                if what not in seen and isinstance(launch, Launch):
                    seen.add(what)
                    timing = time_together([_Rotated(self, launch, nbytes)], samples)[0]
                    moved = sum(n for n in nbytes if n is not None)
                    yield LaunchTime(launch.kernel, launch.nodes, alike[what], moved, timing)
                self._launcher.enqueue(launch, self._session.address)
                call("cuStreamSynchronize", self._device.gpu.stream)

    @property
    def device(self) -> CudaDevice:
        return self._device

    def address(self, ref: BufferRef) -> int:
        return self._session.address(ref)

    @property
    def launcher(self) -> Launcher:
        return self._launcher


class _Rotated:
    """A launch on copies of its operands, as many as the L2 cache cannot hold."""

    def __init__(self, bench: LaunchBench, launch: Launch, sizes: Sequence[int | None]):
        self._bench, self._launch, gpu = bench, launch, bench.device.gpu
        self._offsets, nbytes = [], 0
        for size in sizes:
            self._offsets.append(nbytes if size is not None else None)
            nbytes += aligned(size or 0)
        self._stride = max(nbytes, 256)
        self.sets = int(np.clip(-(-_CACHES * gpu.l2_bytes // self._stride), 1, _MOST_SETS))
        self._memory = DeviceMemory(gpu.context, self._stride * self.sets, "operands")
        for number in range(self.sets):
            for ref, offset, size in zip(launch.args, self._offsets, sizes, strict=True):
                if size:
                    target = self._memory.address + number * self._stride + (offset or 0)
                    call("cuMemcpyDtoD", target, bench.address(ref), size)
        call("cuCtxSynchronize")
        self._watch = Stopwatch(gpu.context, gpu.stream)
        estimate = self._watch.seconds(lambda: [self._enqueue(i) for i in range(4)]) / 4
        estimate = self._watch.seconds(lambda: [self._enqueue(i) for i in range(4)]) / 4
        self._count = calls_in_graph(estimate, self.sets)
        self._graph = bench.launcher.capture((self._numbered(i) for i in range(self._count)), self._address)
        release_with(self, gpu.context, "cuGraphExecDestroy", self._graph)

    def seconds(self) -> float:
        return (
            self._watch.seconds(lambda: call("cuGraphLaunch", self._graph, self._bench.device.gpu.stream)) / self._count
        )

    def _enqueue(self, number: int) -> None:
        self._bench.launcher.enqueue(self._numbered(number), self._address)

    def _numbered(self, number: int) -> Launch:
        """The launch on one set: its arguments as places in the rotated memory, where they are copied."""
        base = number % self.sets * self._stride
        args = [
            ref if offset is None else BufferRef("input", offset=base + offset)
            for ref, offset in zip(self._launch.args, self._offsets, strict=True)
        ]
        return replace(self._launch, args=tuple(args))

    def _address(self, ref: BufferRef) -> int:
        return self._memory.address + ref.offset if ref.space == "input" else self._bench.address(ref)


def _what(launch: Launch | Copy, sizes: Sequence[int | None]) -> Any:
    return ("copy",) if isinstance(launch, Copy) else (launch.kernel, launch.grid, tuple(sizes))


def _sizes(device: CudaDevice, plan: Plan) -> list[list[int | None]]:
    """The bytes of every argument of every launch; None for scratch memory, which stays where it is."""
    written: dict[int, int] = {}
    found = []
    for launch in plan.work:
        results = {r.arg: byte_size(r.dtype, r.shape) for r in launch.results} if isinstance(launch, Launch) else {}
        sizes: list[int | None] = []
        for index, ref in enumerate(launch.args):
            sizes.append(results[index] if index in results else _known(device, plan, ref, written))
        for index, nbytes in results.items():
            if launch.args[index].space == "arena":
                written[launch.args[index].offset] = nbytes
        found.append(sizes)
    return found


def _known(device: CudaDevice, plan: Plan, ref: BufferRef, written: Mapping[int, int]) -> int | None:
    if ref.space == "weight":
        return device.artifact.weights[ref.name].nbytes
    if ref.space == "input":
        return plan.inputs[ref.index].nbytes
    if ref.space == "output":
        return plan.outputs[ref.index].nbytes
    return written.get(ref.offset) if ref.space == "arena" else None
