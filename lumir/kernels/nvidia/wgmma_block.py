"""What the warps of a wgmma kernel share: shared memory, barriers, and which tiles the block computes."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from lumir.kernels.index import Index, IndexMath
from lumir.kernels.nvidia import mbarrier, tma, warps
from lumir.kernels.nvidia.function import NvidiaKernel
from lumir.kernels.nvidia.guard import only_if
from lumir.kernels.nvidia.mma import byte_offset, constant_i32, i32
from lumir.kernels.nvidia.tile_order import grouped
from lumir.kernels.nvidia.wgmma_schedule import BARRIER_BYTES, Problem
from lumir.mlir import arith, gpu, ir, scf
from lumir.sizes import Dim

Value = ir.Value


@dataclass(frozen=True)
class Ring:
    """A place in the ring of stages: the stage (i32), and the parity (i32) of the turns before it."""

    stage: Value
    parity: Value
    stages: int

    def next(self) -> "Ring":
        one = constant_i32(1)
        stage = arith.AddIOp(self.stage, one).result
        wraps = arith.CmpIOp(arith.CmpIPredicate.eq, stage, constant_i32(self.stages)).result
        parity = arith.XOrIOp(self.parity, arith.ExtUIOp(i32(), wraps).result).result
        return Ring(arith.SelectOp(wraps, constant_i32(0), stage).result, parity, self.stages)

    def after(self, steps: Value | int) -> "Ring":
        """The place so many steps on."""
        steps = constant_i32(steps) if isinstance(steps, int) else steps
        total, stages = arith.AddIOp(self.stage, steps).result, constant_i32(self.stages)
        turns = arith.AndIOp(arith.DivUIOp(total, stages).result, constant_i32(1)).result
        return Ring(arith.RemUIOp(total, stages).result, arith.XOrIOp(self.parity, turns).result, self.stages)

    @property
    def values(self) -> list[Value]:
        return [self.stage, self.parity]


@dataclass(frozen=True)
class Tile:
    """A tile of the product, or a part of k of one.

    Args:
        batch, row, column: where it starts.
        unit: its number.
        number: that of the tile.
        part: which part of k.
    """

    batch: Index
    row: Index
    column: Index
    unit: Index
    number: Index
    part: Index


class WgmmaBlock:
    """One block of the kernel.

    Attributes:
        index: arithmetic on places, 32 bits wide.
        rank: this block's number in its cluster, i32.
        first_unit: the first tile, or part of one, that this block takes, i32.
        staging: shared memory of the consumers' chunks.
        full, empty: a barrier for each stage: its bytes have come; everybody has multiplied it.
        flags: shared memory of a word for each consumer.
        received, arrived: sums that other blocks of the cluster send, and the barrier that counts their bytes.
    """

    def __init__(self, problem: Problem, kernel: NvidiaKernel, blocks: Dim):
        self.problem, self.kernel, self.blocks = problem, kernel, blocks
        s, self.index = problem.schedule, IndexMath(i32(), size=lambda size: kernel.sizes.value(size, i32()))
        self.size = s.cluster
        self.ring = kernel.shared([problem.shared_bytes], ir.IntegerType.get_signless(8), alignment=1024).pointer
        self.staging = byte_offset(self.ring, s.stages * problem.stage_bytes)
        barriers = byte_offset(self.ring, problem.shared_bytes - BARRIER_BYTES)
        self.full = mbarrier.Barriers(barriers)
        self.empty = mbarrier.Barriers(byte_offset(barriers, s.stages * mbarrier.BYTES))
        self.flags = byte_offset(barriers, BARRIER_BYTES // 2)
        self.received = byte_offset(barriers, -problem.received_bytes)
        self.arrived = byte_offset(barriers, 2 * s.stages * mbarrier.BYTES)
        block = arith.IndexCastOp(i32(), gpu.BlockIdOp(gpu.Dimension.x).result).result
        self.unit, rank = self.index.divmod(Index(block), self.size)
        self.rank, self.first_unit = self.index.scalar(rank.base), self.index.scalar(self.unit.base)

    def initialize(self) -> None:
        """Make the barriers ready, for every block of the cluster."""
        s = self.problem.schedule
        first = arith.CmpIOp(arith.CmpIPredicate.eq, warps.thread_number(), constant_i32(0)).result
        with only_if(first):
            for tensor_map in self.kernel.tensor_maps:
                tma.prefetch_map(tensor_map)
            teams = 1 if s.pingpong else s.consumers
            for stage in range(s.stages):
                mbarrier.initialize(self.full.at(stage), 1)
                mbarrier.initialize(self.empty.at(stage), teams * s.sharers)
            if self.problem.received_bytes:
                mbarrier.initialize(self.arrived, 1)
            mbarrier.fence_initialization()
            if self.problem.received_bytes:
                mbarrier.arrive_expecting(self.arrived, self.problem.received_bytes)
        self.sync()

    def sync(self) -> None:
        """Wait for every thread of the cluster."""
        if self.size > 1:
            warps.sync_cluster()
        else:
            self.kernel.barrier()

    def start(self) -> Ring:
        return Ring(constant_i32(0), constant_i32(0), self.problem.schedule.stages)

    @contextmanager
    def tiles(self, ring: Ring, team: Value | None = None) -> Iterator[tuple[Tile, Ring, Callable[[Ring], None]]]:
        """Run over this block's tiles; the place in the ring is handed from tile to tile by `end(ring)`.

        Args:
            team: with two teams that take turns, the number (i32) of this one.
        """
        units, at_once = self.problem.units // self.size, self.blocks // self.size
        start, step = self.first_unit, at_once
        if team is not None:
            start, step = self.index.scalar(self._ahead(team, at_once).base), 2 * at_once
        loop = scf.ForOp(start, self.index.constant(units), self.index.constant(step), ring.values)
        with ir.InsertionPoint(loop.body):
            stage, parity = loop.inner_iter_args
            yield (
                self.tile(Index(loop.induction_variable)),
                Ring(stage, parity, ring.stages),
                lambda ring: scf.YieldOp(ring.values),
            )

    def _ahead(self, team: Value, at_once: Dim) -> Index:
        return self.index.add(self.unit, self.index.scale(Index(team), at_once))

    def tile(self, unit: Index) -> Tile:
        """The tile, or part of one, with this number."""
        index, s, (_, down, across) = self.index, self.problem.schedule, self.problem.tiles
        down //= s.sharers
        part, whole = Index(self.rank) if s.cluster > 1 else Index(0), unit
        if s.parts > 1 and s.cluster == 1:
            part, whole = index.divmod(unit, math.prod(self.problem.tiles))
        batch, number = (Index(0), whole) if self.problem.tiles[0] == 1 else index.divmod(whole, down * across)
        row, column = grouped(index, number, down, across, s.group)
        if s.sharers > 1:
            row, part = index.add(index.scale(row, s.sharers), Index(self.rank)), Index(0)
        return Tile(batch, index.scale(row, s.m), index.scale(column, self.problem.columns), unit, whole, part)


def widened(index: IndexMath, at: Index) -> Index:
    """A place of the block's 32-bit arithmetic in another width."""
    if isinstance(at.base, int) or at.base.type == index.type:
        return at
    return Index(arith.ExtSIOp(index.type, at.base).result, at.step, at.multiple)
