"""Software pipeline: tiles are fetched into shared memory a few steps before the arithmetic reaches them."""

from collections.abc import Callable
from dataclasses import dataclass

from lumir.kernels.evaluate import Evaluator
from lumir.kernels.index import Index
from lumir.kernels.nvidia.function import NvidiaKernel
from lumir.kernels.nvidia.guard import only_if
from lumir.kernels.nvidia.mma import byte_offset, commit_copies, wait_copies
from lumir.kernels.nvidia.tiles_fill import OperandTile
from lumir.mlir import arith, ir
from lumir.sizes import Dim

Value = ir.Value
Position = Callable[[Index], tuple[Index, Index]]
"""Step -> first row and first k of an operand's tile."""
Multiply = Callable[[Index, list[Value], list[Value]], list[Value]]


@dataclass(frozen=True)
class Feed:
    """An operand and where its tile stands at each step."""

    operand: OperandTile
    position: Position


@dataclass(frozen=True)
class Pipeline:
    """Args:
    base: shared memory for `stages` times all the operands' tiles.
    batch: the batch index of every operand.
    """

    kernel: NvidiaKernel
    base: Value
    batch: Index
    feeds: tuple[Feed, ...]
    stages: int

    @property
    def stage_bytes(self) -> int:
        return sum(feed.operand.size for feed in self.feeds)

    def run(self, steps: Dim | Value, carried: list[Value], multiply: Multiply) -> list[Value]:
        """`multiply(step, tiles, carried) -> carried` for each step, its tiles in shared memory.

        Returns what was carried last. By then this thread has fetched and read everything; others may not.
        """
        loops = self.kernel.evaluator()
        steps = steps if isinstance(steps, int) else loops.index.scalar(steps)
        self._fetch_first(loops, steps)
        with loops.loop(0, steps, 1, carried) as (step, now, done):
            wait_copies(self.stages - 2)
            self.kernel.barrier()
            ahead = loops.index.offset(step, self.stages - 1)
            stage = self._tiles(loops.index.divmod(ahead, self.stages)[1])
            fetched = self._fetch_ahead(loops, ahead, steps, stage)
            commit_copies()
            now = multiply(step, self._tiles(loops.index.divmod(step, self.stages)[1]), now)
            self._finish(stage, fetched)
            done(now)
        wait_copies(0)
        return done.results

    def _fetch_first(self, loops: Evaluator, steps: int | Value) -> None:
        """The first stages; those beyond the last step hold nothing, but count as groups of copies."""
        with loops.loop(0, self.stages - 1, 1) as (step, _, _done):
            with only_if(_below(loops, step, steps) if not isinstance(steps, int) or steps < self.stages - 1 else None):
                stage = self._tiles(step)
                self._finish(stage, self._start(step, stage, (True, False)))
            commit_copies()

    def _fetch_ahead(self, loops: Evaluator, ahead: Index, steps: int | Value, stage: list[Value]) -> list[list[Value]]:
        """Past the last step nothing is copied, and what goes through registers is the last tile again."""
        if any(feed.operand.plan.asynchronous for feed in self.feeds):
            with only_if(_below(loops, ahead, steps)):
                self._start(ahead, stage, (True,))
        index = loops.index
        if isinstance(steps, int):
            last = index.minimum(ahead, steps - 1)
        else:
            last = Index(arith.MinSIOp(index.scalar(ahead.base), arith.SubIOp(steps, index.constant(1)).result).result)
        return self._start(last, stage, (False,))

    def _tiles(self, stage: Index) -> list[Value]:
        """Where each operand's tile of a stage lies."""
        index = self.kernel.evaluator().index
        tiles = [byte_offset(self.base, index.scalar(index.scale(stage, self.stage_bytes).base))]
        for feed in self.feeds[:-1]:
            tiles.append(byte_offset(tiles[-1], feed.operand.size))
        return tiles

    def _start(self, step: Index, tiles: list[Value], asynchronous: tuple[bool, ...]) -> list[list[Value]]:
        return [
            feed.operand.start(tile, self.batch, *feed.position(step))
            if feed.operand.plan.asynchronous in asynchronous
            else []
            for feed, tile in zip(self.feeds, tiles, strict=True)
        ]

    def _finish(self, tiles: list[Value], fetched: list[list[Value]]) -> None:
        for feed, tile, values in zip(self.feeds, tiles, fetched, strict=True):
            feed.operand.finish(tile, values)


def _below(loops: Evaluator, step: Index, steps: int | Value) -> Value:
    if isinstance(steps, int):
        return loops.index.below(step, steps)
    return arith.CmpIOp(arith.CmpIPredicate.slt, loops.index.scalar(step.base), steps).result
