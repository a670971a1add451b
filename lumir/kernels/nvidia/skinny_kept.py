"""The activations of a skinny product in shared memory, in the order in which threads hold them for mma.sync.

A workgroup that stays from tile to tile reads its part of the activations once. Sixteen bytes of a line are eight
elements of one thread, in pairs that fit the weight's; the four threads of a row read neighbouring bytes, and rows lie
an odd number of 64 bytes apart: no two threads of eight meet in a bank.
"""

from lumir.kernels.index import Index
from lumir.kernels.nvidia.mma import CHUNK_BYTES, byte_offset, constant_i32, joined
from lumir.kernels.nvidia.skinny_facts import ACTIVATION_LANES, QUAD
from lumir.kernels.nvidia.skinny_mma import MmaBlock
from lumir.kernels.nvidia.skinny_weight import load_words, pairs_of
from lumir.mlir import arith, ir, llvm

Value = ir.Value
_AT_ONCE = 4
"""Loads of a thread that are under way together."""


class KeptActivations:
    """Memory for the activations that one workgroup multiplies.

    Args:
        block: whose evaluators read them.
    """

    def __init__(self, block: MmaBlock):
        self.block, self.problem, self.index = block, block.problem, block.index
        nbytes = self.problem.sizes[1] * self.problem.ring.kept_pitch
        self.pointer = block.kernel.shared((nbytes,), ir.IntegerType.get_signless(8), 128).pointer

    def fill(self) -> None:
        """Read this workgroup's part of every row; the workgroup must meet at a barrier before it is used."""
        per_row = self.problem.ring.kept // ACTIVATION_LANES
        units = self.problem.sizes[1] * per_row
        threads = self.block.kernel.block
        with self.block.plain.loop(0, -(-units // (threads * _AT_ONCE)), 1) as (turn, _, _done):
            first = self.index.add(self.index.scale(turn, threads * _AT_ONCE), self.block.kernel.thread())
            found = []
            for i in range(_AT_ONCE):
                unit = self.index.minimum(self.index.offset(first, i * threads), units - 1)
                row, group = self.index.divmod(unit, per_row)
                found.append((row, group, self._read(row, self.index.scale(group, ACTIVATION_LANES))))
            for row, group, words in found:
                llvm.StoreOp(joined(words), self._address(row, group), alignment=CHUNK_BYTES)

    def _read(self, row: Index, local: Index) -> list[Value]:
        """Eight elements as pairs, from a position in this workgroup's part; zeros past the end of k."""
        index, schedule, k = self.index, self.problem.schedule, self.problem.sizes[3]
        width = schedule.warps * self.problem.ring.depth
        turn, inside = index.divmod(local, width)
        number = index.add(index.scale(turn, schedule.split), self.block.rank)
        at = index.add(index.scale(number, width), inside)
        exists = None
        if self.problem.ring.ragged:
            exists = index.below(at, k)
            at = index.minimum(at, k - ACTIVATION_LANES)
        narrow = self.block.narrow
        with narrow.scope():
            value = narrow.widened(self.block.read(narrow, self.problem.space.lhs, row, at))
        words = pairs_of([value], self.block.weight.order[: ACTIVATION_LANES // 2])
        return words if exists is None else [arith.SelectOp(exists, w, constant_i32(0)).result for w in words]

    def _address(self, row: Index, group: Index) -> Value:
        """Where eight elements of a row stand."""
        index, each = self.index, self.problem.lanes // ACTIVATION_LANES
        thread, part = index.divmod(group, each)
        chunk, quarter = index.divmod(thread, QUAD)
        line = index.add(index.scale(chunk, each), part)
        at = index.add(index.scale(line, QUAD * CHUNK_BYTES), index.scale(quarter, CHUNK_BYTES))
        at = index.add(at, index.scale(row, self.problem.ring.kept_pitch))
        return byte_offset(self.pointer, index.scalar(at.base))

    def pairs(self, row: Index, chunk: Index) -> list[Value]:
        """This thread's pairs of a row and of a chunk, counted in this workgroup's part."""
        index, each = self.index, self.problem.lanes // ACTIVATION_LANES
        at = index.add(index.scale(chunk, each * QUAD * CHUNK_BYTES), index.scale(self.block.quarter, CHUNK_BYTES))
        at = index.add(at, index.scale(row, self.problem.ring.kept_pitch))
        start = byte_offset(self.pointer, index.scalar(at.base))
        lines = [load_words(byte_offset(start, i * QUAD * CHUNK_BYTES)) for i in range(each)]
        return [word for line in lines for word in line]
