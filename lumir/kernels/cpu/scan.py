"""CPU family `scan`: a running sum, product or maximum, one pass along the axis with the total carried.

A line is one position of the other dimensions. Where the axis is not the last dimension, neighbouring lines go side by
side in vectors.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from lumir.dtypes import byte_size
from lumir.kernels.cpu.function import CpuKernel, cpu_kernel, too_many_lanes
from lumir.kernels.cpu.lines import Lines
from lumir.kernels.dispatch import Dispatch, element_of
from lumir.kernels.evaluate import Evaluator
from lumir.kernels.index import Index, Place
from lumir.kernels.push import Path, result_paths
from lumir.kernels.scan_space import ScanSpace
from lumir.mlir import ir
from lumir.schedule.family import KernelCode
from lumir.schedule.schedule import Schedule
from lumir.sizes import typical
from lumir.target import Target

Value = ir.Value


@dataclass(frozen=True)
class ScanSchedule(Schedule):
    """Args:
    lanes: lines side by side.
    groups: groups of lines of one workgroup.
    """

    lanes: int = 1
    groups: int = 1


class ScanFamily:
    name: ClassVar[str] = "scan"
    schedule: ClassVar[type[Schedule]] = ScanSchedule
    symbolic: ClassVar[bool] = True

    def match(self, dispatch: Dispatch, target: Target) -> bool:
        space = ScanSpace.of(dispatch)
        return space is not None and not dispatch.writes_packed and result_paths(dispatch, _result(space)) is not None

    def space(self, dispatch: Dispatch, target: Target) -> Iterable[ScanSchedule]:
        space = _space(dispatch)
        widest = target.lanes(max(4, byte_size(element_of(_result(space)))))
        for lanes in dict.fromkeys((widest, 1)):
            lines = Lines.of(space.shape, (space.axis,), lanes)
            if lines is not None:
                yield ScanSchedule(lanes, max(1, 8192 // (max(typical(space.shape[space.axis]), 1) * lanes)))

    def legal(self, dispatch: Dispatch, schedule: ScanSchedule, target: Target) -> list[str]:
        if schedule.lanes == 1:
            return []
        if reasons := too_many_lanes(schedule.lanes):
            return reasons
        if Lines.of(_space(dispatch).shape, (_space(dispatch).axis,), schedule.lanes) is None:
            return [f"neighbouring lines are not whole groups of {schedule.lanes}"]
        scratch = ir.Module.create()
        with ir.InsertionPoint(scratch.body):
            scattered = _emit(dispatch, schedule, "scratch")
        return ["neighbouring lines are not contiguous in some operand"] if scattered else []

    def cost(self, dispatch: Dispatch, schedule: ScanSchedule, target: Target) -> float:
        return typical(math.prod(_space(dispatch).shape)) / schedule.lanes * 1e-9

    def emit(self, dispatch: Dispatch, schedule: ScanSchedule, target: Target, name: str) -> KernelCode:
        _emit(dispatch, schedule, name)
        lines = _lines(_space(dispatch), schedule)
        return KernelCode((-(-lines.count // schedule.groups), 1, 1))


def _space(dispatch: Dispatch) -> ScanSpace:
    space = ScanSpace.of(dispatch)
    assert space is not None
    return space


def _result(space: ScanSpace) -> Value:
    return space.nest.op.results[0]


def _lines(space: ScanSpace, schedule: ScanSchedule) -> Lines:
    lines = Lines.of(space.shape, (space.axis,), schedule.lanes)
    assert lines is not None
    return lines


def _emit(dispatch: Dispatch, schedule: ScanSchedule, name: str) -> int:
    space = _space(dispatch)
    with cpu_kernel(dispatch, name) as kernel:
        wide, narrow = kernel.evaluator(schedule.lanes), kernel.evaluator()
        lines = _lines(space, schedule)

        def line(evaluator: Evaluator, outer: dict[int, Index]) -> None:
            _write_line(kernel, space, evaluator, outer)

        lines.each(wide, narrow, Index(kernel.workgroup), schedule.groups, line)
    return wide.memory.scattered


def _write_line(kernel: CpuKernel, space: ScanSpace, evaluator: Evaluator, outer: dict[int, Index]) -> None:
    index, size = evaluator.index, space.shape[space.axis]
    paths = result_paths(kernel.dispatch, _result(space)) or []
    start = evaluator.at(space.nest.outputs[0], _place(space, outer, Index(0)))
    start = evaluator.widened(start) if index.lanes > 1 else start
    with evaluator.loop(0, size, 1, [start]) as (step, (total,), done):
        at = index.add(Index(size - 1), index.scale(step, -1)) if space.reverse else step
        place = _place(space, outer, at)
        (joined,) = evaluator.body(space.nest, space.dims(index, place), lambda _: total)
        joined = evaluator.widened(joined) if index.lanes > 1 else joined
        _store(kernel, space, evaluator, paths, place, total if space.exclusive else joined)
        done([joined])


def _store(
    kernel: CpuKernel, space: ScanSpace, evaluator: Evaluator, paths: Sequence[Path], place: Place, value: Value
) -> None:
    evaluator.bind(_result(space), lambda _place: value)
    for result, path, buffer in zip(kernel.dispatch.results, paths, kernel.outputs, strict=True):
        at = path.place(evaluator.index, place)
        evaluator.memory.store(buffer, at, evaluator.at(result, at))


def _place(space: ScanSpace, outer: dict[int, Index], at: Index) -> Place:
    return tuple(at if axis == space.axis else outer[axis] for axis in range(len(space.shape)))
