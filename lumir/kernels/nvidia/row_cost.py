"""Estimated time of a schedule of the family `rows`. The constants were fitted to measurements on an H200."""

import math

from lumir.kernels.nvidia.exchange import WARP
from lumir.kernels.nvidia.roofline import (
    LAUNCH_SECONDS,
    SHARED_BYTES_PER_SECOND,
    Traffic,
    access_efficiency,
    compute_seconds,
)
from lumir.kernels.nvidia.row_facts import RowFacts
from lumir.kernels.nvidia.row_schedule import RowsSchedule
from lumir.sizes import typical
from lumir.target import Target

ROUND_SECONDS, JOIN_SECONDS, INSTRUCTION_SECONDS = 0.4e-6, 0.02e-6, 0.6e-9
"""What one thread waits for: loads that another pass has brought near, an exchange between threads, an instruction."""
CLUSTER_SECONDS = 0.7e-6
"""What one thread waits for where it joins what it has with other workgroups."""
OVERLAP = 0.2
"""The part of the work beside the longest that is not hidden behind it."""


def row_cost(facts: RowFacts, schedule: RowsSchedule, target: Target) -> float:
    """Seconds: the longest of moving the bytes, computing, and waiting for one access after the other, and a bit."""
    space, keeps = facts.space, schedule.keeps(facts.space)
    steps, workgroups = (
        typical(-(-space.row_size // schedule.columns)),
        typical(-(-space.row_count // schedule.tile)) * schedule.cluster,
    )
    threads, at_once = workgroups * schedule.block, max(1, min(schedule.unroll, steps))
    passes = 1 if keeps else facts.passes
    traffic = Traffic(
        read=facts.read * (1 + 0.4 * (passes - 1)),
        written=facts.written,
        workgroups=workgroups,
        block=schedule.block,
        in_flight=at_once * schedule.lanes * facts.input,
        efficiency=_efficiency(facts, schedule),
        registers=24 + int(1.5 * at_once * schedule.lanes),
    )
    compute = compute_seconds(threads * steps * schedule.lanes * facts.work, threads, target)
    waves = threads / max(traffic.resident(target), 1)
    alone = steps / at_once * passes * ROUND_SECONDS + steps * schedule.lanes * facts.work * INSTRUCTION_SECONDS
    waiting = waves * (alone + _join_seconds(facts, schedule))
    crowding = threads * _parts(schedule) * facts.partial * (schedule.lanes if schedule.across else 1)
    shared = crowding / (max(1, min(workgroups, target.multiprocessors)) * SHARED_BYTES_PER_SECOND)
    parts = (traffic.seconds(target), compute, waiting)
    return LAUNCH_SECONDS + max(parts) + OVERLAP * (sum(parts) - max(parts)) + shared


def _join_seconds(facts: RowFacts, schedule: RowsSchedule) -> float:
    """How long a row waits while its threads join what they have."""
    shuffles = math.log2(schedule.threads) + (4 if schedule.threads > WARP else 0)
    between = CLUSTER_SECONDS if schedule.cluster > 1 else 0.0
    return facts.reductions * ((shuffles + _parts(schedule)) * JOIN_SECONDS + between)


def _parts(schedule: RowsSchedule) -> int:
    """Partial results that each thread reads from shared memory, for one reduction."""
    return schedule.apart if schedule.across else min(1, schedule.threads // (2 * WARP))


def _efficiency(facts: RowFacts, schedule: RowsSchedule) -> float:
    """The part of the bandwidth that the accesses reach: neighbouring threads should read neighbouring elements."""
    space, width = facts.space, schedule.lanes * facts.input
    contiguous = len(space.full) - 1 in (space.kept_axes if schedule.across else space.axes)
    neighbours = (
        schedule.rows
        if schedule.across
        else min(schedule.threads, -(-max(typical(space.row_size), 1) // schedule.lanes))
    )
    run = neighbours * width if contiguous else width
    return min(1.0, run / 32) * (access_efficiency(width) if contiguous and run >= 32 else 0.4)
