"""onnxruntime's operators for diffusion models and channels-last images (domain com.microsoft)."""

import math

from lumir.dialects import build
from lumir.frontend import emit
from lumir.frontend.context import NodeContext
from lumir.frontend.handlers import activation
from lumir.frontend.handlers.convolution import convolve, window_of
from lumir.frontend.handlers.normalization import normalize
from lumir.frontend.registry import MICROSOFT, Result, handler
from lumir.mlir import ir


@handler("GroupNorm", domain=MICROSOFT)
def group_norm(ctx: NodeContext) -> Result:
    return _group_norm(ctx, ctx.value(0))


@handler("SkipGroupNorm", domain=MICROSOFT)
def skip_group_norm(ctx: NodeContext) -> list[Result]:
    """Of x + skip + bias, where skip [n, c] or [n, 1, 1, c] counts for every place; the sum is the second output."""
    x, skip = ctx.value(0), ctx.value(3)
    if emit.rank(skip) == 2:
        skip = emit.unsqueeze(skip, [1, 2])
    total = emit.add(x, skip)
    total = emit.add(total, ctx.value(4)) if ctx.has(4) else total
    return [_group_norm(ctx, total), total]


def _group_norm(ctx: NodeContext, x: ir.Value) -> ir.Value:
    """Each group of channels normalised, then scaled and shifted by channel; `channels_last` is the default."""
    groups, last = ctx.attribute("groups"), bool(ctx.attribute("channels_last", 1))
    n, *spatial, channels = emit.shape(emit.transpose(x, [0, 2, 3, 1])) if not last else emit.shape(x)
    if channels % groups:
        ctx.malformed(f"groups {groups} must divide the {channels} channels")
    first = emit.transpose(x, [0, 3, 1, 2]) if last else x
    rows = emit.reshape(emit.widen(first), [n, groups, channels // groups * math.prod(spatial)])
    normal = emit.reshape(normalize(rows, 2, ctx.attribute("epsilon", 1e-5)), [n, channels, *spatial])
    scale, bias = (emit.along(emit.widen(ctx.value(i)), 1, 4) for i in (1, 2))
    result = emit.add(emit.mul(normal, scale), bias)
    result = activation.swish(result, 1.0) if ctx.attribute("activation", 0) else result
    result = emit.cast(result, emit.element(x))
    return emit.transpose(result, [0, 2, 3, 1]) if last else result


@handler("BiasSplitGelu", domain=MICROSOFT)
def bias_split_gelu(ctx: NodeContext) -> Result:
    """The first half of x + bias times the GELU of the second."""
    x = emit.add(ctx.value(0), ctx.value(1))
    axis, half = emit.rank(x) - 1, emit.shape(x)[-1] // 2
    value, gate = emit.split(x, axis, [half, half])
    return emit.mul(value, activation.gelu(gate))


@handler("NhwcConv", domain=MICROSOFT)
def nhwc_conv(ctx: NodeContext) -> Result:
    """Convolution of [n, spatial..., c] with filters [o, window..., c / groups]."""
    x, w = (_channels_first(ctx.value(i)) for i in (0, 1))
    window = window_of(ctx, emit.shape(x)[2:], ctx.ints_attribute("kernel_shape", emit.shape(w)[2:]))
    result = convolve(x, w, window, ctx.attribute("group", 1))
    rank = emit.rank(result)
    result = emit.transpose(result, [0, *range(2, rank), 1])
    return emit.add(result, ctx.value(2)) if ctx.has(2) else result


def _channels_first(x: ir.Value) -> ir.Value:
    rank = emit.rank(x)
    return emit.transpose(x, [0, rank - 1, *range(1, rank - 1)])


@handler("BiasSoftmax", domain=MICROSOFT)
def bias_softmax(ctx: NodeContext) -> Result:
    """Softmax of x + bias over the dimensions from `axis` on.

    A bias of fewer dimensions is repeated over x's outermost ones, or over those right before `axis`.
    """
    x, bias = ctx.value(0), ctx.value(1)
    axis = ctx.attribute("axis", 1) % emit.rank(x)
    if not ctx.attribute("is_inner_broadcast"):
        bias = emit.reshape(bias, [1] * (emit.rank(x) - emit.rank(bias)) + emit.shape(bias))
    elif emit.rank(bias) != emit.rank(x):
        ctx.refuse("a bias of fewer dimensions that is repeated over inner ones is not supported")
    flat = emit.flatten(emit.add(x, bias), axis)
    return emit.reshape(build("softmax", flat, axis=1, log=False), emit.shape(x))
