"""CPU family `scatter`: the tensor is copied, then each step changes it in place, in order.

Lines run along the dimensions that the steps choose places of. Lines are apart from each other; where there are few,
each is cut along its first dimension into parts, whose workgroups look at all steps and take those that fall into it.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from lumir.dtypes import byte_size
from lumir.kernels.branch import only_if
from lumir.kernels.cpu.function import CpuKernel, cpu_kernel, too_many_lanes
from lumir.kernels.cpu.lines import Lines
from lumir.kernels.dispatch import Dispatch, element_of
from lumir.kernels.evaluate import Evaluator
from lumir.kernels.index import Index, Place
from lumir.kernels.scatter_space import ScatterSpace
from lumir.mlir import arith, ir
from lumir.schedule.family import KernelCode
from lumir.schedule.schedule import Schedule
from lumir.sizes import typical
from lumir.target import Target

Value = ir.Value


@dataclass(frozen=True)
class ScatterSchedule(Schedule):
    """Args:
    lanes: lines side by side.
    groups: groups of lines of one workgroup.
    parts: workgroups that share a line.
    """

    lanes: int = 1
    groups: int = 1
    parts: int = 1


class ScatterFamily:
    name: ClassVar[str] = "scatter"
    schedule: ClassVar[type[Schedule]] = ScatterSchedule
    symbolic: ClassVar[bool] = True

    def match(self, dispatch: Dispatch, target: Target) -> bool:
        return not dispatch.writes_packed and ScatterSpace.of(dispatch) is not None

    def space(self, dispatch: Dispatch, target: Target) -> Iterable[ScatterSchedule]:
        space = _space(dispatch)
        size = typical(math.prod(space.shape[d] for d in space.places))
        widest = target.lanes(max(4, byte_size(element_of(dispatch.results[0]))))
        for lanes in dict.fromkeys((widest, 1)):
            lines = Lines.of(space.shape, space.places, lanes)
            # Lines that two groups share would be changed by both.
            if lines is None or lines.ragged:
                continue
            groups = max(1, 4096 // max(size * lanes, 1))
            longest, few = typical(space.shape[space.places[0]]), typical(lines.count) < 64
            parts = min(16, longest, 1 + size * lanes // 65536) if few else 1
            yield ScatterSchedule(lanes, groups, max(parts, 1))

    def legal(self, dispatch: Dispatch, schedule: ScatterSchedule, target: Target) -> list[str]:
        if schedule.lanes == 1:
            return []
        if reasons := too_many_lanes(schedule.lanes):
            return reasons
        if Lines.of(_space(dispatch).shape, _space(dispatch).places, schedule.lanes) is None:
            return [f"neighbouring lines are not whole groups of {schedule.lanes}"]
        scratch = ir.Module.create()
        with ir.InsertionPoint(scratch.body):
            scattered = _emit(dispatch, schedule, "scratch")
        return ["neighbouring lines are not contiguous in some operand"] if scattered else []

    def cost(self, dispatch: Dispatch, schedule: ScatterSchedule, target: Target) -> float:
        space = _space(dispatch)
        lines = math.prod(space.shape[d] for d in range(len(space.shape)) if d not in space.targets)
        work = math.prod(space.shape) + lines * math.prod(space.steps) * schedule.parts
        return typical(work) / schedule.lanes * 1e-9

    def emit(self, dispatch: Dispatch, schedule: ScatterSchedule, target: Target, name: str) -> KernelCode:
        _emit(dispatch, schedule, name)
        workgroups = -(-_lines(_space(dispatch), schedule).count // schedule.groups)
        return KernelCode((workgroups * schedule.parts, 1, 1))


def _space(dispatch: Dispatch) -> ScatterSpace:
    space = ScatterSpace.of(dispatch)
    assert space is not None
    return space


def _lines(space: ScatterSpace, schedule: ScatterSchedule) -> Lines:
    lines = Lines.of(space.shape, space.places, schedule.lanes)
    assert lines is not None
    return lines


def _emit(dispatch: Dispatch, schedule: ScatterSchedule, name: str) -> int:
    space = _space(dispatch)
    with cpu_kernel(dispatch, name) as kernel:
        wide, narrow = kernel.evaluator(schedule.lanes), kernel.evaluator()
        workgroup, part = narrow.index.divmod(Index(kernel.workgroup), schedule.parts)
        lines = _lines(space, schedule)

        def line(evaluator: Evaluator, outer: dict[int, Index]) -> None:
            LineWriter(kernel, space, evaluator, outer, schedule.parts, part).write()

        lines.each(wide, narrow, workgroup, schedule.groups, line)
    return wide.memory.scattered


class LineWriter:
    """Writes one part of a line, or of `lanes` lines side by side."""

    def __init__(
        self,
        kernel: CpuKernel,
        space: ScatterSpace,
        evaluator: Evaluator,
        outer: dict[int, Index],
        parts: int,
        part: Index,
    ):
        self.space, self.evaluator, self.outer, self.parts = space, evaluator, outer, parts
        (self.buffer,) = kernel.outputs
        index, size = evaluator.index, space.shape[space.places[0]]
        length = -(-size // parts)
        self.start = index.minimum(index.scale(part, length), size)
        self.stop = index.minimum(index.offset(index.scale(part, length), length), size)

    def write(self) -> None:
        self._copy(0, {})
        self._step(0, [])

    def _copy(self, depth: int, inner: dict[int, Index]) -> None:
        """What is scattered into, as it is before the first step."""
        if depth == len(self.space.places):
            place = self._place(inner)
            value = self.evaluator.at(self.space.nest.outputs[0], place)
            self.evaluator.memory.store(self.buffer, place, value)
            return
        dim = self.space.places[depth]
        scalar = self.evaluator.index.scalar
        bounds = (scalar(self.start.base), scalar(self.stop.base)) if depth == 0 else (0, self.space.shape[dim])
        with self.evaluator.loop(*bounds, 1) as (at, _, _done):
            self._copy(depth + 1, {**inner, dim: at})

    def _step(self, depth: int, steps: list[Index]) -> None:
        if depth < len(self.space.steps):
            with self.evaluator.loop(0, self.space.steps[depth], 1) as (at, _, _done):
                self._step(depth + 1, [*steps, at])
            return
        targets = self._targets(steps)
        first = targets[self.space.places[0]]
        if self.parts == 1:
            self._change(steps, targets)
            return
        index = self.evaluator.index
        above = arith.CmpIOp(arith.CmpIPredicate.sge, index.scalar(first.base), index.scalar(self.start.base)).result
        below = arith.CmpIOp(arith.CmpIPredicate.slt, index.scalar(first.base), index.scalar(self.stop.base)).result
        with only_if(arith.AndIOp(above, below).result, self.evaluator):
            self._change(steps, targets)

    def _targets(self, steps: list[Index]) -> dict[int, Index]:
        """Where the step writes, along each dimension that it chooses a place of."""
        anywhere = [*self._place(dict.fromkeys(self.space.places, Index(0))), *steps]
        places = self.space.places
        found = self.evaluator.inside(
            self.space.nest, anywhere, self._no_output, [self.space.targets[dim] for dim in places]
        )
        uniform = [not isinstance(value.type, ir.VectorType) for value in found]
        return {d: Index(v, 0 if one else None) for d, v, one in zip(places, found, uniform, strict=True)}

    def _no_output(self, number: int) -> Value:
        raise AssertionError("a place that is written to cannot depend on what is there")

    def _change(self, steps: list[Index], targets: dict[int, Index]) -> None:
        place = self._place(targets)
        old = self.evaluator.memory.load(self.buffer, place)
        (new,) = self.evaluator.body(self.space.nest, [*place, *steps], lambda _: old)
        self.evaluator.memory.store(self.buffer, place, new)

    def _place(self, inner: dict[int, Index]) -> Place:
        return tuple(inner[d] if d in inner else self.outer[d] for d in range(len(self.space.shape)))
