"""What the two kinds of contraction kernel share: which tile a block computes, and the pipeline along k."""

from typing import TYPE_CHECKING

from lumir.kernels.index import Index, IndexMath
from lumir.kernels.nvidia.contraction_store import ResultTile
from lumir.kernels.nvidia.function import NvidiaKernel
from lumir.kernels.nvidia.tile_order import grouped
from lumir.kernels.nvidia.tiles_fill import OperandTile
from lumir.kernels.nvidia.tiles_pipeline import Feed, Multiply, Pipeline
from lumir.mlir import ir
from lumir.sizes import Dim

if TYPE_CHECKING:
    from lumir.kernels.nvidia.contraction import Problem

Value = ir.Value


class Block:
    """A block of a contraction kernel.

    Attributes:
        shared: shared memory, for the pipeline and later for the result.
        lhs, rhs: the operands' tiles.
        tile: the part of the product that this block computes.
    """

    def __init__(self, problem: "Problem", kernel: NvidiaKernel):
        self.problem, self.kernel = problem, kernel
        s, space = problem.schedule, problem.space
        self.index: IndexMath = kernel.index()
        i8 = ir.IntegerType.get_signless(8)
        self.shared = kernel.shared([problem.shared_bytes], i8, alignment=128).pointer
        left, right = problem.plans
        self.lhs = OperandTile(kernel, space, left, (s.m, s.k), problem.stored)
        self.rhs = OperandTile(kernel, space, right, (s.n, s.k), problem.stored)
        batch, m, n = self._position()
        self.tile = ResultTile(kernel, space, batch, m, n, s.m, s.n, problem.lanes)

    def _position(self) -> tuple[Index, Index, Index]:
        """Batch, first row and first column."""
        index, s = self.index, self.problem.schedule
        _, down, across = self.problem.tiles
        batch, tile = self._batch_and_tile(down * across)
        row, column = grouped(index, tile, down, across, s.group)
        return batch, index.scale(row, s.m), index.scale(column, s.n)

    def _batch_and_tile(self, tiles: Dim) -> tuple[Index, Index]:
        block = self.kernel.workgroup()
        return (Index(0), block) if self.problem.tiles[0] == 1 else self.index.divmod(block, tiles)

    def run(self, totals: list[Value], multiply: Multiply) -> list[Value]:
        """The loop along k: `multiply(step, [lhs tile, rhs tile], totals) -> totals` on each stage."""
        s = self.problem.schedule
        feeds = (
            Feed(self.lhs, lambda step: (self.tile.m, self.index.scale(step, s.k))),
            Feed(self.rhs, lambda step: (self.tile.n, self.index.scale(step, s.k))),
        )
        pipeline = Pipeline(self.kernel, self.shared, self.tile.batch, feeds, s.stages)
        return pipeline.run(self.problem.steps, totals, multiply)
