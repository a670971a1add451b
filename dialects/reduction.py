"""Reductions, scans, and ops that order elements."""

# The annotations below are constraints, read by `dialects.ext`.
# pyright: reportInvalidTypeForm=false, reportGeneralTypeIssues=false, reportCallIssue=false

from lumir.dialects.base import Lumir, Op, Shape, element, is_bool, normalize_axis, register, require, shape, tensor
from lumir.dialects.constraints import Flag, IntArray, SameType, Tensor, one_of
from lumir.dialects.contraction import channels_second, window_extent
from lumir.mlir import ext, ir

REDUCTIONS = ("sum", "prod", "max", "min")
SCANS = ("sum", "prod", "max")
ReduceKind, ScanKind = one_of(*REDUCTIONS), one_of(*SCANS)
WindowKind, ArgKind = one_of("sum", "max"), one_of("max", "min")


@register
class Reduce(Op, dialect=Lumir, name="reduce", traits=[ext.Pure]):
    """Reduce over `axes`, which disappear. `kind`: sum, prod, max, min (on bool, max is `any` and min is `all`)."""

    input: ext.Operand[Tensor]
    kind: ReduceKind
    axes: IntArray
    result: ext.Result[Tensor]

    @staticmethod
    def infer(x: ir.Type, kind: str, axes: Shape) -> ir.Type:
        require(kind in REDUCTIONS, f"kind must be one of {', '.join(REDUCTIONS)}", kind=kind)
        require(not is_bool(element(x)) or kind in ("max", "min"), "a bool reduces by max or min", kind=kind)
        dropped = {normalize_axis(axis, len(shape(x)), "axes") for axis in axes}
        require(len(dropped) == len(axes), "axes must be distinct", axes=axes)
        return tensor([d for i, d in enumerate(shape(x)) if i not in dropped], element(x))


@register
class ArgReduce(Op, dialect=Lumir, name="arg_reduce", traits=[ext.Pure]):
    """The int64 index of the largest (`max`) or smallest (`min`) element along `axis`, which disappears.

    Of equal elements the first counts, or the last with `last`.
    """

    input: ext.Operand[Tensor]
    kind: ArgKind
    axis: ir.IntegerAttr
    last: Flag
    result: ext.Result[Tensor]

    @staticmethod
    def infer(x: ir.Type, kind: str, axis: int, last: bool) -> ir.Type:
        require(kind in ("max", "min"), "kind must be max or min", kind=kind)
        axis = normalize_axis(axis, len(shape(x)))
        require(shape(x)[axis] > 0, "the reduced dimension must not be empty", input=x)
        return tensor([d for i, d in enumerate(shape(x)) if i != axis], ir.IntegerType.get_signless(64))


@register
class WindowReduce(Op, dialect=Lumir, name="window_reduce", traits=[ext.Pure]):
    """Reduce a sliding window of [n, c, spatial...] by `kind` (sum, max); padding holds the kind's neutral element.

    With `channels_last` input and result are [n, spatial..., c].
    """

    input: ext.Operand[Tensor]
    kind: WindowKind
    window: IntArray
    strides: IntArray
    dilations: IntArray
    low: IntArray
    high: IntArray
    channels_last: Flag
    result: ext.Result[Tensor]

    @staticmethod
    def infer(
        x: ir.Type,
        *,
        kind: str,
        window: Shape,
        strides: Shape,
        dilations: Shape,
        low: Shape,
        high: Shape,
        channels_last: bool = False,
    ) -> ir.Type:
        require(kind in ("sum", "max"), "kind must be sum or max", kind=kind)
        require(len(shape(x)) >= 3, "input must have rank 3 or more", input=x)
        n, c, *spatial = channels_second(shape(x), channels_last)
        extent = window_extent(tuple(spatial), window, strides=strides, dilations=dilations, low=low, high=high)
        return tensor([n, *extent, c] if channels_last else [n, c, *extent], element(x))


@register
class Scan(Op, dialect=Lumir, name="scan", traits=[ext.Pure]):
    """Running `kind` (sum, prod, max) along `axis`.

    `exclusive` leaves the element itself out, `reverse` starts at the end.
    """

    input: ext.Operand[SameType]
    kind: ScanKind
    axis: ir.IntegerAttr
    exclusive: Flag
    reverse: Flag
    result: ext.Result[SameType]

    @staticmethod
    def infer(x: ir.Type, kind: str, axis: int, exclusive: bool, reverse: bool) -> ir.Type:
        require(kind in SCANS, "kind must be sum, prod or max", kind=kind)
        normalize_axis(axis, len(shape(x)))
        return x


@register
class TopK(Op, dialect=Lumir, name="top_k", traits=[ext.Pure]):
    """The `k` largest (or smallest) elements along the last axis, sorted, and their int64 indices.

    Equal elements keep the order of their indices.
    """

    input: ext.Operand[Tensor]
    k: ir.IntegerAttr
    largest: Flag
    values: ext.Result[Tensor]
    indices: ext.Result[Tensor]

    @staticmethod
    def infer(x: ir.Type, k: int, largest: bool) -> list[ir.Type]:
        require(len(shape(x)) >= 1, "input must have at least one dimension", input=x)
        *outer, size = shape(x)
        require(0 <= k <= size, "k must not exceed the last dimension", k=k, size=size)
        return [tensor([*outer, k], element(x)), tensor([*outer, k], ir.IntegerType.get_signless(64))]
