"""Quantised arithmetic: integers with scales and zero points."""

import ml_dtypes
import numpy as np

from lumir.dialects import build
from lumir.dialects.base import is_float, is_int, normalize_axis
from lumir.dtypes import bit_size
from lumir.frontend import emit
from lumir.frontend.context import NodeContext
from lumir.frontend.handlers.convolution import convolve, window_of
from lumir.frontend.registry import Result, handler
from lumir.mlir import ir


def spread(parameter: ir.Value, x: ir.Value, axis: int, block: int = 0) -> ir.Value:
    """A scale or zero point as it broadcasts to x: one for all, one an index of `axis`, or one a block along it."""
    dims = emit.shape(parameter)
    if int(np.prod(dims)) == 1:
        return emit.reshape(parameter, [])
    if len(dims) == 1 and block == 0:
        return emit.along(parameter, axis, emit.rank(x))
    size = emit.shape(x)[axis]
    block = block or -(-size // dims[axis])
    wide = emit.broadcast(emit.unsqueeze(parameter, [axis + 1]), [*dims[: axis + 1], block, *dims[axis + 1 :]])
    flat = emit.reshape(wide, [*dims[:axis], dims[axis] * block, *dims[axis + 1 :]])
    return emit.slice_(flat, axis, 0, size)


def _axis(ctx: NodeContext, default: int = 1) -> int:
    """The quantised axis; one that per-tensor parameters leave unused may lie outside the rank."""
    rank = len(ctx.tensor(0).shape)
    axis = ctx.attribute("axis", default)
    return normalize_axis(axis, rank) if -rank <= axis < rank else 0


@handler("DequantizeLinear", since=10)
def dequantize_linear(ctx: NodeContext) -> Result:
    """(x - zero point) * scale."""
    x, scale, axis, block = ctx.value(0), ctx.value(1), _axis(ctx), ctx.attribute("block_size", 0)
    to, wide = ctx.element("output_dtype", emit.element(scale)), emit.type_("float32")
    scale = emit.cast(spread(scale, x, axis, block), wide)
    zero = spread(ctx.value(2), x, axis, block) if ctx.has(2) and not _is_zero(ctx.known(2)) else None
    if is_int(emit.element(x)) and bit_size(emit.element(x)) <= 16:
        zero = emit.scalar(0, emit.element(x)) if zero is None else zero
        return emit.cast(build("dequantize", x, scale, zero), to)
    x = x if zero is None else _centered(x, zero)
    return emit.cast(emit.mul(emit.cast(x, wide), scale), to)


def _is_zero(array: np.ndarray | None) -> bool:
    return array is not None and not array.astype(np.float32).any()


def _centered(x: ir.Value, zero: ir.Value) -> ir.Value:
    """x - zero, without overflow: in int32, or in float32 for floats."""
    wide = emit.type_("float32" if is_float(emit.element(x)) else "int32")
    return emit.sub(emit.cast(x, wide), emit.cast(zero, wide))


@handler("QuantizeLinear", since=10)
def quantize_linear(ctx: NodeContext) -> Result:
    """saturate(round(x / scale) + zero point), ties to even; floats of 8 bits and less round as the cast does."""
    x, scale, axis, block = ctx.value(0), ctx.value(1), _axis(ctx), ctx.attribute("block_size", 0)
    zero_type = ctx.tensor(2).type.element_type if ctx.has(2) else ctx.element("output_dtype", emit.type_("uint8"))
    precision = ctx.element("precision", emit.element(scale))
    precision = precision if is_float(precision) else emit.type_("float32")
    quotient = emit.div(emit.cast(x, precision), emit.cast(spread(scale, x, axis, block), precision))
    zero = spread(ctx.value(2), x, axis, block) if ctx.has(2) and not _is_zero(ctx.known(2)) else None
    return quantize(emit.widen(quotient), zero, zero_type, bool(ctx.attribute("saturate", 1)))


def quantize(scaled: ir.Value, zero: ir.Value | None, to: ir.Type, saturate: bool = True) -> ir.Value:
    """Round a scaled float32 tensor, add the zero point and clamp to the range of `to`."""
    if is_float(to):
        shifted = scaled if zero is None else emit.add(scaled, emit.cast(zero, emit.element(scaled)))
        return emit.cast(shifted, to, saturate)
    rounded = build("round", scaled)
    shifted = rounded if zero is None else emit.add(rounded, emit.cast(zero, emit.element(scaled)))
    limits = ml_dtypes.iinfo(emit.numpy_dtype(to))
    return emit.cast(emit.minimum(emit.maximum(shifted, int(limits.min)), int(limits.max)), to)


@handler("DynamicQuantizeLinear", since=11)
def dynamic_quantize_linear(ctx: NodeContext) -> Result:
    """To uint8, by the range of the elements and zero; a tensor of zeros has the scale 1, as in onnxruntime."""
    x = ctx.value(0)
    axes, byte = list(range(emit.rank(x))), emit.type_("uint8")
    low = emit.minimum(emit.reduce(x, "min", axes), 0)
    high = emit.maximum(emit.reduce(x, "max", axes), 0)
    scale = emit.div(emit.sub(high, low), 255)
    scale = emit.select(emit.binary("eq", high, low), 1.0, scale)
    zero = quantize(emit.div(emit.neg(low), scale), None, byte)
    return [quantize(emit.div(x, scale), zero, byte), scale, zero]


@handler("MatMulInteger", since=10)
def matmul_integer(ctx: NodeContext) -> Result:
    """(a - a's zero point) x (b - b's zero point) in int32; zero points by row of a and by column of b."""
    return emit.matmul(_centered_input(ctx, 0, 2, rows=True), _centered_input(ctx, 1, 3), emit.type_("int32"))


@handler("QLinearMatMul", since=10)
def qlinear_matmul(ctx: NodeContext) -> Result:
    if is_float(ctx.tensor(0).type.element_type) or is_float(ctx.tensor(3).type.element_type):
        ctx.refuse("quantised products of 8-bit floats are not supported")
    a, b = _centered_input(ctx, 0, 2, rows=True), _centered_input(ctx, 3, 5)
    wide = emit.type_("float32")
    a_scale = _by_line(emit.cast(ctx.value(1), wide), rows=True)
    b_scale = _by_line(emit.cast(ctx.value(4), wide))
    return _requantized(
        emit.matmul(a, b, emit.type_("int32")), a_scale, b_scale, emit.cast(ctx.value(6), wide), ctx.value(7)
    )


def _centered_input(ctx: NodeContext, index: int, zero_index: int, *, rows: bool = False) -> ir.Value:
    """A matrix operand minus its zero point, in int32."""
    x = emit.cast(ctx.value(index), emit.type_("int32"))
    if not ctx.has(zero_index) or _is_zero(ctx.known(zero_index)):
        return x
    return _centered(x, _by_line(ctx.value(zero_index), rows=rows))


def _by_line(parameter: ir.Value, *, rows: bool = False) -> ir.Value:
    """A scale or zero point as it broadcasts to a matrix: one for all, or a vector over its rows or columns."""
    if int(np.prod(emit.shape(parameter))) == 1:
        return emit.reshape(parameter, [])
    return emit.unsqueeze(parameter, [1]) if rows and emit.rank(parameter) == 1 else parameter


def _requantized(total: ir.Value, a: ir.Value, b: ir.Value, out: ir.Value, zero: ir.Value) -> ir.Value:
    """An int32 sum of products, in the scale and type of the output."""
    real = emit.mul(emit.cast(total, emit.type_("float32")), emit.div(emit.mul(a, b), _scalar(out)))
    return quantize(real, _scalar(zero), emit.element(zero))


def _scalar(x: ir.Value) -> ir.Value:
    return emit.reshape(x, []) if int(np.prod(emit.shape(x))) == 1 else x


@handler("ConvInteger", since=10)
def conv_integer(ctx: NodeContext) -> Result:
    return _integer_conv(ctx, 0, 2, 1, 3)


@handler("QLinearConv", since=10)
def qlinear_conv(ctx: NodeContext) -> Result:
    total = _integer_conv(ctx, 0, 2, 3, 5)
    rank = emit.rank(total)
    if ctx.has(8):
        total = emit.add(total, emit.along(ctx.value(8), 1, rank))
    weight_scale = ctx.value(4)
    weight_scale = _scalar(weight_scale) if ctx.tensor(4).size == 1 else emit.along(weight_scale, 1, rank)
    return _requantized(total, _scalar(ctx.value(1)), weight_scale, ctx.value(6), ctx.value(7))


def _integer_conv(ctx: NodeContext, x: int, x_zero: int, w: int, w_zero: int) -> ir.Value:
    """Convolution in int32. The zero point is taken off before padding, so that pads stand for real zeros."""
    spatial, size = ctx.tensor(x).shape[2:], ctx.tensor(w).shape[2:]
    window = window_of(ctx, spatial, ctx.ints_attribute("kernel_shape", list(size)))
    zero = ctx.optional(w_zero)
    weights = emit.cast(ctx.value(w), emit.type_("int32"))
    if zero is not None:
        zero = emit.along(zero, 0, emit.rank(weights)) if ctx.tensor(w_zero).size > 1 else _scalar(zero)
        weights = _centered(weights, zero)
    signal = emit.cast(ctx.value(x), emit.type_("int32"))
    if ctx.has(x_zero):
        signal = _centered(signal, _scalar(ctx.value(x_zero)))
    return convolve(signal, weights, window, ctx.attribute("group", 1))
