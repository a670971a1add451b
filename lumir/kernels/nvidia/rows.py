"""NVIDIA family `rows`: softmax, normalisation and every other chain of reductions over one set of dimensions.

A row is one position of the kept dimensions, shared by `threads` threads. For each reduction, in order, every thread
runs over its part of the row and the threads join their results; a last pass computes what is stored. Where `unroll`
covers a thread's whole part, the passes are written out one after the other and the values that one pass has read or
computed are still in registers for the next.
"""

from collections.abc import Iterable, Iterator
from itertools import product
from typing import ClassVar

from lumir.kernels.dispatch import Dispatch
from lumir.kernels.nvidia.exchange import WARP
from lumir.kernels.nvidia.function import STATIC_SHARED_BYTES, nvidia_kernel
from lumir.kernels.nvidia.programmatic import is_programmatic
from lumir.kernels.nvidia.roofline import remembered
from lumir.kernels.nvidia.row_cost import row_cost
from lumir.kernels.nvidia.row_facts import RowFacts
from lumir.kernels.nvidia.row_schedule import RowsSchedule
from lumir.kernels.nvidia.row_writer import RowWriter
from lumir.kernels.nvidia.scratch import scratch_kernel
from lumir.kernels.row_space import RowSpace
from lumir.schedule.family import KernelCode
from lumir.schedule.schedule import Schedule
from lumir.sizes import Dim, is_static, typical
from lumir.target import Target

MOST_VALUES = 64
"""Elements of a row that one thread may have under way."""


class RowsFamily:
    name: ClassVar[str] = "rows"
    schedule: ClassVar[type[Schedule]] = RowsSchedule
    symbolic: ClassVar[bool] = True

    def match(self, dispatch: Dispatch, target: Target) -> bool:
        """Reductions that all run over the same dimensions, and element-wise operations around them."""
        return not dispatch.writes_packed and RowFacts.of(dispatch) is not None

    def space(self, dispatch: Dispatch, target: Target) -> Iterable[RowsSchedule]:
        facts = _facts(dispatch)
        found = [s for s in _schedules(facts) if not _reasons(facts, s)]
        return sorted(found, key=lambda s: (row_cost(facts, s, target), s.block, s.threads, -s.lanes, s.unroll))

    def legal(self, dispatch: Dispatch, schedule: RowsSchedule, target: Target) -> list[str]:
        reasons = _reasons(_facts(dispatch), schedule)
        if schedule.lanes > 1 and not reasons and _splits_lanes(dispatch, schedule):
            reasons.append(f"{schedule.lanes} neighbouring elements do not stand side by side in every operand")
        return reasons

    def cost(self, dispatch: Dispatch, schedule: RowsSchedule, target: Target) -> float:
        return row_cost(_facts(dispatch), schedule, target)

    def emit(self, dispatch: Dispatch, schedule: RowsSchedule, target: Target, name: str) -> KernelCode:
        programmatic = is_programmatic(target)
        _write(dispatch, schedule, name, programmatic)
        workgroups = -(-_facts(dispatch).space.row_count // schedule.tile)
        return KernelCode((workgroups, 1, 1), schedule.block, pdl=programmatic)


def _facts(dispatch: Dispatch) -> RowFacts:
    facts = RowFacts.of(dispatch)
    assert facts is not None
    return facts


def _schedules(facts: RowFacts) -> Iterator[RowsSchedule]:
    """Every way to deal out the rows that is worth a thought."""
    size = max(typical(facts.space.row_size), 1)
    lane_choices = [lanes for lanes in (16, 8, 4, 2, 1) if lanes * facts.narrowest <= 16]
    for across, lanes, threads in product((False, True), lane_choices, [1 << n for n in range(11)]):
        if threads >= 2 * size:
            continue
        accesses, most = -(-size // (threads * (1 if across else lanes))), MOST_VALUES // lanes
        kept = accesses <= most and is_static(facts.space.row_size)
        unrolls = (accesses,) if kept else (1, 4, min(8, most))
        for block, unroll in product((64, 128, 256, 512), sorted(set(unrolls))):
            if threads <= block or block == 512:
                yield RowsSchedule(threads, max(block // threads, 1), lanes, unroll, across)


def _reasons(facts: RowFacts, schedule: RowsSchedule) -> list[str]:
    """Why a schedule cannot run, as far as can be told without writing it."""
    if any(n & (n - 1) or n < 1 for n in (schedule.threads, schedule.rows, schedule.lanes)):
        return ["threads, rows and lanes are powers of two"]
    reasons = []
    if not WARP <= schedule.block <= 1024:
        reasons.append(f"a workgroup has 32 to 1024 threads, not {schedule.block}")
    if not 1 <= schedule.unroll * schedule.lanes <= MOST_VALUES:
        reasons.append(f"a thread has 1 to {MOST_VALUES} elements under way, not {schedule.unroll * schedule.lanes}")
    if (size := _vector_size(facts.space, schedule)) % schedule.lanes != 0:
        reasons.append(f"{size} neighbouring elements are not whole groups of {schedule.lanes}")
    if not facts.joinable and (schedule.threads > 1 or (schedule.lanes > 1 and not schedule.across)):
        reasons.append("a reduction cannot join the results of parts of a row")
    if (shared := _shared_bytes(facts, schedule)) > STATIC_SHARED_BYTES:
        reasons.append(f"partial results take {shared} bytes of shared memory, of {STATIC_SHARED_BYTES}")
    return reasons


def _vector_size(space: RowSpace, schedule: RowsSchedule) -> Dim:
    """The size of the dimension that lanes run along."""
    if schedule.across:
        return space.kept[-1] if space.kept else 1
    return space.inner


def _shared_bytes(facts: RowFacts, schedule: RowsSchedule) -> int:
    if schedule.threads == 1:
        return 0
    parts = schedule.apart * schedule.tile if schedule.across else schedule.block // WARP
    return parts * facts.partial


def _splits_lanes(dispatch: Dispatch, schedule: RowsSchedule) -> bool:
    """Write it with one access at a time into a module that is thrown away, and see whether one had to be split.

    How far apart neighbours stand does not depend on which threads take them, so one kernel answers for all.
    """
    threads = WARP if _facts(dispatch).joinable else 1
    like = RowsSchedule(threads, 4, schedule.lanes, 1, schedule.across)

    def splits(_: Dispatch) -> bool:
        with scratch_kernel():
            return _write(dispatch, like, "scratch") > 0

    return remembered(dispatch, f"rows_splits_{schedule.lanes}_{schedule.across}", splits)


def _write(dispatch: Dispatch, schedule: RowsSchedule, name: str, programmatic: bool = False) -> int:
    """Write the kernel; returns how many accesses were split into lanes."""
    space = _facts(dispatch).space
    with nvidia_kernel(dispatch, name, schedule.block, programmatic=programmatic) as kernel:
        if not space.row_count:
            return 0
        writer = RowWriter(kernel, space, schedule)
        writer.write()
    return writer.wide.memory.scattered
