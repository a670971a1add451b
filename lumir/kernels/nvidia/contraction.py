"""NVIDIA family `contraction`: matrix products and convolutions, by tensor cores (`mma.sync`) or by register tiles.

A block computes a tile of [m, n] for one batch index: tiles of both operands go through shared memory, a few stages
ahead of the arithmetic. What produces the operands is written out where the tiles are filled; what consumes the
product, where it is stored.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

from lumir.dtypes import byte_size
from lumir.kernels.contraction_space import ContractionSpace, contraction_of
from lumir.kernels.dispatch import Dispatch, element_of, remembered, shape_of
from lumir.kernels.nvidia.contraction_cost import contraction_cost
from lumir.kernels.nvidia.contraction_mma import emit_mma
from lumir.kernels.nvidia.contraction_simt import MicroTile, emit_simt
from lumir.kernels.nvidia.contraction_store import Staging, staging_within, store_lanes
from lumir.kernels.nvidia.mma import CHUNK_BYTES, WARP
from lumir.kernels.nvidia.tiles_plan import OperandPlan, plan_operand
from lumir.kernels.push import result_paths
from lumir.mlir import ir
from lumir.schedule.family import KernelCode
from lumir.schedule.schedule import Schedule
from lumir.sizes import Dim, high
from lumir.target import Target


@dataclass(frozen=True)
class ContractionSchedule(Schedule):
    """How the product is tiled.

    Args:
        instruction: "mma" (tensor cores: f16, bf16, bytes) or "simt" (multiply-adds on any type).
        m, n, k: a block's tile.
        warps_m, warps_n: how its warps share the tile.
        stages: tiles of k in shared memory at once.
        group: tile rows that run together, so that their operands stay in the L2 cache.
    """

    instruction: Literal["mma", "simt"] = "simt"
    m: int = 64
    n: int = 64
    k: int = 16
    warps_m: int = 2
    warps_n: int = 2
    stages: int = 2
    group: int = 8

    @property
    def threads(self) -> int:
        return self.warps_m * self.warps_n * WARP


@dataclass(frozen=True)
class Reading:
    """How a dispatch's contraction is oriented, read and stored.

    Args:
        stored: the element type of operands in shared memory.
        plans: how the left and the right operand are read.
        lanes: neighbouring columns that are stored at once.
    """

    space: ContractionSpace
    stored: ir.Type
    plans: tuple[OperandPlan, OperandPlan]
    lanes: int

    @staticmethod
    def of(dispatch: Dispatch, space: ContractionSpace, tensor_cores: bool) -> "Reading":
        stored = element_of(space.operand(0)) if tensor_cores else space.accumulator
        # ldmatrix turns 16-bit numbers around, and no bytes: those must lie along k.
        directions = (True,) if stored != space.accumulator and byte_size(stored) == 1 else (True, False)
        left, right = (plan_operand(dispatch, space, number, stored, directions) for number in (space.lhs, space.rhs))
        return Reading(space, stored, (left, right), store_lanes(dispatch, space))


@dataclass(frozen=True)
class Problem:
    """A dispatch and schedule, with what both kinds of kernel need to know of them."""

    dispatch: Dispatch
    schedule: ContractionSchedule
    reading: Reading

    @property
    def space(self) -> ContractionSpace:
        return self.reading.space

    @property
    def stored(self) -> ir.Type:
        return self.reading.stored

    @property
    def plans(self) -> tuple[OperandPlan, OperandPlan]:
        return self.reading.plans

    @property
    def lanes(self) -> int:
        return self.reading.lanes

    @property
    def stage_bytes(self) -> int:
        return (self.schedule.m + self.schedule.n) * self.schedule.k * byte_size(self.stored)

    @property
    def pipeline_bytes(self) -> int:
        return self.stage_bytes * self.schedule.stages

    @cached_property
    def staging(self) -> Staging:
        s = self.schedule
        element_bytes = byte_size(self.space.accumulator)
        groups, most = (s.warps_m, s.m // s.warps_m // 16) if s.instruction == "mma" else (1, self._thread_chunks)
        return staging_within(self.pipeline_bytes, (s.m, s.n), groups, most, element_bytes)

    @property
    def _thread_chunks(self) -> int:
        return MicroTile.of(self.schedule).rows * byte_size(self.space.accumulator) // 16

    @property
    def shared_bytes(self) -> int:
        return max(self.pipeline_bytes, self.staging.size(byte_size(self.space.accumulator)))

    @property
    def tiles(self) -> tuple[Dim, Dim, Dim]:
        """Batches, tiles of m, tiles of n."""
        batch, m, n, _ = self.space.shape
        return batch, -(-m // self.schedule.m), -(-n // self.schedule.n)

    @property
    def steps(self) -> Dim:
        """Tiles of k."""
        return -(-self.space.extent(self.space.k) // self.schedule.k)


def problem_of(dispatch: Dispatch, schedule: ContractionSchedule) -> Problem:
    """The schedule on the best orientation, which is looked for once a dispatch."""
    cores = schedule.instruction == "mma"
    return Problem(dispatch, schedule, remembered(dispatch, f"contraction_{cores}", lambda d: _best_reading(d, cores)))


def _best_reading(dispatch: Dispatch, tensor_cores: bool) -> Reading:
    """The order of k that is least effort to read; rows for columns where that makes wider stores."""
    space = contraction_of(dispatch)
    assert space is not None
    readings = [Reading.of(dispatch, order, tensor_cores) for order in space.summation_orders()]
    best = min(readings, key=lambda reading: sum(plan.effort for plan in reading.plans))
    if best.lanes > 1:
        return best
    turned = Reading.of(dispatch, best.space.swapped(), tensor_cores)
    return turned if turned.lanes > best.lanes else best


class ContractionFamily:
    name: ClassVar[str] = "contraction"
    schedule: ClassVar[type[Schedule]] = ContractionSchedule
    symbolic: ClassVar[bool] = True

    def match(self, dispatch: Dispatch, target: Target) -> bool:
        """One multiply-add reduction of plain numbers, all whose results follow from it element by element."""
        space = contraction_of(dispatch)
        if space is None or dispatch.writes_packed or result_paths(dispatch, space.result) is None:
            return False
        if not all(_is_plain(element_of(v)) for v in (*space.nest.inputs, space.result)):
            return False
        return all(0 not in shape_of(v) for v in (*dispatch.arguments, *dispatch.results))

    def contested(self, dispatch: Dispatch) -> bool:
        """Products of one row or column, of which a tile shares nothing; such as a depthwise convolution's."""
        space = contraction_of(dispatch)
        return space is not None and 1 in space.shape[1:3]

    def space(self, dispatch: Dispatch, target: Target) -> Iterable[ContractionSchedule]:
        """All legal tiles, by estimated time."""
        costs = _costs(dispatch, target)
        return sorted(costs, key=costs.__getitem__)

    def legal(self, dispatch: Dispatch, schedule: ContractionSchedule, target: Target) -> list[str]:
        return list(_problems_of(dispatch, schedule, target))

    def cost(self, dispatch: Dispatch, schedule: ContractionSchedule, target: Target) -> float:
        known = _costs(dispatch, target).get(schedule)
        return contraction_cost(problem_of(dispatch, schedule), target) if known is None else known

    def emit(self, dispatch: Dispatch, schedule: ContractionSchedule, target: Target, name: str) -> KernelCode:
        problem = problem_of(dispatch, schedule)
        kernel = (emit_mma if schedule.instruction == "mma" else emit_simt)(problem, name)
        return KernelCode((math.prod(problem.tiles), 1, 1), schedule.threads, kernel.shared_bytes)


