"""Writes the code of one thread of the family `top_k`."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lumir.kernels.dispatch import element_of
from lumir.kernels.index import Index, Place
from lumir.kernels.memory import held_type
from lumir.kernels.nvidia.exchange import WARP, from_thread_xor
from lumir.kernels.nvidia.function import NvidiaKernel
from lumir.kernels.nvidia.guard import only_if
from lumir.kernels.nvidia.mma import all_of
from lumir.kernels.nvidia.row_joining import equals
from lumir.kernels.nvidia.tiles_fill import zero_of
from lumir.kernels.top_k_space import TopKSpace
from lumir.mlir import arith, ir, scf
from lumir.schedule.schedule import Schedule
from lumir.sizes import Dim, is_static

Value = ir.Value
UNROLL = 4
"""Elements that are looked at one after the other in one turn of a loop, so that their loads are under way together."""
MOST_KEPT = 16
"""Elements that a thread keeps in registers from round to round."""


@dataclass(frozen=True)
class TopKSchedule(Schedule):
    """How the rows are dealt out.

    Args:
        threads: that share a row, or by rank an element; a power of two.
        rows: rows side by side in a workgroup, or by rank elements.
        by_rank: count what comes before each element, rather than take one element a round.
    """

    threads: int = 32
    rows: int = 4
    by_rank: bool = False

    @property
    def block(self) -> int:
        return self.threads * self.rows


@dataclass(frozen=True)
class Entry:
    """An element and its place in the row, as scalars; none where the place is the row's size."""

    value: Value
    place: Value


class _Writer:
    """What both ways share. Threads past the last row, or element, do the last one again."""

    def __init__(self, kernel: NvidiaKernel, space: TopKSpace, schedule: TopKSchedule):
        self.kernel, self.space, self.schedule = kernel, space, schedule
        self.evaluator = kernel.evaluator()
        self.index, self.memory = self.evaluator.index, self.evaluator.memory
        self.slot, self.own = self.index.divmod(kernel.thread(), schedule.threads)
        self.rows = math.prod(space.outer)

    def _number(self, count: Dim) -> Index:
        """Of this thread's row or element."""
        first = self.index.scale(self.kernel.workgroup(), self.schedule.rows)
        number = self.index.add(first, self.slot)
        return number if count % self.schedule.rows == 0 else self.index.minimum(number, count - 1)

    def _look(self, outer: Place, step: Index) -> tuple[Entry, Value]:
        """This thread's element number `step` of the row, and whether there is one."""
        at = self.index.add(self.index.scale(step, self.schedule.threads), self.own)
        inside = self.index.below(at, self.space.size)
        at = self.index.minimum(at, self.space.size - 1)
        return Entry(self.evaluator.at(self.space.source, (*outer, at)), self.index.scalar(at.base)), inside

    def _before(self, x: Entry, y: Entry) -> Value:
        return self.space.comes_before(x.value, x.place, y.value, y.place)

    def _store(self, place: Place, entry: Entry) -> None:
        picked = list(self.space.pick.op.results)
        for result, buffer in zip(self.kernel.dispatch.results, self.kernel.outputs, strict=True):
            self.memory.store(buffer, place, (entry.value, entry.place)[picked.index(result)])


