"""Resize and Upsample."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lumir.dialects.base import is_float, normalize_axis
from lumir.frontend import emit
from lumir.frontend.context import NodeContext
from lumir.frontend.interpolation import Sampling, Taps, taps
from lumir.frontend.registry import Result, handler
from lumir.mlir import ir

MOST_GATHERS = 4


@dataclass(frozen=True)
class Axis:
    """One axis to resample: its output size, its scale, and the region that `tf_crop_and_resize` reads."""

    axis: int
    out: int
    scale: float
    region: tuple[float, float] = (0.0, 1.0)


@handler("Resize", since=11)
def resize(ctx: NodeContext) -> Result:
    sampling = Sampling(
        ctx.attribute("mode", "nearest"),
        ctx.attribute("coordinate_transformation_mode", "half_pixel"),
        ctx.attribute("nearest_mode", "round_prefer_floor"),
        ctx.attribute("cubic_coeff_a", -0.75),
        bool(ctx.attribute("antialias", 0)),
        bool(ctx.attribute("exclude_outside", 0)),
    )
    return _resample(ctx, _axes(ctx), sampling, ctx.attribute("extrapolation_value", 0.0))


@handler("Resize", since=10)
@handler("Upsample", since=9)
def resize_10(ctx: NodeContext) -> Result:
    return _upsample(ctx, [float(s) for s in ctx.static(1, "scales")])


@handler("Upsample", since=7)
def upsample_7(ctx: NodeContext) -> Result:
    return _upsample(ctx, ctx.attribute("scales", []))


@handler("Upsample")
def upsample_1(ctx: NodeContext) -> Result:
    return _upsample(ctx, [1, 1, ctx.attribute("height_scale"), ctx.attribute("width_scale")])


def _upsample(ctx: NodeContext, scales: Sequence[float]) -> Result:
    dims = ctx.tensor(0).shape
    axes = [Axis(i, math.floor(d * s), s) for i, (d, s) in enumerate(zip(dims, scales, strict=True))]
    return _resample(ctx, axes, Sampling(ctx.attribute("mode", "nearest"), "asymmetric", "simple"), 0.0)


def _axes(ctx: NodeContext) -> list[Axis]:
    dims = ctx.tensor(0).shape
    axes = [normalize_axis(a, len(dims)) for a in ctx.ints_attribute("axes", list(range(len(dims))))]
    sizes = ctx.static(3, "sizes") if ctx.has(3) and ctx.tensor(3).size else None
    scales = ctx.static(2, "scales") if ctx.has(2) and ctx.tensor(2).size else None
    if (sizes is None) == (scales is None):
        ctx.malformed("needs exactly one of the inputs scales and sizes")
    regions = _regions(ctx, len(axes))
    if scales is not None:
        factors = [float(s) for s in scales]
        return [Axis(a, math.floor(dims[a] * s), s, r) for a, s, r in zip(axes, factors, regions, strict=True)]
    assert sizes is not None
    wanted = [int(s) for s in sizes]
    factors = [w / dims[a] for w, a in zip(wanted, axes, strict=True)]
    policy = ctx.attribute("keep_aspect_ratio_policy", "stretch")
    if policy != "stretch":
        factors = [min(factors) if policy == "not_larger" else max(factors)] * len(axes)
        wanted = [math.floor(f * dims[a] + 0.5) for f, a in zip(factors, axes, strict=True)]
    return [Axis(a, w, f, r) for a, w, f, r in zip(axes, wanted, factors, regions, strict=True)]


def _regions(ctx: NodeContext, count: int) -> list[tuple[float, float]]:
    if ctx.attribute("coordinate_transformation_mode", "half_pixel") != "tf_crop_and_resize":
        return [(0.0, 1.0)] * count
    roi = [float(v) for v in ctx.static(1, "roi")]
    return list(zip(roi[:count], roi[count:], strict=True))


def _resample(ctx: NodeContext, axes: Sequence[Axis], sampling: Sampling, extrapolation: float) -> Result:
    x = ctx.value(0)
    result = x if sampling.mode == "nearest" else _wide(x)
    for item in axes:
        size = emit.shape(x)[item.axis]
        crop = sampling.coordinates == "tf_crop_and_resize"
        if item.out == size and item.scale == 1 and not crop:
            continue
        try:
            table = taps(size, item.out, item.scale, sampling, item.region)
        except ValueError as error:
            ctx.malformed(str(error))
        result = _apply(ctx, result, table, item.axis)
        if table.outside.any():
            mask = emit.along(ctx.constant(table.outside), item.axis, emit.rank(x))
            result = emit.select(mask, extrapolation, result)
    return emit.cast(result, emit.element(x))


def _wide(x: ir.Value) -> ir.Value:
    """Interpolation is done in float32 or wider."""
    return emit.widen(x) if is_float(emit.element(x)) else emit.cast(x, emit.type_("float32"))


def _apply(ctx: NodeContext, x: ir.Value, table: Taps, axis: int) -> ir.Value:
    """Sum the weighted taps; many taps become a product with a matrix [out, in]."""
    count = table.indices.shape[1]
    if count == 1:
        return _pick(ctx, x, table.indices[:, 0], axis)
    if count > MOST_GATHERS:
        return _product(ctx, x, table, axis)
    result = None
    for tap in range(count):
        weight = ctx.constant(table.weights[:, tap].astype(emit.dtype(x)))
        part = emit.mul(_pick(ctx, x, table.indices[:, tap], axis), emit.along(weight, axis, emit.rank(x)))
        result = part if result is None else emit.add(result, part)
    assert result is not None
    return result


def _pick(ctx: NodeContext, x: ir.Value, indices: np.ndarray, axis: int) -> ir.Value:
    """x at `indices` along an axis: a repetition or a slice where that is all it takes."""
    size, dims = emit.shape(x)[axis], emit.shape(x)
    factor = len(indices) // size
    if factor > 1 and np.array_equal(indices, np.repeat(np.arange(size), factor)):
        spread = emit.broadcast(emit.unsqueeze(x, [axis + 1]), [*dims[: axis + 1], factor, *dims[axis + 1 :]])
        return emit.reshape(spread, [*dims[:axis], size * factor, *dims[axis + 1 :]])
    steps = np.unique(np.diff(indices))
    if len(steps) == 1 and steps[0] > 0:
        return emit.slice_(x, axis, int(indices[0]), len(indices), int(steps[0]))
    return emit.gather(x, ctx.constant(indices), axis)


def _product(ctx: NodeContext, x: ir.Value, table: Taps, axis: int) -> ir.Value:
    matrix = np.zeros((len(table.indices), emit.shape(x)[axis]))
    np.add.at(matrix, (np.arange(len(matrix))[:, None], table.indices), table.weights)
    labels = emit.LABELS[: emit.rank(x)]
    out = labels.replace(labels[axis], "z")
    return emit.contract(x, ctx.constant(matrix.astype(emit.dtype(x))), f"{labels},z{labels[axis]}->{out}")
