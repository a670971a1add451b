"""The contraction kernel on tensor cores: ldmatrix from swizzled tiles, mma.sync.

16-bit floats are summed in float32 by m16n8k16, bytes in int32 by m16n8k32, whose registers hold the same places if a
byte counts for half a number.
"""

from typing import TYPE_CHECKING

from lumir.kernels.dispatch import element_of
from lumir.kernels.index import Index, IndexMath
from lumir.kernels.nvidia.contraction_block import Block
from lumir.kernels.nvidia.function import NvidiaKernel, nvidia_kernel
from lumir.kernels.nvidia.mma import WARP, byte_offset, load_matrices, multiply_16x8x16, multiply_16x8x32, store_vector
from lumir.kernels.nvidia.tiles import TileLayout
from lumir.kernels.nvidia.tiles_fill import zero_of
from lumir.mlir import ir

if TYPE_CHECKING:
    from lumir.kernels.nvidia.contraction import Problem

Value = ir.Value


class Fragments:
    """A warp's parts of an operand's tile, 16 rows by two chunks along k, read with ldmatrix.

    Args:
        along_k: whether the tile's lines run along k.
        first: the warp's first row in the tile, a multiple of 16.
        left: whether it is the left operand: the four 8x8 matrices then go down the rows first, else along k first.
    """

    def __init__(
        self, index: IndexMath, layout: TileLayout, along_k: bool, lane: Index, first: Index, *, left: bool = False
    ):
        self.index, self.layout, self.along_k, self.first = index, layout, along_k, first
        inside, low = index.divmod(lane, 8)[1], index.divmod(index.divmod(lane, 8)[0], 2)
        rows, depth = (low[1], low[0]) if left else (low[0], low[1])
        self.line = index.add(index.scale(rows if along_k else depth, 8), inside)
        self.chunk = depth if along_k else rows
        self.key = layout.key(index, inside)
        self.known: dict[int, Value] = {}

    def load(self, base: Value, row: int, k: int) -> list[Value]:
        """The part at `row` (from the warp's first) and `k`: rows 0-7 and 8-15 by two chunks of k, four registers."""
        line, chunk = (row, k // self.layout.chunk) if self.along_k else (k, row // 8)
        if chunk not in self.known:
            self.known[chunk] = self._offset(chunk)
        pointer = byte_offset(byte_offset(base, self.known[chunk]), line * self.layout.pitch)
        return load_matrices(pointer, transposed=not self.along_k)

    def _offset(self, chunk: int) -> Value:
        index = self.index
        warp_line, warp_chunk = (self.first, Index(0)) if self.along_k else (Index(0), index.divmod(self.first, 8)[0])
        line = index.add(self.line, warp_line)
        at = self.layout.offset(index, line, index.offset(index.add(self.chunk, warp_chunk), chunk), self.key)
        return index.scalar(at.base)


def emit_mma(problem: "Problem", name: str) -> NvidiaKernel:
    """Write the kernel at the insertion point."""
    with nvidia_kernel(problem.dispatch, name, problem.schedule.threads) as kernel:
        MmaKernel(problem, kernel).write()
    return kernel


class MmaKernel:
    """Writes the code of one block."""

    def __init__(self, problem: "Problem", kernel: NvidiaKernel):
        self.problem, self.block = problem, Block(problem, kernel)
        s, index = problem.schedule, self.block.index
        self.rows, self.columns = s.m // s.warps_m, s.n // s.warps_n
        warp, self.lane = index.divmod(kernel.thread(), WARP)
        down, across = index.divmod(warp, s.warps_n)
        self.down, self.across = down, across
        lhs, rhs = self.block.lhs, self.block.rhs
        top, side = index.scale(down, self.rows), index.scale(across, self.columns)
        self.a = Fragments(index, lhs.layout, lhs.plan.along_k, self.lane, top, left=True)
        self.b = Fragments(index, rhs.layout, rhs.plan.along_k, self.lane, side)
        space = problem.space
        self.element = element_of(space.operand(0))
        self.unsigned = space.widens_unsigned(space.lhs), space.widens_unsigned(space.rhs)

    def write(self) -> None:
        parts = (self.rows // 16) * (self.columns // 8)
        totals = self.block.run([zero_of(self.problem.space.accumulator)] * (4 * parts), self._multiply)
        staging = self.problem.staging
        self.block.tile.store(self.block.shared, staging, lambda part, shared: self._stage(part, shared, totals))

    def _multiply(self, _step: Index, tiles: list[Value], totals: list[Value]) -> list[Value]:
        lhs, rhs = tiles
        totals, across = list(totals), self.columns // 8
        for k in range(0, self.problem.schedule.k, 2 * self.a.layout.chunk):
            a = [self.a.load(lhs, row, k) for row in range(0, self.rows, 16)]
            pairs = [self.b.load(rhs, column, k) for column in range(0, self.columns, 16)]
            b = [pair[half : half + 2] for pair in pairs for half in (0, 2)]
            for i, left in enumerate(a):
                for j, right in enumerate(b):
                    at = 4 * (i * across + j)
                    totals[at : at + 4] = self._product(left, right, totals[at : at + 4])
        return totals

    def _product(self, left: list[Value], right: list[Value], totals: list[Value]) -> list[Value]:
        if isinstance(self.element, ir.IntegerType):
            return multiply_16x8x32(left, right, totals, self.unsigned)
        return multiply_16x8x16(left, right, totals, self.element)

    def _stage(self, part: int, shared: Value, totals: list[Value]) -> None:
        """Write a part's accumulators, two neighbours at once."""
        index, staging = self.block.index, self.problem.staging
        share, across = staging.lines // staging.groups, self.columns // 8
        row, pair = index.divmod(self.lane, 4)
        line = index.add(index.scale(self.down, share), row)
        column = index.add(index.scale(self.across, self.columns), index.scale(pair, 2))
        first = index.scale(index.add(index.scale(line, staging.pitch), column), 4)
        base = byte_offset(shared, index.scalar(first.base))
        for i in range(share // 16):
            for j in range(across):
                at = 4 * ((part * share // 16 + i) * across + j)
                for half in (0, 1):
                    offset = ((16 * i + 8 * half) * staging.pitch + 8 * j) * 4
                    store_vector(byte_offset(base, offset), totals[at + 2 * half : at + 2 * half + 2])
