"""NVIDIA family `attention`: scores, softmax and the product with the values in one kernel.

A block has a tile of query rows and runs over the keys with a running softmax; scores never leave the chip. Whatever
the dispatch does to them (scale, mask, soft cap, causality) is written out per element; so are the operands' producers
and the result's consumers.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

from lumir.dtypes import byte_size
from lumir.kernels.attention_space import AttentionSpace
from lumir.kernels.dispatch import Dispatch, element_of, remembered, shape_of
from lumir.kernels.index import Index
from lumir.kernels.nvidia.attention_mma import MmaAttention
from lumir.kernels.nvidia.attention_simt import SimtAttention
from lumir.kernels.nvidia.contraction import tensor_core_type
from lumir.kernels.nvidia.contraction_cost import L2_SPEEDUP, LAUNCH, TERAFLOPS, moved_bytes, resident_blocks
from lumir.kernels.nvidia.contraction_store import Staging, staging_within, store_lanes
from lumir.kernels.nvidia.function import nvidia_kernel
from lumir.kernels.nvidia.mma import WARP, use_all_registers
from lumir.kernels.nvidia.roofline import speeds
from lumir.kernels.nvidia.tiles_plan import OperandPlan, plan_operand, scratch
from lumir.kernels.push import result_paths
from lumir.mlir import ir, llvm
from lumir.schedule.family import KernelCode
from lumir.schedule.schedule import Schedule
from lumir.sizes import Dim, is_static, typical
from lumir.target import Target

FEW_KEYS = 16
"""Up to so many keys a tensor core multiplies zeros for the most part, and the rounding of each weight to the operands'
type shows in the result; with more keys the roundings cancel."""


@dataclass(frozen=True)
class AttentionSchedule(Schedule):
    """Args:
    instruction: "mma" (tensor cores, f16 and bf16) or "simt" (multiply-adds, float32).
    m: query rows of a block.
    n: keys of a step.
    warps: of a block; each has m / warps rows.
    stages: tiles of keys and values in shared memory at once.
    """

    instruction: Literal["mma", "simt"] = "mma"
    m: int = 64
    n: int = 64
    warps: int = 4
    stages: int = 2

    @property
    def threads(self) -> int:
        return self.warps * WARP


@dataclass(frozen=True)
class AttentionProblem:
    """A dispatch and schedule, with what the kernel needs to know of them."""

    dispatch: Dispatch
    schedule: AttentionSchedule
    space: AttentionSpace

    @property
    def stored(self) -> ir.Type:
        """The element type in shared memory."""
        return element_of(self.space.first.operand(0)) if self.schedule.instruction == "mma" else ir.F32Type.get()

    @property
    def depth(self) -> int:
        """The width of query and key tiles: a power of two."""
        return _power_of_two(self.space.shape[3])

    @property
    def columns(self) -> int:
        """The width of value tiles: a power of two, a chunk for each of the SIMT kernel's eight threads of a row."""
        return max(_power_of_two(self.space.shape[4]), 32 if self.schedule.instruction == "simt" else 16)

    @property
    def whole_depth(self) -> int:
        """The depth that is multiplied: whole sixteens."""
        return -(-self.space.shape[3] // 16) * 16

    @property
    def whole_columns(self) -> int:
        return -(-self.space.shape[4] // 16) * 16

    @property
    def row_tiles(self) -> Dim:
        return -(-self.space.shape[1] // self.schedule.m)

    @cached_property
    def plans(self) -> tuple[OperandPlan, OperandPlan, OperandPlan]:
        """How queries, keys and values are read; the SIMT kernel wants queries along their depth.

        Values of which a part counts are read along their columns: lanes are of one key.
        """
        first, second = self.space.first, self.space.second
        columns = (False,) if self.space.band.length is not None else (True, False)
        directions = (True,) if self.schedule.instruction == "simt" else (True, False)
        return (
            plan_operand(self.dispatch, first, first.lhs, self.stored, directions),
            plan_operand(self.dispatch, first, first.rhs, self.stored),
            plan_operand(self.dispatch, second, second.rhs, self.stored, columns),
        )

    @cached_property
    def lanes(self) -> int:
        return store_lanes(self.dispatch, self.space.second)

    @cached_property
    def score_lanes(self) -> int:
        """Neighbouring keys whose scores are computed at once."""
        lanes = 2 if self.schedule.instruction == "mma" else 1
        keys = self.space.shape[2]
        return lanes if keys % lanes == 0 and not scores_scatter(self.dispatch, self.space, lanes) else 1

    @property
    def pipeline_bytes(self) -> int:
        s = self.schedule
        weights = s.m * s.n if s.instruction == "simt" else 0
        elements = s.m * self.depth + s.stages * s.n * (self.depth + self.columns) + weights
        return elements * byte_size(self.stored)

    @cached_property
    def staging(self) -> Staging:
        s = self.schedule
        groups, most = (s.warps, s.m // s.warps // 16) if s.instruction == "mma" else (1, s.m * 8 // s.threads)
        return staging_within(self.pipeline_bytes, (s.m, self.columns), groups, most, 4)

    @property
    def shared_bytes(self) -> int:
        return max(self.pipeline_bytes, self.staging.size(4))

    @property
    def registers(self) -> int:
        """Of a thread, roughly."""
        s = self.schedule
        return s.m * (self.whole_columns + s.n) // s.threads + 80

    @property
    def blocks(self) -> Dim:
        return self.space.shape[0] * self.row_tiles


class AttentionFamily:
    name: ClassVar[str] = "attention"
    schedule: ClassVar[type[Schedule]] = AttentionSchedule
    symbolic: ClassVar[bool] = True

    def match(self, dispatch: Dispatch, target: Target) -> bool:
        space = remembered(dispatch, "attention_space", AttentionSpace.of)
        if space is None or result_paths(dispatch, space.second.result) is None:
            return False
        if not all(is_static(width) and width <= 256 for width in space.shape[3:]):
            return False
        sums = {space.first.accumulator, space.second.accumulator}
        empty = any(0 in shape_of(v) for v in (*dispatch.arguments, *dispatch.results))
        return sums == {ir.F32Type.get()} and not empty and not dispatch.writes_packed

    def space(self, dispatch: Dispatch, target: Target) -> Iterable[AttentionSchedule]:
        space = _space(dispatch)
        instruction = "mma" if _on_tensor_cores(space) and typical(space.shape[2]) > FEW_KEYS else "simt"
        tiles = [
            (128, 64, 4),
            (64, 64, 4),
            (128, 64, 8),
            (128, 32, 4),
            (64, 32, 4),
            (32, 64, 2),
            (16, 64, 1),
            (16, 32, 1),
        ]
        if instruction == "simt":
            tiles = [(128, 32, 4), (64, 32, 4), (64, 64, 4), (32, 32, 4), (32, 64, 4), (16, 32, 4)]
        candidates = [AttentionSchedule(instruction, m, n, warps, stages) for m, n, warps in tiles for stages in (2, 3)]
        candidates = [c for c in candidates if not self.legal(dispatch, c, target)]
        return sorted(candidates, key=lambda c: self.cost(dispatch, c, target))

    def legal(self, dispatch: Dispatch, schedule: AttentionSchedule, target: Target) -> list[str]:
        problem = AttentionProblem(dispatch, schedule, _space(dispatch))
        reasons = (_illegal_mma if schedule.instruction == "mma" else _illegal_simt)(problem)
        if problem.shared_bytes > target.shared_bytes:
            reasons.append(f"{problem.shared_bytes} bytes of shared memory, {target.shared_bytes} to be had")
        chunk = 16 // byte_size(problem.stored)
        tiles = ((schedule.m, problem.depth), (schedule.n, problem.depth), (schedule.n, problem.columns))
        for rows, width in tiles:
            if rows * width // chunk % schedule.threads:
                reasons.append(
                    f"a {rows}x{width} tile is not whole 16-byte chunks for each of {schedule.threads} threads"
                )
        return reasons

    def cost(self, dispatch: Dispatch, schedule: AttentionSchedule, target: Target) -> float:
        return _cost(AttentionProblem(dispatch, schedule, _space(dispatch)), target)

    def emit(self, dispatch: Dispatch, schedule: AttentionSchedule, target: Target, name: str) -> KernelCode:
        problem = AttentionProblem(dispatch, schedule, _space(dispatch))
        with nvidia_kernel(dispatch, name, schedule.threads) as kernel:
            use_all_registers()
            (MmaAttention if schedule.instruction == "mma" else SimtAttention)(problem, kernel).write()
        return KernelCode((problem.blocks, 1, 1), schedule.threads, kernel.shared_bytes)


def _space(dispatch: Dispatch) -> AttentionSpace:
    space = remembered(dispatch, "attention_space", AttentionSpace.of)
    assert space is not None
    return space


def _power_of_two(size: int) -> int:
    return max(1 << (size - 1).bit_length(), 16)


def _on_tensor_cores(space: AttentionSpace) -> bool:
    first, second = tensor_core_type(space.first), tensor_core_type(space.second)
    return first is not None and first == second


def _illegal_mma(problem: AttentionProblem) -> list[str]:
    s, reasons = problem.schedule, []
    if not _on_tensor_cores(problem.space):
        reasons.append("operands are not all f16 or all bf16 with float32 sums")
    if s.m % (16 * s.warps) or s.n % 16 or s.stages < 2:
        reasons.append("m must be a multiple of 16 a warp, n of 16, and stages at least 2")
    elif s.m // s.warps * (problem.whole_columns + s.n) // WARP > 144:
        reasons.append("a thread's sums need more than 144 registers")
    return reasons


def _illegal_simt(problem: AttentionProblem) -> list[str]:
    s = problem.schedule
    rows = s.m * 8 // s.threads
    if s.m * 8 % s.threads or s.n % 32 or s.stages < 2 or rows < 1:
        return ["m must be whole rows for each eight threads, n a multiple of 32, and stages at least 2"]
    if rows * (problem.columns + s.n) // 8 > 112:
        return ["a thread's sums need more than 112 registers"]
    return []


def scores_scatter(dispatch: Dispatch, space: AttentionSpace, lanes: int) -> bool:
    """Whether scores of so many neighbouring keys cannot be computed side by side."""
    with scratch(dispatch, lanes) as (evaluator, position):
        total = llvm.PoisonOp(ir.VectorType.get([lanes], ir.F32Type.get())).result
        evaluator.bind(space.first.result, lambda _: total)
        key = Index(position, 1, lanes)
        place = space.score_place(evaluator.index, Index(position), Index(position), key)
        return not isinstance(evaluator.at(space.scores, place).type, ir.VectorType) or evaluator.memory.scattered > 0


def _cost(problem: AttentionProblem, target: Target) -> float:
    """Estimated seconds: blocks spread over the multiprocessors, at the rate that so many warps reach; or traffic."""
    s, space = problem.schedule, problem.space
    _, rows, keys, _, _ = map(typical, space.shape)
    blocks = typical(problem.blocks)
    tensor, single, _ = TERAFLOPS[target.arch]
    peak = (tensor * 0.7 if s.instruction == "mma" else single * 0.6) * 1e12 / target.multiprocessors
    visited = keys if space.band.last is None else keys * min(1.0, 0.5 + s.m / (2 * rows))
    if space.band.first is not None and space.band.last is not None:
        visited = min(visited, typical(space.band.last - space.band.first) + s.m + s.n)
    width = problem.depth + problem.columns
    block = 2 * s.m * visited * width / peak
    share = max(blocks / target.multiprocessors, 1.0)  # blocks of one multiprocessor
    at_once = min(share, resident_blocks(target, s.threads, problem.shared_bytes, problem.registers))
    warps = at_once * s.warps
    reuse = _efficiency(s)
    compute = share * block / reuse / min(1.0, warps / 8) + visited / s.n * 0.3e-6 + 1e-6
    fetched = blocks * visited * width * byte_size(problem.stored)
    memory = max(moved_bytes(problem.dispatch), fetched / L2_SPEEDUP) / speeds(target).bytes
    return LAUNCH + max(compute, memory) + 0.05 * blocks * block / target.multiprocessors


def _efficiency(s: AttentionSchedule) -> float:
    """The rate against the best tile's, as measured on an H200: barriers of many warps and narrow tiles cost."""
    rows = s.m / s.warps
    if s.instruction == "simt":
        return min(1.0, rows / 16) ** 0.6 * (0.8 if s.n > 32 else 1.0) * (0.8 if rows > 16 else 1.0)
    return min(1.0, rows / 32) ** 0.15 * min(1.0, s.n / 64) ** 0.25 * (0.8 if s.warps > 4 else 1.0)
