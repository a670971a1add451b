"""Schedules of the family `skinny` that are worth trying."""

from collections.abc import Iterable
from dataclasses import replace
from itertools import product

from lumir.kernels.dispatch import Dispatch
from lumir.kernels.nvidia.mbarrier import BYTES
from lumir.kernels.nvidia.mma import WARP
from lumir.kernels.nvidia.roofline import REGISTERS
from lumir.kernels.nvidia.skinny_facts import FEW_ROWS, MOST_ROWS, QUAD, TILE_COLUMNS, TILE_ROWS, SkinnyFacts
from lumir.kernels.nvidia.skinny_plan import SkinnySchedule, problem_of
from lumir.kernels.nvidia.skinny_stream import CLUSTERS, clusters_at_once
from lumir.kernels.nvidia.wgmma import ROWS
from lumir.target import Target

MOST_WRITTEN_OUT = 128
"""Elements of the weight that one thread multiplies in a turn: the turn's code is as long."""
OTHER_REGISTERS, LOADED_REGISTERS, LEAST_REGISTERS, MOST_REGISTERS = 48, 10, 128, 216
"""Of a thread with packed weights: beside the lines that it has under way, for each two of them, and in all."""
FEWEST_WARPS = 4
"""That share packed rows, where k is long enough."""
SUM_REGISTERS, COLUMN_REGISTERS = 4, 16
"""Of a thread for eight more rows of activations: for each 16 rows of the weight, and beside."""
MOST_TEAMS, STREAM_REGISTERS = 4, 96
"""Warpgroups of a multiprocessor that unpack from a ring, and registers of each of their threads for 16 columns."""
RESIDENT = 2
"""Workgroups with one ring for both operands that a multiprocessor has room for: of this kernel, and of the next."""


def schedules(dispatch: Dispatch, target: Target) -> Iterable[SkinnySchedule]:
    """Candidates; not all of them are legal."""
    facts = SkinnyFacts.of(dispatch)
    assert facts is not None
    yield from streamed(dispatch, facts, target)
    if facts.space.extent(facts.space.m) > FEW_ROWS:
        return
    if facts.packed is not None:
        yield from _unpacked(facts)
        return
    if facts.cores:
        for rows, warps, unroll in product((16, 32), (4, 8), (4, 8)):
            for stages, resident in ((2, 1), (3, 1), (4, 1), (2, 2), (3, 2)):
                if rows // TILE_ROWS * unroll * facts.lanes <= MOST_WRITTEN_OUT:
                    yield SkinnySchedule("mma", rows, warps, 1, unroll, stages=stages, resident=resident)
        for rows, warps, unroll in product((16, 32), (1, 2, 4, 8, 16), (1, 2, 4)):
            yield SkinnySchedule("mma", rows, warps, 1, unroll)
    if not facts.cores or facts.space.extent(facts.space.m) == 1:
        for rows, warps, across, unroll in product((1, 2, 4), (1, 2, 4, 8), (1, 2, 4, 8, 16), (1, 2)):
            if warps * across in (8, 16):
                yield SkinnySchedule("simt", rows, warps, across, unroll, ahead=8)


def streamed(dispatch: Dispatch, facts: SkinnyFacts, target: Target) -> Iterable[SkinnySchedule]:
    """Both operands through one ring, as deep as leaves room for the next kernel's."""
    if target.arch != "sm_90a" or not facts.cores:
        return
    if facts.packed is not None:
        yield from _packed_streams(dispatch, facts, target)
        return
    for across, split in product((1, 2), CLUSTERS):
        # a tile for each multiprocessor, where instructions would not be half empty for it
        even = -(-facts.space.extent(facts.space.n) * split // (target.multiprocessors * across * 8)) * 8
        for rows in dict.fromkeys((even if ROWS // 2 < even < ROWS else ROWS, ROWS)):
            schedule = SkinnySchedule("wgmma", rows, 4, across, 1, split, stages=2, resident=RESIDENT)
            stream = problem_of(dispatch, schedule, target).stream
            room = target.shared_bytes // RESIDENT - 1024 - stream.nbytes
            yield replace(
                schedule, stages=min(2 + room // (stream.stage_bytes + 2 * BYTES), -(-stream.all_steps // split))
            )


def _packed_streams(dispatch: Dispatch, facts: SkinnyFacts, target: Target) -> Iterable[SkinnySchedule]:
    """Packed weights through a ring, where mma.sync would read two columns of tiles of activations again and again."""
    rows, columns = facts.space.extent(facts.space.n), facts.space.extent(facts.space.m)
    if not TILE_COLUMNS < columns <= MOST_ROWS:
        return
    registers = STREAM_REGISTERS + max(-(-columns // TILE_COLUMNS) * TILE_COLUMNS - FEW_ROWS, 0)
    for split, across, teams, resident in product(CLUSTERS, (1, 2, 3, 4), (1, 2, 4), (1, 2)):
        warps = -(-(4 * teams * across + 1) * resident // 4)  # on each of the four parts of a multiprocessor
        if not 1 < teams * across * resident <= MOST_TEAMS or REGISTERS // (4 * WARP * warps) < registers:
            continue
        even = -(-rows // (clusters_at_once(split, target) * resident * across * 8)) * 8
        tall = even if ROWS // 2 < even < ROWS else ROWS
        schedule = SkinnySchedule("wgmma", tall, 4 * teams, across, 2, split, stages=2, resident=resident)
        stream = problem_of(dispatch, schedule, target).stream
        room = target.shared_bytes // resident - 1024 - stream.nbytes
        stages = min(2 + room // (stream.stage_bytes + 2 * BYTES), -(-stream.all_steps // split))
        if (whole := stages - stages % teams) > 1:
            yield replace(schedule, stages=whole)


def _unpacked(facts: SkinnyFacts) -> Iterable[SkinnySchedule]:
    """Packed weights into registers, a turn ahead of their use, by as many warps as have registers for that."""
    chunks = facts.space.extent(facts.space.k) // (facts.lanes * QUAD)
    columns = -(-facts.space.extent(facts.space.m) // TILE_COLUMNS)
    for tiles, warps, unroll in product((1, 2, 3, 4), (1, 2, 4, 8, 16), (1, 2, 4)):
        if warps * unroll > max(chunks, 1) or warps < min(FEWEST_WARPS, chunks // 2):
            continue
        turns = -(-chunks // (unroll * warps))
        needed = OTHER_REGISTERS + LOADED_REGISTERS * tiles * unroll * min(turns, 2)
        needed += (columns - 1) * (SUM_REGISTERS * tiles + COLUMN_REGISTERS)
        resident = REGISTERS // (WARP * warps * max(needed, LEAST_REGISTERS)) if needed <= MOST_REGISTERS else 0
        if resident:
            yield SkinnySchedule("mma", tiles * TILE_ROWS, warps, 1, unroll, resident=min(resident, 16))
