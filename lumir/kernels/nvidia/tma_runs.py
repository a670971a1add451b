"""The windows of a convolution on few channels: the rows of an image as TMA copies them, read with an overlap.

Where the next window of a row begins 16 bytes further on, line m of a matrix of such windows begins 16 m bytes into
the row. wgmma reads lines of a pitch of 16 bytes where nothing is swizzled, so that one copy of a row serves them all.
"""

from dataclasses import dataclass, replace
from functools import cached_property

from lumir.artifact.tensor_map import MAX_BOX, TensorMap
from lumir.dtypes import byte_size, dtype_name
from lumir.kernels.contraction_space import ContractionSpace
from lumir.kernels.dispatch import Dispatch, element_of
from lumir.kernels.index import Index, IndexMath
from lumir.kernels.nvidia.tma_operand import Matrices, Operand, Operands, operand_of
from lumir.kernels.nvidia.wgmma import OVERLAP, SWIZZLES
from lumir.kernels.windows import Slide, Windows, windows_of
from lumir.mlir import ir

Value = ir.Value
_BOX_BYTES = 128
"""What a box's place in shared memory is a multiple of."""


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

    def boxes(self, lines: int) -> tuple[int, int]:
        """How many boxes bring so many lines, and the elements of each."""
        elements, whole = (lines - 1) * OVERLAP // self.size + self.run, _BOX_BYTES // self.size
        count = -(-elements // MAX_BOX)
        return count, -(-elements // (count * whole)) * whole

    def problems(self, box_lines: int, box_columns: int) -> list[str]:
        """Why TMA cannot copy the rows."""
        return self.tensor_map(box_lines, box_columns).problems()

    def tensor_map(self, box_lines: int, box_columns: int) -> TensorMap:
        """The map of an image's rows, for matrices of so many lines."""
        outer = (*self._down[::-1], self.windows.images)
        return TensorMap(
            self.arg,
            dtype_name(self.element),
            dims=(self._across.size * self.windows.channels, *(s.size for s in outer)),
            strides=tuple(OVERLAP if s.stride is None else s.stride * self.size for s in outer),
            box=(self.boxes(box_lines)[1], *(1 for _ in outer)),
            offset=self.windows.offset * self.size,
            swizzle=0,
        )

    def place(self, index: IndexMath, batch: Index, line: Index, column: Index) -> list[Value]:
        """The coordinates of the box whose first element is so many columns on in a line."""
        down = self._down
        *row, tap = index.delinearize(batch, [self.windows.images.count, *(s.count for s in down), self.taps])
        at = index.delinearize(tap, [s.window for s in down])
        starts = [
            index.offset(index.add(index.scale(i, s.step), index.scale(j, s.dilation)), -s.low)
            for i, j, s in zip(row[1:], at, down, strict=True)
        ]
        first = index.offset(index.scale(line, OVERLAP // self.size), -self._across.low * self.windows.channels)
        return [index.scalar(i.base) for i in (index.add(first, column), *starts[::-1], row[0])]

    def offsets(self, index: IndexMath, batch: Index) -> list[Value]:
        """None: boxes are where their coordinates say."""
        return []


def runs_of(dispatch: Dispatch, space: ContractionSpace) -> Operands | None:
    """A convolution whose left operand is windows, as products of the windows of a row of an image with filters.

    Its space has the rows as batches, and a product is summed for each row of a window. None where a row's windows do
    not begin 16 bytes after one another, the first of them on a multiple of that (a copy from anywhere else is an
    illegal instruction), or are no lines of a swizzle.
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
    *rows, columns = [d for d in space.m if space.nest.sizes[d] != 1]
    of_rows = replace(space, batch=tuple(rows), m=(columns,))
    matrices = replace(filters.matrices, batch=((of_rows.extent(of_rows.batch), 0), *filters.matrices.batch))
    return of_rows, Operand(runs, True), Operand(matrices, True), runs.taps


def _overlap(windows: Windows, element: ir.Type) -> bool:
    """Whether the windows of a row are lines that wgmma reads with an overlap."""
    across, size = windows.slides[-1], byte_size(element)
    line = across.window * windows.channels * size
    dense = across.stride == windows.channels and across.dilation == 1 and across.count > 1
    aligned = across.low * windows.channels * size % OVERLAP == 0
    return dense and aligned and across.step * windows.channels * size == OVERLAP < line and line in SWIZZLES
