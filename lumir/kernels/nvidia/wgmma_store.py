"""The end of a tile of a wgmma kernel: fused operations on the sums in registers, then to memory chunk by chunk.

A chunk is 64 rows by up to 64 columns of one result. It goes through shared memory, whose copy engine (TMA) writes
it while the next chunk, and the next tile, are computed; what TMA cannot write is stored straight from registers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from lumir.kernels.evaluate import Evaluator
from lumir.kernels.index import Index, IndexMath, Place
from lumir.kernels.nvidia import tma, warps
from lumir.kernels.nvidia.contraction_store import results_at, store_lanes
from lumir.kernels.nvidia.guard import only_if
from lumir.kernels.nvidia.mma import WARP, all_of, byte_offset, constant_i32, joined, separated
from lumir.kernels.nvidia.wgmma import ROWS, WARPGROUP
from lumir.kernels.nvidia.wgmma_block import Tile, WgmmaBlock, widened
from lumir.kernels.nvidia.wgmma_schedule import BUFFERS
from lumir.kernels.nvidia.wgmma_staging import Staging
from lumir.mlir import arith, ir
from lumir.sizes import Dim

Value = ir.Value
_BARRIER = 3
"""The first of the named barriers, one for each warpgroup, around its chunks."""


class Sums(Protocol):
    """A thread's sums of 64 rows, by number."""

    def __getitem__(self, numbers: slice, /) -> list[Value]: ...


@dataclass(frozen=True)
class Pair:
    """Two neighbouring columns of a row of the product.

    Args:
        row: the row, kept inside the product so that fused operands can be read there.
        columns: the first column of each lane group, likewise: one group of two lanes, or two of one.
        inside: whether each group is in the product; None for always.
    """

    row: Index
    columns: list[Index]
    inside: list[Value | None]


