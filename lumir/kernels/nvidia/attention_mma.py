"""The attention kernel on tensor cores: weights go from one product's sums to the next one's operand in registers."""

from typing import TYPE_CHECKING

from lumir.kernels.index import Index
from lumir.kernels.nvidia.attention_block import AttentionBlock, Rows
from lumir.kernels.nvidia.attention_softmax import RowSoftmax, f32
from lumir.kernels.nvidia.contraction_mma import Fragments
from lumir.kernels.nvidia.function import NvidiaKernel
from lumir.kernels.nvidia.mma import WARP, byte_offset, multiply_16x8x16, packed_pair, store_vector
from lumir.mlir import ir

if TYPE_CHECKING:
    from lumir.kernels.nvidia.attention import AttentionProblem

Value = ir.Value


class MmaAttention(AttentionBlock):
    """Each warp has `m / warps` rows, 16 at a time, and all keys of a tile.

    Of 16 rows, lane l holds rows l // 4 and l // 4 + 8; of 8 columns, 2 * (l % 4) and the next.
    """

    def __init__(self, problem: "AttentionProblem", kernel: NvidiaKernel):
        super().__init__(problem, kernel)
        index, s = self.index, problem.schedule
        self.softmax = RowSoftmax((1, 2))
        warp, self.lane = index.divmod(kernel.thread(), WARP)
        self.warp = warp
        self.warp_rows = s.m // s.warps
        first = index.scale(warp, self.warp_rows)
        plan = problem.plans
        self.q = Fragments(index, self.query.layout, plan[0].along_k, self.lane, first, left=True)
        self.k = Fragments(index, self.key.layout, plan[1].along_k, self.lane, Index(0))
        self.v = Fragments(index, self.value.layout, plan[2].along_k, self.lane, Index(0))

    def rows(self) -> list[Index]:
        first = self.index.add(self.index.scale(self.warp, self.warp_rows), self.index.divmod(self.lane, 4)[0])
        return [self.index.offset(first, i) for i in range(0, self.warp_rows, 8)]

    def runs(self) -> list[tuple[Index, int]]:
        pair = self.index.scale(self.index.divmod(self.lane, 4)[1], 2)
        return [(self.index.offset(pair, i), 2) for i in range(0, self.problem.schedule.n, 8)]

    def result_columns(self) -> int:
        return self.problem.whole_columns // 4

    def products(self, keys: Value) -> Rows:
        tiles, across = self.warp_rows // 16, self.problem.schedule.n // 8
        totals = [[f32(0.0)] * 4 for _ in range(tiles * across)]
        for k in range(0, self.problem.whole_depth, 16):
            queries = [self.q.load(self.shared, row, k) for row in range(0, self.warp_rows, 16)]
            self._multiply(queries, self._columns(self.k, keys, self.problem.schedule.n, k), totals)
        return _by_row(totals, across)

    def accumulate(self, weights: Rows, values: Value, totals: Rows) -> Rows:
        across, element = self.problem.whole_columns // 8, self.problem.stored
        sums = _by_tile(totals, across)
        for k in range(0, self.problem.schedule.n, 16):
            left = [_operand(weights[i : i + 2], k, element) for i in range(0, len(weights), 2)]
            right = self._columns(self.v, values, self.problem.whole_columns, k)
            self._multiply(left, right, sums)
        return _by_row(sums, across)

    def _columns(self, fragments: Fragments, tile: Value, count: int, k: int) -> Rows:
        """Right operands of 8 columns each."""
        pairs = [fragments.load(tile, column, k) for column in range(0, count, 16)]
        return [pair[half : half + 2] for pair in pairs for half in (0, 2)]

    def _multiply(self, left: Rows, right: Rows, totals: Rows) -> None:
        """Add left times right to the 16x8 tiles `totals`, row-major."""
        for i, a in enumerate(left):
            for j, b in enumerate(right):
                at = i * len(right) + j
                totals[at] = multiply_16x8x16(a, b, totals[at], self.problem.stored)

    def stage(self, part: int, shared: Value, totals: Rows) -> None:
        index, staging = self.index, self.problem.staging
        share = staging.lines // staging.groups
        row, pair = index.divmod(self.lane, 4)
        line = index.add(index.scale(self.warp, share), row)
        first = index.scale(index.add(index.scale(line, staging.pitch), index.scale(pair, 2)), 4)
        base = byte_offset(shared, index.scalar(first.base))
        for i in range(share // 8):
            values = totals[part * share // 8 + i]
            for j in range(0, len(values), 2):
                store_vector(byte_offset(base, (8 * i * staging.pitch + 4 * j) * 4), values[j : j + 2])


def _by_row(tiles: Rows, across: int) -> Rows:
    """16x8 tiles, row-major with `across` a row, as this thread's rows."""
    return [
        [v for tile in tiles[i : i + across] for v in tile[half : half + 2]]
        for i in range(0, len(tiles), across)
        for half in (0, 2)
    ]


def _by_tile(rows: Rows, across: int) -> Rows:
    return [
        [*rows[i][2 * j : 2 * j + 2], *rows[i + 1][2 * j : 2 * j + 2]]
        for i in range(0, len(rows), 2)
        for j in range(across)
    ]


def _operand(rows: Rows, k: int, element: ir.Type) -> list[Value]:
    """The left operand 16x16 of sums in columns k to k + 15: they lie in the right lanes already."""
    starts = (k // 4, k // 4 + 2)
    return [packed_pair(row[at], row[at + 1], element) for at in starts for row in rows]
