"""Reading images at computed, fractional positions: GridSample, DeformConv, RoiAlign."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lumir.dialects import build
from lumir.frontend import emit
from lumir.frontend.context import NodeContext
from lumir.frontend.handlers.convolution import output_extent, window_of
from lumir.frontend.registry import Result, handler
from lumir.mlir import ir

CUBIC = -0.75


@dataclass(frozen=True)
class Border:
    """What positions outside the image read: `zeros`, `border` (the nearest element) or `reflection`.

    Reflection mirrors at the centres of the outermost elements where `corners`, else at their outer edges.
    """

    mode: str = "zeros"
    corners: bool = False

    def fold(self, position: ir.Value, size: int) -> ir.Value:
        """Bring positions (or indices, as floats) into the image, unless zeros are read there."""
        if self.mode == "border":
            return emit.minimum(emit.maximum(position, 0), size - 1)
        if self.mode == "reflection":
            low, high = (0.0, size - 1.0) if self.corners else (-0.5, size - 0.5)
            span = high - low
            if span == 0:
                return emit.mul(position, 0)
            turn = emit.binary("mod", emit.sub(position, low), 2 * span)
            return emit.add(emit.minimum(turn, emit.subtract_from(2 * span, turn)), low)
        return position


def sample(x: ir.Value, positions: Sequence[ir.Value], mode: str, border: Border, combine: str = "add") -> ir.Value:
    """x [n, c, spatial...] at positions: one [n, p] float tensor a spatial dimension. Returns [n, c, p].

    `mode`: nearest, linear or cubic. `combine` joins the weighted neighbours: `add`, or `max` for RoiAlign's oddity.
    """
    n, c, *spatial = emit.shape(x)
    flat = emit.reshape(x, [n, c, math.prod(spatial)])
    axes = [_neighbours(p, size, mode, border) for p, size in zip(positions, spatial, strict=True)]
    result = None
    for corner in itertools.product(*axes):
        place = emit.scalar(0, emit.type_("int64"))
        weight = None
        for (index, own), size in zip(corner, spatial, strict=True):
            place = emit.add(emit.mul(place, size), index)
            weight = own if weight is None else emit.mul(weight, own)
        assert weight is not None
        part = emit.mul(_read(flat, place), emit.unsqueeze(emit.cast(weight, emit.element(x)), [1]))
        result = part if result is None else build(combine, result, part)
    assert result is not None
    return result


def _read(flat: ir.Value, place: ir.Value) -> ir.Value:
    n, c, _ = emit.shape(flat)
    index = emit.broadcast(emit.unsqueeze(place, [1]), [n, c, emit.shape(place)[1]])
    return build("gather_elements", flat, index, axis=2)


def _neighbours(position: ir.Value, size: int, mode: str, border: Border) -> list[tuple[ir.Value, ir.Value]]:
    """The elements of one axis that a position reads: indices (inside the image) and weights."""
    if mode == "nearest":
        return [_inside(border.fold(build("round", position), size), size, border, None)]
    if mode == "linear" or border.mode == "reflection":  # cubic reads beyond the edge element before it settles on it
        position = border.fold(position, size)
    first = build("floor", position)
    ratio = emit.sub(position, first)
    offsets = range(2) if mode == "linear" else range(-1, 3)
    return [_inside(emit.add(first, k), size, border, _weight(ratio, k, mode)) for k in offsets]


def _inside(index: ir.Value, size: int, border: Border, weight: ir.Value | None) -> tuple[ir.Value, ir.Value]:
    """The index brought into the image; its weight is 0 where zeros are read."""
    index = border.fold(index, size)
    valid = build("and", emit.binary("ge", index, 0), emit.binary("le", index, size - 1))
    whole = emit.cast(emit.minimum(emit.maximum(index, 0), size - 1), emit.type_("int64"))
    weight = emit.scalar(1, emit.element(index)) if weight is None else weight
    return whole, emit.select(valid, weight, 0)


def _weight(ratio: ir.Value, offset: int, mode: str) -> ir.Value:
    """The weight of the neighbour `offset` from the left one, `ratio` in 0..1 being the position between them."""
    distance = build("abs", emit.subtract_from(offset, ratio))
    if mode == "linear":
        return emit.subtract_from(1, distance)
    if offset in (0, 1):
        inner = emit.sub(emit.mul(distance, CUBIC + 2), CUBIC + 3)
        return emit.add(emit.mul(emit.mul(inner, distance), distance), 1)
    outer = emit.add(emit.mul(emit.sub(emit.mul(distance, CUBIC), 5 * CUBIC), distance), 8 * CUBIC)
    return emit.sub(emit.mul(outer, distance), 4 * CUBIC)


@handler("GridSample", since=16)
def grid_sample(ctx: NodeContext) -> Result:
    """x at positions that the grid gives as -1..1 of each dimension, innermost dimension first."""
    x, grid = ctx.value(0), ctx.value(1)
    n, c, *spatial = emit.shape(x)
    mode = ctx.attribute("mode", "linear").removeprefix("bi")
    corners = bool(ctx.attribute("align_corners", 0))
    out = emit.shape(grid)[1:-1]
    positions = []
    for axis, size in enumerate(spatial):
        part = emit.slice_(grid, emit.rank(grid) - 1, len(spatial) - 1 - axis, 1)
        part = emit.widen(emit.reshape(part, [n, math.prod(out)]))
        scale, shift = ((size - 1) / 2, (size - 1) / 2) if corners else (size / 2, (size - 1) / 2)
        positions.append(emit.add(emit.mul(part, scale), shift))
    border = Border(ctx.attribute("padding_mode", "zeros"), corners)
    return emit.reshape(sample(x, positions, mode, border), [n, c, *out])


@handler("DeformConv", since=19)
def deform_conv(ctx: NodeContext) -> Result:
    """Convolution whose window elements are moved by learned offsets, read by linear interpolation."""
    x, w, offset = ctx.value(0), ctx.value(1), ctx.value(2)
    (n, c, *spatial), (out_channels, per_group, *size) = emit.shape(x), emit.shape(w)
    window = window_of(ctx, spatial, size)
    extent, parts = output_extent(window, spatial), ctx.attribute("offset_group", 1)
    taps, places, rank = math.prod(size), math.prod(extent), len(spatial)
    moves = emit.reshape(offset, [n * parts, taps, rank, places])
    positions = []
    for axis in range(rank):
        starts = np.arange(extent[axis]) * window.strides[axis] - window.low[axis]
        grid = np.arange(size[axis])[:, None] * window.dilations[axis] + starts
        dims = [1] * (2 * rank)
        dims[axis], dims[rank + axis] = grid.shape
        base = np.broadcast_to(grid.reshape(dims), [*size, *extent]).reshape(1, taps, places)
        own = emit.reshape(emit.slice_(moves, 2, axis, 1), [n * parts, taps, places])
        wide = emit.widen(own)
        moved = emit.add(wide, ctx.constant(np.ascontiguousarray(base, emit.dtype(wide))))
        positions.append(emit.reshape(moved, [n * parts, taps * places]))
    read = sample(emit.reshape(x, [n * parts, c // parts, *spatial]), positions, "linear", Border())
    if ctx.has(4):
        read = emit.mul(read, emit.reshape(ctx.value(4), [n * parts, 1, taps * places]))
    groups = ctx.attribute("group", 1)
    columns = emit.reshape(read, [n, groups, per_group, taps, places])
    weights = emit.reshape(w, [groups, out_channels // groups, per_group, taps])
    result = emit.contract(columns, weights, "ngctp,goct->ngop")
    result = emit.reshape(result, [n, out_channels, *extent])
    return emit.add(result, emit.along(ctx.value(3), 1, rank + 2)) if ctx.has(3) else result


@handler("RoiAlign", since=10)
def roi_align(ctx: NodeContext) -> Result:
    """Mean or maximum over a grid of sampling points in each bin of each region: [regions, c, height, width]."""
    count = ctx.attribute("sampling_ratio", 0)
    if count == 0:
        ctx.refuse("sampling_ratio 0 lets the number of points depend on the regions' sizes")
    x = emit.gather(ctx.value(0), ctx.value(2), 0)
    regions, c, *spatial = emit.shape(x)
    default = "half_pixel" if ctx.opset >= 16 else "output_half_pixel"
    shifted = ctx.attribute("coordinate_transformation_mode", default) == "half_pixel"
    boxes = emit.mul(ctx.value(1), ctx.attribute("spatial_scale", 1.0))
    boxes = emit.sub(boxes, 0.5) if shifted else boxes
    sizes = [ctx.attribute("output_height", 1), ctx.attribute("output_width", 1)]
    lines = [_bin_points(ctx, boxes, axis, sizes[axis] * count, shifted) for axis in range(2)]
    tall, wide = sizes[0] * count, sizes[1] * count
    grid = [regions, tall, wide]
    planes = [emit.broadcast(emit.unsqueeze(line, [2 - axis]), grid) for axis, line in enumerate(lines)]
    positions = [emit.reshape(plane, [regions, tall * wide]) for plane in planes]
    maximum = ctx.attribute("mode", "avg") == "max"
    values = sample(x, positions, "linear", Border("border"), "max" if maximum else "add")
    for position, size in zip(positions, spatial, strict=True):
        near = build("and", emit.binary("ge", position, -1), emit.binary("le", position, size))
        values = emit.select(emit.unsqueeze(near, [1]), values, 0)
    bins = emit.reshape(values, [regions, c, sizes[0], count, sizes[1], count])
    return emit.reduce(bins, "max", [3, 5]) if maximum else emit.mean(bins, [3, 5])


@handler("MaxRoiPool")
def max_roi_pool(ctx: NodeContext) -> Result:
    """The maximum of each bin of each region (batch, x1, y1, x2, y2), whose corners are rounded: [regions, c, h, w]."""
    rois = ctx.value(1)
    batch = emit.cast(emit.reshape(emit.slice_(rois, 1, 0, 1), [emit.shape(rois)[0]]), emit.type_("int64"))
    scaled = emit.mul(emit.slice_(rois, 1, 1, 4), ctx.attribute("spatial_scale", 1.0))
    corners = build("floor", emit.add(scaled, 0.5))
    result = emit.gather(ctx.value(0), batch, 0)
    lowest = float(np.finfo(np.float32).min)
    for axis, bins in enumerate(ctx.ints_attribute("pooled_shape", [])):
        inside, empty = _bins(corners, axis, bins, emit.shape(result)[2 + axis])
        spread = emit.unsqueeze(result, [2 + axis])
        mask = emit.reshape(inside, _among(emit.shape(inside), 2 + axis, emit.rank(spread)))
        result = emit.reduce(emit.select(mask, spread, lowest), "max", [3 + axis])
        result = emit.select(emit.reshape(empty, _among(emit.shape(empty), 2 + axis, emit.rank(result))), 0, result)
    return result


def _among(dims: Sequence[int], axis: int, rank: int) -> list[int]:
    """The shape [r, b...] as one of `rank` dimensions that starts with r and has b... from `axis` on."""
    shape = [1] * rank
    shape[0], shape[axis : axis + len(dims) - 1] = dims[0], dims[1:]
    return shape


def _bins(corners: ir.Value, axis: int, bins: int, size: int) -> tuple[ir.Value, ir.Value]:
    """Whether a place along an axis is in a bin of a region, [regions, bins, size], and whether a bin is empty."""
    low, high = (emit.slice_(corners, 1, column, 1) for column in (1 - axis, 3 - axis))
    step = emit.div(emit.maximum(emit.add(emit.sub(high, low), 1), 1), bins)
    number = emit.iota([1, bins], 1, emit.element(corners))
    starts = emit.add(build("floor", emit.mul(step, number)), low)
    ends = emit.add(build("ceil", emit.mul(step, emit.add(number, 1))), low)
    starts, ends = (emit.unsqueeze(emit.minimum(emit.maximum(x, 0), size), [2]) for x in (starts, ends))
    place = emit.iota([1, 1, size], 2, emit.element(corners))
    inside = build("and", build("ge", place, starts), build("lt", place, ends))
    return inside, emit.reshape(build("le", ends, starts), emit.shape(ends)[:2])


def _bin_points(ctx: NodeContext, boxes: ir.Value, axis: int, points: int, shifted: bool) -> ir.Value:
    """[regions, points] evenly spaced positions along one axis of each box (x1, y1, x2, y2)."""
    first, last = (emit.slice_(boxes, 1, column, 1) for column in (1 - axis, 3 - axis))
    length = emit.sub(last, first)
    length = length if shifted else emit.maximum(length, 1)
    fractions = ((np.arange(points) + 0.5) / points).astype(emit.dtype(boxes))
    return emit.add(first, emit.mul(length, ctx.constant(fractions)))
