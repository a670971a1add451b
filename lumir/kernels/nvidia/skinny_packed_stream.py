"""How a packed weight goes through shared memory to wgmma, and the activations beside it."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from lumir.artifact.tensor_map import MAX_BOX, TensorMap
from lumir.kernels.dispatch import shape_of
from lumir.kernels.index import Index, IndexMath
from lumir.kernels.nvidia.mma import CHUNK_BYTES, WARP
from lumir.kernels.nvidia.skinny_facts import ACTIVATION_LANES, QUAD
from lumir.kernels.nvidia.skinny_stream import Stream
from lumir.kernels.nvidia.wgmma import ROWS, Operand
from lumir.mlir import ir

Value = ir.Value
LINE = QUAD * CHUNK_BYTES
"""Bytes of a row that the four threads which share it read at once: a chunk of k."""
PAIRS = ACTIVATION_LANES // 2
"""Of weights that a piece is multiplied with."""
MATRIX = 8 * CHUNK_BYTES
"""Bytes of eight rows of eight activations: what wgmma reads without a swizzle."""


@dataclass(frozen=True)
class PackedStream(Stream):
    """The ring of the weight, and the activations, which stay.

    A stage is `unroll` chunks of the tile's rows, one chunk after the other. Lines of 64 bytes lie side by side, so
    that the threads of a warp read 512 bytes in one run. Of the activations a workgroup keeps all of its part of k:
    chunk by chunk, for each pair of weights in a thread's 16 bytes, matrices of eight rows by the eight elements that
    four threads multiply it with. Four pairs are multiplied with 16 bytes of a row, a piece of it; the first pairs of
    all pieces of a thread come first, then the second ones, so far apart that threads with neighbouring pieces write
    to different banks.
    """

    warps: ClassVar[tuple[int, ...]] = (4, 8, 16)

    @property
    def chunk(self) -> int:
        """Elements of a chunk along k."""
        return QUAD * self.problem.lanes

    @property
    def k(self) -> int:
        return self.chunk * self.problem.schedule.unroll

    @property
    def stage_bytes(self) -> int:
        return self.problem.schedule.unroll * self.rows * LINE

    @property
    def ring_bytes(self) -> int:
        """The ring, and what threads read behind it: they multiply 64 rows, however many there are."""
        return self.stages * self.stage_bytes + (ROWS - self.problem.schedule.rows) * LINE

    @property
    def pairs(self) -> int:
        """Of weights in a thread's 16 bytes."""
        return PAIRS * self.pieces

    @property
    def pieces(self) -> int:
        """Of a row of activations that a thread's 16 bytes are multiplied with."""
        return self.problem.lanes // ACTIVATION_LANES

    @property
    def rows_at_once(self) -> int:
        """Rows of activations that a warp reads a chunk of at once."""
        return WARP // (QUAD * self.pieces)

    @property
    def pitch(self) -> int:
        """Bytes from the matrices of a pair to the next ones."""
        return self.columns * CHUNK_BYTES + self.rows_at_once * CHUNK_BYTES

    def pair_at(self, piece: int, number: int) -> int:
        """Where the matrices of a pair of a piece begin in a chunk, in bytes."""
        return (number * self.pieces + piece) * self.pitch

    @property
    def chunks(self) -> int:
        """That a workgroup has activations of."""
        return -(-self.all_steps // self.problem.schedule.split) * self.problem.schedule.unroll

    @property
    def chunk_bytes(self) -> int:
        """Activations of a chunk."""
        return self.pairs * self.pitch

    @property
    def activation_bytes(self) -> int:
        return self.chunks * self.chunk_bytes

    @cached_property
    def activations_lie(self) -> Operand:
        """For one instruction: two pairs of each thread."""
        return Operand(along_k=True, pitch=CHUNK_BYTES, leading=self.pieces * self.pitch)

    @property
    def nbytes(self) -> int:
        return super().nbytes + self.activation_bytes

    def tensor_maps(self) -> tuple[TensorMap, ...]:
        """Of the weight, as bytes: within a chunk, rows, chunks."""
        dispatch, schedule = self.problem.dispatch, self.problem.schedule
        _, _, rows, k = self.problem.sizes
        count = k // self.chunk
        return (
            TensorMap(
                dispatch.arguments.index(self.problem.facts.stored),
                "uint8",
                dims=(LINE, rows, count),
                strides=(count * LINE, LINE),
                box=(LINE, self.rows, schedule.unroll),
                swizzle=0,
            ),
        )

    def weight_place(self, index: IndexMath, batch: Index, row: Index, step: Index) -> list[Value]:
        chunk = index.scale(step, self.problem.schedule.unroll)
        return [index.scalar(at.base) for at in (Index(0), row, chunk)]

    def unreadable(self) -> list[str]:
        batches, _, rows, k = self.problem.sizes
        facts, schedule, reasons = self.problem.facts, self.problem.schedule, []
        if not facts.contiguous or math.prod(shape_of(facts.stored)) != rows * k or len(shape_of(facts.weight)) != 2:
            reasons.append("the weight's rows are not all of a packed argument, one after the other")
        if k % self.chunk:
            reasons.append(f"a row of the packed weight is not whole lines of {LINE} bytes")
        if batches > 1 or len(facts.bands) > 1:
            reasons.append("packed weights are not batched, and not in bands")
        if max(self.rows, schedule.unroll) > MAX_BOX:
            reasons.append(f"a box has up to {MAX_BOX} rows and chunks")
        return reasons
