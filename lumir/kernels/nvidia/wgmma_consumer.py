"""The warpgroups of a wgmma kernel that multiply: a tile's sums in registers, one group of products under way."""

from collections.abc import Sequence
from itertools import product as pairs

from lumir.kernels.index import Index
from lumir.kernels.nvidia import mbarrier, warps, wgmma
from lumir.kernels.nvidia.guard import only_if
from lumir.kernels.nvidia.mma import constant_i32
from lumir.kernels.nvidia.tma_operand import Operand
from lumir.kernels.nvidia.tma_runs import RunMatrices
from lumir.kernels.nvidia.wgmma_block import Ring, WgmmaBlock
from lumir.kernels.nvidia.wgmma_parts import joined_parts
from lumir.kernels.nvidia.wgmma_store import TileStore
from lumir.mlir import arith, ir, scf

Value = ir.Value
_TURNS = 1
"""The first of the two named barriers by which ping-pong teams take turns."""


class Consumer:
    """One warpgroup.

    Args:
        team: its number among the consumers, i32.
    """

    def __init__(self, block: WgmmaBlock, team: Value):
        self.block, self.team = block, team
        problem, s = block.problem, block.problem.schedule
        reading = problem.reading
        left, right = (_lies(operand, problem.line, problem.k) for operand in (reading.left, reading.right))
        self.product = wgmma.Product(reading.kinds, s.n, left, right, s.rows // wgmma.ROWS)
        lead = reading.runs.lead * reading.element_bytes if reading.runs else 0
        self.left = wgmma.advanced(left.descriptor(block.ring), lead // 16)
        self.right = wgmma.advanced(right.descriptor(block.ring), problem.right_start // 16)
        if not s.pingpong and s.consumers > 1:
            own = arith.MulIOp(self.team, constant_i32(left.step(s.rows, 0))).result
            self.left = arith.AddIOp(self.left, _wide(own)).result

    def run(self) -> None:
        """Compute and store this warpgroup's part of the block's tiles."""
        block, s = self.block, self.block.problem.schedule
        store = TileStore(block, self.team)
        if not s.pingpong:
            with block.tiles(block.start()) as (tile, ring, end):
                sums, ring = self._tile(ring)
                with joined_parts(block, store, tile, sums) as whole:
                    store.store(tile, whole)
                end(ring)
            store.finish()
            return
        steps = block.index.constant(block.problem.steps)
        self._pass_turn(first=True)
        ring = block.start().after(arith.MulIOp(self.team, steps).result)
        with block.tiles(ring, self.team) as (tile, ring, end):
            self._wait_turn()
            sums, ring = self._tile(ring)
            self._pass_turn()
            store.store(tile, sums)
            end(ring.after(steps))
        store.finish()

    def _wait_turn(self) -> None:
        own = arith.AddIOp(self.team, constant_i32(_TURNS)).result
        warps.sync_threads(own, 2 * wgmma.WARPGROUP)

    def _pass_turn(self, *, first: bool = False) -> None:
        """Let the other team multiply; at first, team 1 lets team 0."""
        other = arith.SubIOp(constant_i32(_TURNS + 1), self.team).result
        second = arith.CmpIOp(arith.CmpIPredicate.eq, self.team, constant_i32(1)).result if first else None
        with only_if(second):
            warps.arrive_threads(other, 2 * wgmma.WARPGROUP)

    def _tile(self, ring: Ring) -> tuple[list[list[Value]], Ring]:
        """This thread's sums of each 64 rows of a tile, and the place in the ring after it."""
        carried = [*ring.values, *ring.next().values, self._multiply(ring)]
        steps = self.block.index.constant(self.block.problem.steps)
        loop = scf.ForOp(constant_i32(1), steps, constant_i32(1), carried)
        with ir.InsertionPoint(loop.body):
            before, now, sums = self._split(loop.inner_iter_args, ring)
            sums = self._multiply(now, sums)
            wgmma.wait_products(1)
            self._release(before)
            scf.YieldOp([*now.values, *now.next().values, sums])
        before, now, sums = self._split(loop.results, ring)
        wgmma.wait_products(0)
        self._release(before)
        return self.product.values(sums), now

    def _split(self, values: Sequence[Value], ring: Ring) -> tuple[Ring, Ring, Value]:
        last_stage, last_parity, stage, parity, sums = values
        return Ring(last_stage, last_parity, ring.stages), Ring(stage, parity, ring.stages), sums

    def _multiply(self, ring: Ring, sums: Value | None = None) -> Value:
        """Start the products of a stage, as one group."""
        mbarrier.wait(self.block.full.at(ring.stage), ring.parity)
        stage = _wide(arith.MulIOp(ring.stage, constant_i32(self.block.problem.stage_bytes // 16)).result)
        left, right = (arith.AddIOp(start, stage).result for start in (self.left, self.right))
        problem, product, steps = self.block.problem, self.product, []
        for tap, k in pairs(range(problem.stage_taps), range(0, problem.line, wgmma.K_BYTES)):
            before = [tap * size // 16 for size in problem.tile_bytes]
            rows = [before[0] + product.left.step(part * wgmma.ROWS, k) for part in range(product.parts)]
            columns = wgmma.advanced(right, before[1] + product.right.step(0, k))
            steps.append(([wgmma.advanced(left, by) for by in rows], columns))
        wgmma.fence_products()
        sums = product.multiply(sums, steps)
        wgmma.commit_products()
        return sums

    def _release(self, ring: Ring) -> None:
        """Tell every block that writes to the stage that this warpgroup has read it."""
        cluster, empty = self.block.problem.schedule.sharers, self.block.empty.at(ring.stage)
        thread = self.block.index.divmod(Index(warps.thread_number()), wgmma.WARPGROUP)[1]
        with only_if(self.block.index.below(thread, cluster)):
            if cluster > 1:
                mbarrier.arrive_in(self.block.index.scalar(thread.base), empty)
            else:
                mbarrier.arrive(empty)


def _lies(operand: Operand, line: int, k: int) -> wgmma.Operand:
    """How the tile lies in shared memory: where its rows are side by side, each 64 of them have `k` lines."""
    pitch = wgmma.OVERLAP if isinstance(operand.matrices, RunMatrices) else line
    return wgmma.Operand(operand.along_k, k * wgmma.LINE, pitch)


def _wide(value: Value) -> Value:
    return arith.ExtUIOp(ir.IntegerType.get_signless(64), value).result
