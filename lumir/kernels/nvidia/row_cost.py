"""Estimated time of a schedule of the family `rows`.

The constants were fitted to 250 kernels on an H200: norms and softmax of bfloat16, from 4096 x 1024 to 8 x 262144;
those of large and of idle workgroups also to 60 on an H100, from 16 x 4096 to 65536 x 768.
"""

import math

from lumir.kernels.nvidia.exchange import WARP
from lumir.kernels.nvidia.roofline import (
    LAUNCH_SECONDS,
    SHARED_BYTES_PER_SECOND,
    WORKGROUP_SECONDS,
    Traffic,
    access_efficiency,
    compute_seconds,
)
from lumir.kernels.nvidia.row_facts import RowFacts
from lumir.kernels.nvidia.row_schedule import RowsSchedule
from lumir.target import Target

ROUND_SECONDS, JOIN_SECONDS, INSTRUCTION_SECONDS = 0.2e-6, 0.02e-6, 0.6e-9
"""What one thread waits for: loads that another pass has brought near, an exchange between threads, an instruction."""
CLUSTER_SECONDS = 2.0e-6
"""What one thread waits for where it joins what it has with other workgroups, times those of a multiprocessor."""
LAST_SECONDS = 2.0e-6
"""What it takes to leave a part in memory, to count, and for the last workgroup to read what the others left."""
SMOOTH = 256
"""Threads of a workgroup up to which a thread's instructions do not wait for those of the others."""
IDLE = 0.35
"""How likely a workgroup is to be waiting while others of later rows could move bytes."""
FETCHED = 0.1
"""How much is left of what later workgroups wait for, where their rows are in the L2 cache already."""


def row_cost(facts: RowFacts, schedule: RowsSchedule, target: Target) -> float:
    """Seconds: the longer of moving the bytes and computing, and what nothing hides.

    A workgroup waits for its loads and its barriers. Those that run first all wait at once, those that follow while
    their neighbours on the multiprocessor move bytes.
    """
    steps, block = -(-facts.size // schedule.columns), schedule.block
    workgroups = -(-facts.count // schedule.tile) * schedule.workgroups
    threads, at_once = workgroups * block, max(1, min(schedule.unroll, steps))
    passes = 1 if schedule.keeps(facts.space) else facts.passes
    traffic = Traffic(
        read=facts.read * (1 + 0.4 * (passes - 1)),
        written=facts.written,
        workgroups=workgroups,
        block=block,
        in_flight=at_once * schedule.lanes * facts.input,
        efficiency=_efficiency(facts, schedule),
        registers=registers_of(facts, schedule) if passes == 1 else _in_loops(facts, schedule),
    )
    compute = compute_seconds(threads * steps * schedule.lanes * facts.work, threads, target)
    resident = max(traffic.resident(target) // block, 1)
    later = max(workgroups / resident - 1, 0) / max(resident / target.multiprocessors, 1)
    turns = steps * schedule.lanes * facts.work * max(1.0, block / SMOOTH)
    alone = steps / at_once * passes * ROUND_SECONDS + turns * INSTRUCTION_SECONDS
    alone += _join_seconds(facts, schedule, workgroups / target.multiprocessors)
    waiting = alone * (1 + later * (FETCHED if schedule.ahead else 1))
    crowding = threads * _parts(schedule) * facts.partial * (schedule.lanes if schedule.across else 1)
    shared = crowding / (max(1, min(workgroups, target.multiprocessors)) * SHARED_BYTES_PER_SECOND)
    starting = min(workgroups, resident) * WORKGROUP_SECONDS
    idle = IDLE ** max(resident // target.multiprocessors, 1) if workgroups > resident else 0.0
    return LAUNCH_SECONDS + max(traffic.seconds(target) * (1 + idle), compute) + starting + waiting + shared


def registers_of(facts: RowFacts, schedule: RowsSchedule) -> int:
    """What a thread needs of them, roughly: for what it has loaded, and for what it has computed of it."""
    values = min(schedule.unroll, max(-(-facts.size // schedule.columns), 1)) * schedule.lanes
    return 24 + int((0.5 + 0.7 * max(facts.streams, 1)) * values)


def _in_loops(facts: RowFacts, schedule: RowsSchedule) -> int:
    """The same where no pass keeps anything for the next: for what is under way."""
    return 28 + math.ceil(max(facts.streams, 1) * schedule.unroll * schedule.lanes * facts.stored / 4)


def _join_seconds(facts: RowFacts, schedule: RowsSchedule, crowd: float) -> float:
    """How long a row waits while its threads join what they have, among so many workgroups of a multiprocessor."""
    shuffles = math.log2(schedule.threads) + (4 if schedule.threads > WARP else 0)
    between = CLUSTER_SECONDS * max(crowd, 1.0) if schedule.cluster > 1 else 0.0
    if schedule.workgroups > schedule.cluster:
        between = LAST_SECONDS + schedule.workgroups / schedule.threads * JOIN_SECONDS
    return facts.reductions * ((shuffles + _parts(schedule)) * JOIN_SECONDS + between)


def _parts(schedule: RowsSchedule) -> int:
    """Partial results that each thread reads from shared memory, for one reduction."""
    return schedule.apart if schedule.across else min(1, schedule.threads // (2 * WARP))


def _efficiency(facts: RowFacts, schedule: RowsSchedule) -> float:
    """The part of the bandwidth that the accesses reach: neighbouring threads should read neighbouring elements."""
    space, width = facts.space, schedule.lanes * facts.stored
    contiguous = len(space.full) - 1 in (space.kept_axes if schedule.across else space.axes)
    neighbours = schedule.rows if schedule.across else min(schedule.threads, -(-max(facts.size, 1) // schedule.lanes))
    run = neighbours * width if contiguous else width
    return min(1.0, run / 32) * (access_efficiency(width) if contiguous and run >= 32 else 0.4)