class TileStore:
    """Stores one warpgroup's part of a tile.

    Args:
        team: the warpgroup's number, i32.
    """

    def __init__(self, block: WgmmaBlock, team: Value):
        self.block, self.problem, self.team = block, block.problem, team
        self.lanes = min(2, store_lanes(self.problem.dispatch, self.problem.space))
        index = block.index
        self.thread = index.divmod(Index(warps.thread_number()), WARPGROUP)[1]
        self.warp, self.lane = index.divmod(self.thread, WARP)
        own = arith.MulIOp(team, constant_i32(BUFFERS * self.problem.staged_bytes)).result
        self.buffers = byte_offset(block.staging, own)
        self.barrier = arith.AddIOp(team, constant_i32(_BARRIER)).result
        self.leads = arith.CmpIOp(arith.CmpIPredicate.eq, index.scalar(self.thread.base), constant_i32(0)).result
        self.stagings = self._stagings()
        self.turn, self.turns = 0, self._turns()

    def _stagings(self) -> list[Staging | None]:
        """How each result's chunks are staged, in the order of their tensor maps."""
        maps = iter(self.block.kernel.tensor_maps[2:])
        return [
            Staging(self.block.index, matrices, next(maps), self.problem.chunk, self.warp, self.lane)
            if matrices is not None and self.problem.staged(matrices)
            else None
            for matrices in self.problem.reading.results
        ]

    def _turns(self) -> int:
        """Chunks of a tile that are staged."""
        chunks = self.problem.schedule.rows // ROWS * (self.problem.columns // self.problem.chunk)
        return chunks * sum(staging is not None for staging in self.stagings)

    def store(self, tile: Tile, parts: Sequence[Sums]) -> None:
        """Store the tile's sums: this thread's of each 64 rows of the warpgroup."""
        s, index, wide = self.problem.schedule, self.block.index, self.problem.columns
        first = tile.row
        if not s.pingpong and s.consumers > 1:
            first = index.add(first, index.scale(Index(self.team), s.rows))
        for part, values in enumerate(parts):
            row, chunk = index.offset(first, part * ROWS), self.problem.chunk
            for column in range(0, wide, chunk):
                own = [values[at // 2 : (at + chunk) // 2] for at in range(column, s.n, wide)]
                self._chunk(tile.batch, row, index.offset(tile.column, column), own)

    def sync(self) -> None:
        """Wait for the whole warpgroup; what it wrote before is seen after."""
        warps.sync_threads(self.barrier, WARPGROUP)

    def finish(self) -> None:
        """Wait until the copies have read the staged chunks."""
        if any(self.stagings):
            with only_if(self.leads):
                tma.wait_stores_read(0)

    def _chunk(self, batch: Index, row: Index, column: Index, bands: list[list[Value]]) -> None:
        """A chunk of every result; each band's sums number 4 j + 2 half + element, as wgmma holds them."""
        evaluator = self.block.kernel.evaluator(self.lanes)
        pairs = self._pairs(evaluator.index, row, column)
        values = [
            self._values(evaluator, widened(evaluator.index, batch), pair, [sums[2 * i : 2 * i + 2] for sums in bands])
            for i, pair in enumerate(pairs)
        ]
        for number, staging in enumerate(self.stagings):
            own = [groups[number] for groups in values]
            if staging is None:
                self._scatter(evaluator, number, pairs, own)
            else:
                self._stage(staging, [v for groups in own for _, v in groups], (batch, row, column))

    def _pairs(self, index: IndexMath, row: Index, column: Index) -> list[Pair]:
        """This thread's pairs of a chunk, those of columns 8 j.. of both its rows first."""
        base, lane4 = self.block.index, self.block.index.divmod(self.lane, 4)
        _, m, n, _ = self.problem.reading.shape
        s = self.problem.schedule
        first = base.add(row, base.add(base.scale(self.warp, 16), lane4[0]))
        side = base.add(column, base.scale(lane4[1], 2))
        rows = [self._kept(index, base.offset(first, 8 * half), m, s.shared_rows, 1) for half in (0, 1)]
        pairs = []
        for j in range(self.problem.chunk // 8):
            offsets = range(8 * j, 8 * j + 2, self.lanes)
            columns = [self._kept(index, base.offset(side, at), n, self.problem.columns, self.lanes) for at in offsets]
            for at, in_rows in rows:
                inside = [all_of([in_rows, in_columns]) for _, in_columns in columns]
                pairs.append(Pair(at, [c for c, _ in columns], inside))
        return pairs

    def _kept(self, index: IndexMath, at: Index, extent: Dim, tile: int, lanes: int) -> tuple[Index, Value | None]:
        """An index kept below the extent, and whether it was; nothing to do where the tiles are whole."""
        at = widened(index, at)
        if extent % tile == 0:
            return Index(at.base, int(lanes > 1), at.multiple), None
        kept = index.minimum(at, extent - lanes)
        return Index(kept.base, int(lanes > 1), kept.multiple), index.below(at, extent)

    def _values(
        self, evaluator: Evaluator, batch: Index, pair: Pair, bands: list[list[Value]]
    ) -> list[list[tuple[Place, Value]]]:
        """For each result, the place and the value of each lane group, made of the pair's sums in each band."""
        lanes = [[joined(sums)] if self.lanes == 2 else sums for sums in bands]
        groups = []
        for column, *totals in zip(pair.columns, *lanes, strict=True):
            view = self.problem.space.result_view(evaluator.index, batch, pair.row, column)
            groups.append(results_at(evaluator, self.problem.space, self.problem.dispatch, view, *totals))
        return [list(of_result) for of_result in zip(*groups, strict=True)]

    def _scatter(
        self, evaluator: Evaluator, number: int, pairs: list[Pair], values: list[list[tuple[Place, Value]]]
    ) -> None:
        buffer = self.block.kernel.outputs[number]
        for pair, groups in zip(pairs, values, strict=True):
            for inside, (place, value) in zip(pair.inside, groups, strict=True):
                with only_if(inside, evaluator):
                    evaluator.memory.store(buffer, place, value)

    def _stage(self, staging: Staging, values: list[Value], at: tuple[Index, Index, Index]) -> None:
        """Write a chunk to the buffer whose turn it is, and start its copy.

        A tile begins with the first buffer, which is also the one before where a tile has an odd number of chunks.
        """
        shared = byte_offset(self.buffers, self.turn % BUFFERS * self.problem.staged_bytes)
        used_just_now = self.turn == 0 and self.turns % BUFFERS > 0
        self.turn += 1
        with only_if(self.leads):
            tma.wait_stores_read(0 if used_just_now else BUFFERS - 1)
        self.sync()
        scalars = [scalar for value in values for scalar in separated(value)]
        staging.write(shared, [joined(scalars[i : i + 2]) for i in range(0, len(scalars), 2)])
        tma.fence_async_proxy()
        self.sync()
        with only_if(self.leads):
            staging.copy(shared, *at)
            tma.commit_stores()
