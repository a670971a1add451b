"""Convolutions as sums of products: which operand of a contraction is read in windows, and how those lie in memory."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from lumir.kernels.contraction_space import ContractionSpace, contraction_of
from lumir.kernels.dispatch import Dispatch, shape_of
from lumir.kernels.strided import Factors, strided_argument
from lumir.mlir import ir
from lumir.sizes import Dim, is_static

T = TypeVar("T")
Value = ir.Value
Terms = dict[int, int]
"""A sum of iteration dimensions, each times a number."""


@dataclass(frozen=True)
class Slide:
    """How windows lie along one dimension of an image.

    Args:
        size: of the dimension.
        stride: from one of its places to the next, in elements; None where it has one place.
        count, step: how many windows, and from each to the next.
        low: places of zeros before the first.
        window, dilation: places of a window, and from each to the next.
    """

    size: Dim
    stride: Dim | None
    count: Dim = 1
    step: int = 1
    low: int = 0
    window: int = 1
    dilation: int = 1

    @property
    def last(self) -> Dim:
        """Where the last window begins, counted from the last place of the dimension."""
        return (self.count - 1) * self.step - self.low - (self.size - 1)


@dataclass(frozen=True)
class Windows:
    """An operand of a convolution: images in an argument, amid zeros, with the channels side by side.

    Args:
        argument: a tensor of the dispatch.
        offset: of the first element.
        channels: how many each product sums.
        groups: of channels, one after the other; each has filters of its own.
        images: the outermost dimension, along which no window reaches; how many they are may depend on the launch.
        slides: the other dimensions, the outermost first.
    """

    argument: Value
    offset: Dim
    channels: int
    groups: int
    images: Slide
    slides: tuple[Slide, ...]

    @property
    def places(self) -> int:
        """Of a window."""
        return math.prod(slide.window for slide in self.slides)


def windows_of(dispatch: Dispatch, space: ContractionSpace, number: int) -> tuple[Windows, ContractionSpace] | None:
    """Input `number` of a convolution, and the convolution as a batch of products over channels, for each group and
    each place of a window, innermost, that are summed; None for any other operand.
    """
    tensor, low = _amid_zeros(space.operand(number))
    found, terms = strided_argument(dispatch, tensor), _whole(map(_terms, space.expressions(number)))
    summed, groups = ([d for d in dims if space.nest.sizes[d] != 1] for dims in (space.k, space.batch))
    if found is None or terms is None or not summed or not _in_order(space, number, terms):
        return None
    (argument, view), shape = found, shape_of(tensor)
    factors = [view.joined([i]) for i in range(len(shape))]
    dims = _whole(_slide(space, *of) for of in zip(terms, shape, factors, low, strict=True))
    if dims is None or len(dims) < 2 or not all(is_static(n) for slide in dims[1:] for n in vars(slide).values()):
        return None
    images, *slides, channels = dims
    if groups:
        *slides, group = slides
        if terms[-2] != {groups[0]: 1} or group != Slide(group.size, shape[-1], group.size) or len(groups) > 1:
            return None
    if images != Slide(shape[0], images.stride, count=shape[0]) or channels != Slide(shape[-1], 1, window=shape[-1]):
        return None
    count = space.nest.sizes[groups[0]] if groups else 1
    windows = Windows(argument, view.offset, shape[-1], count, images, tuple(slides))
    return windows, replace(space, batch=(*groups, *summed[:-1]), k=(summed[-1],))


def read_shares(dispatch: Dispatch) -> dict[Value, float]:
    """For each argument that a convolution reads in windows of several places, or apart, how much of it lies in any."""
    space = contraction_of(dispatch)
    if space is None:
        return {}
    found = [windows_of(dispatch, space, number) for number in (space.lhs, space.rhs)]
    return {
        windows.argument: math.prod(min(1.0, s.window / s.step) for s in windows.slides)
        for windows, _ in filter(None, found)
        if any((s.window, s.step) != (1, 1) for s in windows.slides)
    }


def _whole(found: Iterable[T | None]) -> list[T] | None:
    """All of them, if none is missing."""
    values = list(found)
    return [v for v in values if v is not None] if None not in values else None


def _in_order(space: ContractionSpace, number: int, terms: Sequence[Terms]) -> bool:
    """Whether the operand has windows and what is summed in the order in which the contraction counts them."""
    seen = [d for t in terms for d in t]
    groups = [[d for d in dims if space.nest.sizes[d] != 1] for dims in (space.rows_of(number), space.k)]
    return all([d for d in seen if d in dims] == dims for dims in groups)


def _slide(space: ContractionSpace, terms: Terms, size: int, factors: Factors, low: int) -> Slide | None:
    """A dimension whose index is `terms`, with so many zeros before it; None where it is more than that."""
    places = [d for d in terms if d in space.k]
    rows = [d for d in terms if d not in space.k]
    if len(places) > 1 or len(rows) > 1 or len(factors) > 1 or min(terms.values(), default=1) < 1:
        return None
    (count, step), (window, dilation) = (
        (space.nest.sizes[dims[0]], terms[dims[0]]) if dims else (1, 1) for dims in (rows, places)
    )
    return Slide(size, factors[0][1] if factors else None, count, step, low, window, dilation)


def _terms(expression: ir.AffineExpr) -> Terms | None:
    """A linear expression without a constant; None for any other."""
    match expression:
        case ir.AffineDimExpr():
            return {expression.position: 1}
        case ir.AffineConstantExpr():
            return {} if expression.value == 0 else None
        case ir.AffineAddExpr():
            left, right = _terms(expression.lhs), _terms(expression.rhs)
            return None if left is None or right is None or left.keys() & right.keys() else left | right
        case ir.AffineMulExpr():
            terms = _terms(expression.lhs)
            return terms and {d: n * ir.AffineConstantExpr(expression.rhs).value for d, n in terms.items()}
    return None


def _amid_zeros(tensor: Value) -> tuple[Value, Sequence[int]]:
    """What a tensor has zeros around, and how many come first along each dimension."""
    none = (0,) * len(shape_of(tensor))
    if isinstance(tensor.owner, ir.Block) or tensor.owner.name != "tensor.pad" or not pads_with_zero(tensor.owner):
        return tensor, none
    return tensor.owner.operands[0], tuple(tensor.owner.attributes["static_low"])


def pads_with_zero(op: ir.OpView) -> bool:
    """Whether a `tensor.pad` puts zeros around its operand."""
    value = list(op.regions[0].blocks[0].operations)[-1].operands[0].owner
    return not isinstance(value, ir.Block) and value.name == "arith.constant" and value.attributes["value"].value == 0
