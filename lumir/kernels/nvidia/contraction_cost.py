"""What a tiled contraction costs: a roofline with wave quantisation."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from lumir.dtypes import byte_size
from lumir.kernels.dispatch import Dispatch, element_of, remembered, shape_of
from lumir.kernels.nvidia.roofline import speeds
from lumir.kernels.windows import read_shares
from lumir.sizes import typical
from lumir.target import Target

if TYPE_CHECKING:
    from lumir.kernels.nvidia.contraction import Problem

LAUNCH = 1e-6
"""Seconds that a kernel costs beside its work, as one of many in a CUDA graph."""
TERAFLOPS = {
    "sm_80": (250, 17, 8),
    "sm_86": (120, 30, 0.5),
    "sm_89": (160, 60, 1),
    "sm_90a": (460, 45, 22),
    "sm_100a": (500, 60, 30),
    "sm_120": (220, 90, 1.5),
}
"""What well-tiled kernels reach, in 10^12 operations a second: mma.sync on 16 bits, float32, 8-byte types.

sm_90a was measured on an H200; the others are estimates.
"""
L2_SPEEDUP = 1.5
"""Bandwidth of the L2 cache against device memory's."""
_SHARED_OF_SM = {"sm_80": 164, "sm_86": 100, "sm_89": 100, "sm_90a": 228, "sm_100a": 228, "sm_120": 100}  # KiB
_REGISTERS = 65536
# Fitted to 87 float16 products on an H200, 128x768x768 to 4096x4096x4096 with 13 tiles; the estimates are within 12 %.
_WAVE = 0.6e-6  # seconds to fill the pipeline and to store the result, for each wave of blocks
_STEP, _STEP_K = 68e-9, 0.69e-9  # of a step that no arithmetic of the same block hides: fixed, and for each k
_STEP_SHARED = 72e-9  # of a step that nothing hides
_FETCH = 0.68e-6  # from the start of a copy to its data, under load
_EFFORT = 0.04e-9  # seconds of a multiprocessor for one `OperandPlan.effort` of an element


def contraction_cost(problem: "Problem", target: Target) -> float:
    """Estimated seconds."""
    schedule = problem.schedule
    registers = schedule.m * schedule.n * byte_size(problem.space.accumulator) // 4 // schedule.threads + 90
    resident = resident_blocks(target, schedule.threads, problem.shared_bytes, registers)
    full, rest = divmod(typical(math.prod(problem.tiles)), target.multiprocessors * resident)
    step = _step_seconds(problem, target)
    seconds = full * step(resident) + (step(-(-rest // target.multiprocessors)) if rest else 0)
    compute = seconds * typical(problem.steps) + _WAVE * (full + (rest > 0))
    memory = remembered(problem.dispatch, "contraction_bytes", moved_bytes) / speeds(target).bytes
    return LAUNCH + max(compute, memory) + 0.1 * min(compute, memory)


def resident_blocks(target: Target, threads: int, shared_bytes: int, registers: int) -> int:
    """Blocks that a multiprocessor holds at once."""
    shared = _SHARED_OF_SM[target.arch] * 1024 // (shared_bytes + 1024)
    return max(min(shared, _REGISTERS // (min(registers, 255) * threads), 2048 // threads), 1)


def _step_seconds(problem: "Problem", target: Target) -> Callable[[int], float]:
    """How long a step along k takes on a multiprocessor that runs so many blocks side by side."""
    s, slots = problem.schedule, target.multiprocessors
    tensor, single, double = TERAFLOPS[target.arch]
    peak = tensor if s.instruction == "mma" else double if byte_size(problem.space.accumulator) == 8 else single
    compute = 2 * s.m * s.n * s.k / (peak * 1e12 / slots) / _efficiency(problem)
    fetch, hidden = _FETCH / (s.stages - 1), True
    for rows, plan in zip((s.m, s.n), problem.plans, strict=True):
        hidden = hidden and plan.asynchronous
        compute += rows * s.k * max(plan.effort - 0.5, 0) * _EFFORT / 8
    alone = compute / min(1.0, s.warps_m * s.warps_n / 4) + _STEP + _STEP_K * s.k + (0 if hidden else _FETCH)
    return lambda blocks: max(blocks * compute + _STEP_SHARED, alone, fetch)


def _efficiency(problem: "Problem") -> float:
    """The rate of a warp's tile against the best: reads from shared memory for each multiplication, as measured."""
    s = problem.schedule
    m, n = s.m / s.warps_m, s.n / s.warps_n
    return min(1.0, (m * n / (m + n) / (32 if s.instruction == "mma" else 16)) ** 0.6)


def moved_bytes(dispatch: Dispatch) -> float:
    """Through device memory: each buffer once, or what windows that lie apart read of it."""
    tensors, shares = (*dispatch.arguments, *dispatch.results), read_shares(dispatch)
    return sum(typical(math.prod(shape_of(v))) * byte_size(element_of(v)) * shares.get(v, 1.0) for v in tensors)
