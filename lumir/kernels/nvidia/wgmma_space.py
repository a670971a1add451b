"""Which schedules a wgmma kernel can have for a dispatch, and which are worth trying."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace

from lumir.kernels.nvidia.wgmma import ROWS
from lumir.kernels.nvidia.wgmma_schedule import Problem, WgmmaSchedule, clusters_at_once
from lumir.sizes import high, low, typical
from lumir.target import Target

MAX_STAGES = 8
"""More are no use."""
PARTS = (2, 3, 4, 6, 8)
"""How many a tile is split into."""
LEAST_STEPS = 4
"""Stages of a part, or more."""
OTHERS, OTHERS_AT_START = 40, 26
"""Registers that a multiplying thread needs beside its sums, and beside those of one instruction before it has more."""
_TEAMS = (
    # rows, consumers, ping-pong, columns
    (128, 2, False, range(16, 257, 16)),
    (256, 2, False, range(16, 129, 16)),
    (192, 3, False, range(16, 193, 16)),
    (128, 2, True, (*range(16, 129, 16), 160, 192)),
    (64, 2, True, range(16, 257, 16)),
    (64, 1, False, range(16, 257, 16)),
)
"""How warpgroups share tiles, as far as it has been of use; their registers can hold the sums of up to 256x192."""


def schedules(problem: Problem, target: Target) -> Iterable[WgmmaSchedule]:
    """Tiles with as many stages as shared memory holds.

    Args:
        problem: the dispatch with any schedule.
    """
    for m, consumers, pingpong, columns in _TEAMS:
        for n in columns:
            if n % (16 * len(problem.reading.bands)):
                continue
            for cluster in (1, 2):
                other = replace(problem, schedule=WgmmaSchedule(m, n, 2, consumers, pingpong, cluster))
                for whole in _with_stages_and_groups(other, target):
                    yield whole
                    yield from _in_parts(replace(problem, schedule=whole), target)


def _in_parts(problem: Problem, target: Target) -> Iterable[WgmmaSchedule]:
    """The schedule with tiles in parts, where otherwise multiprocessors would have none."""
    schedule, tiles, steps = problem.schedule, problem.units, problem.steps
    if schedule.pingpong or schedule.cluster > 1 or not isinstance(tiles, int) or not isinstance(steps, int):
        return
    for parts in PARTS:
        if tiles * parts <= target.multiprocessors and steps >= LEAST_STEPS * parts and steps % parts == 0:
            yield replace(schedule, parts=parts)
            joined = replace(problem, schedule=replace(schedule, parts=parts, cluster=parts))
            yield replace(joined.schedule, stages=_stages(joined, target))  # what is received takes room


def _with_stages_and_groups(problem: Problem, target: Target) -> Iterable[WgmmaSchedule]:
    schedule, (batch, down, across) = problem.schedule, map(typical, problem.tiles)
    if schedule.pingpong and batch * down * across <= target.multiprocessors:
        return  # a second team would have no tile
    stages = _stages(problem, target)
    for group in (8, 4, 16):
        if group == 8 or down // schedule.sharers > group:
            yield replace(schedule, stages=stages, group=group)


def _stages(problem: Problem, target: Target) -> int:
    """As many as shared memory holds and are of use."""
    return min((target.shared_bytes - problem.fixed_bytes) // problem.stage_bytes, MAX_STAGES)


def problems_of(problem: Problem, target: Target) -> Iterator[str]:
    """Why the schedule cannot run; a search asks for the first reason only."""
    s, reading = problem.schedule, problem.reading
    if reasons := _broken_shape(s):
        yield from reasons
        return
    if problem.shared_bytes > target.shared_bytes:
        yield f"{problem.shared_bytes} bytes of shared memory, {target.shared_bytes} to be had"
    sides = (("left", reading.left, s.m), ("right", reading.right, problem.columns // s.sharers))
    for (name, operand, rows), box in zip(sides, problem.boxes, strict=True):
        yield from (f"{name} operand: {why}" for why in operand.matrices.problems(*box))
        if not operand.along_k and rows % 64:
            yield f"{name} operand: rows lie side by side, and {rows} are not whole lines of 64"
    if s.parts > 1:
        yield from _problems_of_parts(problem, target)
    if reading.runs and s.sharers > 1:
        yield "one box has the filters of all rows of a window, and they cannot be shared"
    if s.n % (8 * s.sharers * len(reading.bands)):
        yield "a cluster's share of each band of the columns is not whole boxes"
    if max(map(high, reading.shape)) >= 2**31 - 2**16 or high(math.prod(problem.tiles)) >= 2**31:
        yield "more rows, columns or tiles than 32 bits count"
    if low(reading.shape[3]) < 1:
        yield "sums may have nothing to add"


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
        "a warpgroup's sums and what else it needs are more than its registers": parts > 0
        and (s.sums + OTHERS > s.registers[1] or s.n // 2 + OTHERS_AT_START > s.launched_registers),
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
