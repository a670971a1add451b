"""NVIDIA family `skinny`: a few rows of activations times a large weight, as fast as the weight can be read.

A workgroup sums a few rows of the weight; its warps split k, so that many loads of 16 bytes are under way, and join
their sums in shared memory, always in the same order. What produces the operands is written out where they are read,
what consumes the product where it is stored.
"""

from collections.abc import Callable, Iterable
from typing import ClassVar

from lumir.kernels.dispatch import Dispatch, remembered
from lumir.kernels.nvidia.function import STATIC_SHARED_BYTES, NvidiaKernel
from lumir.kernels.nvidia.skinny_cost import skinny_cost
from lumir.kernels.nvidia.skinny_facts import FEW_ROWS, TILE_ROWS, SkinnyFacts
from lumir.kernels.nvidia.skinny_mma import emit_mma
from lumir.kernels.nvidia.skinny_plan import SkinnyProblem, SkinnySchedule, problem_of
from lumir.kernels.nvidia.skinny_ring import emit_ring
from lumir.kernels.nvidia.skinny_simt import emit_simt
from lumir.kernels.nvidia.skinny_space import schedules, streamed
from lumir.kernels.nvidia.skinny_unpacked import emit_unpacked
from lumir.kernels.nvidia.skinny_wgmma import emit_wgmma
from lumir.schedule.family import KernelCode
from lumir.schedule.schedule import Schedule
from lumir.target import Target

MOST_ACCUMULATORS = 64


class SkinnyFamily:
    name: ClassVar[str] = "skinny"
    schedule: ClassVar[type[Schedule]] = SkinnySchedule

    def match(self, dispatch: Dispatch, target: Target) -> bool:
        """One contraction with few rows, both operands read along k, and all results one element from each sum."""
        facts = SkinnyFacts.of(dispatch)
        if facts is None or dispatch.writes_packed:
            return False
        if facts.space.extent(facts.space.m) <= FEW_ROWS:
            return True
        return any(not self.legal(dispatch, schedule, target) for schedule in streamed(dispatch, facts, target))

    def space(self, dispatch: Dispatch, target: Target) -> Iterable[SkinnySchedule]:
        costs = self._costs(dispatch, target)
        return sorted(costs, key=lambda s: (costs[s], -s.warps, s.split, s.stages))

    def _costs(self, dispatch: Dispatch, target: Target) -> dict[SkinnySchedule, float]:
        """Of every schedule of the space that can run."""

        def compute(dispatch: Dispatch) -> dict[SkinnySchedule, float]:
            legal = (s for s in schedules(dispatch, target) if not self.legal(dispatch, s, target))
            return {schedule: skinny_cost(problem_of(dispatch, schedule, target), target) for schedule in legal}

        return remembered(dispatch, f"skinny_costs_{target.arch}", compute)

    def legal(self, dispatch: Dispatch, schedule: SkinnySchedule, target: Target) -> list[str]:
        problem = problem_of(dispatch, schedule, target)
        mma = schedule.instruction == "mma"
        reasons = []
        if mma and not problem.facts.cores:
            reasons.append("operands are not both f16 or both bf16 with float32 sums")
        if mma and schedule.rows % TILE_ROWS:
            reasons.append(f"a warp's {schedule.rows} rows are not whole tiles of {TILE_ROWS}")
        if not 32 <= schedule.block <= 1024:
            reasons.append(f"a workgroup has 32 to 1024 threads, not {schedule.block}")
        if min(schedule.rows, schedule.warps, schedule.across, schedule.unroll, schedule.split, schedule.resident) < 1:
            reasons.append("rows, warps, across, unroll and split are at least 1")
        if _accumulators(problem) > MOST_ACCUMULATORS:
            reasons.append(f"a thread has up to {MOST_ACCUMULATORS} sums, not {_accumulators(problem)}")
        most = target.shared_bytes // schedule.resident - 1024 if schedule.stages else STATIC_SHARED_BYTES
        if problem.shared_bytes > most:
            reasons.append(f"{problem.shared_bytes} bytes of shared memory, {most} to be had")
        if schedule.instruction == "wgmma":
            reasons += _no_stream(problem, target)
        elif schedule.stages:
            reasons += _no_ring(problem)
        if problem.tiles * schedule.split >= 2**31 or problem.sizes[0] >= 2**16:
            reasons.append("more workgroups than a grid can have")
        if len(problem.facts.bands) > 1:
            reasons += _no_bands(problem)
        if schedule.split > 1 and schedule.instruction != "wgmma":
            reasons.append("only workgroups with wgmma form clusters")
        return reasons

    def cost(self, dispatch: Dispatch, schedule: SkinnySchedule, target: Target) -> float:
        known = self._costs(dispatch, target).get(schedule)
        return skinny_cost(problem_of(dispatch, schedule, target), target) if known is None else known

    def emit(self, dispatch: Dispatch, schedule: SkinnySchedule, target: Target, name: str) -> KernelCode:
        problem = problem_of(dispatch, schedule, target)
        maps = problem.stream.tensor_maps() if schedule.instruction == "wgmma" else ()
        kernel = _emitter(problem)(problem, name)
        cluster, pdl = (schedule.split, 1, 1), problem.programmatic
        return KernelCode(problem.grid, schedule.block, kernel.shared_bytes, tensor_maps=maps, cluster=cluster, pdl=pdl)


def _emitter(problem: SkinnyProblem) -> Callable[[SkinnyProblem, str], NvidiaKernel]:
    if problem.schedule.instruction == "mma":
        return emit_ring if problem.schedule.stages else emit_mma
    if problem.schedule.instruction == "simt":
        return emit_simt
    return emit_wgmma if problem.facts.packed is None else emit_unpacked


def _no_stream(problem: SkinnyProblem, target: Target) -> list[str]:
    """Why wgmma cannot multiply."""
    reasons = [] if target.arch == "sm_90a" else ["the target has no wgmma"]
    return reasons + problem.stream.problems()


def _no_bands(problem: SkinnyProblem) -> list[str]:
    """Why a tile cannot have rows of each band."""
    schedule, bands = problem.schedule, len(problem.facts.bands)
    reasons = []
    if schedule.tile % bands or (schedule.instruction == "wgmma" and problem.columns % 8):
        reasons.append(f"{schedule.tile} rows are not as many of each of {bands} bands")
    if schedule.split > 1:
        reasons.append("a cluster's shares of a tile are of one band")
    if schedule.instruction == "wgmma" and any(len(m.lines) > 1 for m in problem.stream.matrices or ()):
        reasons.append("bands of rows in several runs do not begin with boxes")
    return reasons


def _no_ring(problem: SkinnyProblem) -> list[str]:
    """Why the weight cannot go through rings."""
    reasons, row_bits = [], problem.sizes[3] * problem.weight_bits
    if problem.schedule.instruction != "mma" or problem.schedule.across != 1:
        reasons.append("rings are for tensor cores, and for one group of warps")
    if not problem.programmatic:
        reasons.append("the target has no copy engine")
    if not problem.narrow:
        reasons.append("the weight has too many elements")
    if not problem.facts.contiguous or row_bits % 128:
        reasons.append("a row of the weight is not one run of memory in units of 16 bytes")
    return reasons


def _accumulators(problem: SkinnyProblem) -> int:
    schedule, columns = problem.schedule, problem.sizes[1]
    if schedule.instruction == "wgmma":
        return -(-columns // 8) * 4
    if schedule.instruction == "mma":
        return schedule.rows // TILE_ROWS * -(-columns // 8) * 4
    return schedule.rows * columns
