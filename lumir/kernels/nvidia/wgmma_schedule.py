"""How a contraction on Hopper's tensor cores is tiled, and what follows from it for one dispatch."""

import math
from dataclasses import dataclass
from functools import cached_property

from lumir.dtypes import byte_size
from lumir.kernels.contraction_space import ContractionSpace
from lumir.kernels.dispatch import Dispatch, element_of
from lumir.kernels.nvidia.tma_operand import Matrices, Operand
from lumir.kernels.nvidia.tma_windows import WindowMatrices
from lumir.kernels.nvidia.wgmma import LINE, ROWS, WARPGROUP
from lumir.kernels.nvidia.wgmma_reading import Reading, reading_of
from lumir.schedule.schedule import Schedule
from lumir.sizes import Dim, minimum
from lumir.target import Target

CHUNK = 64
"""Columns of a tile that a warpgroup stages for storing at once, or fewer."""
BUFFERS = 2
"""Chunks of a warpgroup that are staged or on their way at once."""
RAGGED_ROWS = 32
"""That one copy brings where tiles may reach past the last row: copies of nothing but zeros take longer than others."""
BARRIER_BYTES = 1024
ALIGNED = 1024
"""What tiles and stages start on a multiple of: eight lines, after which the widest swizzle repeats."""
REGISTERS, MOST_REGISTERS, MOST_TAKEN = 65536, 255, 240
"""Of a multiprocessor, of a thread, and of a thread that asks for more than it started with."""
_UNUSED = {4: 12, 8: 12}
"""Multiprocessors of an H200 that are left over by clusters of so many blocks, as the driver counts them."""


