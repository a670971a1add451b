"""Tiles in shared memory: lines of 16-byte chunks, permuted so that no access hits a bank twice."""

from dataclasses import dataclass

from lumir.kernels.index import Index, IndexMath
from lumir.kernels.nvidia.mma import CHUNK_BYTES, byte_offset
from lumir.mlir import arith, ir

Value = ir.Value
_LINE_OF_BANKS = 128  # bytes


@dataclass(frozen=True)
class TileLayout:
    """A tile of `lines` times `width` elements, contiguous along `width`.

    Chunk c of line r lies at position c ^ key(r): eight lines' chunks of one column fall into different banks, which is
    what ldmatrix and column-wise vector loads read at once.

    Args:
        lines, width: in elements; the width is a power of two of at least one chunk.
        element_bytes: of an element as the tile stores it.
    """

    lines: int
    width: int
    element_bytes: int

    @property
    def chunk(self) -> int:
        """Elements of a chunk."""
        return CHUNK_BYTES // self.element_bytes

    @property
    def pitch(self) -> int:
        """Bytes of a line."""
        return self.width * self.element_bytes

    @property
    def size(self) -> int:
        """Bytes of the tile."""
        return self.lines * self.pitch

    @property
    def chunks(self) -> int:
        """Chunks of a line."""
        return self.pitch // CHUNK_BYTES

    def key(self, index: IndexMath, line: Index) -> Index:
        """What the chunks of a line are permuted by; a line 8 further on has the same."""
        keys = min(self.chunks, 8)
        lines_per_key = max(_LINE_OF_BANKS // self.pitch, 1)
        return index.divmod(index.divmod(line, lines_per_key)[0], keys)[1]

    def offset(self, index: IndexMath, line: Index, chunk: Index, key: Index | None = None) -> Index:
        """Where a chunk lies, in bytes; `key` where the line's is known already."""
        moved = xor(index, chunk, self.key(index, line) if key is None else key)
        return index.add(index.scale(line, self.pitch), index.scale(moved, CHUNK_BYTES))

    def pointer(self, index: IndexMath, base: Value, line: Index, element: Index) -> Value:
        """The address of an element whose position in its chunk is a multiple of the access's lanes."""
        chunk, inside = index.divmod(element, self.chunk)
        at = index.add(self.offset(index, line, chunk), index.scale(inside, self.element_bytes))
        return byte_offset(base, index.scalar(at.base))


def xor(index: IndexMath, x: Index, y: Index) -> Index:
    """Bitwise exclusive or of two uniform indices."""
    if isinstance(x.base, int) and isinstance(y.base, int):
        return Index(x.base ^ y.base)
    if y.base == 0:
        return x
    return y if x.base == 0 else Index(arith.XOrIOp(index.scalar(x.base), index.scalar(y.base)).result)
