"""NVIDIA family `top_k`: the first k elements of each row in some order, in one of two ways.

In rounds: the threads that share a row each know the first of their own elements that has not been taken; each round
they join these, store the first of all, and the thread that had it looks for its next one. By rank: the threads that
share an element count the elements that come before it, and store it where its count says. Rounds read a row k times
at most, ranks as often as it has elements.
"""

import math
from collections.abc import Iterable
from typing import ClassVar

from lumir.kernels.dispatch import Dispatch
from lumir.kernels.nvidia.exchange import WARP
from lumir.kernels.nvidia.function import nvidia_kernel
from lumir.kernels.nvidia.programmatic import is_programmatic
from lumir.kernels.nvidia.roofline import LAUNCH_SECONDS, WORKGROUPS, compute_seconds
from lumir.kernels.nvidia.top_k_writer import RankWriter, RoundWriter, TopKSchedule
from lumir.kernels.top_k_space import TopKSpace
from lumir.schedule.family import KernelCode
from lumir.schedule.schedule import Schedule
from lumir.sizes import Dim, is_static, typical
from lumir.target import Target

LOOK_SECONDS, COUNT_SECONDS, ROUND_SECONDS = 27e-9, 12e-9, 0.12e-6
"""What a thread takes to hold an element against the first of its own, or to count it; and for a round of its warp."""
BARRIER_SECONDS, WARP_SECONDS = 0.4e-6, 0.022e-6
"""What a round takes that goes past a warp, and for each warp that it joins. As measured on an H100."""
COMPARE, JOIN = 10, 180
"""Instructions to bring in an element and hold it against another; of each thread, for the rest of a round."""


class TopKFamily:
    name: ClassVar[str] = "top_k"
    schedule: ClassVar[type[Schedule]] = TopKSchedule
    symbolic: ClassVar[bool] = True

    def match(self, dispatch: Dispatch, target: Target) -> bool:
        space = TopKSpace.of(dispatch)
        return space is not None and not dispatch.writes_packed and is_static(space.k) and space.k > 0

    def space(self, dispatch: Dispatch, target: Target) -> Iterable[TopKSchedule]:
        size = typical(_space(dispatch).size)
        rounds = [
            TopKSchedule(threads, max(128 // threads, 1))
            for threads in (8, 16, 32, 64, 128, 256, 512, 1024)
            if threads < 2 * size
        ]
        every = [*rounds, *(TopKSchedule(threads, 128 // threads, by_rank=True) for threads in (1, 4, 16, 32))]
        return sorted(every, key=lambda s: (self.cost(dispatch, s, target), s.threads))

    def legal(self, dispatch: Dispatch, schedule: TopKSchedule, target: Target) -> list[str]:
        reasons = []
        if any(n & (n - 1) or n < 1 for n in (schedule.threads, schedule.rows)):
            reasons.append("threads and rows are powers of two")
        if not WARP <= schedule.block <= 1024:
            reasons.append(f"a workgroup has 32 to 1024 threads, not {schedule.block}")
        if schedule.by_rank and schedule.threads > WARP:
            reasons.append("the threads that count for one element are of one warp")
        return reasons

    def cost(self, dispatch: Dispatch, schedule: TopKSchedule, target: Target) -> float:
        """The longer of what all threads do together, and of what one waits for after the other."""
        space = _space(dispatch)
        size, rows, own = typical(space.size), typical(_rows(space)), schedule.threads
        looks = -(-size // own)
        if schedule.by_rank:
            threads = rows * size * own
            return LAUNCH_SECONDS + compute_seconds(threads * looks * COMPARE, threads, target) + looks * COUNT_SECONDS
        each = ROUND_SECONDS + (BARRIER_SECONDS + WARP_SECONDS * own / WARP if own > WARP else 0.0)
        alone = 1e-6 + looks * LOOK_SECONDS + space.k * (each + looks * LOOK_SECONDS)
        at_once = target.multiprocessors * min(2048 // schedule.block, WORKGROUPS) * schedule.rows
        instructions = rows * (own * looks * COMPARE + space.k * (own * JOIN + WARP * looks * COMPARE))
        return LAUNCH_SECONDS + max(alone, alone * rows / at_once, compute_seconds(instructions, rows * own, target))

    def emit(self, dispatch: Dispatch, schedule: TopKSchedule, target: Target, name: str) -> KernelCode:
        space, programmatic = _space(dispatch), is_programmatic(target)
        count = _rows(space) * (space.size if schedule.by_rank else 1)
        with nvidia_kernel(dispatch, name, schedule.block, programmatic=programmatic) as kernel:
            (RankWriter if schedule.by_rank else RoundWriter)(kernel, space, schedule).write()
        return KernelCode((-(-count // schedule.rows), 1, 1), schedule.block, pdl=programmatic)


def _space(dispatch: Dispatch) -> TopKSpace:
    space = TopKSpace.of(dispatch)
    assert space is not None
    return space


def _rows(space: TopKSpace) -> Dim:
    return math.prod(space.outer)
