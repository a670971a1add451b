"""NVIDIA family `decode`: attention of few rows against many keys, the keys split over the multiprocessors.

Few query rows cannot fill a GPU, and every key and value is read once: the time is that of reading them. The query
heads that share a key head are the rows of one product, so that their keys are read once. Blocks take parts of the
keys; the last one to finish a batch joins what the others left in the workspace.

Source of the algorithm: Dao, Haziza, Massa and Sizov, "Flash-Decoding for long-context inference" (2023).
"""

from collections.abc import Iterable
from typing import ClassVar

from lumir.dtypes import byte_size
from lumir.kernels.attention_space import AttentionSpace
from lumir.kernels.dispatch import Dispatch, remembered, shape_of
from lumir.kernels.nvidia.attention import FEW_KEYS
from lumir.kernels.nvidia.attention_tma import LINE_ELEMENTS
from lumir.kernels.nvidia.contraction import tensor_core_type
from lumir.kernels.nvidia.contraction_cost import LAUNCH, resident_blocks
from lumir.kernels.nvidia.decode_block import DecodeBlock
from lumir.kernels.nvidia.decode_schedule import DecodeProblem, DecodeSchedule, problem_of, reads_in_chunks
from lumir.kernels.nvidia.function import Extra, nvidia_kernel
from lumir.kernels.nvidia.programmatic import is_programmatic
from lumir.kernels.nvidia.roofline import ACCESS_SECONDS, speeds
from lumir.kernels.nvidia.tma_pages import PagedMatrices
from lumir.kernels.push import result_paths
from lumir.schedule.family import KernelCode
from lumir.schedule.schedule import Schedule
from lumir.sizes import high, is_static, typical
from lumir.target import Target

_MOST_SPLITS, _MOST_WORKSPACE = 128, 1 << 26
_HAS_TMA = ("sm_90a",)
# Fitted to 400 measurements on an H200: 1 to 16 batches of 8 key heads, 512 to 32768 keys, 128 columns.
_JOIN = 1.2e-6  # seconds from the part of a block to the result
_JOIN_PART, _JOIN_WARP = 0.015e-6, 0.05e-6  # for each part, and for each warp of a block
_ROUND = 2.2e-6  # of a warp that loads sixteen keys itself: two accesses one after the other, and its arithmetic
_STEP = 0.6e-6  # of a warp's arithmetic for sixteen keys
_TILE_ARRIVES = 2.2e-6  # from the request of a tile to its arrival under load
_MOST_RATE = 85e9  # bytes a second that one multiprocessor reads


