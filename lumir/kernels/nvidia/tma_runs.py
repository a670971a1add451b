"""The windows of a convolution on few channels: the rows of an image as TMA copies them, read with an overlap.

Where the next window of a row begins 16 bytes further on, line m of a matrix of such windows begins 16 m bytes into
the row. wgmma reads lines of a pitch of 16 bytes where nothing is swizzled, so that one copy of a row serves them all;
and one copy brings all rows that windows reach into. A box has no more than 256 elements along a dimension, so that a
row counts as pieces side by side.
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property

from lumir.artifact.tensor_map import TensorMap
from lumir.dtypes import byte_size, dtype_name
from lumir.kernels.contraction_space import ContractionSpace
from lumir.kernels.dispatch import Dispatch, element_of
from lumir.kernels.index import ZERO, Index, IndexMath
from lumir.kernels.nvidia.tma_operand import Matrices, Operand, Operands, operand_of
from lumir.kernels.nvidia.wgmma import LINE, OVERLAP, ROWS, SWIZZLES
from lumir.kernels.windows import Slide, Windows, windows_of
from lumir.mlir import ir

Value = ir.Value


@dataclass(frozen=True)
class RunMatrices:
    """A matrix for each row of each image's result, and each row of a window, innermost: a line a window.

    Args:
        arg: the number of the images' buffer.
        element: what it holds.
    """

    arg: int
    element: ir.Type
    windows: Windows

    @cached_property
    def size(self) -> int:
        return byte_size(self.element)

    @property
    def _across(self) -> Slide:
        return self.windows.slides[-1]

    @property
    def _down(self) -> tuple[Slide, ...]:
        return self.windows.slides[:-1]

    @property
    def run(self) -> int:
        """Elements of a window's row."""
        return self._across.window * self.windows.channels

    @property
    def taps(self) -> int:
        """Rows of a window."""
        return self.windows.places // self._across.window

    @property
    def piece(self) -> int:
        """Elements of a row that a box counts as one: rows are whole pieces, and so is what lies between the first
        lines of tiles. The copy engine takes about as long for a piece of 32 bytes as for one of 128."""
        return math.gcd(self._across.size * self.windows.channels, ROWS * OVERLAP // self.size, LINE // self.size)

    @property
    def lead(self) -> int:
        """Elements of a box before its first line, whose window may begin within a piece."""
        return -self._across.low * self.windows.channels % self.piece

    def row(self, lines: int) -> int:
        """Elements of an image's row that so many lines are read from, in whole pieces."""
        elements = self.lead + (lines - 1) * OVERLAP // self.size + self.run
        return -(-elements // self.piece) * self.piece

    def problems(self, box_lines: int, box_columns: int) -> list[str]:
        """Why TMA cannot copy the rows."""
        return self.tensor_map(box_lines, box_columns).problems()

    def tensor_map(self, box_lines: int, box_columns: int) -> TensorMap:
        """The map of an image's rows: a box is what so many lines are read from, for all rows of their windows."""
        down, images, piece = self._down[::-1], self.windows.images, self.piece
        outer = (*down, images)
        return TensorMap(
            self.arg,
            dtype_name(self.element),
            dims=(piece, self._across.size * self.windows.channels // piece, *(s.size for s in outer)),
            strides=(piece * self.size, *(OVERLAP if s.stride is None else s.stride * self.size for s in outer)),
            box=(piece, self.row(box_lines) // piece, *((s.window - 1) * s.dilation + 1 for s in down), 1),
            element_strides=(1, 1, *(s.dilation for s in down), 1),
            offset=self.windows.offset * self.size,
            swizzle=0,
        )

    def place(self, index: IndexMath, batch: Index, line: Index, column: Index) -> list[Value]:
        """The coordinates of the box of the lines from `line` on, for the first row of windows of a batch."""
        down, lines = self._down, OVERLAP // self.size
        number = index.divmod(batch, self.taps)[0]
        image, *row = index.delinearize(number, [self.windows.images.count, *(s.count for s in down)])
        starts = [index.offset(index.scale(i, s.step), -s.low) for i, s in zip(row, down, strict=True)]
        first = index.divmod(index.scale(line, lines), self.piece)[0]
        first = index.offset(first, -self._across.low * self.windows.channels // self.piece)  # rounded down
        return [index.scalar(i.base) for i in (ZERO, first, *starts[::-1], image)]

    def offsets(self, index: IndexMath, batch: Index) -> list[Value]:
        """None: boxes are where their coordinates say."""
        return []


def runs_of(dispatch: Dispatch, space: ContractionSpace) -> Operands | None:
    """A convolution whose left operand is windows, as products of the windows of a row of an image with filters.

    Its space has the rows as batches, and a product is summed for each row of a window. None where a row's windows do
    not begin 16 bytes after one another, the first of them on a multiple of that (a copy from anywhere else is an
    illegal instruction), where the row is not as many bytes, or windows are no lines of a swizzle.
    """
    found = windows_of(dispatch, space, space.lhs)
    if found is None or space.batch or not found[0].slides or not _overlap(found[0], element_of(space.operand(0))):
        return None
    windows, products = found
    runs = RunMatrices(dispatch.arguments.index(windows.argument), element_of(space.operand(space.lhs)), windows)
    within = 1 if windows.slides[-1].window > 1 else 0
    taps, across = products.batch[: len(products.batch) - within], products.batch[len(products.batch) - within :]
    filters = operand_of(dispatch, replace(products, batch=taps, k=(*across, *products.k)), space.rhs)
    if filters is None or not filters.along_k or not isinstance(filters.matrices, Matrices):
        return None
    if runs.taps > 1 and filters.matrices.batch[-1][0] != runs.taps:
        return None
    *rows, columns = [d for d in space.m if space.nest.sizes[d] != 1]
    of_rows = replace(space, batch=tuple(rows), m=(columns,))
    batch = ((of_rows.extent(of_rows.batch), 0), *filters.matrices.batch)
    matrices = replace(filters.matrices, batch=batch, together=runs.taps)
    return of_rows, Operand(runs, True), Operand(matrices, True), runs.taps


def _overlap(windows: Windows, element: ir.Type) -> bool:
    """Whether the windows of a row are lines that wgmma reads with an overlap."""
    across, size = windows.slides[-1], byte_size(element)
    line = across.window * windows.channels * size
    dense = across.stride == windows.channels and across.dilation == 1 and across.count > 1
    aligned = all(n * windows.channels * size % OVERLAP == 0 for n in (across.low, across.size))
    return dense and aligned and across.step * windows.channels * size == OVERLAP < line and line in SWIZZLES
