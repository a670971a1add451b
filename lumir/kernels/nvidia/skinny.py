"""NVIDIA family `skinny`: a few rows of activations times a large weight, as fast as the weight can be read.

A workgroup sums a few rows of the weight; its warps split k, so that many loads of 16 bytes are under way, and join
their sums in shared memory, always in the same order. What produces the operands is written out where they are read,
what consumes the product where it is stored.
"""

from collections.abc import Iterable
from itertools import product
from typing import ClassVar

from lumir.kernels.dispatch import Dispatch
from lumir.kernels.nvidia.function import STATIC_SHARED_BYTES
from lumir.kernels.nvidia.programmatic import is_programmatic
from lumir.kernels.nvidia.skinny_cost import skinny_cost
from lumir.kernels.nvidia.skinny_facts import TILE_ROWS, SkinnyFacts
from lumir.kernels.nvidia.skinny_mma import emit_mma
from lumir.kernels.nvidia.skinny_plan import SkinnyProblem, SkinnySchedule
from lumir.kernels.nvidia.skinny_ring import emit_ring
from lumir.kernels.nvidia.skinny_simt import emit_simt
from lumir.schedule.family import KernelCode
from lumir.schedule.schedule import Schedule
from lumir.target import Target

MOST_ACCUMULATORS = 64
MOST_WRITTEN_OUT = 128
"""Elements of the weight that one thread multiplies in a turn: the turn's code is as long."""


class SkinnyFamily:
    name: ClassVar[str] = "skinny"
    schedule: ClassVar[type[Schedule]] = SkinnySchedule

    def match(self, dispatch: Dispatch, target: Target) -> bool:
        """One contraction with few rows, both operands read along k, and all results one element from each sum."""
        return SkinnyFacts.of(dispatch) is not None and not dispatch.writes_packed

    def space(self, dispatch: Dispatch, target: Target) -> Iterable[SkinnySchedule]:
        facts = SkinnyFacts.of(dispatch)
        assert facts is not None
        candidates = [s for s in _schedules(facts) if not self.legal(dispatch, s, target)]
        return sorted(candidates, key=lambda s: (self.cost(dispatch, s, target), -s.warps, s.split, s.stages))

    def legal(self, dispatch: Dispatch, schedule: SkinnySchedule, target: Target) -> list[str]:
        problem = _problem(dispatch, schedule, target)
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
        if schedule.stages:
            reasons += _no_ring(problem)
        if problem.tiles * schedule.split >= 2**31 or problem.sizes[0] >= 2**16:
            reasons.append("more workgroups than a grid can have")
        if len(problem.facts.bands) > 1:
            reasons += _no_bands(problem)
        if (schedule.split > 1 or schedule.keep) and not schedule.stages:
            reasons.append("only workgroups that stay form clusters, and keep activations")
        return reasons

    def cost(self, dispatch: Dispatch, schedule: SkinnySchedule, target: Target) -> float:
        return skinny_cost(_problem(dispatch, schedule, target), target)

    def emit(self, dispatch: Dispatch, schedule: SkinnySchedule, target: Target, name: str) -> KernelCode:
        problem = _problem(dispatch, schedule, target)
        emit = emit_ring if schedule.stages else emit_mma if schedule.instruction == "mma" else emit_simt
        kernel = emit(problem, name)
        cluster = (schedule.split, 1, 1)
        return KernelCode(problem.grid, schedule.block, kernel.shared_bytes, cluster=cluster, pdl=problem.programmatic)


def _no_bands(problem: SkinnyProblem) -> list[str]:
    """Why a tile cannot have rows of each band."""
    schedule, bands = problem.schedule, len(problem.facts.bands)
    reasons = []
    if schedule.tile % bands:
        reasons.append(f"{schedule.tile} rows are not as many of each of {bands} bands")
    if schedule.split > 1:
        reasons.append("a cluster's shares of a tile are of one band")
    if schedule.instruction not in ("mma", "simt"):
        reasons.append(f"{schedule.instruction} multiplies rows of one band")
    return reasons


def _no_ring(problem: SkinnyProblem) -> list[str]:
    """Why the weight cannot go through rings."""
    reasons, row_bits = [], problem.sizes[3] * problem.weight_bits
    if problem.schedule.instruction != "mma" or problem.schedule.across != 1:
        reasons.append("rings are for tensor cores, and for one group of warps")
    if not problem.programmatic:
        reasons.append("the target has no copy engine")
    if problem.schedule.split not in (1, 2, 4, 8):
        reasons.append(f"a cluster has 1, 2, 4 or 8 workgroups, not {problem.schedule.split}")
    if not problem.narrow:
        reasons.append("the weight has too many elements")
    if not problem.facts.contiguous or row_bits % 128:
        reasons.append("a row of the weight is not one run of memory in units of 16 bytes")
    return reasons


def _problem(dispatch: Dispatch, schedule: SkinnySchedule, target: Target) -> SkinnyProblem:
    facts = SkinnyFacts.of(dispatch)
    assert facts is not None
    return SkinnyProblem(dispatch, schedule, facts, is_programmatic(target), target.multiprocessors)


def _accumulators(problem: SkinnyProblem) -> int:
    schedule, columns = problem.schedule, problem.sizes[1]
    if schedule.instruction == "mma":
        return schedule.rows // TILE_ROWS * -(-columns // 8) * 4
    return schedule.rows * columns


def _schedules(facts: SkinnyFacts) -> Iterable[SkinnySchedule]:
    if facts.packed is not None:
        # Making real numbers of integers takes as long as reading them: many warps with few registers hide more of it
        # than rings do.
        for (rows, unroll), warps in product(((16, 1), (16, 2), (32, 1)), (1, 2, 4, 8, 16)):
            yield SkinnySchedule("mma", rows, warps, 1, unroll, ahead=16)
        return
    if facts.cores:
        for rows, warps, unroll, split in product((16, 32), (4, 8), (4, 8), (1, 2)):
            for stages, resident in ((2, 1), (3, 1), (4, 1), (2, 2), (3, 2)):
                if rows // TILE_ROWS * unroll * facts.lanes <= MOST_WRITTEN_OUT:
                    yield SkinnySchedule("mma", rows, warps, 1, unroll, split, stages=stages, resident=resident)
        for rows, warps, unroll in product((16, 32), (1, 2, 4, 8, 16), (1, 2, 4)):
            yield SkinnySchedule("mma", rows, warps, 1, unroll)
    if not facts.cores or facts.space.extent(facts.space.m) == 1:
        for rows, warps, across, unroll in product((1, 2, 4), (1, 2, 4, 8), (1, 2, 4, 8, 16), (1, 2)):
            if warps * across in (8, 16):
                yield SkinnySchedule("simt", rows, warps, across, unroll, ahead=8)
