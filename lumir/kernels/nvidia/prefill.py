"""NVIDIA family `prefill`: attention of many rows on Hopper's tensor cores.

A block has 64 query rows for each of its multiplying warpgroups; another warp copies keys and values by TMA, a few
tiles ahead. A warpgroup starts the next tile's scores and this tile's product with the values, and turns scores into
weights while those run; two warpgroups take turns, so that one multiplies while the other one does its softmax.

Source of the algorithm: Shah, Bikshandi, Zhang, Thakkar, Ramani and Dao, "FlashAttention-3" (2024).
"""

from collections.abc import Iterable
from typing import ClassVar

from lumir.kernels.attention_space import AttentionSpace
from lumir.kernels.dispatch import Dispatch, shape_of
from lumir.kernels.nvidia.attention import FEW_KEYS
from lumir.kernels.nvidia.contraction import tensor_core_type
from lumir.kernels.nvidia.contraction_cost import LAUNCH
from lumir.kernels.nvidia.function import nvidia_kernel
from lumir.kernels.nvidia.mma import use_all_registers
from lumir.kernels.nvidia.prefill_block import PrefillBlock
from lumir.kernels.nvidia.prefill_schedule import REGISTERS, PrefillSchedule, problem_of, reading_of
from lumir.kernels.nvidia.roofline import remembered
from lumir.kernels.push import result_paths
from lumir.schedule.family import KernelCode
from lumir.schedule.schedule import Schedule
from lumir.target import Target

_TERAFLOPS = 690
_FEW_QUERIES = 32  # of a head: a tile has rows of one head alone
_TILE = 1.5e-6  # seconds of a tile in which nothing is multiplied
_BESIDE = 24  # registers that a thread needs beside sums and weights


class PrefillFamily:
    name: ClassVar[str] = "prefill"
    schedule: ClassVar[type[Schedule]] = PrefillSchedule

    def match(self, dispatch: Dispatch, target: Target) -> bool:
        space = remembered(dispatch, "attention_space", AttentionSpace.of)
        if target.arch != "sm_90a" or space is None or dispatch.writes_packed:
            return False
        if result_paths(dispatch, space.second.result) is None or max(space.shape[3:]) > 256:
            return False
        if space.queries < _FEW_QUERIES or space.shape[2] <= FEW_KEYS:
            return False
        kinds = {tensor_core_type(space.first), tensor_core_type(space.second)}
        empty = any(0 in shape_of(v) for v in (*dispatch.arguments, *dispatch.results))
        return not empty and None not in kinds and len(kinds) == 1 and reading_of(dispatch) is not None

    def space(self, dispatch: Dispatch, target: Target) -> Iterable[PrefillSchedule]:
        candidates = [
            PrefillSchedule(groups, n, stages, turns, resident)
            for groups, resident in REGISTERS
            for n in (176, 144, 128, 112, 96, 80, 64)
            for stages in (2, 3)
            for turns in ((True, False) if groups > 1 else (False,))
        ]
        candidates = [c for c in candidates if not self.legal(dispatch, c, target)]
        return sorted(candidates, key=lambda c: self.cost(dispatch, c, target))

    def legal(self, dispatch: Dispatch, schedule: PrefillSchedule, target: Target) -> list[str]:
        problem, s = problem_of(dispatch, schedule), schedule
        if (s.groups, s.resident) not in REGISTERS:
            return [f"warpgroups and blocks of a multiprocessor are one of {', '.join(map(str, REGISTERS))}"]
        if s.n % 16 or not 16 <= s.n <= 256 or s.stages < 1:
            return ["keys are a multiple of 16 up to 256, and there is at least one stage"]
        reasons = []
        if (problem.shared_bytes + 1024) * s.resident > target.shared_bytes + 1024:
            reasons.append(f"{problem.shared_bytes} bytes of shared memory, {target.shared_bytes} to be had")
        held = problem.columns // 2 + s.n // 2 + s.n // 4
        if held + _BESIDE > problem.registers[1]:
            reasons.append(f"a thread holds {held} sums and weights, and has {problem.registers[1]} registers")
        if s.turns and s.groups == 1:
            reasons.append("one warpgroup has no other to take turns with")
        if max(problem.space.shape) >= 2**31 - 2**16 or problem.blocks >= 2**31:
            reasons.append("more rows, keys or tiles than 32 bits count")
        return reasons

    def cost(self, dispatch: Dispatch, schedule: PrefillSchedule, target: Target) -> float:
        """Estimated seconds: waves of tiles, each step at the rate that the schedule reaches, with a start and end."""
        problem, s = problem_of(dispatch, schedule), schedule
        _, _, keys, depth, columns = problem.space.shape
        causal = problem.space.offset is not None
        steps = -(-keys // s.n)
        steps = max(0.5 * (steps + s.m / s.n), 1.0) if causal else steps
        rate = _TERAFLOPS * 1e12 / target.multiprocessors * _efficiency(s)
        tile = steps * 2 * s.m * s.n * (depth + columns) / rate + _TILE / s.resident
        share = problem.blocks / target.multiprocessors
        rounded = share + 0.5 if causal else s.resident * -(-problem.blocks // (target.multiprocessors * s.resident))
        return LAUNCH + tile * max(rounded, 1)

    def emit(self, dispatch: Dispatch, schedule: PrefillSchedule, target: Target, name: str) -> KernelCode:
        problem = problem_of(dispatch, schedule)
        maps = problem.tensor_maps
        with nvidia_kernel(dispatch, name, schedule.threads, tensor_maps=len(maps)) as kernel:
            use_all_registers(schedule.resident)
            PrefillBlock(problem, kernel).write()
        return KernelCode((problem.blocks, 1, 1), schedule.threads, kernel.shared_bytes, tensor_maps=maps, pdl=True)


def _efficiency(s: PrefillSchedule) -> float:
    """The rate against the best schedule's, as measured on an H200 with 128 columns."""
    wide = {176: 0.91, 144: 0.92, 128: 1.0, 112: 0.9, 96: 0.89, 80: 0.84}.get(s.n, min(s.n / 100, 0.8))
    return wide * {1: 0.65 if s.resident == 1 else 0.9, 2: 1.0, 3: 1.05}[s.groups] * (1.0 if s.turns else 0.95)