class RoundWriter(_Writer):
    """Each round takes the first element that is left."""

    def __init__(self, kernel: NvidiaKernel, space: TopKSpace, schedule: TopKSchedule):
        super().__init__(kernel, space, schedule)
        shape = (2, schedule.rows, schedule.threads // WARP)
        if schedule.threads > WARP:
            self._partial = kernel.shared(shape, element_of(space.source)), kernel.shared(shape, kernel.index_type)

    def write(self) -> None:
        if not self.rows:
            return
        outer = self.index.delinearize(self._number(self.rows), self.space.outer)
        steps = -(-self.space.size // self.schedule.threads)
        kept = None
        if is_static(steps) and steps <= MOST_KEPT:
            kept = [self._look(outer, Index(step)) for step in range(steps)]
        best = self._first(outer, kept, steps, None)
        with self.evaluator.loop(0, self.space.k, 1, [best.value, best.place]) as (turn, carried, done):
            own = Entry(*carried)
            taken = self._joined(turn, own)
            with only_if(equals(self.index, self.own, 0) if self.schedule.threads > 1 else None):
                self._store((*outer, turn), taken)
            done(self._next(own, taken, lambda: self._first(outer, kept, steps, taken)))

    def _next(self, own: Entry, taken: Entry, find: Callable[[], Entry]) -> list[Value]:
        """What a thread has after a round: the next of its elements, if the last one was its own."""
        was_own = arith.CmpIOp(arith.CmpIPredicate.eq, own.place, taken.place).result
        branch = scf.IfOp(was_own, [own.value.type, own.place.type], has_else=True)
        with ir.InsertionPoint(branch.then_block), self.evaluator.scope():
            found = find()
            scf.YieldOp([found.value, found.place])
        with ir.InsertionPoint(branch.else_block):
            scf.YieldOp([own.value, own.place])
        return list(branch.results)

    def _first(
        self, outer: Place, kept: Sequence[tuple[Entry, Value]] | None, steps: Dim, after: Entry | None
    ) -> Entry:
        """The first of this thread's elements, of those that come after one."""
        if kept is not None:
            best = self._nothing()
            for entry, inside in kept:
                best = self._better(entry, inside, best, after)
            return best
        nothing = self._nothing()
        with self.evaluator.loop(0, steps, UNROLL, [nothing.value, nothing.place]) as (first, carried, done):
            looks = [self._look(outer, self.index.offset(first, number)) for number in range(UNROLL)]
            best = Entry(*carried)
            for entry, inside in looks:
                best = self._better(entry, inside, best, after)
            done([best.value, best.place])
        return Entry(*done.results)

    def _better(self, entry: Entry, inside: Value, best: Entry, after: Entry | None) -> Entry:
        conditions = [inside, arith.OrIOp(self._is_none(best), self._before(entry, best)).result]
        if after is not None:
            conditions.append(self._before(after, entry))
        return _chosen(all_of(conditions), entry, best)

    def _nothing(self) -> Entry:
        return Entry(zero_of(held_type(element_of(self.space.source))), self.index.constant(self.space.size))

    def _is_none(self, entry: Entry) -> Value:
        return arith.CmpIOp(arith.CmpIPredicate.eq, entry.place, self.index.constant(self.space.size)).result

    # -- joining -------------------------------------------------------------------------------------------------------

    def _joined(self, turn: Index, entry: Entry) -> Entry:
        """The first of what the threads of a row have, in each of them."""
        threads = self.schedule.threads
        entry = self._of_warp(entry, min(threads, WARP))
        if threads <= WARP:
            return entry
        count = threads // WARP
        # Two places by turns: who writes one again has waited for all who read it.
        parity = self.index.divmod(turn, 2)[1]
        values, places = self._partial
        warp, lane = self.index.divmod(self.own, WARP)
        with only_if(equals(self.index, lane, 0)):
            self.memory.store(values, (parity, self.slot, warp), entry.value)
            self.memory.store(places, (parity, self.slot, warp), entry.place)
        self.kernel.barrier()
        at = (parity, self.slot, self.index.divmod(lane, count)[1])
        return self._of_warp(Entry(self.memory.load(values, at), self.memory.load(places, at)), count)

    def _of_warp(self, entry: Entry, threads: int) -> Entry:
        distance = threads // 2
        while distance:
            other = Entry(from_thread_xor(entry.value, distance), from_thread_xor(entry.place, distance))
            ahead = arith.OrIOp(self._is_none(entry), self._before(other, entry)).result
            takes = arith.AndIOp(ahead, _not(self._is_none(other))).result
            entry, distance = _chosen(takes, other, entry), distance // 2
        return entry


class RankWriter(_Writer):
    """Each element goes where the number of those before it says."""

    def write(self) -> None:
        index, size = self.index, self.space.size
        if not self.rows or not size:
            return
        row, at = index.divmod(self._number(self.rows * size), size)
        outer = index.delinearize(row, self.space.outer)
        entry = Entry(self.evaluator.at(self.space.source, (*outer, at)), index.scalar(at.base))
        rank = self._rank(outer, entry)
        first = equals(index, self.own, 0) if self.schedule.threads > 1 else None
        counts = index.below(Index(rank), self.space.k)
        with only_if(counts if first is None else arith.AndIOp(first, counts).result):
            self._store((*outer, Index(rank)), entry)

    def _rank(self, outer: Place, entry: Entry) -> Value:
        steps, zero = -(-self.space.size // self.schedule.threads), self.index.constant(0)
        with self.evaluator.loop(0, steps, UNROLL, [zero]) as (first, (count,), done):
            looks = [self._look(outer, self.index.offset(first, number)) for number in range(UNROLL)]
            for other, inside in looks:
                before = arith.AndIOp(inside, self._before(other, entry)).result
                count = arith.AddIOp(count, arith.ExtUIOp(count.type, before).result).result
            done([count])
        count, distance = done.results[0], self.schedule.threads // 2
        while distance:
            count = arith.AddIOp(count, from_thread_xor(count, distance)).result
            distance //= 2
        return count


def _chosen(condition: Value, x: Entry, y: Entry) -> Entry:
    value = arith.SelectOp(condition, x.value, y.value).result
    return Entry(value, arith.SelectOp(condition, x.place, y.place).result)


def _not(condition: Value) -> Value:
    one = arith.ConstantOp(condition.type, ir.IntegerAttr.get(condition.type, 1)).result
    return arith.XOrIOp(condition, one).result
