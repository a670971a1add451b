"""A chunk of a result in shared memory: written by a warpgroup as wgmma holds it, read by the copy engine (TMA)."""

from functools import cached_property

from lumir.dtypes import byte_size
from lumir.kernels.index import Index, IndexMath
from lumir.kernels.memory import stored_type
from lumir.kernels.nvidia import tma, warps
from lumir.kernels.nvidia.mma import CHUNK_BYTES, byte_offset, i32
from lumir.kernels.nvidia.tma_operand import Matrices
from lumir.mlir import arith, ir, llvm

Value = ir.Value


class Staging:
    """The layout of one result's chunks: 64 lines of up to 128 bytes, swizzled.

    Args:
        columns: of a chunk.
        warp, lane: this thread's, in its warpgroup.
    """

    def __init__(self, index: IndexMath, matrices: Matrices, tensor_map: Value, columns: int, warp: Index, lane: Index):
        self.index, self.matrices, self.tensor_map = index, matrices, tensor_map
        self.line = columns * matrices.size
        self.warp, self.lane = warp, lane

    def write(self, shared: Value, pairs: list[Value]) -> None:
        """Write a thread's pairs: those of columns 8 j.. of its row and of the row eight further on, for each j."""
        if self.matrices.size == 2 and len(pairs) % 4 == 0:
            self._write_matrices(shared, pairs)
            return
        for number, pair in enumerate(pairs):
            j, half = divmod(number, 2)
            pointer = byte_offset(shared, self._offset(self._own_line[half], self._own_column, 8 * j))
            llvm.StoreOp(_as_stored(pair), pointer, alignment=2 * self.matrices.size)

    def copy(self, shared: Value, batch: Index, row: Index, column: Index) -> None:
        """Start the copy of the chunk to its place; one thread does."""
        tma.store_box(self.tensor_map, shared, self.matrices.place(self.index, batch, row, column))

    def _write_matrices(self, shared: Value, pairs: list[Value]) -> None:
        """Sixteen columns at once by stmatrix: lane l gives the line l % 8 of the matrix l / 8."""
        registers = [llvm.BitcastOp(i32(), pair).result for pair in pairs]
        for number in range(0, len(pairs), 4):
            at = self._offset(self._matrix_line, self._matrix_column, 4 * number)
            warps.store_matrices(byte_offset(shared, at), registers[number : number + 4])

    def _offset(self, line: Index, column: Index, first: int) -> Value:
        """The byte of column `first` on.

        Args:
            line: the start of the thread's line, in bytes.
            column: the thread's own column in bytes, swizzled; its bits are not those of `first`.
        """
        index = self.index
        swizzled = arith.XOrIOp(index.scalar(column.base), index.constant(first * self.matrices.size)).result
        return index.scalar(index.add(line, Index(swizzled)).base)

    def _swizzled(self, row: Index, column: Index) -> Index:
        """The swizzle of TMA: the number of the 128 bytes that a row lies in permutes the chunks of its line."""
        index = self.index
        number = index.divmod(index.divmod(index.scale(row, self.line), 128)[0], max(self.line // CHUNK_BYTES, 1))[1]
        key = index.scalar(index.scale(number, CHUNK_BYTES).base)
        return Index(arith.XOrIOp(index.scalar(column.base), key).result)

    @cached_property
    def _own_line(self) -> list[Index]:
        index = self.index
        row = index.add(index.scale(self.warp, 16), index.divmod(self.lane, 4)[0])
        return [index.scale(index.offset(row, 8 * half), self.line) for half in (0, 1)]

    @cached_property
    def _own_column(self) -> Index:
        quarter, inside = self.index.divmod(self.lane, 4)
        return self._swizzled(quarter, self.index.scale(inside, 2 * self.matrices.size))

    @cached_property
    def _matrix_line(self) -> Index:
        index = self.index
        matrix, line = index.divmod(self.lane, 8)
        row = index.add(index.scale(index.divmod(matrix, 2)[1], 8), line)
        return index.scale(index.add(index.scale(self.warp, 16), row), self.line)

    @cached_property
    def _matrix_column(self) -> Index:
        index = self.index
        matrix, line = index.divmod(self.lane, 8)
        return self._swizzled(line, index.scale(index.divmod(matrix, 2)[0], CHUNK_BYTES))


def _as_stored(pair: Value) -> Value:
    """Two elements as memory holds them."""
    element = ir.VectorType(pair.type).element_type
    stored = ir.VectorType.get([2], stored_type(element))
    if stored == pair.type:
        return pair
    if isinstance(element, ir.IntegerType) and element.width < 8 * byte_size(element):
        return arith.ExtUIOp(stored, pair).result
    return arith.BitcastOp(stored, pair).result