def _costs(dispatch: Dispatch, target: Target) -> dict[ContractionSchedule, float]:
    """Of every schedule of the space that can run."""

    def compute(dispatch: Dispatch) -> dict[ContractionSchedule, float]:
        space = contraction_of(dispatch)
        assert space is not None
        candidates = [*_mma_schedules()] if runs_on_tensor_cores(space) else []
        candidates += [] if tensor_core_type(space) else _simt_schedules(space)
        legal = (schedule for schedule in candidates if not any(_problems_of(dispatch, schedule, target)))
        return {schedule: contraction_cost(problem_of(dispatch, schedule), target) for schedule in legal}

    return remembered(dispatch, f"contraction_costs_{target.arch}", compute)


def _problems_of(dispatch: Dispatch, schedule: ContractionSchedule, target: Target) -> Iterator[str]:
    """Why the schedule cannot run; a search asks for the first reason only."""
    space = contraction_of(dispatch)
    assert space is not None
    check = _illegal_mma if schedule.instruction == "mma" else _illegal_simt
    if reasons := check(space, schedule):
        yield from reasons
        return
    problem = problem_of(dispatch, schedule)
    if schedule.instruction == "mma" and min(plan.lanes * byte_size(problem.stored) for plan in problem.plans) < 2:
        yield "an operand's bytes do not lie side by side along k"
    if problem.shared_bytes > target.shared_bytes:
        yield f"{problem.shared_bytes} bytes of shared memory, {target.shared_bytes} to be had"
    if high(math.prod(problem.tiles)) >= 2**31:
        yield "more blocks than a grid can have"


