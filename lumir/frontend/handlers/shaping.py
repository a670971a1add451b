"""Operators that move elements: reshapes, slices, pads, tiles."""

import math
from collections.abc import Sequence

from lumir.dialects import build
from lumir.dialects.base import broadcast, normalize_axis
from lumir.frontend import emit
from lumir.frontend.context import NodeContext
from lumir.frontend.registry import Result, handler
from lumir.sizes import Dim, Size, equal, maximum, minimum


@handler("Reshape", since=5)
def reshape(ctx: NodeContext) -> Result:
    return reshape_to(ctx, ctx.sizes(1, "shape"))


def reshape_to(ctx: NodeContext, dims: Sequence[int]) -> Result:
    """Reshape input 0, where 0 keeps a dimension (unless `allowzero`) and -1 stands for what remains."""
    x = ctx.value(0)
    old = emit.shape(x)
    if not ctx.attribute("allowzero", 0):
        if any(d == 0 and i >= len(old) for i, d in enumerate(dims)):
            ctx.malformed(f"a 0 in shape {dims} must stand for a dimension of the input, {old}")
        dims = [old[i] if d == 0 else d for i, d in enumerate(dims)]
    if list(dims).count(-1) > 1 or any(d < -1 for d in dims):
        ctx.malformed(f"shape {dims} may hold one -1, and no other negative number")
    if -1 in dims:
        rest = math.prod(d for d in dims if d != -1)
        if rest == 0 or math.prod(old) % rest != 0:
            ctx.malformed(f"the input's {math.prod(old)} elements cannot take shape {dims}")
        dims = [math.prod(old) // rest if d == -1 else d for d in dims]
    return emit.reshape(x, dims)


@handler("Flatten")
def flatten(ctx: NodeContext) -> Result:
    x = ctx.value(0)
    axis = ctx.attribute("axis", 1)
    return emit.flatten(x, axis if axis >= 0 else axis + emit.rank(x))


def axes_of(ctx: NodeContext, rank: int, since: int) -> list[int] | None:
    """Non-negative axes from input 1 (from opset `since` on) or from the attribute; None where left out."""
    given = ctx.ints(1, "axes") if ctx.opset >= since and ctx.has(1) else ctx.attribute("axes")
    return None if given is None else [normalize_axis(int(axis), rank, "axes") for axis in given]


@handler("Squeeze")
def squeeze(ctx: NodeContext) -> Result:
    x = ctx.value(0)
    dims = emit.shape(x)
    axes = axes_of(ctx, len(dims), 13)
    axes = [i for i, d in enumerate(dims) if d == 1] if axes is None else axes
    if any(dims[axis] != 1 for axis in axes):
        ctx.malformed(f"dimensions {axes} of shape {dims} must be 1")
    return emit.reshape(x, [d for i, d in enumerate(dims) if i not in axes])


@handler("Unsqueeze")
def unsqueeze(ctx: NodeContext) -> Result:
    x = ctx.value(0)
    given = ctx.ints(1, "axes") if ctx.opset >= 13 else ctx.attribute("axes", [])
    rank = emit.rank(x) + len(given)
    return emit.unsqueeze(x, [normalize_axis(axis, rank, "axes") for axis in given])


@handler("Transpose")
def transpose(ctx: NodeContext) -> Result:
    x = ctx.value(0)
    return emit.transpose(x, ctx.ints_attribute("perm", list(reversed(range(emit.rank(x))))))


@handler("Expand", since=8)
def expand(ctx: NodeContext) -> Result:
    x = ctx.value(0)
    return emit.broadcast(x, broadcast(tuple(emit.shape(x)), tuple(ctx.sizes(1, "shape"))))


@handler("Tile", since=6)
def tile(ctx: NodeContext) -> Result:
    x, repeats = ctx.value(0), ctx.sizes(1, "repeats")
    dims = emit.shape(x)
    if len(repeats) != len(dims):
        ctx.malformed(f"repeats {repeats} must have one entry a dimension of {dims}")
    spread = emit.reshape(x, [size for d in dims for size in (1, d)])
    repeated = emit.broadcast(spread, [size for pair in zip(repeats, dims, strict=True) for size in pair])
    return emit.reshape(repeated, [r * d for r, d in zip(repeats, dims, strict=True)])


@handler("Concat", since=4)
def concat(ctx: NodeContext) -> Result:
    values = ctx.values()
    return emit.concat(values, normalize_axis(ctx.attribute("axis"), emit.rank(values[0])))


@handler("Slice", since=10)
def slice_(ctx: NodeContext) -> Result:
    starts, ends = ctx.sizes(1, "starts"), ctx.sizes(2, "ends")
    axes = ctx.ints(3, "axes", list(range(len(starts))))
    return _slice(ctx, starts, ends, axes, ctx.ints(4, "steps", [1] * len(starts)))


@handler("Slice")
def slice_1(ctx: NodeContext) -> Result:
    starts, ends = ctx.ints_attribute("starts", []), ctx.ints_attribute("ends", [])
    return _slice(ctx, starts, ends, ctx.ints_attribute("axes", list(range(len(starts)))), [1] * len(starts))


def _slice(
    ctx: NodeContext, starts: Sequence[int], ends: Sequence[int], axes: Sequence[int], steps: Sequence[int]
) -> Result:
    x = ctx.value(0)
    dims = emit.shape(x)
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        ctx.malformed("starts, ends, axes and steps must have one length, and no step may be 0")
    spans = [(0, d, 1) for d in dims]
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        axis = normalize_axis(axis, len(dims), "axes")
        spans[axis] = _span(start, end, step, dims[axis])
    if spans == [(0, d, 1) for d in dims]:
        return ctx.tensor(0)
    first, sizes, steps = zip(*spans, strict=True)
    return build("slice", x, starts=first, sizes=sizes, steps=steps)


def _span(start: Dim, end: Dim, step: int, size: Dim) -> tuple[Dim, Dim, int]:
    """Where a slice along a dimension starts, how many places it takes, and its step."""
    if any(isinstance(x, Size) for x in (start, end, size)):
        return _symbolic_span(start, end, step, size)
    places = slice_range(start, end, step, size)
    return (places.start if len(places) else 0), len(places), places.step


def _symbolic_span(start: Dim, end: Dim, step: int, size: Dim) -> tuple[Dim, Dim, int]:
    """The same for sizes: negative places count from the end, and both are kept inside the dimension."""
    start, end = (place + size if place < 0 else place for place in (start, end))
    least, most = (0, size) if step > 0 else (-1, size - 1)
    start, end = (minimum(maximum(place, least), most) for place in (start, end))
    count = -((start - end) // step) if step > 0 else -((end - start) // -step)
    return start, maximum(count, 0), step


def slice_range(start: int, end: int, step: int, size: int) -> range:
    """The places that a slice along a dimension takes.

    By negative steps a start before the dimension's first element begins at that element, unlike numpy's slice, which
    would be empty.
    """
    if step < 0 and size and start < -size:
        start = 0
    return range(*slice(start, end, step).indices(size))


@handler("Split", since=2)
def split(ctx: NodeContext) -> list[Result]:
    x = ctx.value(0)
    axis = normalize_axis(ctx.attribute("axis", 0), emit.rank(x))
    size, parts = emit.shape(x)[axis], ctx.attribute("num_outputs") or len(ctx.node.output)
    given = ctx.sizes(1, "split") if ctx.has(1) else ctx.attribute("split")
    if given is None:
        chunk = -(-size // parts)
        given = [maximum(minimum(chunk, size - i * chunk), 0) for i in range(parts)]
    if not equal(sum(given), size) or len(given) < len(ctx.node.output):
        ctx.malformed(f"split {list(given)} must add up to dimension {axis}, {size}, with one entry an output")
    return list(emit.split(x, axis, list(given)))


@handler("Pad", since=11)
def pad(ctx: NodeContext) -> Result:
    value = ctx.optional(2)
    given = ctx.sizes(1, "pads")
    rank = len(ctx.tensor(0).shape)
    axes = [normalize_axis(a, rank, "axes") for a in ctx.ints(3, "axes", list(range(rank)))]
    if len(given) != 2 * len(axes):
        ctx.malformed(f"pads {given} must have two entries an axis")
    low, high = [0] * rank, [0] * rank
    for position, axis in enumerate(axes):
        low[axis], high[axis] = given[position], given[position + len(axes)]
    return _pad(ctx, low, high, 0 if value is None else emit.reshape(value, []))


@handler("Pad", since=2)
def pad_2(ctx: NodeContext) -> Result:
    given = ctx.ints_attribute("pads", [])
    half = len(given) // 2
    return _pad(ctx, given[:half], given[half:], ctx.attribute("value", 0.0))


def _pad(ctx: NodeContext, low: list[int], high: list[int], value: emit.Operand) -> Result:
    return emit.pad(ctx.value(0), low, high, value, mode=ctx.attribute("mode", "constant"))


@handler("DepthToSpace")
def depth_to_space(ctx: NodeContext) -> Result:
    x, b = ctx.value(0), ctx.attribute("blocksize")
    n, c, h, w = emit.shape(x)
    if ctx.attribute("mode", "DCR") == "DCR":
        blocks = emit.transpose(emit.reshape(x, [n, b, b, c // (b * b), h, w]), [0, 3, 4, 1, 5, 2])
    else:
        blocks = emit.transpose(emit.reshape(x, [n, c // (b * b), b, b, h, w]), [0, 1, 4, 2, 5, 3])
    return emit.reshape(blocks, [n, c // (b * b), h * b, w * b])


@handler("SpaceToDepth")
def space_to_depth(ctx: NodeContext) -> Result:
    x, b = ctx.value(0), ctx.attribute("blocksize")
    n, c, h, w = emit.shape(x)
    order = [0, 3, 5, 1, 2, 4] if ctx.attribute("mode", "DCR") == "DCR" else [0, 1, 3, 5, 2, 4]
    blocks = emit.transpose(emit.reshape(x, [n, c, h // b, b, w // b, b]), order)
    return emit.reshape(blocks, [n, c * b * b, h // b, w // b])
