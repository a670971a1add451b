"""Writes the code of one thread of the family `scan`."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lumir.kernels.dispatch import element_of
from lumir.kernels.index import Index, Place
from lumir.kernels.nvidia.exchange import WARP, from_thread_xor
from lumir.kernels.nvidia.function import NvidiaKernel
from lumir.kernels.nvidia.guard import only_if
from lumir.kernels.nvidia.mma import joined, separated
from lumir.kernels.nvidia.row_joining import equals, lanes_from
from lumir.kernels.push import result_paths
from lumir.kernels.scan_space import ScanSpace
from lumir.mlir import arith, ir
from lumir.schedule.schedule import Schedule

Value = ir.Value


@dataclass(frozen=True)
class ScanSchedule(Schedule):
    """How lines are dealt out.

    Args:
        threads: that share a line, a power of two.
        rows: lines side by side in a workgroup; groups of `lanes` lines if `across`.
        lanes: neighbouring elements of one access: along the line, or of neighbouring lines if `across`.
        each: accesses of a thread in one turn, along the line.
        across: neighbouring threads take neighbouring lines instead of neighbouring elements of one line.
    """

    threads: int = 32
    rows: int = 4
    lanes: int = 1
    each: int = 1
    across: bool = False

    @property
    def block(self) -> int:
        return self.threads * self.rows

    @property
    def own(self) -> int:
        """Elements of a line that a thread takes in one turn."""
        return self.each * (1 if self.across else self.lanes)

    @property
    def turn(self) -> int:
        """Elements of a line that its threads take in one turn."""
        return self.threads * self.own

    @property
    def together(self) -> int:
        """Threads of a line that are in one warp, and exchange what they have without shared memory."""
        return 1 if self.across else min(self.threads, WARP)


class ScanWriter:
    """Positions count from where the scan starts. Past the end a thread takes the last elements again, and stores
    nothing: what it joins reaches only places that are past the end too. Threads past the last line do it again."""

    def __init__(self, kernel: NvidiaKernel, space: ScanSpace, schedule: ScanSchedule):
        self.kernel, self.space, self.schedule = kernel, space, schedule
        lanes = schedule.lanes
        self.memory, self.joining = kernel.evaluator(lanes), kernel.evaluator(lanes if schedule.across else 1)
        self.index = self.memory.index
        self.size = space.shape[space.axis]
        slow = schedule.rows if schedule.across else schedule.threads
        outer, inner = self.index.divmod(kernel.thread(), slow)
        self.own, self.slot = (outer, inner) if schedule.across else (inner, outer)
        self.line = self._line()
        self.result = space.nest.op.results[0]
        self.paths = result_paths(kernel.dispatch, self.result) or []
        self.scattered = 0
        if schedule.threads > schedule.together:
            parts, stacked = schedule.threads // schedule.together, schedule.lanes if schedule.across else 1
            self._partial = kernel.shared((2, parts, schedule.rows * stacked), element_of(self.result))

    def write(self) -> None:
        start = self._wide(self.joining.at(self.space.nest.outputs[0], self._place(Index(0))))
        with self.memory.loop(0, -(-self.size // self.schedule.turn), 1, [start]) as (turn, (carried,), done):
            group = self.index.add(self.index.scale(turn, self.schedule.threads), self.own)
            first = self.index.scale(group, self.schedule.own)
            totals: list[Value] = []
            for element in self._elements(first):
                totals.append(self._with_element(totals[-1] if totals else start, element))
            before, whole = self._before(turn, start, totals[-1])
            before = self._join(carried, before)
            found = [self._join(before, total) for total in totals]
            self._store(first, [before, *found[:-1]] if self.space.exclusive else found)
            done([self._join(carried, whole)])
        self.scattered = self.memory.memory.scattered

    # -- places --------------------------------------------------------------------------------------------------------

    def _line(self) -> Place:
        lanes = self.schedule.lanes if self.schedule.across else 1
        others = [size for axis, size in enumerate(self.space.shape) if axis != self.space.axis]
        groups = math.prod(others) // lanes
        group = self.index.add(self.index.scale(self.kernel.workgroup(), self.schedule.rows), self.slot)
        if groups % self.schedule.rows != 0:
            group = self.index.minimum(group, groups - 1)
        return self.index.delinearize(lanes_from(self.index.scale(group, lanes), lanes), others)

    def _place(self, at: Index) -> Place:
        others = iter(self.line)
        return tuple(at if axis == self.space.axis else next(others) for axis in range(len(self.space.shape)))

    def _access(self, first: Index, number: int) -> tuple[Value | None, Place]:
        """Whether a thread's access stands inside the line, and where: of `lanes` elements along it, or of one."""
        index, along = self.index, 1 if self.schedule.across else self.schedule.lanes
        position = index.offset(first, number * along)
        inside = None
        if self.size % self.schedule.turn != 0:
            inside = index.below(position, self.size)
            position = index.minimum(position, self.size - along)
        if self.space.reverse:
            position = index.add(Index(self.size - along), index.scale(position, -1))
        return inside, self._place(lanes_from(position, along))

    def _elements(self, first: Index) -> list[Value]:
        """This thread's elements in the order of the scan."""
        (source,) = self.space.nest.inputs
        places = [self._access(first, number)[1] for number in range(self.schedule.each)]
        read = [self.memory.at(source, place) for place in places]
        if self.schedule.across:
            return read
        inner = [separated(value) for value in read]
        return [element for group in inner for element in (reversed(group) if self.space.reverse else group)]

    def _store(self, first: Index, values: Sequence[Value]) -> None:
        along = 1 if self.schedule.across else self.schedule.lanes
        for number in range(self.schedule.each):
            group = list(values[number * along : (number + 1) * along])
            if self.space.reverse:
                group.reverse()
            value = joined(group) if along > 1 else group[0]
            inside, place = self._access(first, number)
            with only_if(inside, self.memory):
                self.memory.bind(self.result, lambda _place, value=value: value)
                for result, path, buffer in zip(
                    self.kernel.dispatch.results, self.paths, self.kernel.outputs, strict=True
                ):
                    at = path.place(self.index, place)
                    self.memory.memory.store(buffer, at, self.memory.at(result, at))

    # -- totals --------------------------------------------------------------------------------------------------------

    def _wide(self, value: Value) -> Value:
        return self.joining.widened(value) if self.joining.index.lanes > 1 else value

    def _with_element(self, total: Value, element: Value) -> Value:
        """The total with one more element, as the body joins it, which looks at no place but to see that it counts."""
        evaluator, nest = self.joining, self.space.nest
        evaluator.bind(nest.inputs[0], lambda _place: element)
        dims = self.space.dims(evaluator.index, tuple(Index(1) for _ in self.space.shape))
        (value,) = evaluator.body(nest, dims, lambda _: total)
        return self._wide(value)

    def _join(self, first: Value, second: Value) -> Value:
        return ir.Operation.create(self.space.combiner, results=[first.type], operands=[first, second]).results[0]

    def _before(self, turn: Index, start: Value, total: Value) -> tuple[Value, Value]:
        """What the threads before this one in its line have together, and what all of them have."""
        schedule = self.schedule
        before, whole = self._in_warp(start, total)
        if schedule.threads == schedule.together:
            return before, whole
        memory, (part, first) = self.joining.memory, self.index.divmod(self.own, schedule.together)
        lanes = schedule.lanes if schedule.across else 1
        here = lanes_from(self.index.scale(self.slot, lanes), lanes)
        # Two places by turns: who writes one again has waited for all who read it.
        parity = self.index.divmod(turn, 2)[1]
        with only_if(equals(self.index, first, 0) if schedule.together > 1 else None):
            memory.store(self._partial, (parity, part, here), whole)
        self.kernel.barrier()
        ahead, whole = start, start
        for number in range(schedule.threads // schedule.together):
            value = memory.load(self._partial, (parity, Index(number), here))
            counts = self.index.value(part)
            counts = arith.CmpIOp(arith.CmpIPredicate.sgt, counts, self.index.constant(number)).result
            whole = self._join(whole, value)
            ahead = arith.SelectOp(counts, whole, ahead).result
        return self._join(ahead, before), whole

    def _in_warp(self, start: Value, total: Value) -> tuple[Value, Value]:
        """The same within a warp: groups of threads twice as large each time."""
        before, distance = start, 1
        while distance < self.schedule.together:
            other = from_thread_xor(total, distance)
            half = self.index.divmod(self.index.divmod(self.own, distance)[0], 2)[1]
            behind = equals(self.index, half, 1)
            before = arith.SelectOp(behind, self._join(other, before), before).result
            total = arith.SelectOp(behind, self._join(other, total), self._join(total, other)).result
            distance *= 2
        return before, total