def _is_plain(type_: ir.Type) -> bool:
    """Integers of whole bytes and floats that have arithmetic of their own."""
    if isinstance(type_, ir.IntegerType):
        return type_.width >= 8
    return isinstance(type_, (ir.F16Type, ir.BF16Type, ir.F32Type, ir.F64Type))


def tensor_core_type(space: ContractionSpace) -> ir.Type | None:
    """The operands' type where mma.sync multiplies it: both f16 or both bf16, summed in f32."""
    kinds = {element_of(space.operand(number)) for number in (0, 1)}
    narrow = {ir.F16Type.get(), ir.BF16Type.get()}
    return kinds.pop() if len(kinds) == 1 and kinds <= narrow and space.accumulator == ir.F32Type.get() else None


def runs_on_tensor_cores(space: ContractionSpace) -> bool:
    return tensor_core_type(space) is not None or space.multiplies_bytes


def _mma_schedules() -> Iterable[ContractionSchedule]:
    tiles = [
        (256, 128, 4, 2), (128, 256, 2, 4), (128, 128, 2, 2), (128, 64, 2, 2), (64, 128, 2, 2), (64, 64, 2, 2),
        (128, 32, 4, 1), (32, 128, 1, 4), (64, 32, 2, 2), (32, 64, 1, 4), (32, 32, 2, 2), (16, 64, 1, 4),
        (64, 16, 4, 1),
    ]  # fmt: skip
    for m, n, warps_m, warps_n in tiles:
        for k, stages in ((64, 3), (64, 4), (64, 6), (32, 4), (32, 3), (64, 2), (32, 2), (128, 3), (128, 4)):
            yield ContractionSchedule("mma", m, n, k, warps_m, warps_n, stages)


def _illegal_mma(space: ContractionSpace, s: ContractionSchedule) -> list[str]:
    reasons = [] if runs_on_tensor_cores(space) else ["operands are not both f16, both bf16 or both bytes"]
    chunk = CHUNK_BYTES // byte_size(element_of(space.operand(0)))
    if s.m % (16 * s.warps_m) or s.n % (16 * s.warps_n):
        reasons.append(f"a warp's part of {s.m}x{s.n} is not whole 16x16 tiles")
    if s.k % (2 * chunk) or s.stages < 2:
        reasons.append(f"k must be a multiple of {2 * chunk}, and stages at least 2")
    for rows in (s.m, s.n):
        if rows * s.k // chunk % s.threads:
            reasons.append(f"a {rows}x{s.k} tile is not whole 16-byte chunks for each of {s.threads} threads")
    return reasons


def _simt_schedules(space: ContractionSpace) -> Iterable[ContractionSchedule]:
    wide = byte_size(space.accumulator) == 8
    tiles = [(64, 64), (64, 32), (32, 64)] if wide else [(128, 128), (128, 64), (64, 128), (64, 64), (32, 64), (64, 32)]
    for m, n in tiles:
        for k in (16, 32):
            for warps_m, warps_n in ((4, 2), (2, 2)):
                yield ContractionSchedule("simt", m, n, k, warps_m, warps_n, 2)


def _illegal_simt(space: ContractionSpace, s: ContractionSchedule) -> list[str]:
    chunk = 16 // byte_size(space.accumulator)
    micro = MicroTile.of(s)
    reasons = []
    if (
        micro.rows * micro.down != s.m
        or micro.columns * micro.across != s.n
        or micro.rows % chunk
        or micro.columns % chunk
    ):
        reasons.append(f"a thread's part of {s.m}x{s.n} is not whole chunks of {chunk}")
    elif not 16 <= micro.rows * micro.columns * byte_size(space.accumulator) // 4 <= 64:
        reasons.append("a thread's accumulators are fewer than 16 or more than 64 registers")
    if s.k % chunk or s.stages < 2:
        reasons.append(f"k must be a multiple of {chunk}, and stages at least 2")
    for rows in (s.m, s.n):
        if rows * s.k // chunk % s.threads:
            reasons.append(f"a {rows}x{s.k} tile is not whole 16-byte chunks for each of {s.threads} threads")
    return reasons
