"""What a tiled contraction costs: a roofline with wave quantisation."""

import math
from typing import TYPE_CHECKING

from lumir.dtypes import byte_size
from lumir.kernels.dispatch import Dispatch, element_of, shape_of
from lumir.target import Target

if TYPE_CHECKING:
    from lumir.kernels.nvidia.contraction import Problem

LAUNCH = 2e-6
_LATENCY = 0.6e-6  # seconds until the first tile has arrived, and as much again to drain
TERAFLOPS = {
    "sm_80": (250, 17, 8), "sm_86": (120, 30, 0.5), "sm_89": (160, 60, 1), "sm_90a": (560, 50, 25),
    "sm_100a": (700, 60, 30), "sm_120": (220, 90, 1.5),
}  # fmt: skip
"""What well-tiled kernels reach by architecture, in 10^12 operations a second: mma.sync on 16 bits, float32, 8-byte types."""
BANDWIDTH = {"sm_80": 1.6e12, "sm_86": 0.8e12, "sm_89": 0.9e12, "sm_90a": 4.0e12, "sm_100a": 6.5e12, "sm_120": 1.6e12}
_SHARED_OF_SM = {"sm_80": 164, "sm_86": 100, "sm_89": 100, "sm_90a": 228, "sm_100a": 228, "sm_120": 100}
_REGISTERS = 65536


def contraction_cost(problem: "Problem", target: Target) -> float:
    """Estimated seconds."""
    schedule, threads = problem.schedule, problem.schedule.threads
    blocks = math.prod(problem.tiles)
    registers = schedule.m * schedule.n * byte_size(problem.space.accumulator) // 4 // threads + 96
    shared = _SHARED_OF_SM[target.arch] * 1024 // (problem.shared_bytes + 1024)
    resident = max(min(shared, _REGISTERS // (registers * threads), 2048 // threads), 1)
    return LAUNCH + max(_compute(problem, target, blocks, resident), traffic(problem.dispatch) / BANDWIDTH[target.arch])


def _compute(problem: "Problem", target: Target, blocks: int, resident: int) -> float:
    """Whole waves of blocks, at the rate that so many warps an SM and so large a warp tile reach."""
    schedule, slots = problem.schedule, target.multiprocessors
    flops = 2 * schedule.m * schedule.n * schedule.k * problem.steps
    tensor, single, double = TERAFLOPS[target.arch]
    peak = tensor if schedule.instruction == "mma" else double if byte_size(problem.space.accumulator) == 8 else single
    per_block = flops / (peak * 1e12 / slots) / _efficiency(problem)
    full, rest = divmod(blocks, slots * resident)
    busy = full * resident + -(-rest // slots)  # blocks that the busiest SM runs, one after the other at full rate
    warps = min(busy, resident) * schedule.warps_m * schedule.warps_n
    return busy * per_block * max(1.0, 6 / warps) + 2 * _LATENCY * (full + (rest > 0))


def _efficiency(problem: "Problem") -> float:
    """Arithmetic per byte that a warp reads from shared memory, against what keeps the multipliers busy."""
    s = problem.schedule
    m, n = s.m / s.warps_m, s.n / s.warps_n
    wanted = 32 if s.instruction == "mma" else 16
    return min(1.0, m * n / (m + n) / wanted) * (0.95 if s.stages * s.k < 96 and s.instruction == "mma" else 1.0)


def traffic(dispatch: Dispatch) -> float:
    """Bytes through device memory: each buffer once."""
    tensors = [*dispatch.arguments, *dispatch.results]
    return sum(math.prod(shape_of(v)) * byte_size(element_of(v)) for v in tensors)