class DecodeFamily:
    name: ClassVar[str] = "decode"
    schedule: ClassVar[type[Schedule]] = DecodeSchedule
    symbolic: ClassVar[bool] = True

    def match(self, dispatch: Dispatch, target: Target) -> bool:
        space = remembered(dispatch, "attention_space", AttentionSpace.of)
        if space is None or result_paths(dispatch, space.second.result) is None or dispatch.writes_packed:
            return False
        if any(0 in shape_of(v) for v in (*dispatch.arguments, *dispatch.results)):
            return False
        _, rows, keys, depth, columns = space.shape
        if not all(map(is_static, (rows, depth, columns))):
            return False
        if typical(keys) <= FEW_KEYS or not _few_rows(space):
            return False
        kinds = {tensor_core_type(space.first), tensor_core_type(space.second)}
        return None not in kinds and len(kinds) == 1 and remembered(dispatch, "decode_chunks", reads_in_chunks)

    def space(self, dispatch: Dispatch, target: Target) -> Iterable[DecodeSchedule]:
        ways = ((4, 32, 3), (4, 16, 5), (8, 16, 3), (8, 16, 2), (4, 16, 3), (8, 16, 0), (4, 16, 0))
        candidates = [
            DecodeSchedule(warps, keys, splits, stages)
            for warps, keys, stages in ways
            for splits in _splits(problem_of(dispatch, DecodeSchedule(warps, keys, 1, stages)), target)
        ]
        candidates = [c for c in candidates if not self.legal(dispatch, c, target)]
        return sorted(candidates, key=lambda c: self.cost(dispatch, c, target))

    def legal(self, dispatch: Dispatch, schedule: DecodeSchedule, target: Target) -> list[str]:
        problem, s, reasons = problem_of(dispatch, schedule), schedule, []
        if s.warps < 1 or s.threads > 1024 or s.keys < 16 or s.keys % 16 or not 1 <= s.splits <= _MOST_SPLITS:
            return [f"warps must be 1 to 31, keys a multiple of 16, splits 1 to {_MOST_SPLITS}"]
        if s.splits > 1 and is_static(problem.steps) and (s.splits - 1) * problem.steps_of_split >= problem.steps:
            reasons.append(f"{s.splits} splits of {problem.steps} steps leave one without keys")
        if s.stages and (target.arch not in _HAS_TMA or problem.reading is None):
            reasons.append("TMA cannot bring keys and values here")
        reasons += _broken_boxes(problem) if s.stages else []
        if s.stages and problem.tile > 256:
            reasons.append(f"a tile of {problem.tile} keys is more than TMA brings at once")
        if problem.registers > min(65536 // s.threads, 250):
            reasons.append(f"a thread needs about {problem.registers} registers")
        if s.splits > 1 and high(problem.blocks) * problem.parts.bytes > _MOST_WORKSPACE:
            reasons.append(f"the parts of up to {high(problem.blocks)} blocks take more than 64 MiB of workspace")
        if problem.shared_bytes > target.shared_bytes:
            reasons.append(f"{problem.shared_bytes} bytes of shared memory, {target.shared_bytes} to be had")
        return reasons

    def cost(self, dispatch: Dispatch, schedule: DecodeSchedule, target: Target) -> float:
        return LAUNCH + _seconds(problem_of(dispatch, schedule), target)

    def emit(self, dispatch: Dispatch, schedule: DecodeSchedule, target: Target, name: str) -> KernelCode:
        overlaps = is_programmatic(target)
        problem, s = problem_of(dispatch, schedule, overlaps), schedule
        extras: tuple[Extra, ...] = ("workspace", "counters") if s.splits > 1 else ()
        maps = problem.tensor_maps
        with nvidia_kernel(dispatch, name, s.threads, extras, len(maps)) as kernel:
            DecodeBlock(problem, kernel).write()
        workspace, counters = 0, 0
        if s.splits > 1:
            workspace, counters = high(problem.blocks) * problem.parts.bytes, high(problem.groups)
        return KernelCode(
            (problem.blocks, 1, 1),
            s.threads,
            kernel.shared_bytes,
            workspace,
            counters,
            tensor_maps=maps,
            pdl=overlaps,
        )


def _broken_boxes(problem: DecodeProblem) -> list[str]:
    """Why tiles of keys are not whole boxes, where keys or values lie in pages or in several runs."""
    read = (problem.reading.key, problem.reading.value) if problem.reading else ()
    apart = [matrices for matrices in read if isinstance(matrices, PagedMatrices) or len(matrices.lines) > 1]
    reasons = [reason for matrices in apart for reason in matrices.problems(problem.tile, LINE_ELEMENTS)]
    if apart and problem.first_key != 0:
        reasons.append("keys that count do not begin with a page")
    return reasons


def _few_rows(space: AttentionSpace) -> bool:
    """Too few to fill tiles of one head's rows each, or so few to so many keys that the keys must be split."""
    _, rows, keys, _, _ = space.shape
    return rows <= 128 if space.queries < 32 else rows <= 64 and typical(keys) >= 1024


def _seconds(problem: DecodeProblem, target: Target) -> float:
    """Estimated: the bytes at the rate of memory, or of the multiprocessors that read; waves of blocks; the joins."""
    s = problem.schedule
    blocks = typical(problem.blocks)
    share = -(-blocks // target.multiprocessors)  # blocks of one multiprocessor
    at_once = min(share, resident_blocks(target, s.threads, problem.shared_bytes, problem.registers))
    key_bytes = sum(problem.space.shape[3:]) * byte_size(problem.element)
    read = typical(problem.steps_of_split) * problem.tile * key_bytes  # of a block
    tiled, direct = (s.stages - 0.75) * problem.tile_bytes / _TILE_ARRIVES, s.warps * 16 * key_bytes / _ROUND
    rate = tiled if s.stages else direct
    reading = max(share * read / min(at_once * rate, _MOST_RATE), blocks * read / speeds(target).bytes)
    waves = -(-share // at_once) * (1.3 * ACCESS_SECONDS + _STEP * s.keys / 16)
    joins = _JOIN_WARP * s.warps + (_JOIN + _JOIN_PART * s.splits) * (s.splits > 1)
    return reading + waves + joins


def _splits(problem: DecodeProblem, target: Target) -> list[int]:
    """Splits that fill half of the multiprocessors, all of them, or each several times, and leave no block empty."""
    found, steps = {1}, typical(problem.steps)
    for blocks in (target.multiprocessors * n // 2 for n in (1, 2, 4, 6, 8)):
        splits = max(min(blocks // typical(problem.groups), steps, _MOST_SPLITS), 1)
        for wanted in (splits, min(splits, 4)):
            found.add(-(-steps // -(-steps // wanted)) if steps else 1)
    return sorted(found)