@dataclass(frozen=True)
class WgmmaSchedule(Schedule):
    """Args:
    m, n: a block's tile.
    stages: tiles of 128 bytes along k in shared memory at once.
    consumers: warpgroups that multiply; one more warpgroup copies.
    pingpong: each consumer has a tile of its own, and one stores while the other multiplies; else they share a tile.
    cluster: blocks that share the columns of their tiles, each copying a part of the right operand to all; or, with
        tiles in as many parts, those of a tile.
    group: tile rows that run together, so that their operands stay in the L2 cache.
    parts: blocks that share a tile, each summing over a part of k. Sums are joined in order: within a cluster, or by
        the last block to be done.
    """

    m: int = 128
    n: int = 256
    stages: int = 4
    consumers: int = 2
    pingpong: bool = False
    cluster: int = 1
    group: int = 8
    parts: int = 1

    @property
    def threads(self) -> int:
        return (self.consumers + 1) * WARPGROUP

    @property
    def sharers(self) -> int:
        """Blocks that share the columns of their tiles."""
        return self.cluster if self.parts == 1 else 1

    @property
    def shared_rows(self) -> int:
        """Rows of the tiles of those blocks: the last ones may have none of the product's."""
        return self.m * self.sharers

    @property
    def rows(self) -> int:
        """Rows of the tile that one warpgroup multiplies."""
        return self.m if self.pingpong else self.m // self.consumers

    @property
    def sums(self) -> int:
        """Registers of a multiplying thread that hold its sums."""
        return self.rows * self.n // WARPGROUP

    @property
    def launched_registers(self) -> int:
        """Of a thread when the block starts: an equal share of the multiprocessor's."""
        return min(REGISTERS // self.threads // 8 * 8, MOST_REGISTERS)

    @property
    def registers(self) -> tuple[int, int]:
        """Of a thread of the copying and of a multiplying warpgroup, once they are shared out."""
        launched, copying = self.launched_registers, max(24, min(self.launched_registers // 32 * 8, 40))
        multiplying = (launched * (self.consumers + 1) - copying) // self.consumers // 8 * 8
        return copying, min(multiplying, MOST_TAKEN)


@dataclass(frozen=True)
class Problem:
    """A dispatch and its schedule."""

    dispatch: Dispatch
    schedule: WgmmaSchedule
    reading: Reading

    @property
    def space(self) -> ContractionSpace:
        return self.reading.space

    @property
    def line(self) -> int:
        """Bytes of a stage along k of one of the products that are summed."""
        return self.reading.runs.run * self.reading.element_bytes if self.reading.runs else LINE

    @property
    def k(self) -> int:
        """Elements of a line."""
        return self.line // self.reading.element_bytes

    @property
    def stage_taps(self) -> int:
        """How many of the products that are summed have a line in a stage."""
        return self.reading.taps if self.reading.runs else 1

    @property
    def tap_steps(self) -> Dim:
        """Stages along k of one of the products that are summed, or of those that share stages."""
        return -(-self.reading.shape[3] // (self.reading.taps * self.k))

    @property
    def steps(self) -> Dim:
        """Stages along a block's part of k."""
        return self.all_steps // self.schedule.parts

    @property
    def all_steps(self) -> Dim:
        """Stages along all of k."""
        return self.reading.taps // self.stage_taps * self.tap_steps

    @cached_property
    def tiles(self) -> tuple[Dim, Dim, Dim]:
        """Batches, tiles down (whole clusters of them), tiles across."""
        batch, m, n, _ = self.reading.shape
        s = self.schedule
        return batch, -(-m // s.shared_rows) * s.sharers, -(-n // self.columns)

    @property
    def columns(self) -> int:
        """Of each band in a tile."""
        return self.schedule.n // len(self.reading.bands)

    @property
    def ragged(self) -> bool:
        """Whether tiles may reach past the last row of a left operand that is copied row by row."""
        left = self.reading.left
        rows = left.along_k and isinstance(left.matrices, Matrices)
        return rows and self.reading.shape[1] % self.schedule.m != 0

    @property
    def boxes(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Lines and columns that one copy brings of the left and of the right operand."""
        s, reading = self.schedule, self.reading
        rows = RAGGED_ROWS if self.ragged else s.m
        return box_of(reading.left, rows, self.k), box_of(reading.right, self.columns // s.sharers, self.k)

    @property
    def units(self) -> Dim:
        """What blocks take one after the other: tiles, or parts of them."""
        return math.prod(self.tiles) * self.schedule.parts

    @property
    def part_bytes(self) -> int:
        """Of the sums over a part of k."""
        return self.schedule.m * self.schedule.n * 4

    @property
    def received_bytes(self) -> int:
        """Of the sums of one warpgroup's rows that a block gets from the others of its cluster."""
        s = self.schedule
        return (s.parts - 1) * s.rows * s.n * 4 if s.cluster > 1 else 0

    @property
    def tile_bytes(self) -> tuple[int, int]:
        """Of a stage's left and right tile of one product that is summed."""
        s, runs = self.schedule, self.reading.runs
        left = runs.row(s.m) * runs.size if runs else s.m * self.line
        return left, s.n * self.line

    @property
    def right_start(self) -> int:
        """Where the right tiles of a stage begin, in bytes."""
        return -(-self.stage_taps * self.tile_bytes[0] // ALIGNED) * ALIGNED

    @property
    def copied_bytes(self) -> int:
        """Into a stage."""
        return self.stage_taps * sum(self.tile_bytes)

    @property
    def kept_bytes(self) -> int:
        """Of a stage's right tiles, where those of every tile are the same: they stay once the ring has had a turn."""
        same = self.reading.runs is not None and self.all_steps == 1 and self.tiles[2] == 1
        return self.stage_taps * self.tile_bytes[1] if same else 0

    @property
    def short_lines(self) -> int:
        """Lines that are copied into a stage, where they are pieces of rows, and filters that are not kept."""
        runs, s = self.reading.runs, self.schedule
        filters = 0 if self.kept_bytes else s.n
        return self.stage_taps * (runs.row(s.m) // runs.piece + filters) if runs else 0

    @property
    def copied_windows(self) -> int:
        """Lines of a stage that are places of windows."""
        sides = zip((self.reading.left, self.reading.right), (self.schedule.m, self.schedule.n), strict=True)
        return sum(rows for operand, rows in sides if isinstance(operand.matrices, WindowMatrices))

    @property
    def stage_bytes(self) -> int:
        return self.right_start + self.stage_taps * self.tile_bytes[1]

    @cached_property
    def chunk(self) -> int:
        """Columns that a warpgroup stages for storing at once: a line of the widest result, or fewer."""
        widest = max(byte_size(element_of(v)) for v in self.dispatch.results)
        return math.gcd(self.columns, min(CHUNK, LINE // widest))

    @cached_property
    def staged_bytes(self) -> int:
        """Of a chunk of the widest result that is staged."""
        return ROWS * self.chunk * max((r.size for r in self.reading.results if r and self.staged(r)), default=0)

    def staged(self, result: Matrices) -> bool:
        """Whether a result goes through shared memory and is stored by TMA, else straight from registers."""
        return not result.problems(ROWS, self.chunk) and result.stores_whole

    @property
    def fixed_bytes(self) -> int:
        """Shared memory beside the stages."""
        return self.schedule.consumers * BUFFERS * self.staged_bytes + self.received_bytes + BARRIER_BYTES

    @property
    def shared_bytes(self) -> int:
        return self.schedule.stages * self.stage_bytes + self.fixed_bytes

    def blocks(self, target: Target) -> Dim:
        """Of the grid: no more than run at once, each taking several tiles."""
        cluster = self.schedule.cluster
        return minimum(self.units, clusters_at_once(cluster, target) * cluster)


def clusters_at_once(size: int, target: Target) -> int:
    """How many clusters of so many blocks run at once, a block on each multiprocessor.

    A cluster lies within one of the groups that Hopper's multiprocessors come in; some of a group are left over.
    """
    return (target.multiprocessors - _UNUSED.get(size, 0)) // size


def problem_of(dispatch: Dispatch, schedule: WgmmaSchedule) -> Problem:
    reading = reading_of(dispatch)
    assert reading is not None
    return Problem(dispatch, schedule, reading)


def box_of(operand: Operand, rows: int, k: int) -> tuple[int, int]:
    """Lines and columns that one copy brings of a tile: all rows, or 64 rows side by side."""
    return (min(rows, 256), k) if operand.along_k else (k, 64)
