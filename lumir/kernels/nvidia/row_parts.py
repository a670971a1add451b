"""NVIDIA family `row_parts`: a reduction of rows that are too few for the GPU, and of which nothing else is wanted.

Several workgroups share a row. Each reduces a part of it and leaves what it has in the workspace; the last of them to
be done joins all parts, in a fixed order, and stores the row's result: the same inputs give the same bits.
"""

from collections.abc import Iterable, Iterator
from itertools import product
from typing import ClassVar

from lumir.dtypes import byte_size
from lumir.kernels.dispatch import Dispatch, element_of, remembered
from lumir.kernels.nvidia.function import STATIC_SHARED_BYTES, Extra, nvidia_kernel
from lumir.kernels.nvidia.part_writer import PartWriter
from lumir.kernels.nvidia.programmatic import is_programmatic
from lumir.kernels.nvidia.row_cost import row_cost
from lumir.kernels.nvidia.row_facts import RowFacts
from lumir.kernels.nvidia.row_schedule import RowPartsSchedule
from lumir.kernels.nvidia.rows import CLUSTERS, lane_reasons, row_reasons, shared_bytes, unrolls
from lumir.schedule.family import KernelCode
from lumir.schedule.schedule import Schedule
from lumir.target import Target

PARTS = (2, 4, 8, 16, 32, 64, 128, 256)
SHORTEST = 512
"""Elements of a row that are worth to be shared."""


class RowPartsFamily:
    name: ClassVar[str] = "row_parts"
    schedule: ClassVar[type[Schedule]] = RowPartsSchedule

    def match(self, dispatch: Dispatch, target: Target) -> bool:
        """One reduction that can be joined, of long rows that clusters do not fill the GPU with, and nothing else."""
        facts = RowFacts.of(dispatch)
        if facts is None or not facts.joinable or facts.passes > 1 or facts.space.row_size < SHORTEST:
            return False
        along = is_programmatic(target) and len(facts.space.full) - 1 in facts.space.axes
        return not along or facts.space.row_count * CLUSTERS[-1] < target.multiprocessors

    def space(self, dispatch: Dispatch, target: Target) -> Iterable[RowPartsSchedule]:
        costs = _costs(dispatch, target)
        return sorted(costs, key=lambda s: (costs[s], s.block, s.threads, -s.lanes, s.unroll, s.parts))

    def legal(self, dispatch: Dispatch, schedule: RowPartsSchedule, target: Target) -> list[str]:
        return _reasons(_facts(dispatch), schedule, target) or lane_reasons(dispatch, schedule)

    def cost(self, dispatch: Dispatch, schedule: RowPartsSchedule, target: Target) -> float:
        known = _costs(dispatch, target).get(schedule)
        return row_cost(_facts(dispatch), schedule, target) if known is None else known

    def emit(self, dispatch: Dispatch, schedule: RowPartsSchedule, target: Target, name: str) -> KernelCode:
        space, programmatic = _facts(dispatch).space, is_programmatic(target)
        extras: tuple[Extra, ...] = ("workspace", "counters")
        with nvidia_kernel(dispatch, name, schedule.block, extras, programmatic=programmatic) as kernel:
            if space.row_count:
                PartWriter(kernel, space, schedule).write()
        tiles = -(-space.row_count // schedule.tile)
        (nest,) = dispatch.reductions
        workspace = PartWriter.workspace(space, schedule, [byte_size(element_of(out)) for out in nest.outputs])
        grid = (tiles * schedule.parts, 1, 1)
        return KernelCode(grid, schedule.block, kernel.shared_bytes, workspace[-1], tiles, pdl=programmatic)


def _facts(dispatch: Dispatch) -> RowFacts:
    facts = RowFacts.of(dispatch)
    assert facts is not None
    return facts


def _schedules(facts: RowFacts, target: Target) -> Iterator[RowPartsSchedule]:
    """Ways that give most multiprocessors something to do, and none too many workgroups."""
    lane_choices = [lanes for lanes in (8, 4, 2, 1) if lanes * facts.narrowest <= 16]
    for across, lanes, threads, block in product((False, True), lane_choices, (8, 32, 128, 512), (128, 256, 512)):
        if threads > block:
            continue
        rows = block // threads
        tiles = -(-facts.space.row_count // (rows * (lanes if across else 1)))
        for parts in PARTS:
            busy = tiles * parts / target.multiprocessors
            columns = parts * threads * (1 if across else lanes)
            if 0.4 <= busy <= 8 and columns <= facts.space.row_size:
                for unroll in unrolls(facts, columns, lanes):
                    yield RowPartsSchedule(threads, rows, lanes, unroll, across, parts=parts)


def _costs(dispatch: Dispatch, target: Target) -> dict[RowPartsSchedule, float]:
    def compute(dispatch: Dispatch) -> dict[RowPartsSchedule, float]:
        facts = _facts(dispatch)
        found = (s for s in _schedules(facts, target) if not _reasons(facts, s, target))
        return {schedule: row_cost(facts, schedule, target) for schedule in found}

    return remembered(dispatch, f"row_parts_costs_{target.arch}", compute)


def _reasons(facts: RowFacts, schedule: RowPartsSchedule, target: Target) -> list[str]:
    reasons = row_reasons(facts, schedule, target)
    if schedule.parts not in PARTS:
        reasons.append(f"a row has {', '.join(map(str, PARTS))} parts, not {schedule.parts}")
    if (shared := 2 * shared_bytes(facts, schedule)) > STATIC_SHARED_BYTES - 1024:
        reasons.append(
            f"threads and then parts join in {shared} bytes of shared memory, of {STATIC_SHARED_BYTES - 1024}"
        )
    if schedule.cluster > 1 or schedule.ahead:
        reasons.append("workgroups that share a row through memory are of no cluster, and fetch nothing ahead")
    return reasons
