"""How a contraction on Hopper's tensor cores is tiled, and what follows from it for one dispatch."""

import math
from dataclasses import dataclass
from functools import cached_property

from lumir.dtypes import byte_size
from lumir.kernels.bands import bands_of
from lumir.kernels.contraction_space import ContractionSpace, contraction_of
from lumir.kernels.dispatch import Dispatch, element_of
from lumir.kernels.nvidia.roofline import remembered
from lumir.kernels.nvidia.tma_operand import Matrices, Operand, operands_of, results_of
from lumir.kernels.nvidia.tma_runs import RunMatrices, runs_of
from lumir.kernels.nvidia.tma_windows import WindowMatrices
from lumir.kernels.nvidia.wgmma import LINE, ROWS, WARPGROUP, Kinds
from lumir.mlir import ir
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


@dataclass(frozen=True)
class Reading:
    """A dispatch's contraction as TMA reads it, oriented so that rows of the result lie side by side.

    Args:
        kinds: what wgmma multiplies.
        taps: products that are summed: one for each place of a convolution's window, else one.
        bands: the product's columns, in bands of which each tile has as many columns.
        results: where TMA can write them.
        shape: the number of products, m, n of each band, and k.
    """

    space: ContractionSpace
    kinds: Kinds
    left: Operand
    right: Operand
    taps: int
    bands: tuple[ir.Value, ...]
    results: tuple[Matrices | None, ...]
    shape: tuple[Dim, Dim, Dim, Dim]

    @cached_property
    def element_bytes(self) -> int:
        return self.kinds.bytes

    @property
    def runs(self) -> RunMatrices | None:
        """The left operand, where it is rows of images that are read with an overlap."""
        return self.left.matrices if isinstance(self.left.matrices, RunMatrices) else None

    @property
    def convolves(self) -> bool:
        return any(isinstance(operand.matrices, WindowMatrices) for operand in (self.left, self.right))


def reading_of(dispatch: Dispatch) -> Reading | None:
    """How TMA and wgmma can run the dispatch's contraction; None if they cannot."""
    return remembered(dispatch, "wgmma", _reading)


def _reading(dispatch: Dispatch) -> Reading | None:
    space = contraction_of(dispatch)
    if space is None:
        return None
    kinds = _multiplied(space)
    if kinds is None:
        return None
    sides = [(s, k) for s in space.summation_orders() for s, k in ((s, kinds), (s.swapped(), kinds.swapped))]
    readings = [reading for s, k in sides if (reading := _read(dispatch, s, k))]
    return max(readings, key=lambda r: sum(found is not None for found in r.results), default=None)


def _multiplied(space: ContractionSpace) -> Kinds | None:
    """What wgmma multiplies as the contraction does; None for other types, and for float32 that may not be rounded."""
    elements = [element_of(space.operand(number)) for number in (space.lhs, space.rhs)]
    if ir.F32Type.get() in elements and not space.rounds_to_tf32:
        return None
    for i, number in enumerate((space.lhs, space.rhs)):
        if isinstance(elements[i], ir.IntegerType) and space.widens_unsigned(number):
            elements[i] = ir.IntegerType.get_unsigned(elements[i].width)
    kinds = Kinds.of(*elements)
    return kinds if kinds and kinds.sums == space.accumulator else None


def _read(dispatch: Dispatch, space: ContractionSpace, kinds: Kinds) -> Reading | None:
    bands, found = bands_of(dispatch, space), runs_of(dispatch, space) or operands_of(dispatch, space)
    if bands is None or found is None:
        return None
    space, left, right, taps = found
    batch, m, n, k = space.shape
    shape = batch, m, n // len(bands), k
    reading = Reading(space, kinds, left, right, taps, bands, tuple(results_of(dispatch, space)), shape)
    wide = reading.element_bytes != 2  # only two-byte operands may have their rows side by side
    return None if wide and not (left.along_k and right.along_k) else reading


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
        left = math.prod(runs.boxes(s.m)) * runs.size if runs else s.m * self.line
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
    def small_copies(self) -> int:
        """Of a stage, where they are pieces of rows and the filters for them."""
        runs = self.reading.runs
        return self.stage_taps * (runs.boxes(self.schedule.m)[0] + 1) if runs else 0

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
        return not result.problems(ROWS, self.chunk)

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
