"""CPU family `top_k`: the first k of each row by a heap, sorted at the end; all of them, too, which is a heap sort.

The heap holds the k best elements seen so far with the worst on top. An element that comes before the top replaces it
and sinks to its place. At the end the top goes behind the others, k times over. No step branches on data but that one.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from lumir.dtypes import byte_size
from lumir.kernels.branch import only_if
from lumir.kernels.cpu.function import CpuKernel, cpu_kernel
from lumir.kernels.cpu.scratch import stack_buffer
from lumir.kernels.dispatch import Dispatch, element_of
from lumir.kernels.index import Index, Place
from lumir.kernels.top_k_space import TopKSpace
from lumir.mlir import arith, ir
from lumir.schedule.family import KernelCode
from lumir.schedule.schedule import Schedule
from lumir.sizes import is_static, typical
from lumir.target import Target

Value = ir.Value
STACK_BYTES = 2 << 20


@dataclass(frozen=True)
class TopKSchedule(Schedule):
    """Args:
    rows: rows of one workgroup.
    """

    rows: int = 1


class TopKFamily:
    name: ClassVar[str] = "top_k"
    schedule: ClassVar[type[Schedule]] = TopKSchedule
    symbolic: ClassVar[bool] = True

    def match(self, dispatch: Dispatch, target: Target) -> bool:
        space = TopKSpace.of(dispatch)
        return space is not None and not dispatch.writes_packed and is_static(space.k) and space.k > 0

    def space(self, dispatch: Dispatch, target: Target) -> Iterable[TopKSchedule]:
        yield TopKSchedule(max(1, 2048 // typical(_space(dispatch).size)))

    def legal(self, dispatch: Dispatch, schedule: TopKSchedule, target: Target) -> list[str]:
        space = _space(dispatch)
        needed = space.k * (8 + byte_size(element_of(space.source)))
        return [f"the heap takes {needed} bytes of stack, more than {STACK_BYTES}"] if needed > STACK_BYTES else []

    def cost(self, dispatch: Dispatch, schedule: TopKSchedule, target: Target) -> float:
        space = _space(dispatch)
        return typical(math.prod(space.outer)) * (typical(space.size) + space.k * math.log2(space.k + 1)) * 2e-9

    def emit(self, dispatch: Dispatch, schedule: TopKSchedule, target: Target, name: str) -> KernelCode:
        space = _space(dispatch)
        with cpu_kernel(dispatch, name) as kernel:
            TopKWriter(kernel, space, schedule).write()
        return KernelCode((-(-math.prod(space.outer) // schedule.rows), 1, 1))


def _space(dispatch: Dispatch) -> TopKSpace:
    space = TopKSpace.of(dispatch)
    assert space is not None
    return space


@dataclass(frozen=True)
class Entry:
    """An element and its index, as scalars."""

    value: Value
    index: Value


class TopKWriter:
    """Writes one workgroup."""

    def __init__(self, kernel: CpuKernel, space: TopKSpace, schedule: TopKSchedule):
        self.kernel, self.space, self.schedule = kernel, space, schedule
        self.evaluator = kernel.evaluator()
        self.index, self.memory = self.evaluator.index, self.evaluator.memory
        self.values = stack_buffer((space.k,), element_of(space.source))
        self.indices = stack_buffer((space.k,), self.index.type)
        self.levels = space.k.bit_length()

    def write(self) -> None:
        index, rows = self.index, math.prod(self.space.outer)
        first = index.scale(Index(self.kernel.workgroup), self.schedule.rows)
        last = index.minimum(index.offset(first, self.schedule.rows), rows)
        with self.evaluator.loop(index.scalar(first.base), index.scalar(last.base), 1) as (row, _, _done):
            outer = index.delinearize(row, self.space.outer)
            self._fill(outer)
            self._improve(outer)
            self._sort()
            self._store(outer)

    def _source(self, outer: Place, at: Index) -> Entry:
        return Entry(self.evaluator.at(self.space.source, (*outer, at)), self.index.scalar(at.base))

    def _load(self, at: Index) -> Entry:
        return Entry(self.memory.load(self.values, (at,)), self.memory.load(self.indices, (at,)))

    def _put(self, at: Index, entry: Entry) -> None:
        self.memory.store(self.values, (at,), entry.value)
        self.memory.store(self.indices, (at,), entry.index)

    def _fill(self, outer: Place) -> None:
        """The first k elements, made a heap from the last inner node up."""
        index, k = self.index, self.space.k
        with self.evaluator.loop(0, k, 1) as (i, _, _done):
            self._put(i, self._source(outer, i))
        with self.evaluator.loop(0, k // 2, 1) as (i, _, _done):
            node = index.add(Index(k // 2 - 1), index.scale(i, -1))
            self._sink(self._load(node), node, index.constant(k))

    def _improve(self, outer: Place) -> None:
        with self.evaluator.loop(self.space.k, self.space.size, 1) as (i, _, _done):
            entry = self._source(outer, i)
            with only_if(self._before(entry, self._load(Index(0))), self.evaluator):
                self._sink(entry, Index(0), self.index.constant(self.space.k))

    def _sort(self) -> None:
        """The top, which is the worst, goes to the end of a heap that gets shorter."""
        index, k = self.index, self.space.k
        with self.evaluator.loop(0, k - 1, 1) as (i, _, _done):
            last = index.add(Index(k - 1), index.scale(i, -1))
            top, moved = self._load(Index(0)), self._load(last)
            self._put(last, top)
            self._sink(moved, Index(0), index.scalar(last.base))

    def _sink(self, entry: Entry, start: Index, size: Value) -> None:
        """Put the entry into a heap of `size`, whose node `start` is free: worse children go up past it."""
        index = self.index
        with self.evaluator.loop(0, self.levels, 1, [index.scalar(start.base)]) as (_, (node,), done):
            left = index.offset(index.scale(Index(node), 2), 1)
            right = index.offset(left, 1)
            one, two = (self._load(index.minimum(c, self.space.k - 1)) for c in (left, right))
            takes_right = self._and(self._inside(right, size), self._before(one, two))
            child = self._choose(takes_right, two, one)
            at = arith.SelectOp(takes_right, index.scalar(right.base), index.scalar(left.base)).result
            goes_up = self._and(self._inside(left, size), self._before(entry, child))
            self._put(Index(node), self._choose(goes_up, child, entry))
            done([arith.SelectOp(goes_up, at, node).result])
        self._put(Index(done.results[0]), entry)

    def _before(self, x: Entry, y: Entry) -> Value:
        return self.space.comes_before(x.value, x.index, y.value, y.index)

    def _inside(self, node: Index, size: Value) -> Value:
        return arith.CmpIOp(arith.CmpIPredicate.slt, self.index.scalar(node.base), size).result

    def _and(self, x: Value, y: Value) -> Value:
        return arith.AndIOp(x, y).result

    def _choose(self, condition: Value, x: Entry, y: Entry) -> Entry:
        value = arith.SelectOp(condition, x.value, y.value).result
        return Entry(value, arith.SelectOp(condition, x.index, y.index).result)

    def _store(self, outer: Place) -> None:
        picked = list(self.space.pick.op.results)
        with self.evaluator.loop(0, self.space.k, 1) as (i, _, _done):
            entry = self._load(i)
            for result, buffer in zip(self.kernel.dispatch.results, self.kernel.outputs, strict=True):
                self.memory.store(buffer, (*outer, i), (entry.value, entry.index)[picked.index(result)])
