"""How a contraction on Hopper's tensor cores is tiled, and what follows from it for one dispatch."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

from lumir.dtypes import byte_size
from lumir.kernels.bands import bands_of
from lumir.kernels.contraction_space import ContractionSpace, contraction_of
from lumir.kernels.dispatch import Dispatch, element_of
from lumir.kernels.nvidia.roofline import remembered
from lumir.kernels.nvidia.tma_operand import Matrices, Operand, operands_of, results_of
from lumir.kernels.nvidia.tma_windows import WindowMatrices
from lumir.kernels.nvidia.wgmma import LINE, ROWS, WARPGROUP, Kinds
from lumir.mlir import ir
from lumir.schedule.schedule import Schedule
from lumir.sizes import Dim, high, low, minimum, typical
from lumir.target import Target

CHUNK = 64
"""Columns of a tile that a warpgroup stages for storing at once, or fewer."""
BUFFERS = 2
"""Chunks of a warpgroup that are staged or on their way at once."""
RAGGED_ROWS = 32
"""That one copy brings where tiles may reach past the last row: copies of nothing but zeros take longer than others."""
BARRIER_BYTES = 1024
MAX_STAGES = 8
"""More are no use."""
_UNUSED = {4: 12, 8: 12}
"""Multiprocessors of an H200 that are left over by clusters of so many blocks, as the driver counts them."""
PARTS = (2, 3, 4, 6, 8)
"""How many a tile is split into."""
LEAST_STEPS = 4
"""Stages of a part, or more."""


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
    operands, bands = operands_of(dispatch, space), bands_of(dispatch, space)
    if operands is None or bands is None:
        return None
    left, right, taps = operands
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
    def k(self) -> int:
        """Elements of a stage along k."""
        return LINE // self.reading.element_bytes

    @property
    def tap_steps(self) -> Dim:
        """Stages along k of one of the products that are summed."""
        return -(-self.reading.shape[3] // (self.reading.taps * self.k))

    @property
    def steps(self) -> Dim:
        """Stages along a block's part of k."""
        return self.all_steps // self.schedule.parts

    @property
    def all_steps(self) -> Dim:
        """Stages along all of k."""
        return self.reading.taps * self.tap_steps

    @cached_property
    def tiles(self) -> tuple[Dim, Dim, Dim]:
        """Batches, tiles down (whole clusters of them), tiles across."""
        batch, m, n, _ = self.reading.shape
        sharers = self.schedule.sharers
        return batch, -(-m // (self.schedule.m * sharers)) * sharers, -(-n // self.columns)

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
    def stage_bytes(self) -> int:
        return (self.schedule.m + self.schedule.n) * LINE

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


_TEAMS = (
    # rows, consumers, ping-pong, the most columns
    (128, 2, False, 256),
    (256, 2, False, 128),
    (192, 3, False, 192),
    (128, 2, True, 128),
    (64, 2, True, 256),
    (64, 1, False, 256),
)
"""How warpgroups share tiles, with as many columns as their registers can hold sums of."""


def schedules(problem: "Problem", target: Target) -> Iterable[WgmmaSchedule]:
    """Tiles with as many stages as shared memory holds.

    Args:
        problem: the dispatch with any schedule.
    """
    for m, consumers, pingpong, most in _TEAMS:
        step = 16 * len(problem.reading.bands)
        for n in range(step, most + 1, step):
            for cluster in (1, 2):
                other = replace(problem, schedule=WgmmaSchedule(m, n, 2, consumers, pingpong, cluster))
                for whole in _with_stages_and_groups(other, target):
                    yield whole
                    yield from _in_parts(replace(problem, schedule=whole), target)


def _in_parts(problem: "Problem", target: Target) -> Iterable[WgmmaSchedule]:
    """The schedule with tiles in parts, where otherwise multiprocessors would have none."""
    schedule, tiles, steps = problem.schedule, problem.units, problem.steps
    if schedule.pingpong or schedule.cluster > 1 or not isinstance(tiles, int) or not isinstance(steps, int):
        return
    for parts in PARTS:
        if tiles * parts <= target.multiprocessors and steps >= LEAST_STEPS * parts and steps % parts == 0:
            yield replace(schedule, parts=parts)
            yield from _joined_in_clusters(
                replace(problem, schedule=replace(schedule, parts=parts, cluster=parts)), target
            )


def _with_stages_and_groups(problem: "Problem", target: Target) -> Iterable[WgmmaSchedule]:
    schedule, (batch, down, across) = problem.schedule, map(typical, problem.tiles)
    if schedule.pingpong and batch * down * across <= target.multiprocessors:
        return  # a second team would have no tile
    stages = min((target.shared_bytes - problem.fixed_bytes) // problem.stage_bytes, MAX_STAGES)
    for group in (8, 4, 16):
        if group == 8 or down // schedule.sharers > group:
            yield replace(schedule, stages=stages, group=group)


def _joined_in_clusters(problem: "Problem", target: Target) -> Iterable[WgmmaSchedule]:
    """The schedule with fewer stages, where it is legal: received sums take room."""
    stages = min((target.shared_bytes - problem.fixed_bytes) // problem.stage_bytes, MAX_STAGES)
    yield replace(problem.schedule, stages=stages)


def problems_of(problem: Problem, target: Target) -> list[str]:
    """Why the schedule cannot run."""
    s, reading = problem.schedule, problem.reading
    reasons = _broken_shape(s)
    if reasons:
        return reasons
    if problem.shared_bytes > target.shared_bytes:
        reasons.append(f"{problem.shared_bytes} bytes of shared memory, {target.shared_bytes} to be had")
    sides = (("left", reading.left, s.m), ("right", reading.right, problem.columns // s.sharers))
    for (name, operand, rows), box in zip(sides, problem.boxes, strict=True):
        reasons += [f"{name} operand: {why}" for why in operand.matrices.problems(*box)]
        if not operand.along_k and rows % 64:
            reasons.append(f"{name} operand: rows lie side by side, and {rows} are not whole lines of 64")
    if s.parts > 1:
        reasons += _problems_of_parts(problem, target)
    if s.n % (8 * s.sharers * len(reading.bands)):
        reasons.append("a cluster's share of each band of the columns is not whole boxes")
    if max(map(high, reading.shape)) >= 2**31 - 2**16 or high(math.prod(problem.tiles)) >= 2**31:
        reasons.append("more rows, columns or tiles than 32 bits count")
    if low(reading.shape[3]) < 1:
        reasons.append("sums may have nothing to add")
    return reasons


def _problems_of_parts(problem: Problem, target: Target) -> list[str]:
    s, units, steps, parts = problem.schedule, problem.units, problem.all_steps, problem.schedule.parts
    if not isinstance(units, int) or not isinstance(steps, int):
        return ["tiles in parts want sizes that are fixed"]
    reasons = [f"{parts} parts of k are not equal numbers of stages"] if steps % parts else []
    if s.cluster > 1 and units > clusters_at_once(s.cluster, target) * s.cluster:
        reasons.append("more parts than multiprocessors: sums are received once only")
    return reasons + ["32 bits do not count the parts' sums"] * (units * problem.part_bytes >= 2**31)


def _broken_shape(s: WgmmaSchedule) -> list[str]:
    parts = 1 if s.pingpong else s.consumers
    checks = {
        f"a warpgroup's part of {s.m} rows is not a multiple of {ROWS}": s.m % (ROWS * parts) > 0,
        "a warpgroup's sums are more than 128 registers, or 96 with three": parts > 0
        and s.rows * s.n // WARPGROUP > (128 if s.consumers < 3 else 96),
        "columns are not a multiple of 16, or more than 256": s.n % 16 > 0 or not 16 <= s.n <= 256,
        "1 to 3 consumers, 2 for ping-pong": not 1 <= s.consumers <= 3 or (s.pingpong and s.consumers != 2),
        "more than 256 rows": s.m > 256,
        "at least 2 stages": s.stages < 2,
        "clusters of 1, 2, 4 or 8": s.cluster not in (1, 2, 4, 8),
        "a cluster's parts of the columns are not whole boxes": s.n % (8 * s.sharers) > 0,
        "a group of at least 1": s.group < 1,
        "at least 1 part, and more not with ping-pong": s.parts < 1 or (s.parts > 1 and s.pingpong),
        "tiles in parts by clusters of as many blocks, with at most as many consumers, or without": s.parts > 1
        and s.cluster > 1
        and (s.cluster != s.parts or s.consumers > s.parts),
    }
    return [reason for reason, broken in checks.items() if broken]


def box_of(operand: Operand, rows: int, k: int) -> tuple[int, int]:
    """Lines and columns that one copy brings of a tile: all rows, or 64 rows side by side."""
    return (min(rows, 256), k) if operand.along_k else (k, 64)
