"""NVIDIA family `rows`: softmax, normalisation and every other chain of reductions over one set of dimensions.

A row is one position of the kept dimensions, shared by `threads` threads. For each reduction, in order, every thread
runs over its part of the row and the threads join their results; a last pass computes what is stored. Where `unroll`
covers a thread's whole part, the passes are written out one after the other and the values that one pass has read or
computed are still in registers for the next. A row that is too long for that, or one of too few to fill the GPU, is
shared by the workgroups of a cluster.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain, product
from typing import ClassVar

from lumir.kernels.dispatch import Dispatch, remembered
from lumir.kernels.nvidia.exchange import WARP
from lumir.kernels.nvidia.function import STATIC_SHARED_BYTES, nvidia_kernel
from lumir.kernels.nvidia.programmatic import is_programmatic
from lumir.kernels.nvidia.roofline import REGISTERS
from lumir.kernels.nvidia.row_cost import registers_of, row_cost
from lumir.kernels.nvidia.row_facts import RowFacts
from lumir.kernels.nvidia.row_schedule import RowsSchedule
from lumir.kernels.nvidia.row_writer import RowWriter
from lumir.kernels.nvidia.scratch import scratch_kernel
from lumir.kernels.nvidia.warps import declare_cluster
from lumir.kernels.row_space import RowSpace
from lumir.schedule.family import KernelCode
from lumir.schedule.schedule import Schedule
from lumir.sizes import Dim, is_static
from lumir.target import Target

MOST_VALUES = 64
"""Elements of a row that one thread may have under way."""
CLUSTERED = 4096
"""Elements of the shortest rows that a cluster is tried for."""
FETCH_UNIT = 16
"""Bytes that a fetch to the L2 cache is a multiple of."""
AHEAD = 2
"""How many workgroups later, for each multiprocessor, the rows are used that a workgroup fetches: as measured best."""
CLUSTERS = (1, 2, 4, 8)
"""How many workgroups may share a row."""


class RowsFamily:
    name: ClassVar[str] = "rows"
    schedule: ClassVar[type[Schedule]] = RowsSchedule
    symbolic: ClassVar[bool] = True

    def match(self, dispatch: Dispatch, target: Target) -> bool:
        """Reductions that all run over the same dimensions, and element-wise operations around them."""
        return not dispatch.writes_packed and RowFacts.of(dispatch) is not None

    def space(self, dispatch: Dispatch, target: Target) -> Iterable[RowsSchedule]:
        costs = _costs(dispatch, target)
        return sorted(costs, key=lambda s: (costs[s], s.block, s.threads, -s.lanes, s.unroll))

    def legal(self, dispatch: Dispatch, schedule: RowsSchedule, target: Target) -> list[str]:
        return row_reasons(facts_of(dispatch), schedule, target) or lane_reasons(dispatch, schedule)

    def cost(self, dispatch: Dispatch, schedule: RowsSchedule, target: Target) -> float:
        known = _costs(dispatch, target).get(schedule)
        return row_cost(facts_of(dispatch), schedule, target) if known is None else known

    def emit(self, dispatch: Dispatch, schedule: RowsSchedule, target: Target, name: str) -> KernelCode:
        programmatic = is_programmatic(target)
        _write(dispatch, schedule, name, programmatic)
        workgroups = -(-facts_of(dispatch).space.row_count // schedule.tile) * schedule.cluster
        return KernelCode((workgroups, 1, 1), schedule.block, cluster=(schedule.cluster, 1, 1), pdl=programmatic)


def facts_of(dispatch: Dispatch) -> RowFacts:
    facts = RowFacts.of(dispatch)
    assert facts is not None
    return facts


def _schedules(facts: RowFacts, target: Target) -> Iterator[RowsSchedule]:
    """Every way to deal out the rows that is worth a thought."""
    size = max(facts.size, 1)
    lane_choices = [lanes for lanes in (16, 8, 4, 2, 1) if lanes * facts.narrowest <= 16]
    for across, lanes, threads in product((False, True), lane_choices, [1 << n for n in range(11)]):
        if threads >= 2 * size:
            continue
        counts = unrolls(facts, threads * (1 if across else lanes), lanes)
        for block, unroll in product((64, 128, 256, 512), counts):
            if threads <= block or block == 512:
                yield RowsSchedule(threads, max(block // threads, 1), lanes, unroll, across)
    if size < CLUSTERED or not is_programmatic(target):
        return
    whole = [lanes for lanes in lane_choices if facts.space.inner % lanes == 0]
    for cluster, lanes, threads in product(CLUSTERS[1:], dict.fromkeys((*whole[:2], 1)), (128, 256, 512, 1024)):
        for unroll in unrolls(facts, cluster * threads * lanes, lanes):
            yield RowsSchedule(threads, 1, lanes, unroll, cluster=cluster)


def _costs(dispatch: Dispatch, target: Target) -> dict[RowsSchedule, float]:
    """Of every schedule of the space that can run, as far as can be told without writing it."""

    def compute(dispatch: Dispatch) -> dict[RowsSchedule, float]:
        facts = facts_of(dispatch)
        every = chain.from_iterable(_both_ways(facts, s, target) for s in _schedules(facts, target))
        found = (s for s in every if not row_reasons(facts, s, target))
        return {schedule: row_cost(facts, schedule, target) for schedule in found}

    return remembered(dispatch, f"rows_costs_{target.arch}", compute)


def _both_ways(facts: RowFacts, schedule: RowsSchedule, target: Target) -> Iterator[RowsSchedule]:
    """As it is, and with later rows fetched where more workgroups follow than run at once."""
    yield schedule
    ahead = AHEAD * target.multiprocessors
    if schedule.lanes * facts.narrowest >= 8 and facts.count // schedule.tile > 2 * ahead:
        yield replace(schedule, ahead=ahead)


def unrolls(facts: RowFacts, columns: int, lanes: int) -> list[int]:
    """Accesses to write out: all of a row that is of a known size and short enough, else a few."""
    accesses, most = -(-max(facts.size, 1) // columns), MOST_VALUES // lanes
    kept = accesses <= most and is_static(facts.space.row_size)
    return [accesses] if kept else sorted({1, 4, min(8, most)})


def row_reasons(facts: RowFacts, schedule: RowsSchedule, target: Target) -> list[str]:
    """Why a schedule cannot run, as far as can be told without writing it."""
    if any(n & (n - 1) or n < 1 for n in (schedule.threads, schedule.rows, schedule.lanes)):
        return ["threads, rows and lanes are powers of two"]
    reasons = []
    if not WARP <= schedule.block <= 1024:
        reasons.append(f"a workgroup has 32 to 1024 threads, not {schedule.block}")
    if not 1 <= schedule.unroll * schedule.lanes <= MOST_VALUES:
        reasons.append(f"a thread has 1 to {MOST_VALUES} elements under way, not {schedule.unroll * schedule.lanes}")
    if (registers := registers_of(facts, schedule)) * schedule.block > REGISTERS:
        reasons.append(f"{schedule.block} threads with about {registers} registers each")
    if schedule.ahead:
        reasons += _no_fetching(facts, schedule, target)
    if (size := _vector_size(facts.space, schedule)) % schedule.lanes != 0:
        reasons.append(f"{size} neighbouring elements are not whole groups of {schedule.lanes}")
    if not facts.joinable and (schedule.threads > 1 or (schedule.lanes > 1 and not schedule.across)):
        reasons.append("a reduction cannot join the results of parts of a row")
    if schedule.cluster > 1:
        reasons += _no_cluster(facts, schedule, target)
    if (shared := shared_bytes(facts, schedule)) > STATIC_SHARED_BYTES:
        reasons.append(f"partial results take {shared} bytes of shared memory, of {STATIC_SHARED_BYTES}")
    return reasons


def _no_cluster(facts: RowFacts, schedule: RowsSchedule, target: Target) -> list[str]:
    """Why the workgroups of a cluster cannot share a row."""
    reasons = []
    if not is_programmatic(target):
        reasons.append(f"{target.arch} has no clusters")
    if schedule.cluster not in CLUSTERS:
        reasons.append(f"a cluster has {', '.join(map(str, CLUSTERS))} workgroups, not {schedule.cluster}")
    if schedule.across or schedule.rows > 1 or schedule.threads < WARP:
        reasons.append("a cluster has one row, along which neighbouring threads take neighbouring elements")
    if not facts.joinable:
        reasons.append("a reduction cannot join the results of parts of a row")
    return reasons


def _no_fetching(facts: RowFacts, schedule: RowsSchedule, target: Target) -> list[str]:
    """Why later rows cannot be brought to the L2 cache."""
    reasons = []
    if not is_programmatic(target):
        reasons.append(f"{target.arch} fetches nothing to the L2 cache in bulk")
    if schedule.ahead < 0 or schedule.across or schedule.cluster > 1:
        reasons.append("rows are fetched by workgroups of their own, which read along them")
    if not facts.run or facts.run % FETCH_UNIT:
        reasons.append(f"a row is not one run of memory in units of {FETCH_UNIT} bytes")
    return reasons


def _vector_size(space: RowSpace, schedule: RowsSchedule) -> Dim:
    """The size of the dimension that lanes run along."""
    if schedule.across:
        return space.kept[-1] if space.kept else 1
    return space.inner


def shared_bytes(facts: RowFacts, schedule: RowsSchedule) -> int:
    if schedule.threads == 1:
        return 0
    parts = schedule.apart * schedule.tile if schedule.across else schedule.block * schedule.cluster // WARP
    return parts * facts.partial


def lane_reasons(dispatch: Dispatch, schedule: RowsSchedule) -> list[str]:
    """Why the schedule's lanes cannot be accessed at once: something to ask of a schedule that is legal else."""
    if schedule.lanes > 1 and _splits_lanes(dispatch, schedule):
        return [f"{schedule.lanes} neighbouring elements do not stand side by side in every operand"]
    return []


def _splits_lanes(dispatch: Dispatch, schedule: RowsSchedule) -> bool:
    """Write it with one access at a time into a module that is thrown away, and see whether one had to be split.

    How far apart neighbours stand does not depend on which threads take them, so one kernel answers for all.
    """
    threads = WARP if facts_of(dispatch).joinable else 1
    like = RowsSchedule(threads, 4, schedule.lanes, 1, schedule.across)

    def splits(_: Dispatch) -> bool:
        with scratch_kernel():
            return _write(dispatch, like, "scratch") > 0

    return remembered(dispatch, f"rows_splits_{schedule.lanes}_{schedule.across}", splits)


def _write(dispatch: Dispatch, schedule: RowsSchedule, name: str, programmatic: bool = False) -> int:
    """Write the kernel; returns how many accesses were split into lanes."""
    space = facts_of(dispatch).space
    with nvidia_kernel(dispatch, name, schedule.block, programmatic=programmatic) as kernel:
        if not space.row_count:
            return 0
        if schedule.cluster > 1:
            declare_cluster(schedule.cluster)
        writer = RowWriter(kernel, space, schedule)
        writer.write()
    return writer.wide.memory.scattered
