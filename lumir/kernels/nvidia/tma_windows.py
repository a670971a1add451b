"""The windows of a convolution as matrices that TMA reads in im2col mode: a line a window, a column a channel."""

from dataclasses import dataclass
from functools import cached_property

from lumir.artifact.tensor_map import ALIGNMENT, TensorMap, swizzle_of
from lumir.dtypes import byte_size, dtype_name
from lumir.kernels.index import ZERO, Index, IndexMath, Place
from lumir.kernels.windows import Slide, Windows
from lumir.mlir import arith, ir

Value = ir.Value
OFFSET_BITS = 16
"""Of all offsets of a copy together."""


@dataclass(frozen=True)
class WindowMatrices:
    """A batch of matrices, one for each group of channels and each place of a window, innermost.

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
    def _inner_first(self) -> tuple[Slide, ...]:
        return self.windows.slides[::-1]

    def problems(self, box_lines: int, box_columns: int) -> list[str]:
        """Why TMA cannot copy boxes of this size."""
        reasons = self.tensor_map(box_lines, box_columns).problems()
        reach = 1 << OFFSET_BITS // max(len(self.windows.slides), 1)
        if any((s.window - 1) * s.dilation >= reach for s in self.windows.slides):
            reasons.append(f"windows reach further than {reach} places")
        if self.windows.groups > 1 and self.windows.channels % box_columns:
            reasons.append(f"groups of {self.windows.channels} channels are not whole boxes of {box_columns}")
        return reasons

    def tensor_map(self, box_lines: int, box_columns: int) -> TensorMap:
        """The map with boxes of lines by columns."""
        inner, single = self._inner_first, ALIGNMENT // self.size
        outer = (*inner, self.windows.images)
        return TensorMap(
            self.arg,
            dtype_name(self.element),
            dims=(self.windows.groups * self.windows.channels, *(s.size for s in outer)),
            strides=tuple((single if s.stride is None else s.stride) * self.size for s in outer),
            box=(box_columns, box_lines),
            element_strides=(1, *(s.step for s in outer)),
            offset=self.windows.offset * self.size,
            swizzle=swizzle_of(box_columns * self.size),
            lower=tuple(-s.low for s in inner),
            upper=tuple(s.last for s in inner),
        )

    def place(self, index: IndexMath, batch: Index, line: Index, column: Index) -> list[Value]:
        """The coordinates of the box that starts at a window and a channel, the same for every place of the window."""
        slides = self.windows.slides
        column = index.add(column, index.scale(self._parts(index, batch)[0], self.windows.channels))
        image, *at = index.delinearize(line, [self.windows.images.count, *(s.count for s in slides)])
        starts = [index.offset(index.scale(i, s.step), -s.low) for i, s in zip(at, slides, strict=True)]
        return [index.scalar(i.base) for i in (column, *starts[::-1], image)]

    def offsets(self, index: IndexMath, batch: Index) -> list[Value]:
        """How far the place of the window is from its first, along each dimension from the innermost, i16."""
        slides, i16 = self.windows.slides, ir.IntegerType.get_signless(16)
        at = self._parts(index, batch)[1:]
        far = [index.scalar(index.scale(i, s.dilation).base) for i, s in zip(at, slides, strict=True)]
        return [arith.TruncIOp(i16, value).result for value in far[::-1]]

    def _parts(self, index: IndexMath, batch: Index) -> Place:
        """The group and the place in the window of a matrix."""
        sizes, groups = [s.window for s in self.windows.slides], self.windows.groups
        return index.delinearize(batch, [groups, *sizes]) if groups > 1 else (ZERO, *index.delinearize(batch, sizes))
