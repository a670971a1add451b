"""Normalisations."""

import math

import numpy as np

from lumir.dialects import build
from lumir.dialects.base import normalize_axis
from lumir.frontend import emit
from lumir.frontend.context import NodeContext
from lumir.frontend.registry import Result, handler
from lumir.mlir import ir


def normalize(x: ir.Value, axis: int, epsilon: float, center: bool = True) -> ir.Value:
    return build("normalize", x, axis=axis, epsilon=epsilon, center=center)


@handler("LayerNormalization", since=17)
def layer_normalization(ctx: NodeContext) -> list[Result]:
    """(x - mean) / sqrt(variance + epsilon) * scale + bias over the dimensions from `axis` on."""
    x, scale, bias = ctx.value(0), ctx.value(1), ctx.optional(2)
    axis = normalize_axis(ctx.attribute("axis", -1), emit.rank(x))
    epsilon = ctx.attribute("epsilon", 1e-5)
    result = emit.mul(emit.cast(normalize(x, axis, epsilon), emit.element(scale)), scale)
    results: list[Result] = [result if bias is None else emit.add(result, bias)]
    if ctx.wants(1) or ctx.wants(2):
        found = statistics(emit.widen(x), list(range(axis, emit.rank(x))), epsilon)
        results += [emit.cast(value, _stash_type(ctx)) for value in found]
    return results


def _stash_type(ctx: NodeContext) -> ir.Type:
    """The type of the statistics among the outputs: float32 unless the node names another."""
    return ctx.element("stash_type", emit.type_("float32"))


def statistics(x: ir.Value, axes: list[int], epsilon: float) -> list[ir.Value]:
    """Mean and 1 / sqrt(variance + epsilon)."""
    mean, variance = moments(x, axes)
    return [mean, build("rsqrt", emit.add(variance, epsilon))]


def moments(x: ir.Value, axes: list[int]) -> tuple[ir.Value, ir.Value]:
    """Mean and population variance over `axes`, which stay with size 1."""
    mean = emit.mean(x, axes, True)
    centered = emit.sub(x, mean)
    return mean, emit.mean(emit.mul(centered, centered), axes, True)


@handler("SimplifiedLayerNormalization", since=1)
@handler("RMSNormalization", since=23)
def rms_normalization(ctx: NodeContext) -> list[Result]:
    """x / sqrt(mean(x^2) + epsilon) * scale over the dimensions from `axis` on."""
    x, scale = ctx.value(0), ctx.value(1)
    axis = normalize_axis(ctx.attribute("axis", -1), emit.rank(x))
    epsilon = ctx.attribute("epsilon", 1e-5)
    result = emit.mul(emit.cast(normalize(x, axis, epsilon, center=False), emit.element(scale)), scale)
    if not ctx.wants(1):
        return [result]
    wide = emit.widen(x)
    square = emit.mean(emit.mul(wide, wide), list(range(axis, emit.rank(x))), True)
    return [result, emit.cast(build("rsqrt", emit.add(square, epsilon)), _stash_type(ctx))]


@handler("BatchNormalization", since=9)
def batch_normalization(ctx: NodeContext) -> list[Result]:
    """(x - mean) / sqrt(variance + epsilon) * scale + bias, all four by channel."""
    if ctx.attribute("training_mode", 0):
        return _batch_normalization_training(ctx)
    x = ctx.value(0)
    double = any(ctx.tensor(i).dtype == np.float64 for i in range(5))
    to = emit.type_("float64" if double else "float32")
    scale, bias, mean, variance = (emit.cast(ctx.value(i), to) for i in range(1, 5))
    factor = emit.mul(scale, build("rsqrt", emit.add(variance, ctx.attribute("epsilon", 1e-5))))
    shift = emit.sub(bias, emit.mul(mean, factor))
    return [_affine(x, factor, shift)]


def _affine(x: ir.Value, factor: ir.Value, shift: ir.Value) -> ir.Value:
    """x * factor + shift, both vectors over channels; in float32 where x is narrower."""
    axis, rank = min(1, emit.rank(x) - 1), emit.rank(x)
    factor, shift = (emit.along(emit.cast(v, emit.element(emit.widen(x))), axis, rank) for v in (factor, shift))
    return emit.cast(emit.add(emit.mul(emit.widen(x), factor), shift), emit.element(x))


