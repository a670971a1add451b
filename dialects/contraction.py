"""Contraction and convolution: where the floating-point operations are."""

# The annotations below are constraints, read by `dialects.ext`.
# pyright: reportInvalidTypeForm=false, reportGeneralTypeIssues=false, reportCallIssue=false

from lumir.dialects.base import Lumir, Op, Shape, element, is_element, is_int, register, require, shape, tensor
from lumir.dialects.constraints import Flag, IntArray, Tensor
from lumir.mlir import ext, ir
from lumir.sizes import equal

ALLOW_TF32 = "lumir.allow_tf32"
"""The mark of a contraction whose float32 operands may be rounded to tf32, the 19 bits that tensor cores multiply."""


def parse_equation(equation: str) -> tuple[str, str, str]:
    """The labels of lhs, rhs and result of `"bik,bkj->bij"`."""
    inputs, arrow, result = equation.partition("->")
    lhs, comma, rhs = inputs.partition(",")
    require(bool(arrow and comma), 'equation must read "lhs,rhs->result"', equation=equation)
    require(
        all(len(set(labels)) == len(labels) for labels in (lhs, rhs, result)),
        "a label may appear once in an operand",
        equation=equation,
    )
    require(set(result) <= set(lhs) | set(rhs), "result labels must come from an operand", equation=equation)
    require(
        set(lhs) - set(rhs) <= set(result) and set(rhs) - set(lhs) <= set(result),
        "a label that is summed must be in both operands",
        equation=equation,
    )
    return lhs, rhs, result


@register
class Contract(Op, dialect=Lumir, name="contract", traits=[ext.Pure]):
    """Multiply and sum over shared labels, as einsum over two operands: `"mk,kn->mn"` is a matrix product.

    Floats accumulate in float32 (float64 for float64), integers exactly, modulo the width of `to`; the result has
    element type `to`. The operands' element types may differ, e.g. int8 and uint8.
    """

    lhs: ext.Operand[Tensor]
    rhs: ext.Operand[Tensor]
    equation: ir.StringAttr
    to: ir.TypeAttr
    result: ext.Result[Tensor]

    @staticmethod
    def infer(lhs: ir.Type, rhs: ir.Type, equation: str, to: ir.Type) -> ir.Type:
        left, right, out = parse_equation(equation)
        require(is_element(to), "to must be a float, integer or bool type", to=to)
        require(len(left) == len(shape(lhs)), "lhs rank must equal its labels", equation=equation, lhs=lhs)
        require(len(right) == len(shape(rhs)), "rhs rank must equal its labels", equation=equation, rhs=rhs)
        sizes: dict[str, int] = dict(zip(left, shape(lhs), strict=True))
        for label, size in zip(right, shape(rhs), strict=True):
            require(
                equal(sizes.setdefault(label, size), size), f"sizes of label '{label}' must agree", lhs=lhs, rhs=rhs
            )
        return tensor([sizes[label] for label in out], to)


def window_extent(
    spatial: Shape, window: Shape, *, strides: Shape, dilations: Shape, low: Shape, high: Shape
) -> tuple[int, ...]:
    """The number of window positions along each spatial dimension."""
    ranks = {"window": window, "strides": strides, "dilations": dilations, "low": low, "high": high}
    for name, values in ranks.items():
        require(len(values) == len(spatial), f"{name} must have one entry a spatial dimension", **{name: values})
    require(all(s >= 1 for s in (*strides, *dilations)), "strides and dilations must be positive", strides=strides)
    extent = []
    for size, k, stride, dilation, lo, hi in zip(spatial, window, strides, dilations, low, high, strict=True):
        room = size + lo + hi - ((k - 1) * dilation + 1)
        require(room >= 0, "window must fit the padded input", size=size, window=k, dilation=dilation, low=lo, high=hi)
        extent.append(room // stride + 1)
    return tuple(extent)


@register
class Conv(Op, dialect=Lumir, name="conv", traits=[ext.Pure]):
    """Cross-correlation of [n, c, spatial...] with filters [o, c / groups, window...], zeros outside the input.

    Sums as `contract` does; the operands' element types may differ where both are integers. With `channels_last` the
    input is [n, spatial..., c], the filters [o, window..., c / groups], the result [n, spatial..., o].
    """

    input: ext.Operand[Tensor]
    filter: ext.Operand[Tensor]
    strides: IntArray
    dilations: IntArray
    low: IntArray
    high: IntArray
    groups: ir.IntegerAttr
    channels_last: Flag
    to: ir.TypeAttr
    result: ext.Result[Tensor]

    @staticmethod
    def infer(
        x: ir.Type,
        w: ir.Type,
        *,
        strides: Shape,
        dilations: Shape,
        low: Shape,
        high: Shape,
        groups: int,
        to: ir.Type,
        channels_last: bool = False,
    ) -> ir.Type:
        require(len(shape(x)) == len(shape(w)) >= 3, "ranks must be equal, and 3 or more", input=x, filter=w)
        integers = is_int(element(x)) and is_int(element(w))
        require(element(x) == element(w) or integers, "input and filter must share one element type", input=x, filter=w)
        require(is_element(to), "to must be a float, integer or bool type", to=to)
        require(groups >= 1, "groups must be positive", groups=groups)
        n, channels, *spatial = channels_second(shape(x), channels_last)
        out, per_group, *window = channels_second(shape(w), channels_last)
        require(
            equal(channels, per_group * groups),
            "channels must be groups * filter channels",
            channels=channels,
            groups=groups,
            filter=w,
        )
        require(out % groups == 0, "groups must divide the filters", filters=out, groups=groups)
        extent = window_extent(tuple(spatial), tuple(window), strides=strides, dilations=dilations, low=low, high=high)
        return tensor([n, *extent, out] if channels_last else [n, out, *extent], to)


def channels_second(dims: Shape, channels_last: bool) -> Shape:
    """The sizes with those of the channels second, where they are last."""
    return (dims[0], dims[-1], *dims[1:-1]) if channels_last else tuple(dims)
