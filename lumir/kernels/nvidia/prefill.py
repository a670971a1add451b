"""NVIDIA family `prefill`: attention of many rows on Hopper's tensor cores.

A block has 64 query rows for each of its multiplying warpgroups; another warp copies keys and values by TMA, a few
tiles ahead. A warpgroup starts the next tile's scores and this tile's product with the values, and turns scores into
weights while those run; two warpgroups take turns, so that one multiplies while the other one does its softmax.

Source of the algorithm: Shah, Bikshandi, Zhang, Thakkar, Ramani and Dao, "FlashAttention-3" (2024).
"""

import math
from collections.abc import Iterable
from typing import ClassVar

from lumir.kernels.attention_mask import Band
from lumir.kernels.attention_space import AttentionSpace
from lumir.kernels.dispatch import Dispatch, remembered, shape_of
from lumir.kernels.nvidia.attention import FEW_KEYS
from lumir.kernels.nvidia.contraction import tensor_core_type
from lumir.kernels.nvidia.contraction_cost import LAUNCH
from lumir.kernels.nvidia.function import nvidia_kernel
from lumir.kernels.nvidia.mma import use_all_registers
from lumir.kernels.nvidia.prefill_block import PrefillBlock
from lumir.kernels.nvidia.prefill_schedule import REGISTERS, PrefillProblem, PrefillSchedule, problem_of, reading_of
from lumir.kernels.nvidia.wgmma import ROWS
from lumir.kernels.push import result_paths
from lumir.schedule.family import KernelCode
from lumir.schedule.schedule import Schedule
from lumir.sizes import high, is_static, low, typical
from lumir.target import Target

_FEW_QUERIES = 32  # of a head: a tile has rows of one head alone
# Fitted to 120 measurements on an H200: 128 to 16384 tokens, heads of 64, 96, 128 and 256.
_STEP, _STEP_WIDTH, _STEP_KEY = 0.02e-6, 0.97e-9, 4.1e-9  # seconds of a step, for each element of a row, for each key
_TILE, _TILE_KEY = 0.5e-6, 5e-9  # seconds of a tile in which nothing overlaps, and for each key of a step
_PEAK = 800e12  # operations a second of the tensor cores
_BESIDE, _BESIDE_GENERAL = 32, 40  # registers that a thread needs beside sums and weights; for general scores


class PrefillFamily:
    name: ClassVar[str] = "prefill"
    schedule: ClassVar[type[Schedule]] = PrefillSchedule
    symbolic: ClassVar[bool] = True

    def match(self, dispatch: Dispatch, target: Target) -> bool:
        space = remembered(dispatch, "attention_space", AttentionSpace.of)
        if target.arch != "sm_90a" or space is None or dispatch.writes_packed:
            return False
        _, _, keys, depth, columns = space.shape
        if result_paths(dispatch, space.second.result) is None or not (is_static(depth) and is_static(columns)):
            return False
        if max(depth, columns) > 256 or typical(space.queries) < _FEW_QUERIES or typical(keys) <= FEW_KEYS:
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
        reasons = problem.broken_boxes()
        if (problem.shared_bytes + 1024) * s.resident > target.shared_bytes + 1024:
            reasons.append(f"{problem.shared_bytes} bytes of shared memory, {target.shared_bytes} to be had")
        held = problem.columns // 2 + s.n // 2 + s.n // 4
        if held + (_BESIDE if problem.scale is not None else _BESIDE_GENERAL) > problem.registers[1]:
            reasons.append(f"a thread holds {held} sums and weights, and has {problem.registers[1]} registers")
        if s.turns and s.groups == 1:
            reasons.append("one warpgroup has no other to take turns with")
        if max(map(high, problem.space.shape)) >= 2**31 - 2**16 or high(problem.blocks) >= 2**31:
            reasons.append("more rows, keys or tiles than 32 bits count")
        if low(problem.space.shape[2]) < 1:
            reasons.append("there may be no keys")
        return reasons

    def cost(self, dispatch: Dispatch, schedule: PrefillSchedule, target: Target) -> float:
        """Estimated seconds: a multiprocessor's steps, at the rate of as many warpgroups as it has, and tiles' ends."""
        problem, s = problem_of(dispatch, schedule), schedule
        band = problem.space.band
        blocks = typical(problem.blocks)
        at_once = min(s.resident, -(-blocks // target.multiprocessors))
        tiles = blocks / target.multiprocessors
        tiles = tiles + 0.5 * at_once if band.last is not None else at_once * math.ceil(tiles / at_once)
        steps = _steps(problem)
        step = _step_seconds(problem, at_once * s.groups, target)
        return LAUNCH + tiles * (steps * s.groups * step + (_TILE + _TILE_KEY * s.n) / at_once)

    def emit(self, dispatch: Dispatch, schedule: PrefillSchedule, target: Target, name: str) -> KernelCode:
        problem = problem_of(dispatch, schedule)
        maps = problem.tensor_maps
        with nvidia_kernel(dispatch, name, schedule.threads, tensor_maps=len(maps)) as kernel:
            use_all_registers(schedule.resident)
            PrefillBlock(problem, kernel).write()
        return KernelCode((problem.blocks, 1, 1), schedule.threads, kernel.shared_bytes, tensor_maps=maps, pdl=True)


def _steps(problem: PrefillProblem) -> float:
    """Of a tile, on average."""
    keys, band, s = typical(problem.space.shape[2]), problem.space.band, problem.schedule
    steps = -(-keys // s.n)
    if band == Band():
        return steps
    seen = 0.5 * keys
    if band.first is not None and band.last is not None:
        seen = min(typical(band.last - band.first) + 1, seen)
    return min(max((seen + 0.5 * s.m) / s.n + (band.first is not None), 1.0), steps)


def _step_seconds(problem: PrefillProblem, warpgroups: int, target: Target) -> float:
    """Of a multiprocessor, for a step of one of so many warpgroups: less of its softmax shows the more there are."""
    s = problem.schedule
    width = sum(problem.space.shape[3:])
    softmax = _STEP + _STEP_WIDTH * width + _STEP_KEY * s.n
    softmax *= {1: 1.0 + 0.0043 * s.n, 2: 1.0, 3: 0.81}.get(warpgroups, 0.75)
    softmax *= 1.15 if s.n > 128 else 1.1 if s.groups > 2 and width > 128 else 1.0  # registers are short
    softmax *= 1.07 if s.groups > 1 and not s.turns else 1.0
    softmax *= 1.4 if problem.scale is None else 1.0
    products = 2 * ROWS * s.n * width * target.multiprocessors / _PEAK
    return max(softmax, products)