def _batch_normalization_training(ctx: NodeContext) -> list[Result]:
    """Normalise by the batch's own statistics, and move the running ones towards them."""
    x, momentum = ctx.value(0), ctx.attribute("momentum", 0.9)
    axes = [i for i in range(emit.rank(x)) if i != 1]
    mean, variance = (emit.reshape(v, [emit.shape(x)[1]]) for v in moments(emit.widen(x), axes))
    scale, bias, old_mean, old_variance = (emit.widen(ctx.value(i)) for i in range(1, 5))
    mean, variance = emit.cast(mean, emit.element(old_mean)), emit.cast(variance, emit.element(old_mean))
    wide_scale = emit.cast(scale, emit.element(mean))
    factor = emit.mul(wide_scale, build("rsqrt", emit.add(variance, ctx.attribute("epsilon", 1e-5))))
    shift = emit.sub(emit.cast(bias, emit.element(mean)), emit.mul(mean, factor))
    results: list[Result] = [_affine(x, factor, shift)]
    for old, new, index in ((old_mean, mean, 3), (old_variance, variance, 4)):
        moved = emit.add(emit.mul(old, momentum), emit.mul(new, 1 - momentum))
        results.append(emit.cast(moved, emit.element(ctx.value(index))))
    return results


@handler("InstanceNormalization", since=6)
def instance_normalization(ctx: NodeContext) -> Result:
    x = ctx.value(0)
    scale, bias = (emit.along(ctx.value(i), 1, emit.rank(x)) for i in (1, 2))
    return emit.add(emit.mul(normalize(x, 2, ctx.attribute("epsilon", 1e-5)), scale), bias)


@handler("GroupNormalization", since=18)
def group_normalization(ctx: NodeContext) -> Result:
    """Normalise each group of channels; scale and bias are by channel from opset 21 on, by group before."""
    x, groups = ctx.value(0), ctx.attribute("num_groups")
    n, channels, *spatial = emit.shape(x)
    if channels % groups:
        ctx.malformed(f"num_groups {groups} must divide the {channels} channels")
    size = channels // groups * math.prod(spatial)
    grouped = normalize(emit.reshape(x, [n, groups, size]), 2, ctx.attribute("epsilon", 1e-5))
    if ctx.opset < 21:
        scale, bias = (emit.reshape(ctx.value(i), [groups, 1]) for i in (1, 2))
        return emit.reshape(emit.add(emit.mul(grouped, scale), bias), emit.shape(x))
    scale, bias = (emit.along(ctx.value(i), 1, emit.rank(x)) for i in (1, 2))
    return emit.add(emit.mul(emit.reshape(grouped, emit.shape(x)), scale), bias)


@handler("LpNormalization")
def lp_normalization(ctx: NodeContext) -> Result:
    """x / its L1 or L2 norm along `axis`; zeros where the norm is zero."""
    x, p = ctx.value(0), ctx.attribute("p", 2)
    axis = normalize_axis(ctx.attribute("axis", -1), emit.rank(x))
    wide = emit.widen(x)
    powers = build("abs", wide) if p == 1 else emit.mul(wide, wide)
    norm = emit.reduce(powers, "sum", [axis], True)
    norm = norm if p == 1 else build("sqrt", norm)
    safe = emit.select(emit.binary("eq", norm, 0), 1, norm)
    return emit.cast(emit.div(wide, safe), emit.element(x))


@handler("LRN")
def local_response_normalization(ctx: NodeContext) -> Result:
    """x / (bias + alpha / size * sum of x^2 over `size` neighbouring channels)^beta."""
    x, size = ctx.value(0), ctx.attribute("size")
    alpha, beta, bias = ctx.attribute("alpha", 1e-4), ctx.attribute("beta", 0.75), ctx.attribute("bias", 1.0)
    n, channels, *spatial = emit.shape(x)
    wide = emit.widen(x)
    squares = emit.reshape(emit.mul(wide, wide), [n, 1, channels, math.prod(spatial)])
    sums = build(
        "window_reduce",
        squares,
        kind="sum",
        window=[size, 1],
        strides=[1, 1],
        dilations=[1, 1],
        low=[(size - 1) // 2, 0],
        high=[size // 2, 0],
    )
    base = emit.add(emit.mul(emit.reshape(sums, emit.shape(x)), alpha / size), bias)
    return emit.cast(emit.div(wide, emit.binary("pow", base, beta)), emit.element(x))


@handler("MeanVarianceNormalization", since=9)
def mean_variance_normalization(ctx: NodeContext) -> Result:
    """(x - mean) / (standard deviation + 1e-9) over `axes`."""
    x = ctx.value(0)
    axes = [normalize_axis(a, emit.rank(x)) for a in ctx.ints_attribute("axes", [0, 2, 3])]
    wide = emit.widen(x)
    mean, variance = moments(wide, axes)
    deviation = emit.add(build("sqrt", variance), float(np.float32(1e-9)))
    return emit.cast(emit.div(emit.sub(wide, mean), deviation), emit.element(x))
