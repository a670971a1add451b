"""The end of a tile that a cluster of workgroups sums together, each a part of k: through their shared memory."""

from typing import TYPE_CHECKING

from lumir.dtypes import byte_size
from lumir.kernels.index import Index
from lumir.kernels.memory import Buffer
from lumir.kernels.nvidia import mbarrier
from lumir.kernels.nvidia.guard import only_if
from lumir.kernels.nvidia.mma import byte_offset
from lumir.kernels.nvidia.warps import sync_cluster
from lumir.mlir import ir, llvm

if TYPE_CHECKING:
    from lumir.kernels.nvidia.skinny_ring import RingBlock

Value = ir.Value


class Exchange:
    """Each workgroup of a cluster stores a share of a tile's elements, and gets the sums for them from all.

    Memory for two tiles takes turns: while one is read, the sums of the next may arrive.
    """

    def __init__(self, block: "RingBlock"):
        self.block, self.index, self.ring = block, block.index, block.problem.ring
        shape = (block.problem.schedule.split, self.ring.share)
        self.received = [block.kernel.shared(shape, block.problem.space.accumulator) for _ in range(2)]

    def store(self, half: Value) -> None:
        """Send the workgroup's sums to those that store them; store the own share."""
        block, received = self.block, self.block.half_of(self.received, half)
        size = byte_size(received.element)
        for unit, condition in block.elements(block.problem.sizes[1] * block.problem.schedule.tile):
            with only_if(condition, block.plain):
                owner, place = self.index.divmod(unit, self.ring.share)
                at = self.index.linearize((block.rank, place), received.shape)
                pointer = byte_offset(received.pointer, self.index.scalar(self.index.scale(at, size).base))
                remote = mbarrier.address_in(self.index.scalar(owner.base), pointer)
                llvm.StoreOp(block.joined(unit), remote, alignment=size)
        sync_cluster()
        self._store_share(received)

    def _store_share(self, received: Buffer) -> None:
        block, split = self.block, self.block.problem.schedule.split
        load, count = block.plain.memory.load, block.problem.sizes[1] * block.problem.schedule.tile
        for place, condition in block.elements(self.ring.share):
            with only_if(condition, block.plain):
                unit = self.index.add(self.index.scale(block.rank, self.ring.share), place)
                ragged = count % self.ring.share
                with only_if(self.index.below(unit, count) if ragged else None, block.plain):
                    total = load(received, (Index(0), place))
                    for part in range(1, split):
                        total = block.sum_of(total, load(received, (Index(part), place)))
                    block.store_element(unit, total)
