"""Skinny products by multiply-adds: the threads of a warp stand side by side along k and join their sums at the end."""

from collections.abc import Sequence

from lumir.kernels.index import Index
from lumir.kernels.nvidia.exchange import from_thread_xor
from lumir.kernels.nvidia.function import NvidiaKernel, nvidia_kernel
from lumir.kernels.nvidia.guard import only_if
from lumir.kernels.nvidia.mma import WARP, separated
from lumir.kernels.nvidia.skinny_block import SkinnyBlock
from lumir.kernels.nvidia.skinny_plan import SkinnyProblem
from lumir.linalg.generic import constant
from lumir.mlir import arith, ir

Value = ir.Value


def emit_simt(problem: SkinnyProblem, name: str) -> NvidiaKernel:
    """Write the kernel at the insertion point."""
    with nvidia_kernel(problem.dispatch, name, problem.schedule.block) as kernel:
        SimtBlock(problem, kernel).write()
    return kernel


class SimtBlock(SkinnyBlock):
    def __init__(self, problem: SkinnyProblem, kernel: NvidiaKernel):
        super().__init__(problem, kernel)
        self.wide = kernel.evaluator(problem.lanes)
        self.rows, self.columns = range(problem.schedule.rows), range(problem.sizes[1])

    def start(self) -> list[Value]:
        zero = constant(0, self.problem.space.accumulator)
        return [zero] * (len(self.rows) * len(self.columns))

    def add(self, chunks: Sequence[Index], totals: Sequence[Value], ragged: bool) -> list[Value]:
        with self.wide.scope():
            inside = [self._inside(chunk) if ragged else None for chunk in chunks]
            places = [self._k(chunk, ragged) for chunk in chunks]
            weights = [[self._weight(row, k) for row in self.rows] for k in places]
            activations = [[self._activations(row, k) for row in self.columns] for k in places]
        result = list(totals)
        for ok, rows, columns in zip(inside, weights, activations, strict=True):
            for i, (x, y) in enumerate((x, y) for x in rows for y in columns):
                total = self._multiplied(x, y, result[i])
                result[i] = total if ok is None else arith.SelectOp(ok, total, result[i]).result
        return result

    def _k(self, chunk: Index, ragged: bool) -> Index:
        """Where this thread's lanes begin; kept inside k."""
        index, lanes = self.index, self.problem.lanes
        group = index.add(index.scale(chunk, WARP), self.lane)
        if ragged:
            group = index.minimum(group, self.problem.sizes[3] // lanes - 1)
        return index.scale(group, lanes)

    def _inside(self, chunk: Index) -> Value:
        group = self.index.add(self.index.scale(chunk, WARP), self.lane)
        return self.index.below(group, self.problem.sizes[3] // self.problem.lanes)

    def _weight(self, row: int, k: Index) -> Value:
        offset = self.index.offset(self.index.scale(self.group, self.problem.schedule.rows), row)
        return self._widened(self.problem.space.rhs, self.row(offset), k)

    def _activations(self, row: int, k: Index) -> Value:
        return self._widened(self.problem.space.lhs, Index(row), k)

    def _widened(self, number: int, row: Index, k: Index) -> Value:
        value = self.read(self.wide, number, row, k)
        value = self.wide.widened(value) if self.problem.lanes > 1 else value
        return self.problem.space.widen(number, value)

    def _multiplied(self, x: Value, y: Value, total: Value) -> Value:
        for left, right in zip(separated(x), separated(y), strict=True):
            total = self.problem.space.multiply_add(total, left, right)
        return total

    def put(self, totals: Sequence[Value]) -> None:
        distance = WARP // 2
        while distance:
            totals = [self.sum_of(total, from_thread_xor(total, distance)) for total in totals]
            distance //= 2
        index = self.index
        first = index.scale(self.group, self.problem.schedule.rows)
        chosen = arith.CmpIOp(arith.CmpIPredicate.eq, index.value(self.lane), index.constant(0)).result
        with only_if(chosen, self.plain):
            for i, total in enumerate(totals):
                row, column = divmod(i, len(self.columns))
                self.plain.memory.store(self.partial, (self.warp, Index(column), index.offset(first, row)), total)
