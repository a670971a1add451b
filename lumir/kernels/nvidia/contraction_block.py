"""What the two kinds of contraction kernel share: which tile a block computes, and the pipeline along k."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from lumir.kernels.index import Index, IndexMath
from lumir.kernels.nvidia.contraction_store import ResultTile
from lumir.kernels.nvidia.function import NvidiaKernel
from lumir.kernels.nvidia.guard import only_if
from lumir.kernels.nvidia.mma import byte_offset, commit_copies, wait_copies
from lumir.kernels.nvidia.tiles_fill import OperandTile
from lumir.mlir import arith, ir

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
        self.index = IndexMath(kernel.index_type)
        i8 = ir.IntegerType.get_signless(8)
        self.shared = kernel.shared([problem.shared_bytes], i8, alignment=128).pointer
        thread = kernel.thread()
        left, right = problem.plans
        self.lhs = OperandTile(kernel, space, left, s.m, s.k, problem.stored, thread)
        self.rhs = OperandTile(kernel, space, right, s.n, s.k, problem.stored, thread)
        batch, m, n = self._position()
        self.tile = ResultTile(kernel, space, batch, m, n, s.m, s.n, problem.lanes)

    def _position(self) -> tuple[Index, Index, Index]:
        """Batch, first row and first column: column by column through `group` rows of tiles, then the next rows."""
        index, s = self.index, self.problem.schedule
        batches, down, across = self.problem.tiles
        batch, tile = index.divmod(self.kernel.workgroup(), down * across) if batches > 1 else (Index(0), self.kernel.workgroup())
        group = min(s.group, down)
        which, inside = index.divmod(tile, group * across)
        first = index.scale(which, group)
        if down % group == 0:
            column, row = index.divmod(inside, group)
        else:
            height = index.minimum(index.add(index.scale(first, -1), Index(down)), group).base
            operands = index.scalar(inside.base), index.scalar(height)
            column, row = Index(arith.DivUIOp(*operands).result), Index(arith.RemUIOp(*operands).result)
        return batch, index.scale(index.add(first, row), s.m), index.scale(column, s.n)

    def run(self, totals: list[Value], multiply: Callable[[Value, Value, list[Value]], list[Value]]) -> list[Value]:
        """The loop along k: `multiply(lhs tile, rhs tile, totals) -> totals` on each stage in shared memory."""
        stages, steps = self.problem.schedule.stages, self.problem.steps
        loops = self.kernel.evaluator()
        with loops.loop(0, min(stages - 1, steps), 1) as (stage, _, _done):
            self._finish(stage, self._start(stage, stage))
            commit_copies()
        for _ in range(stages - 1 - min(stages - 1, steps)):
            commit_copies()
        with loops.loop(0, steps, 1, totals) as (step, now, done):
            wait_copies(stages - 2)
            self.kernel.barrier()
            ahead = self.index.offset(step, stages - 1)
            target = self.index.divmod(ahead, stages)[1]
            fetched = self._start_ahead(ahead, target)
            commit_copies()
            lhs = self._stage(self.index.divmod(step, stages)[1])
            now = multiply(lhs, byte_offset(lhs, self.lhs.size), now)
            self._finish(target, fetched)
            done(now)
        wait_copies(0)
        return done.results

    def _stage(self, stage: Index) -> Value:
        return byte_offset(self.shared, self.index.scalar(self.index.scale(stage, self.problem.stage_bytes).base))

    def _operands(self, stage: Index) -> list[tuple[OperandTile, Value, Index]]:
        """Each operand's tile, where it lies in the stage, and its first row."""
        lhs = self._stage(stage)
        return [(self.lhs, lhs, self.tile.m), (self.rhs, byte_offset(lhs, self.lhs.size), self.tile.n)]

    def _start(self, step: Index, stage: Index, asynchronous: tuple[bool, ...] = (True, False)) -> list[list[Value]]:
        first_k = self.index.scale(step, self.problem.schedule.k)
        return [
            operand.start(base, self.tile.batch, first_row, first_k) if operand.plan.asynchronous in asynchronous else []
            for operand, base, first_row in self._operands(stage)
        ]

    def _start_ahead(self, ahead: Index, stage: Index) -> list[list[Value]]:
        """Past the last step nothing is copied, and what goes through registers is the last tile again."""
        if self.lhs.plan.asynchronous or self.rhs.plan.asynchronous:
            with only_if(self.index.below(ahead, self.problem.steps)):
                self._start(ahead, stage, (True,))
        return self._start(self.index.minimum(ahead, self.problem.steps - 1), stage, (False,))

    def _finish(self, stage: Index, fetched: list[list[Value]]) -> None:
        for (operand, base, _), values in zip(self._operands(stage), fetched, strict=True):
            operand.finish(base, values)
