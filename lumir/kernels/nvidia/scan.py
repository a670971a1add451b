"""NVIDIA family `scan`: a running sum, product or maximum, in one pass along the axis with the total carried.

A line is one position of the other dimensions, shared by `threads` threads. In a turn each takes some neighbouring
elements and joins them; the threads join what those before them have; and every element gets the total of the turns
before, of the threads before, and of its own thread's up to it.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from typing import ClassVar

from lumir.dtypes import byte_size
from lumir.kernels.dispatch import Dispatch, element_of, remembered
from lumir.kernels.nvidia.exchange import WARP
from lumir.kernels.nvidia.function import nvidia_kernel
from lumir.kernels.nvidia.programmatic import is_programmatic
from lumir.kernels.nvidia.roofline import ACCESS_SECONDS, LAUNCH_SECONDS, Traffic, access_efficiency, moved_bytes
from lumir.kernels.nvidia.scan_writer import ScanSchedule, ScanWriter
from lumir.kernels.nvidia.scratch import scratch_kernel
from lumir.kernels.push import result_paths
from lumir.kernels.scan_space import ScanSpace
from lumir.schedule.family import KernelCode
from lumir.schedule.schedule import Schedule
from lumir.sizes import Dim, typical
from lumir.target import Target

JOIN_SECONDS = 0.5e-6
"""What the threads of a line take to join what they have, with a barrier."""
MOST_THREADS = 512
ALONG = ((8, 1), (4, 1), (2, 1), (1, 1), (8, 4), (1, 8))
"""Lanes and accesses of a thread in one turn along a line."""
APART = 0.35
"""What is left of the bandwidth where a thread's accesses, and not those of its neighbours, lie side by side: a guess,
by which that is done for lines so few and long that the number of turns is what takes time."""


class ScanFamily:
    name: ClassVar[str] = "scan"
    schedule: ClassVar[type[Schedule]] = ScanSchedule
    symbolic: ClassVar[bool] = True

    def match(self, dispatch: Dispatch, target: Target) -> bool:
        space = ScanSpace.of(dispatch)
        if space is None or space.combiner is None or dispatch.writes_packed:
            return False
        return result_paths(dispatch, space.nest.op.results[0]) is not None

    def space(self, dispatch: Dispatch, target: Target) -> Iterable[ScanSchedule]:
        facts = _Facts.of(dispatch)
        along = [
            ScanSchedule(threads, max(128 // threads, 1), lanes, each)
            for threads, (lanes, each) in product((1, 8, 32, 64, 128, 256, MOST_THREADS), ALONG)
            if threads < 2 * max(typical(facts.size), 1)
        ]
        across = [
            ScanSchedule(threads, rows, lanes, each, across=True)
            for threads, rows, lanes, each in product((1, 4, 8, 16, 32), (8, 32, 128), (4, 2, 1), (1, 4, 8))
            if 32 <= threads * rows <= MOST_THREADS and threads * each < 2 * typical(facts.size)
        ]
        every = [s for s in along + across if facts.fits(s)]
        return sorted(every, key=lambda s: (self.cost(dispatch, s, target), s.block, s.threads, -s.lanes))

    def legal(self, dispatch: Dispatch, schedule: ScanSchedule, target: Target) -> list[str]:
        reasons, facts = [], _Facts.of(dispatch)
        if any(n & (n - 1) or n < 1 for n in (schedule.threads, schedule.rows, schedule.lanes, schedule.each)):
            reasons.append("threads, rows, lanes and elements are powers of two")
        if not WARP <= schedule.block <= MOST_THREADS:
            reasons.append(f"a workgroup has 32 to {MOST_THREADS} threads, not {schedule.block}")
        if schedule.across and schedule.threads > WARP:
            reasons.append(f"at most {WARP} threads share a line where neighbours take neighbouring lines")
        if not facts.fits(schedule):
            reasons.append(f"{schedule.lanes} neighbours do not lie side by side everywhere")
        if not reasons and schedule.lanes > 1 and _splits_lanes(dispatch, schedule):
            reasons.append(f"{schedule.lanes} neighbours do not lie side by side in every operand")
        return reasons

    def cost(self, dispatch: Dispatch, schedule: ScanSchedule, target: Target) -> float:
        facts = _Facts.of(dispatch)
        lines = typical(facts.lines) / (schedule.lanes if schedule.across else 1)
        workgroups = math.ceil(lines / schedule.rows)
        turns = math.ceil(typical(facts.size) / schedule.turn)
        width = schedule.lanes * facts.width
        run = schedule.rows * width if schedule.across else min(schedule.threads, 32) * width
        contiguous = facts.inner if schedule.across else facts.last
        moved, efficiency = moved_bytes(dispatch) / 2, min(1.0, width / 32)
        if contiguous:
            efficiency = access_efficiency(width) * min(1.0, run / 64)
        if schedule.each > 1 and not schedule.across:
            efficiency *= APART
        traffic = Traffic(
            read=moved,
            written=moved,
            workgroups=workgroups,
            block=schedule.block,
            in_flight=width * schedule.each,
            efficiency=efficiency,
        )
        waiting = turns * (ACCESS_SECONDS + (JOIN_SECONDS if schedule.threads > 1 else 0.0))
        waves = max(1.0, workgroups * schedule.block / (target.multiprocessors * 2048))
        return LAUNCH_SECONDS + max(traffic.seconds(target), waiting * waves)

    def emit(self, dispatch: Dispatch, schedule: ScanSchedule, target: Target, name: str) -> KernelCode:
        programmatic = is_programmatic(target)
        _write(dispatch, schedule, name, programmatic)
        facts = _Facts.of(dispatch)
        groups = facts.lines // (schedule.lanes if schedule.across else 1)
        return KernelCode((-(-groups // schedule.rows), 1, 1), schedule.block, pdl=programmatic)


@dataclass(frozen=True)
class _Facts:
    """Numbers of a dispatch.

    Args:
        size, lines: elements along the axis, and how many such lines there are.
        inner: the extent of the last dimension, if that is not the axis.
        last: the axis is the last dimension.
        width: bytes of an element of what is read.
    """

    size: Dim
    lines: Dim
    inner: Dim
    last: bool
    width: int

    @staticmethod
    def of(dispatch: Dispatch) -> "_Facts":
        return remembered(dispatch, "scan_facts", _gather)

    def fits(self, schedule: ScanSchedule) -> bool:
        """Whether its lanes are whole groups of neighbours, along the axis or along the last dimension."""
        if schedule.across:
            return not self.last and self.inner % schedule.lanes == 0
        return schedule.lanes == 1 or (self.last and self.size % schedule.lanes == 0)


def _gather(dispatch: Dispatch) -> _Facts:
    space = _space(dispatch)
    shape, last = space.shape, space.axis == len(space.shape) - 1
    others = [size for axis, size in enumerate(shape) if axis != space.axis]
    inner = 1 if last else shape[-1]
    width = byte_size(element_of(space.nest.inputs[0]))
    return _Facts(shape[space.axis], math.prod(others), inner, last, width)


def _space(dispatch: Dispatch) -> ScanSpace:
    space = ScanSpace.of(dispatch)
    assert space is not None
    return space


def _splits_lanes(dispatch: Dispatch, schedule: ScanSchedule) -> bool:
    """Write it into a module that is thrown away, and see whether an access had to be split."""
    like = ScanSchedule(1, 32, schedule.lanes, 1, schedule.across)

    def splits(_: Dispatch) -> bool:
        with scratch_kernel():
            return _write(dispatch, like, "scratch") > 0

    return remembered(dispatch, f"scan_splits_{schedule.lanes}_{schedule.across}", splits)


def _write(dispatch: Dispatch, schedule: ScanSchedule, name: str, programmatic: bool = False) -> int:
    """Write the kernel; returns how many accesses were split into lanes."""
    with nvidia_kernel(dispatch, name, schedule.block, programmatic=programmatic) as kernel:
        space = _space(dispatch)
        if math.prod(space.shape) == 0:
            return 0
        writer = ScanWriter(kernel, space, schedule)
        writer.write()
    return writer.scattered
