"""The attention kernel on ordinary multiply-adds, for float32: weights go through shared memory in between."""

from typing import TYPE_CHECKING

from lumir.dtypes import byte_size
from lumir.kernels.index import Index
from lumir.kernels.nvidia.attention_block import AttentionBlock, Rows
from lumir.kernels.nvidia.attention_softmax import RowSoftmax, f32
from lumir.kernels.nvidia.contraction_simt import Strips, Team, stage_rows, thread_place
from lumir.kernels.nvidia.function import NvidiaKernel
from lumir.kernels.nvidia.mma import byte_offset
from lumir.kernels.nvidia.tiles import TileLayout
from lumir.mlir import ir, llvm
from lumir.mlir import math as math_ops

if TYPE_CHECKING:
    from lumir.kernels.nvidia.attention import AttentionProblem

Value = ir.Value
_ACROSS = 8
"""Threads that share a row: neighbouring lanes of one warp."""
_UNROLLED = 16  # of k


class SimtAttention(AttentionBlock):
    """A warp has four threads down and eight across; all warps stand below each other."""

    def __init__(self, problem: "AttentionProblem", kernel: NvidiaKernel):
        super().__init__(problem, kernel)
        index, s = self.index, problem.schedule
        self.softmax = RowSoftmax((1, 2, 4))
        down, across = thread_place(index, kernel.thread(), 1)
        rows = Team(down, s.threads // _ACROSS, s.m // (s.threads // _ACROSS))
        weights = TileLayout(s.m, s.n, byte_size(problem.stored))
        self.weights = byte_offset(self.shared, problem.pipeline_bytes - weights.size)
        self.weights_layout = weights
        _, keys, values = problem.plans
        self.q = Strips(index, self.query.layout, True, rows, problem.stored)
        self.p = Strips(index, weights, True, rows, problem.stored)
        self.k = Strips(index, self.key.layout, keys.along_k, Team(across, _ACROSS, s.n // _ACROSS), problem.stored)
        columns = Team(across, _ACROSS, problem.columns // _ACROSS)
        self.v = Strips(index, self.value.layout, values.along_k, columns, problem.stored)

    def rows(self) -> list[Index]:
        return [row for _, row in self.q.runs()]

    def runs(self) -> list[tuple[Index, int]]:
        return [(key, self.k.together) for _, key in self.k.runs()]

    def result_columns(self) -> int:
        return self.v.team.count

    def products(self, keys: Value) -> Rows:
        start = [[f32(0.0)] * self.k.team.count for _ in range(self.q.team.count)]
        return self._multiply(self.q, self.shared, self.k, keys, self.problem.whole_depth, start)

    def accumulate(self, weights: Rows, values: Value, totals: Rows) -> Rows:
        """The threads that read a row's weights are of the warp that wrote them; the barrier is for their order."""
        index = self.index
        for row, of_row in zip(self.rows(), weights, strict=True):
            keys = [index.offset(first, i) for first, count in self.runs() for i in range(count)]
            for key, weight in zip(keys, of_row, strict=True):
                llvm.StoreOp(weight, self.weights_layout.pointer(index, self.weights, row, key), alignment=4)
        self.kernel.barrier()
        return self._multiply(self.p, self.weights, self.v, values, self.problem.schedule.n, totals)

    def stage(self, part: int, shared: Value, totals: Rows) -> None:
        stage_rows(self.index, self.problem.staging, part, shared, (self.q, self.v), totals)

    def _multiply(self, left: Strips, lhs: Value, right: Strips, rhs: Value, depth: int, totals: Rows) -> Rows:
        """A loop, as unrolled over a whole depth the loads would all be hoisted and their values spilled."""
        width = len(totals[0])
        loops = self.kernel.evaluator()
        with loops.loop(0, depth, _UNROLLED, [v for row in totals for v in row]) as (position, now, done):
            rows = [now[i : i + width] for i in range(0, len(now), width)]
            for k in range(0, _UNROLLED, left.chunk):
                at = self.index.offset(position, k)
                rows = _add_products(left.load(lhs, at), right.load(rhs, at), rows)
            done([v for row in rows for v in row])
        return [done.results[i : i + width] for i in range(0, len(done.results), width)]


def _add_products(left: Rows, right: Rows, totals: Rows) -> Rows:
    """totals + the outer products of left's and right's values of each k."""
    for xs, ys in zip(left, right, strict=True):
        totals = [
            [math_ops.FmaOp(x, y, total).result for y, total in zip(ys, row, strict=True)]
            for x, row in zip(xs, totals, strict=True)
        ]
    return totals
