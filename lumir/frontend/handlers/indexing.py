"""Gathers and scatters."""

import math
from collections.abc import Sequence

import numpy as np

from lumir.dialects import build
from lumir.dialects.base import normalize_axis
from lumir.frontend import emit
from lumir.frontend.context import NodeContext
from lumir.frontend.handlers.selection import compressed
from lumir.frontend.registry import Result, handler
from lumir.mlir import ir

_KINDS = {"none": "set", "add": "add", "mul": "mul", "max": "max", "min": "min"}


@handler("Gather")
def gather(ctx: NodeContext) -> Result:
    x = ctx.value(0)
    axis = normalize_axis(ctx.attribute("axis", 0), emit.rank(x))
    index = ctx.known(1)
    if index is not None and index.ndim == 0:
        dims = emit.shape(x)
        place = int(index) + (dims[axis] if index < 0 else 0)
        if place < 0 or place >= dims[axis]:
            ctx.malformed(f"index {int(index)} must be a place of dimension {axis}, {dims[axis]}")
        return emit.reshape(emit.slice_(x, axis, place, 1), dims[:axis] + dims[axis + 1 :])
    return emit.gather(x, ctx.value(1), axis)


@handler("GatherElements", since=11)
def gather_elements(ctx: NodeContext) -> Result:
    x = ctx.value(0)
    return build("gather_elements", x, ctx.value(1), axis=normalize_axis(ctx.attribute("axis", 0), emit.rank(x)))


@handler("GatherND", since=11)
def gather_nd(ctx: NodeContext) -> Result:
    return build("gather_nd", ctx.value(0), ctx.value(1), batch_dims=ctx.attribute("batch_dims", 0))


@handler("ScatterElements", "Scatter", since=9)
def scatter_elements(ctx: NodeContext) -> Result:
    x = ctx.value(0)
    axis = normalize_axis(ctx.attribute("axis", 0), emit.rank(x))
    return build("scatter_elements", x, ctx.value(1), ctx.value(2), axis=axis, kind=_kind(ctx))


@handler("ScatterND", since=11)
def scatter_nd(ctx: NodeContext) -> Result:
    return build("scatter_nd", ctx.value(0), ctx.value(1), ctx.value(2), kind=_kind(ctx))


def _kind(ctx: NodeContext) -> str:
    name = ctx.attribute("reduction", "none")
    if name not in _KINDS:
        ctx.malformed(f"reduction must be one of {', '.join(_KINDS)}, not '{name}'")
    return _KINDS[name]


@handler("TensorScatter", since=24)
def tensor_scatter(ctx: NodeContext) -> Result:
    """Write `update` into the cache along `axis`, each batch from its own write index on.

    Cache element j comes from update element (j - index), where that lies in the update; `circular` wraps around.
    """
    cache, update = ctx.value(0), ctx.value(1)
    axis, rank = normalize_axis(ctx.attribute("axis", -2), emit.rank(cache)), emit.rank(cache)
    room, length = emit.shape(cache)[axis], emit.shape(update)[axis]
    place = emit.iota([room if i == axis else 1 for i in range(rank)], axis, emit.type_("int64"))
    if ctx.has(2):
        place = emit.sub(place, emit.along(ctx.value(2), 0, rank))
    if ctx.attribute("mode", "linear") == "circular":
        place = emit.binary("mod", place, room)
    inside = build("and", emit.binary("ge", place, 0), emit.binary("lt", place, length))
    source = emit.broadcast(_clamped(place, length), emit.shape(cache))
    return emit.select(inside, build("gather_elements", update, source, axis=axis), cache)


def _clamped(index: ir.Value, size: int) -> ir.Value:
    return emit.minimum(emit.maximum(index, 0), max(size - 1, 0))


@handler("ReverseSequence", since=10)
def reverse_sequence(ctx: NodeContext) -> Result:
    """Reverse the first `sequence_lens[b]` elements along `time_axis`, for each b along `batch_axis`."""
    x, rank = ctx.value(0), len(ctx.tensor(0).shape)
    time, batch = ctx.attribute("time_axis", 0), ctx.attribute("batch_axis", 1)
    lengths = emit.along(emit.cast(ctx.value(1), emit.type_("int64")), batch, rank)
    place = emit.iota([d if i == time else 1 for i, d in enumerate(emit.shape(x))], time, emit.type_("int64"))
    mirrored = emit.sub(emit.sub(lengths, place), 1)
    source = emit.select(build("lt", place, lengths), mirrored, place)
    return build("gather_elements", x, emit.broadcast(source, emit.shape(x)), axis=time)


@handler("Compress", since=9)
def compress(ctx: NodeContext) -> Result:
    """The slices where the condition is true."""
    x, axis, condition = ctx.value(0), ctx.attribute("axis"), ctx.known(1)
    if condition is None:
        return compressed(ctx, axis)
    kept = condition.reshape(-1).nonzero()[0]
    if axis is None:
        x, axis = emit.reshape(x, [ctx.tensor(0).size]), 0
    return emit.gather(x, ctx.constant(kept), normalize_axis(axis, emit.rank(x)))


@handler("Col2Im", since=18)
def col2im(ctx: NodeContext) -> Result:
    """Add columns [n, c * block, positions] up into an image: the transpose of taking out blocks."""
    columns = ctx.value(0)
    image, block = ctx.ints(1, "image_shape"), ctx.ints(2, "block_shape")
    rank = len(image)
    strides, dilations = (ctx.ints_attribute(name, [1] * rank) for name in ("strides", "dilations"))
    pads = ctx.ints_attribute("pads", [0] * (2 * rank))
    places = _col2im_places(image, block, strides, dilations, pads)
    n, channels = emit.shape(columns)[0], emit.shape(columns)[1] // math.prod(block)
    flat = emit.reshape(columns, [n, channels, math.prod(emit.shape(columns)[1:]) // channels])
    padded = [d + pads[i] + pads[rank + i] for i, d in enumerate(image)]
    start = emit.broadcast(emit.scalar(0, emit.element(columns)), [n, channels, math.prod(padded)])
    index = emit.broadcast(ctx.constant(places), emit.shape(flat))
    total = build("scatter_elements", start, index, flat, axis=2, kind="add")
    cropped = [-p for p in pads]
    return emit.pad(emit.reshape(total, [n, channels, *padded]), [0, 0, *cropped[:rank]], [0, 0, *cropped[rank:]])


def _col2im_places(
    image: Sequence[int], block: Sequence[int], strides: Sequence[int], dilations: Sequence[int], pads: Sequence[int]
) -> np.ndarray:
    """The flat place in the padded image of each block element at each position, block elements outermost."""
    rank = len(image)
    padded = [d + pads[i] + pads[rank + i] for i, d in enumerate(image)]
    grids = []
    for axis in range(rank):
        count = (padded[axis] - dilations[axis] * (block[axis] - 1) - 1) // strides[axis] + 1
        grid = np.arange(block[axis])[:, None] * dilations[axis] + np.arange(count) * strides[axis]
        dims = [1] * (2 * rank)
        dims[axis], dims[rank + axis] = grid.shape
        grids.append(grid.reshape(dims))
    places = np.ravel_multi_index(np.broadcast_arrays(*grids), tuple(padded))
    return places.reshape(-1).astype(np.int64)
