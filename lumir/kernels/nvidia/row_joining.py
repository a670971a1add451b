"""How the threads that share a row join what they have: shuffles, shared memory, and that of other workgroups."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

from lumir.kernels.index import Index, IndexMath
from lumir.kernels.loop_nest import LoopNest
from lumir.kernels.memory import Buffer
from lumir.kernels.nvidia import mbarrier, warps
from lumir.kernels.nvidia.exchange import WARP, from_thread_xor
from lumir.kernels.nvidia.function import NvidiaKernel
from lumir.kernels.nvidia.guard import only_if
from lumir.kernels.nvidia.joining import Join, join_of
from lumir.kernels.nvidia.mma import i32
from lumir.kernels.nvidia.row_schedule import RowsSchedule
from lumir.mlir import arith, ir, vector

Value = ir.Value


@dataclass(frozen=True)
class Member:
    """Where a thread stands.

    Args:
        thread: its number among those of its workgroup that share its row.
        slot: its row's number in the workgroup; that of a group of `lanes` rows if `across`.
        rank: its workgroup's number in the cluster.
    """

    thread: Index
    slot: Index
    rank: Index


class RowJoining:
    """Writes the joining of one kernel's reductions; made where the kernel begins."""

    def __init__(self, kernel: NvidiaKernel, schedule: RowsSchedule, member: Member):
        self.kernel, self.schedule, self.member = kernel, schedule, member
        self.wide, self.narrow = kernel.evaluator(schedule.lanes), kernel.evaluator()
        self.index = self.wide.index
        self._cluster_is_there = schedule.cluster == 1
        if not self._cluster_is_there:
            warps.arrive_cluster(relaxed=True)

    def joined(self, values: list[Value], nest: LoopNest) -> list[Value]:
        """The accumulators of the whole row, in every thread that shares it."""
        schedule = self.schedule
        lanes = 1 if schedule.across else schedule.lanes
        if schedule.members == lanes == 1:
            return values
        join = self.join(nest)
        return self.of_threads(self._of_lanes(values, join) if lanes > 1 else values, join)

    def join(self, nest: LoopNest) -> Join:
        """How to join what two threads have."""
        return join_of(nest, lambda: self.kernel.evaluator(self.schedule.lanes if self.schedule.across else 1))

    def of_threads(self, values: list[Value], join: Join) -> list[Value]:
        """What the threads of a row have, joined, in each of them."""
        schedule = self.schedule
        if schedule.across:
            return self._of_members(values, join)
        values = _of_warp(values, min(schedule.threads, WARP), join)
        if schedule.cluster > 1:
            return self._of_cluster(values, join)
        return self._of_warps(values, join) if schedule.threads > WARP else values

    def _of_lanes(self, values: list[Value], join: Join) -> list[Value]:
        parts = [[vector.ExtractOp(v, [], [lane]).result for v in values] for lane in range(self.schedule.lanes)]
        while len(parts) > 1:
            half = len(parts) // 2
            parts = [join(a, b) for a, b in zip(parts[:half], parts[half:], strict=True)]
        return parts[0]

    def _of_warps(self, values: list[Value], join: Join) -> list[Value]:
        """Each warp writes one value; after the barrier every warp reads and joins those of its row."""
        count, memory = self.schedule.threads // WARP, self.narrow.memory
        partial = [self.kernel.shared((self.schedule.rows, count), v.type) for v in values]
        warp, lane = self.index.divmod(self.member.thread, WARP)
        with only_if(equals(self.index, lane, 0)):
            for buffer, value in zip(partial, values, strict=True):
                memory.store(buffer, (self.member.slot, warp), value)
        self.kernel.barrier()
        place = (self.member.slot, self.index.divmod(lane, count)[1])
        return _of_warp([memory.load(buffer, place) for buffer in partial], count, join)

    def _of_cluster(self, values: list[Value], join: Join) -> list[Value]:
        """Each warp writes one value into every workgroup of the cluster; then every warp joins all that it finds.

        All workgroups join the same values in the same order, so that they have the same bits.
        """
        memory, own, count = self.narrow.memory, self.schedule.threads // WARP, self.schedule.members // WARP
        warp, lane = self.index.divmod(self.member.thread, WARP)
        place = self.index.add(self.index.scale(self.member.rank, own), warp)
        partial = [self.kernel.shared((count,), v.type) for v in values]
        self._await_cluster()
        with only_if(self.index.below(lane, self.schedule.cluster)):
            for buffer, value in zip(partial, values, strict=True):
                memory.store(self._in_workgroup(lane, buffer), (place,), value)
        warps.sync_cluster()
        turns = [self.index.offset(lane, first) for first in range(0, count, WARP)]
        places = turns if count >= WARP else [self.index.divmod(lane, count)[1]]
        parts = [[memory.load(buffer, (place,)) for buffer in partial] for place in places]
        return _of_warp(reduce(join, parts), min(count, WARP), join)

    def _await_cluster(self) -> None:
        """Before the first write there: the shared memory of a workgroup that has not started is not its own yet."""
        if not self._cluster_is_there:
            warps.wait_cluster()
            self._cluster_is_there = True

    def _in_workgroup(self, rank: Index, buffer: Buffer) -> Buffer:
        """What another workgroup of the cluster has as this buffer."""
        number = self.index.value(rank)
        if number.type != i32():
            number = arith.TruncIOp(i32(), number).result
        return Buffer(mbarrier.address_in(number, buffer.pointer), buffer.shape, buffer.element, buffer.alignment)

    def _of_members(self, values: list[Value], join: Join) -> list[Value]:
        """Threads of one row in a warp join by shuffles; after a barrier each reads and joins those of every warp."""
        lanes, apart = self.schedule.lanes, self.schedule.apart
        together = self.schedule.threads // apart
        values = _of_warp(values, together, join, self.schedule.rows)
        if apart == 1:
            return values
        here = lanes_from(self.index.scale(self.member.slot, lanes), lanes)
        partial = [self._for_members(v, apart) for v in values]
        group, first = self.index.divmod(self.member.thread, together)
        with only_if(equals(self.index, first, 0) if together > 1 else None):
            for buffer, value in zip(partial, values, strict=True):
                self.wide.memory.store(buffer, (group, here), value)
        self.kernel.barrier()
        return reduce(join, [[self.wide.memory.load(b, (Index(m), here)) for b in partial] for m in range(apart)])

    def _for_members(self, value: Value, apart: int) -> Buffer:
        element = ir.VectorType(value.type).element_type if isinstance(value.type, ir.VectorType) else value.type
        return self.kernel.shared((apart, self.schedule.rows * self.schedule.lanes), element)


def equals(index: IndexMath, x: Index, number: int) -> Value:
    return arith.CmpIOp(arith.CmpIPredicate.eq, index.value(x), index.constant(number)).result


def lanes_from(position: Index, lanes: int) -> Index:
    """`lanes` neighbours from a position that is a multiple of `lanes`."""
    return Index(position.base, 1, position.multiple) if lanes > 1 else position


def _of_warp(values: Sequence[Value], threads: int, join: Join, apart: int = 1) -> list[Value]:
    """The joined values of `threads` threads of a warp that stand `apart` threads apart, in each of them."""
    values, distance = list(values), threads // 2
    while distance:
        values = join(values, [from_thread_xor(value, distance * apart) for value in values])
        distance //= 2
    return values
