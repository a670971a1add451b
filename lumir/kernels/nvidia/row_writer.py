"""Writes the code of one thread of the family `rows`."""

from collections.abc import Callable, Sequence

from lumir.dtypes import byte_size
from lumir.kernels.index import Index, Place
from lumir.kernels.loop_nest import LoopNest
from lumir.kernels.memory import Buffer, advance
from lumir.kernels.nvidia.function import NvidiaKernel
from lumir.kernels.nvidia.guard import only_if
from lumir.kernels.nvidia.joining import selects
from lumir.kernels.nvidia.programmatic import fetch_to_l2
from lumir.kernels.nvidia.row_joining import Member, RowJoining, equals, lanes_from
from lumir.kernels.nvidia.row_schedule import RowsSchedule
from lumir.kernels.row_space import RowSpace
from lumir.mlir import arith, ir
from lumir.sizes import Dim, is_static, maximum

Value = ir.Value
Step = Callable[[Place, Value | None, Sequence[Value]], list[Value]]
"""(columns, whether they are inside the row if that is in doubt, carried values) -> carried values."""


class RowWriter:
    """The passes of one thread over its part of a row, or over `lanes` rows side by side.

    Threads past the last row, and accesses past the end of a row, do the last one again: what they store is what is
    there already, and what they add to a sum is dropped.
    """

    def __init__(self, kernel: NvidiaKernel, space: RowSpace, schedule: RowsSchedule):
        self.kernel, self.space, self.schedule = kernel, space, schedule
        self.wide, self.narrow = kernel.evaluator(schedule.lanes), kernel.evaluator()
        self.index = self.wide.index
        thread, slow = kernel.thread(), schedule.rows if schedule.across else schedule.threads
        outer, inner = self.index.divmod(thread, slow)
        own, slot = (outer, inner) if schedule.across else (inner, outer)
        self.tile, self.rank = self.index.divmod(kernel.workgroup(), schedule.workgroups)
        self.joining = RowJoining(kernel, schedule, Member(own, slot, self.rank))
        self.member = self.index.add(self.index.scale(self.rank, schedule.threads), own)
        if schedule.ahead:
            self._fetch(self.index.offset(self.tile, schedule.ahead), own, slot)
        self.row = self._row(self.tile, slot)
        self._columns: dict[int, tuple[Place, Value | None]] = {}
        self._waiting: list[tuple[Buffer, Place, Value]] = []

    def _row(self, tile: Index, slot: Index) -> Place:
        lanes = self.schedule.lanes if self.schedule.across else 1
        groups = self.space.row_count // lanes
        group = self.index.add(self.index.scale(tile, self.schedule.rows), slot)
        if groups % self.schedule.rows != 0:
            group = self.index.minimum(group, groups - 1)
        position = self.index.scale(group, lanes)
        return self.index.delinearize(lanes_from(position, lanes), self.space.kept)

    def _fetch(self, tile: Index, own: Index, slot: Index) -> None:
        """Have the rows of a later tile brought to the L2 cache, each by one thread."""
        row = self.index.add(self.index.scale(tile, self.schedule.rows), slot)
        there = self.index.below(row, self.space.row_count)
        with only_if(arith.AndIOp(equals(self.index, own, 0), there).result):
            for buffer in self._fetched():
                start = self.index.scalar(self.index.scale(row, self.space.row_size).base)
                size = self.space.row_size * byte_size(buffer.stored)
                fetch_to_l2(advance(buffer.pointer, buffer.stored, start), size)

    def _fetched(self) -> list[Buffer]:
        return [self.kernel.inputs[tensor] for tensor in self.space.whole_rows(self.kernel.dispatch)]

    def write(self) -> None:
        for nest in self.kernel.dispatch.reductions:
            for result, value in zip(nest.op.results, self._reduce(nest), strict=True):
                self._bind(result, value)
        self._store_rows()
        self._store_elements()

    def _bind(self, tensor: Value, value: Value) -> None:
        for evaluator in (self.wide, self.narrow):
            evaluator.bind(tensor, lambda _place: value)

    # -- passes --------------------------------------------------------------------------------------------------------

    def _pass(self, step: Step, carried: Sequence[Value]) -> list[Value]:
        """Run `step` on all of this thread's columns."""
        unroll, columns, carried = self.schedule.unroll, self.schedule.columns, list(carried)
        whole, ragged = divmod(self.space.row_size, columns)
        if not is_static(self.space.row_size):
            return self._open_pass(step, carried, whole, ragged)
        looped = whole // unroll * unroll if whole > unroll else 0
        if looped:
            carried = self._loop(step, carried, 0, looped, unroll)
        for number in range(looped, whole + bool(ragged)):
            place, inside = self._columns_at(number, number == whole)
            carried = step(place, inside, carried)
        self._flush()
        return carried

    def _open_pass(self, step: Step, carried: list[Value], whole: Dim, ragged: Dim) -> list[Value]:
        """A row of any length: `unroll` accesses at a time, one by one, and the last one where it is ragged."""
        unroll = self.schedule.unroll
        looped = whole // unroll * unroll
        carried = self._loop(step, carried, 0, looped, unroll)
        if looped != whole:
            carried = self._loop(step, carried, looped, whole, 1)
        if ragged != 0:
            place, inside = self._place_of(Index(whole), last=True)
            carried = step(place, inside, carried)
        self._flush()
        return carried

    def _loop(self, step: Step, carried: list[Value], start: Dim, stop: Dim, unroll: int) -> list[Value]:
        with self.wide.loop(start, stop, unroll, carried) as (first, now, done):
            for number in range(unroll):
                access = self.index.offset(first, number)
                place, _ = self._place_of(access, last=False)
                now = step(place, None, now)
            self._flush()
            done(now)
        return done.results

    def _columns_at(self, number: int, last: bool) -> tuple[Place, Value | None]:
        """The same place for the same access in every pass, so that the evaluator finds what it has there already."""
        if number not in self._columns:
            self._columns[number] = self._place_of(Index(number), last)
        return self._columns[number]

    def _place_of(self, access: Index, last: bool) -> tuple[Place, Value | None]:
        """The reduced dimensions at this thread's access number; the last one is kept inside the row."""
        index, lanes = self.index, 1 if self.schedule.across else self.schedule.lanes
        group = index.add(index.scale(access, self.schedule.members), self.member)
        inside, groups = None, self.space.row_size // lanes
        if last:
            inside = index.below(group, groups)
            group = index.minimum(group, maximum(groups - 1, 0))
        position = index.scale(group, lanes)
        return index.delinearize(lanes_from(position, lanes), self.space.reduced), inside

    # -- reductions ----------------------------------------------------------------------------------------------------

    def _start(self, nest: LoopNest) -> list[Value]:
        """The accumulators before the first element."""
        return [self.wide.at(output, self.row) for output in nest.outputs]

    def _reduce(self, nest: LoopNest) -> list[Value]:
        start = self._start(nest)
        if self.schedule.lanes > 1:
            start = [self.wide.widened(value) for value in start]
        again_is_harmless = selects(nest)

        def step(columns: Place, inside: Value | None, carried: Sequence[Value]) -> list[Value]:
            dims = self.space.dims(nest, self.row, columns)
            values = self.wide.body(nest, dims, lambda number: carried[number])
            values = [self._as(value, old) for value, old in zip(values, carried, strict=True)]
            if inside is None or again_is_harmless:
                return values
            return [arith.SelectOp(inside, new, old).result for new, old in zip(values, carried, strict=True)]

        return self.joining.joined(self._pass(step, start), nest)

    def _as(self, value: Value, old: Value) -> Value:
        return self.wide.widened(value) if isinstance(old.type, ir.VectorType) else value

    # -- results -------------------------------------------------------------------------------------------------------

    def _store_rows(self) -> None:
        """Results with one element a row, written by the first thread of the row."""
        pairs = [pair for pair in self._results() if self.space.is_row(pair[0])]
        if not pairs:
            return
        places = [self.space.row_place(result, self.row) for result, _ in pairs]
        values = [self.wide.at(result, place) for (result, _), place in zip(pairs, places, strict=True)]
        with only_if(self._is_first()):
            for (_, buffer), place, value in zip(pairs, places, values, strict=True):
                self.wide.memory.store(buffer, place, value)

    def _is_first(self) -> Value | None:
        """Whether this thread is the one of its row that stores what there is once a row; None where it is alone."""
        return equals(self.index, self.member, 0) if self.schedule.members > 1 else None

    def _store_elements(self) -> None:
        """Results with the full shape, in one more pass."""
        pairs = [pair for pair in self._results() if not self.space.is_row(pair[0])]

        def step(columns: Place, inside: Value | None, carried: Sequence[Value]) -> list[Value]:
            place = self.space.place(self.row, columns)
            self._waiting += [(buffer, place, self.wide.at(result, place)) for result, buffer in pairs]
            return []

        if pairs:
            self._pass(step, [])

    def _flush(self) -> None:
        """Store what waits: of steps that are written out together, all is read before anything is stored."""
        for buffer, place, value in self._waiting:
            self.wide.memory.store(buffer, place, value)
        self._waiting.clear()

    def _results(self) -> list[tuple[Value, Buffer]]:
        return list(zip(self.kernel.dispatch.results, self.kernel.outputs, strict=True))
