"""NVIDIA family `map`: every result element by itself, whatever the dispatch does. The one that always fits.

A thread computes `unroll` groups of `lanes` neighbouring elements. Threads of a warp take neighbouring groups, so that
its accesses fall into whole lines; the groups of one thread lie a workgroup apart, so that their loads are under way
together. A reduction inside the dispatch is a loop in the thread.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from typing import ClassVar

from lumir.dtypes import byte_size
from lumir.kernels.dispatch import Dispatch, element_of, remembered, shape_of
from lumir.kernels.evaluate import Evaluator
from lumir.kernels.index import Index
from lumir.kernels.nvidia.function import NvidiaKernel, nvidia_kernel
from lumir.kernels.nvidia.guard import only_if
from lumir.kernels.nvidia.merge import Walk
from lumir.kernels.nvidia.programmatic import is_programmatic
from lumir.kernels.nvidia.roofline import (
    LAUNCH_SECONDS,
    Traffic,
    access_efficiency,
    buffer_bytes,
    compute_seconds,
    element_operations,
    read_bytes,
)
from lumir.kernels.nvidia.scratch import scratch_kernel
from lumir.schedule.family import KernelCode
from lumir.schedule.schedule import Schedule
from lumir.sizes import Dim, at_least, high, maximum, minimum, typical
from lumir.target import Target

_ADDRESSING = 12  # instructions to find and store a group of lanes


@dataclass(frozen=True)
class MapSchedule(Schedule):
    """How the elements are dealt out.

    Args:
        lanes: neighbouring elements that a thread computes as vectors.
        unroll: groups of lanes a thread computes, `block` groups apart.
        block: threads of a workgroup.
    """

    lanes: int = 1
    unroll: int = 1
    block: int = 128


class MapFamily:
    name: ClassVar[str] = "map"
    schedule: ClassVar[type[Schedule]] = MapSchedule
    symbolic: ClassVar[bool] = True

    def match(self, dispatch: Dispatch, target: Target) -> bool:
        """Any dispatch whose results share one shape."""
        return all(shape_of(r) == shape_of(dispatch.results[0]) for r in dispatch.results)

    def space(self, dispatch: Dispatch, target: Target) -> Iterable[MapSchedule]:
        if dispatch.writes_packed:  # a thread must own both elements of a byte
            return [MapSchedule(2, 1, 128)]
        every = [
            MapSchedule(*choice) for choice in product(_lane_choices(dispatch, target), (1, 2, 4), (128, 256, 512))
        ]
        threads = max(typical(dispatch.elements), 1)
        useful = [s for s in every if s.lanes * s.unroll == 1 or s.lanes * s.unroll * 32 <= threads]
        useful = [s for s in useful if s.lanes == 1 or at_least(dispatch.elements, s.lanes)]
        return sorted(useful, key=lambda s: (self.cost(dispatch, s, target), s.block))

    def legal(self, dispatch: Dispatch, schedule: MapSchedule, target: Target) -> list[str]:
        reasons = []
        if schedule.block % 32 or not 32 <= schedule.block <= 1024:
            reasons.append(f"a workgroup has 32 to 1024 threads in whole warps, not {schedule.block}")
        if high(_workgroups(dispatch, schedule)) >= 2**31:
            reasons.append("more than 2**31 workgroups")
        if dispatch.writes_packed:
            return [*reasons, *(["a thread must own both elements of a byte"] if schedule.lanes != 2 else [])]
        if schedule.lanes > 1 and not reasons and _splits_lanes(dispatch, schedule):
            reasons.append(f"{schedule.lanes} neighbouring elements do not stand side by side in every operand")
        return reasons

    def cost(self, dispatch: Dispatch, schedule: MapSchedule, target: Target) -> float:
        read = remembered(dispatch, "read_bytes", read_bytes)
        written, narrowest = remembered(dispatch, "written_bytes", _written)
        operations = remembered(dispatch, "element_operations", element_operations)
        each, elements = schedule.lanes * schedule.unroll, max(typical(dispatch.elements), 1)
        traffic = Traffic(
            read=read,
            written=written,
            workgroups=typical(_workgroups(dispatch, schedule)),
            block=schedule.block,
            in_flight=read / elements * each,
            efficiency=access_efficiency(schedule.lanes * narrowest),
        )
        instructions = elements * (operations + _ADDRESSING / schedule.lanes)
        return LAUNCH_SECONDS + max(traffic.seconds(target), compute_seconds(instructions, elements / each, target))

    def emit(self, dispatch: Dispatch, schedule: MapSchedule, target: Target, name: str) -> KernelCode:
        programmatic = is_programmatic(target)
        _write(dispatch, schedule, name, programmatic)
        return KernelCode((_workgroups(dispatch, schedule), 1, 1), schedule.block, pdl=programmatic)


def _written(dispatch: Dispatch) -> tuple[float, int]:
    """Bytes of all results, and of an element of the narrowest."""
    return sum(buffer_bytes(r) for r in dispatch.results), min(byte_size(element_of(r)) for r in dispatch.results)


def _lane_choices(dispatch: Dispatch, target: Target) -> list[int]:
    """From the most that the narrowest tensor fits into one access down to 1."""
    sizes = [byte_size(element_of(v)) for v in (*dispatch.results, *dispatch.arguments) if shape_of(v)]
    widest = min(target.lanes(min(sizes, default=16)), 16)
    return [lanes for lanes in (16, 8, 4, 2, 1) if lanes <= widest]


def _workgroups(dispatch: Dispatch, schedule: MapSchedule) -> Dim:
    groups = dispatch.elements // schedule.lanes
    return maximum(-(-groups // (schedule.unroll * schedule.block)), minimum(dispatch.elements, 1))


def _splits_lanes(dispatch: Dispatch, schedule: MapSchedule) -> bool:
    """Write one group into a module that is thrown away, and see whether an access had to be split."""
    with scratch_kernel():
        return _write(dispatch, MapSchedule(schedule.lanes, 1, schedule.block), "scratch") > 0


def _write(dispatch: Dispatch, schedule: MapSchedule, name: str, programmatic: bool = False) -> int:
    """Write the kernel; returns how many accesses were split into lanes."""
    with nvidia_kernel(dispatch, name, schedule.block, programmatic=programmatic) as kernel:
        walk, wide = Walk.of(dispatch), kernel.evaluator(schedule.lanes)
        groups, rest = divmod(dispatch.elements, schedule.lanes)
        if groups:
            _write_groups(kernel, walk, wide, schedule, groups)
        if rest:
            _write_rest(kernel, walk, groups * schedule.lanes, rest)
    return wide.memory.scattered


def _write_groups(kernel: NvidiaKernel, walk: Walk, wide: Evaluator, schedule: MapSchedule, groups: Dim) -> None:
    """This thread's lane groups. Past the end it computes the last group again, and writes what is there already."""
    index, block, lanes = wide.index, schedule.block, schedule.lanes
    tile = block * schedule.unroll
    first = index.add(index.scale(kernel.workgroup(), tile), kernel.thread())
    values = []
    for number in range(schedule.unroll):
        group = index.offset(first, number * block)
        if groups % tile != 0:
            group = index.minimum(group, groups - 1)
        position = index.scale(group, lanes)
        place = walk.place(index, Index(position.base, 1, position.multiple) if lanes > 1 else position)
        values.append((place, [wide.at(result, place) for result in kernel.dispatch.results]))
    for place, results in values:
        for buffer, value in zip(kernel.outputs, results, strict=True):
            wide.memory.store(buffer, place, value)


def _write_rest(kernel: NvidiaKernel, walk: Walk, start: Dim, count: Dim) -> None:
    """The elements after the last whole group, one each for the first threads."""
    narrow = kernel.evaluator()
    index = narrow.index
    number = index.add(index.scale(kernel.workgroup(), kernel.block), kernel.thread())
    with only_if(index.below(number, count), narrow):
        place = walk.place(index, index.offset(number, start))
        for result, buffer in zip(kernel.dispatch.results, kernel.outputs, strict=True):
            narrow.memory.store(buffer, place, narrow.at(result, place))
