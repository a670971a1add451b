"""Convolutions that step over columns, on images of few channels: the columns of a step as channels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from lumir.dialects import attributes_of, build
from lumir.dtypes import byte_size
from lumir.graph.rewrite import rewrite
from lumir.graph.values import element, shape
from lumir.mlir import ir
from lumir.passes.registry import register_pass

CHUNK_BYTES = 16
"""What a GPU copies to shared memory at once."""


@register_pass
@dataclass(frozen=True)
class FoldColumns:
    """Take the columns that a convolution steps over for channels, where those of one pixel are too few for a copy.

    An image of three colours and one of zeros has 8 bytes a pixel; two pixels are 16, and every window begins at
    a whole number of them once its filters have columns of zeros around. Only pixels that are not finite can tell the
    difference: a zero of a filter times an infinity beside its window is a NaN.

    Requires: before `lumir-fold-constants`, which computes the filters.
    Guarantees: no `channels_last` convolution with a step of s columns has so few channels that s pixels fill one
    copy, if s divides the width.

        %0 = lumir.conv(%x, %w)                        %1 = lumir.reshape(%x) [n, h, w / 2, 8]
             [n, h, w, 4], strides [2, 2]       ->     %2 = lumir.reshape(padded %w) [o, 7, 4, 8]
             [o, 7, 7, 4]                              %0 = lumir.conv(%1, %2) strides [2, 1]
    """

    name: ClassVar[str] = "lumir-fold-columns"

    def run(self, module: ir.Module) -> None:
        rewrite(module, {"conv": [fold_columns]})


def fold_columns(op: ir.Operation) -> ir.Value | None:
    attributes, (image, filters) = attributes_of(op), op.operands
    *outer, width, channels = shape(image)
    step = attributes["strides"][-1]
    if not attributes["channels_last"] or attributes["groups"] > 1 or attributes["dilations"][-1] > 1:
        return None
    if not isinstance(element(image), (ir.F16Type, ir.BF16Type)):
        return None
    if step == 1 or step * channels * byte_size(element(image)) != CHUNK_BYTES:
        return None
    if not isinstance(width, int) or width % step:
        return None
    columns = Columns(step, attributes["low"][-1], shape(filters)[-2])
    places = shape(op.results[0])[-2]
    moved = {"strides": 1, "low": columns.low, "high": places - 1 + columns.window - columns.low - width // step}
    image = build("reshape", image, shape=[*outer, width // step, step * channels])
    filters = _widened(filters, columns.before, columns.after)
    filters = build("reshape", filters, shape=[*shape(filters)[:-2], columns.window, step * channels])
    return build("conv", image, filters, **attributes | {name: _last(attributes[name], n) for name, n in moved.items()})


@dataclass(frozen=True)
class Columns:
    """A window's columns in steps.

    Args:
        step: columns of one.
        padding: columns of zeros before the image.
        columns: of the window.
    """

    step: int
    padding: int
    columns: int

    @property
    def before(self) -> int:
        """Columns of zeros that let the first window begin with a whole step."""
        return -self.padding % self.step

    @property
    def low(self) -> int:
        """Steps of zeros before the image."""
        return (self.padding + self.before) // self.step

    @property
    def window(self) -> int:
        """Steps of the window."""
        return -(-(self.before + self.columns) // self.step)

    @property
    def after(self) -> int:
        return self.window * self.step - self.before - self.columns


def _widened(filters: ir.Value, before: int, after: int) -> ir.Value:
    """Filters with columns of zeros around."""
    if not before and not after:
        return filters
    none, kind = [0] * len(shape(filters)), element(filters)
    zero = ir.DenseElementsAttr.get_splat(ir.RankedTensorType.get([], kind), ir.FloatAttr.get(kind, 0.0))
    low, high = ([*none[:-2], n, 0] for n in (before, after))
    return build("pad", filters, build("constant", value=zero), low=low, high=high, interior=none, mode="constant")


def _last(sizes: Sequence[int], last: int) -> list[int]:
    return [*sizes[:-1], last]
