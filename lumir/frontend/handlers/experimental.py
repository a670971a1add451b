"""Operators that ONNX had as experiments up to opset 9, which old converters wrote.

Their definitions: https://github.com/onnx/onnx/blob/v1.3.0/docs/Operators.md.
"""

import numpy as np

from lumir.dialects import build
from lumir.frontend import emit
from lumir.frontend.context import NodeContext
from lumir.frontend.handlers.shaping import slice_
from lumir.frontend.registry import Result, handler

handler("DynamicSlice")(slice_)


@handler("Affine")
def affine(ctx: NodeContext) -> Result:
    return emit.add(emit.mul(ctx.value(0), ctx.attribute("alpha", 1.0)), ctx.attribute("beta", 0.0))


@handler("Scale")
def scale(ctx: NodeContext) -> Result:
    return emit.mul(ctx.value(0), ctx.attribute("scale", 1.0))


@handler("ImageScaler")
def image_scaler(ctx: NodeContext) -> Result:
    """x * scale, plus a bias by channel."""
    x, bias = ctx.value(0), ctx.attribute("bias", [])
    scaled = emit.mul(x, ctx.attribute("scale", 1.0))
    if not bias:
        return scaled
    return emit.add(scaled, emit.along(ctx.constant(np.array(bias, emit.dtype(x))), 1, emit.rank(x)))


@handler("ScaledTanh")
def scaled_tanh(ctx: NodeContext) -> Result:
    return emit.mul(build("tanh", emit.mul(ctx.value(0), ctx.attribute("beta", 1.0))), ctx.attribute("alpha", 1.0))


@handler("ParametricSoftplus")
def parametric_softplus(ctx: NodeContext) -> Result:
    """alpha * log(1 + exp(beta * x))."""
    x = emit.mul(ctx.value(0), ctx.attribute("beta", 1.0))
    rest = build("log1p", emit.exp(emit.neg(build("abs", x))))
    return emit.mul(emit.add(emit.maximum(x, 0), rest), ctx.attribute("alpha", 1.0))


@handler("Crop")
def crop(ctx: NodeContext) -> Result:
    """[n, c, h, w] without `border` (left, top, right, bottom), or `scale` (h, w) of it from the left and top on."""
    x = ctx.value(0)
    left, top, right, bottom = ctx.attribute("border", [0, 0, 0, 0])
    height, width = ctx.attribute("scale") or (emit.shape(x)[2] - top - bottom, emit.shape(x)[3] - left - right)
    return emit.slice_(emit.slice_(x, 2, top, height), 3, left, width)
