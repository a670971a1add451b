"""CPU family `rows`: softmax, normalisation and every other chain of reductions over one set of dimensions.

A row is one position of the kept dimensions. For each reduction of the dispatch, in order, the kernel runs over the row
once and keeps the result; a last pass over the row computes the results. What is element-wise in between is written out
where it is read. Vectors run along the row, with accumulators that are joined at its end, or across neighbouring rows.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from lumir.kernels.cpu.function import CpuKernel, cpu_kernel, too_many_lanes
from lumir.kernels.cpu.lines import Lines
from lumir.kernels.dispatch import Dispatch
from lumir.kernels.evaluate import Evaluator
from lumir.kernels.index import Index, Place
from lumir.kernels.loop_nest import LoopNest
from lumir.kernels.reduction import combine_lanes, combiner_of
from lumir.kernels.row_space import RowSpace
from lumir.mlir import ir
from lumir.schedule.family import KernelCode
from lumir.schedule.schedule import Schedule
from lumir.sizes import Dim, typical
from lumir.target import Target

Value = ir.Value


@dataclass(frozen=True)
class RowsSchedule(Schedule):
    """Args:
    lanes: elements side by side, along the last reduced dimension or across rows.
    rows: rows of one workgroup, or groups of `lanes` rows.
    across: lanes are rows that are neighbours along the last dimension.
    """

    lanes: int = 1
    rows: int = 1
    across: bool = False


class RowsFamily:
    name: ClassVar[str] = "rows"
    schedule: ClassVar[type[Schedule]] = RowsSchedule
    symbolic: ClassVar[bool] = True

    def match(self, dispatch: Dispatch, target: Target) -> bool:
        return not dispatch.writes_packed and RowSpace.of(dispatch) is not None

    def space(self, dispatch: Dispatch, target: Target) -> Iterable[RowsSchedule]:
        space = _space(dispatch)
        rows = max(1, 8192 // max(typical(space.row_size), 1))
        lanes = target.lanes(4)
        if all(combiner_of(nest) for nest in dispatch.reductions) and typical(space.inner) >= lanes:
            yield RowsSchedule(lanes, rows)
        if Lines.of(space.full, space.axes, lanes):
            yield RowsSchedule(lanes, max(1, rows // lanes), across=True)
        yield RowsSchedule(1, rows)

    def legal(self, dispatch: Dispatch, schedule: RowsSchedule, target: Target) -> list[str]:
        if schedule.lanes == 1:
            return []
        if reasons := too_many_lanes(schedule.lanes):
            return reasons
        if schedule.across and Lines.of(_space(dispatch).full, _space(dispatch).axes, schedule.lanes) is None:
            return [f"neighbouring rows are not whole groups of {schedule.lanes}"]
        scratch = ir.Module.create()
        with ir.InsertionPoint(scratch.body):
            scattered = _emit(dispatch, schedule, "scratch")
        side_by_side = "neighbouring rows are" if schedule.across else "the last reduced dimension is"
        return [f"{side_by_side} not contiguous in some operand"] if scattered else []

    def cost(self, dispatch: Dispatch, schedule: RowsSchedule, target: Target) -> float:
        space = _space(dispatch)
        return typical(space.row_count * space.row_size) / schedule.lanes * 1e-9

    def emit(self, dispatch: Dispatch, schedule: RowsSchedule, target: Target, name: str) -> KernelCode:
        _emit(dispatch, schedule, name)
        return KernelCode((-(-_lines(_space(dispatch), schedule).count // schedule.rows), 1, 1))


def _space(dispatch: Dispatch) -> RowSpace:
    space = RowSpace.of(dispatch)
    assert space is not None
    return space


def _lines(space: RowSpace, schedule: RowsSchedule) -> Lines:
    lines = Lines.of(space.full, space.axes, schedule.lanes if schedule.across else 1)
    assert lines is not None
    return lines


def _emit(dispatch: Dispatch, schedule: RowsSchedule, name: str) -> int:
    space = _space(dispatch)
    with cpu_kernel(dispatch, name) as kernel:
        wide, narrow = kernel.evaluator(schedule.lanes), kernel.evaluator()

        def row(evaluator: Evaluator, outer: dict[int, Index]) -> None:
            along = evaluator if schedule.across else wide
            RowWriter(kernel, space, tuple(outer.values()), along, evaluator).write()

        _lines(space, schedule).each(wide, narrow, Index(kernel.workgroup), schedule.rows, row)
    return wide.memory.scattered


@dataclass(frozen=True)
class Span:
    """The positions of a loop."""

    start: Dim
    stop: Dim
    step: int = 1


class RowWriter:
    """Writes the code of one row, or of `lanes` rows side by side.

    Args:
        row: where the kept dimensions stand.
        wide: evaluates elements of a row, several at once unless it is `narrow`.
        narrow: evaluates one element of a row.
    """

    def __init__(self, kernel: CpuKernel, space: RowSpace, row: Place, wide: Evaluator, narrow: Evaluator):
        self.kernel, self.space, self.row, self.wide, self.narrow = kernel, space, row, wide, narrow
        self.lanes = 1 if wide is narrow else wide.index.lanes

    def write(self) -> None:
        for nest in self.kernel.dispatch.reductions:
            for result, value in zip(nest.op.results, self._reduce(nest), strict=True):
                self._bind(result, value)
        self._store_rows()

    def _bind(self, tensor: Value, value: Value) -> None:
        for evaluator in (self.wide, self.narrow):
            evaluator.bind(tensor, lambda _place, value=value: value)

    def _reduce(self, nest: LoopNest) -> list[Value]:
        start, whole = [self.narrow.at(output, self.row) for output in nest.outputs], 0
        if self.narrow.index.lanes > 1:
            start = [self.narrow.widened(v) for v in start]
        if self.lanes > 1:
            whole = self.space.whole(self.lanes)
            wide = [self.wide.index.splat(v) for v in start]
            total = self._pass(self.wide, Span(0, whole, self.lanes), wide, nest)
            start = [combine_lanes(nest, v) for v in total]
            if whole == self.space.inner:
                return start
        return self._pass(self.narrow, Span(whole, self.space.inner), start, nest)

    def _pass(self, evaluator: Evaluator, inner: "Span", totals: list[Value], nest: LoopNest) -> list[Value]:
        def step(columns: Place, carried: Sequence[Value]) -> list[Value]:
            dims = self.space.dims(nest, self.row, columns)
            found = evaluator.body(nest, dims, lambda i: carried[i])
            vectors = isinstance(carried[0].type, ir.VectorType)
            return [evaluator.widened(v) for v in found] if vectors else found

        return self._columns(evaluator, inner, totals, step)

    def _columns(
        self,
        evaluator: Evaluator,
        inner: "Span",
        carried: list[Value],
        step: Callable[[Place, Sequence[Value]], list[Value]],
    ) -> list[Value]:
        """Loops over the reduced dimensions: `step(columns, carried) -> carried`."""
        outer = self.space.reduced[:-1]

        def nested(depth: int, columns: Place, values: list[Value]) -> list[Value]:
            size = Span(0, outer[depth]) if depth < len(outer) else inner
            with evaluator.loop(size.start, size.stop, size.step, values, multiple=inner.step) as (position, now, done):
                here = position if depth < len(outer) else _lanes_at(position, inner.step)
                place = (*columns, here)
                done(nested(depth + 1, place, now) if depth < len(outer) else step(place, now))
            return done.results

        return nested(0, (), carried)

    def _store_rows(self) -> None:
        """Results of the row's own shape are stored once; full-shape results in a pass over the row."""
        pairs = list(zip(self.kernel.dispatch.results, self.kernel.outputs, strict=True))
        for result, buffer in pairs:
            if self.space.is_row(result):
                place = self.space.row_place(result, self.row)
                self.narrow.memory.store(buffer, place, self.narrow.at(result, place))
        full = [(result, buffer) for result, buffer in pairs if not self.space.is_row(result)]
        if not full:
            return
        whole = self.space.whole(self.lanes) if self.lanes > 1 else 0
        if whole:
            self._columns(self.wide, Span(0, whole, self.lanes), [], lambda c, _: self._store(self.wide, full, c))
        if whole != self.space.inner:
            rest = Span(whole, self.space.inner)
            self._columns(self.narrow, rest, [], lambda c, _: self._store(self.narrow, full, c))

    def _store(self, evaluator: Evaluator, full: list, columns: Place) -> list[Value]:
        for result, buffer in full:
            place = self.space.place(self.row, columns)
            evaluator.memory.store(buffer, place, evaluator.at(result, place))
        return []


def _lanes_at(position: Index, step: int) -> Index:
    return Index(position.base, 1, step) if step > 1 else position
