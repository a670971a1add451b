"""Operators that select by the data: how much they select is computed, and lies in a tensor that has room for all."""

import math

from lumir.dialects import build
from lumir.dialects.base import normalize_axis
from lumir.frontend import emit
from lumir.frontend.context import NodeContext
from lumir.frontend.registry import Result, handler
from lumir.frontend.values import Extent, Ragged, Tensor
from lumir.mlir import ir

MOST_PAIRS = 1 << 26
MOST_BOXES = 128


def ragged(value: ir.Value, extent: Extent) -> Ragged:
    return Ragged(Tensor(ir.RankedTensorType(value.type), value=value), extent)


def places_of(mask: ir.Value) -> tuple[ir.Value, ir.Value]:
    """The places of a vector's true elements, in order and then 0, [n] int64; and how many there are."""
    int64, (size,) = emit.type_("int64"), emit.shape(mask)
    if size == 0:
        return emit.iota([0], 0, int64), emit.scalar(0, int64)
    ones = emit.cast(mask, int64)
    before = build("scan", ones, kind="sum", axis=0, exclusive=True, reverse=False)
    slots = emit.select(mask, before, size)
    room = emit.broadcast(emit.scalar(0, int64), [size + 1])
    found = build("scatter_elements", room, slots, emit.iota([size], 0, int64), axis=0, kind="set")
    return emit.slice_(found, 0, 0, size), emit.reduce(ones, "sum", [0])


@handler("NonZero", since=9)
def non_zero(ctx: NodeContext) -> Result:
    """[rank, count]: the coordinates of the elements that are not 0, in row-major order."""
    x = ctx.value(0)
    dims = emit.shape(x) or [1]
    flat = emit.reshape(x, [math.prod(dims)])
    place, count = places_of(emit.cast(flat, emit.type_("bool")))
    rows = []
    for axis, size in enumerate(dims):
        inner = max(math.prod(dims[axis + 1 :]), 1)
        rows.append(emit.unsqueeze(emit.binary("mod", emit.div(place, inner), max(size, 1)), [0]))
    return ragged(emit.concat(rows[: emit.rank(x)], 0), (emit.rank(x), count)) if emit.rank(x) else _of_scalar(count)


def _of_scalar(count: ir.Value) -> Ragged:
    return ragged(emit.broadcast(emit.scalar(0, emit.type_("int64")), [0, 1]), (0, count))


def compressed(ctx: NodeContext, axis: int | None) -> Result:
    """The slices where a computed condition is true; what it does not reach is false."""
    x, condition = ctx.value(0), ctx.value(1)
    if axis is None:
        x, axis = emit.reshape(x, [ctx.tensor(0).size]), 0  # pyright: ignore[reportArgumentType]
    axis, size = normalize_axis(axis, emit.rank(x)), emit.shape(condition)[0]
    room = emit.shape(x)[axis]
    condition = emit.slice_(condition, 0, 0, min(size, room))
    place, count = places_of(condition)
    extent = [count if i == axis else d for i, d in enumerate(emit.shape(x))]
    return ragged(emit.gather(x, place, axis), tuple(extent))


@handler("Unique", since=11)
def unique(ctx: NodeContext) -> list[Result]:
    """The distinct elements, or slices along an axis; where each first was, which each is, and how often."""
    x, axis = ctx.value(0), ctx.attribute("axis")
    axis = None if axis is None else normalize_axis(axis, emit.rank(x))
    source = emit.reshape(x, [math.prod(emit.shape(x))]) if axis is None else x
    along = axis or 0
    order = [along, *(i for i in range(emit.rank(source)) if i != along)]
    rows = emit.flatten(emit.transpose(source, order), 1)
    n, int64 = emit.shape(rows)[0], emit.type_("int64")
    equal, less = _compared_rows(ctx, rows)
    first = build("arg_reduce", emit.cast(equal, emit.type_("int32")), kind="max", axis=1, last=False)
    place = emit.iota([n], 0, int64)
    leads = build("eq", first, place)
    before = less if ctx.attribute("sorted", 1) else build("lt", emit.unsqueeze(place, [0]), emit.unsqueeze(first, [1]))
    ranked = build("and", before, emit.unsqueeze(leads, [0]))
    rank = emit.reduce(emit.cast(ranked, int64), "sum", [1])
    room = emit.broadcast(emit.scalar(0, int64), [n + 1])
    slots = emit.select(leads, rank, n)
    firsts = emit.slice_(build("scatter_elements", room, slots, place, axis=0, kind="set"), 0, 0, n)
    ones = emit.broadcast(emit.scalar(1, int64), [n])
    counts = build("scatter_elements", emit.slice_(room, 0, 0, n), rank, ones, axis=0, kind="add")
    count = emit.reduce(emit.cast(leads, int64), "sum", [0])
    extent = tuple(count if i == along else d for i, d in enumerate(emit.shape(source)))
    values = emit.gather(source, firsts, along)
    return [ragged(values, extent), ragged(firsts, (count,)), rank, ragged(counts, (count,))]


def _compared_rows(ctx: NodeContext, rows: ir.Value) -> tuple[ir.Value, ir.Value]:
    """[n, n] whether row i equals row j, and whether row j comes before row i, by their first different element."""
    n, width = emit.shape(rows)
    if n * n * width > MOST_PAIRS:
        ctx.refuse(f"more than {MOST_PAIRS} comparisons of {n} slices with each other are not supported")
    left, right = emit.unsqueeze(rows, [1]), emit.unsqueeze(rows, [0])
    if str(emit.element(rows)) == "i1":
        left, right = (emit.cast(x, emit.type_("int32")) for x in (left, right))
    same, below = build("eq", left, right), build("lt", right, left)
    diagonal = build("eq", emit.iota([n, 1], 0, emit.type_("int64")), emit.iota([1, n], 1, emit.type_("int64")))
    equal = build("or", emit.reduce(same, "min", [2]), diagonal)
    differs = emit.cast(build("not", same), emit.type_("int32"))
    at = emit.unsqueeze(build("arg_reduce", differs, kind="max", axis=2, last=False), [2])
    less = emit.reshape(build("gather_elements", emit.cast(below, emit.type_("int32")), at, axis=2), [n, n])
    return equal, build("and", emit.binary("ne", less, 0), build("not", equal))


@handler("NonMaxSuppression", since=10)
def non_max_suppression(ctx: NodeContext) -> Result:
    """[count, 3]: batch, class and number of the boxes that overlap no better one of their class too much."""
    boxes, scores = ctx.value(0), ctx.value(1)
    batch, classes, n = emit.shape(scores)
    if n > MOST_BOXES:
        ctx.refuse(f"more than {MOST_BOXES} boxes are not supported")
    score, order = build("top_k", scores, k=n, largest=True)
    kept = _kept(ctx, _overlaps(ctx, boxes, order), score)
    place, count = places_of(emit.reshape(kept, [batch * classes * n]))
    box = emit.gather(emit.reshape(order, [batch * classes * n]), place, 0)
    columns = [emit.div(place, classes * n), emit.binary("mod", emit.div(place, n), classes), box]
    return ragged(emit.concat([emit.unsqueeze(column, [1]) for column in columns], 1), (count, 3))


def _overlaps(ctx: NodeContext, boxes: ir.Value, order: ir.Value) -> ir.Value:
    """[b, c, n, n] whether boxes i and j, by descending score, overlap by more than the threshold."""
    batch, classes, n = emit.shape(order)
    index = emit.broadcast(emit.unsqueeze(order, [3]), [batch, classes, n, 4])
    spread = emit.broadcast(emit.unsqueeze(boxes, [1]), [batch, classes, n, 4])
    a, b, c, d = emit.split(build("gather_elements", spread, index, axis=2), 3, [1, 1, 1, 1])
    if ctx.attribute("center_point_box", 0):
        sides = [
            (emit.sub(centre, emit.div(size, 2)), emit.add(centre, emit.div(size, 2)))
            for centre, size in ((a, c), (b, d))
        ]
    else:
        sides = [(emit.minimum(low, high), emit.maximum(low, high)) for low, high in ((a, c), (b, d))]
    area = emit.mul(*(emit.sub(high, low) for low, high in sides))
    flip = [0, 1, 3, 2]
    shared = [
        emit.maximum(
            emit.sub(emit.minimum(high, emit.transpose(high, flip)), emit.maximum(low, emit.transpose(low, flip))), 0
        )
        for low, high in sides
    ]
    inner = emit.mul(*shared)
    union = emit.sub(emit.add(area, emit.transpose(area, flip)), inner)
    limit = emit.reshape(ctx.value(3), []) if ctx.has(3) else 0
    ratio = emit.div(inner, emit.select(emit.binary("gt", union, 0), union, 1))
    real = build("and", emit.binary("gt", area, 0), emit.transpose(emit.binary("gt", area, 0), flip))
    return build("and", emit.binary("gt", ratio, limit), real)


def _kept(ctx: NodeContext, overlaps: ir.Value, score: ir.Value) -> ir.Value:
    """[b, c, n] which boxes stay.

    After step t the first t boxes are decided: a box stays unless one before it stays and overlaps it.
    """
    n, int64 = emit.shape(score)[2], emit.type_("int64")
    valid = emit.broadcast(emit.scalar(True, emit.type_("bool")), emit.shape(score))
    if ctx.has(4):
        valid = emit.binary("gt", score, emit.reshape(ctx.value(4), []))
    earlier = build("lt", emit.iota([n, 1], 0, int64), emit.iota([1, n], 1, int64))
    threats, kept = build("and", overlaps, earlier), valid
    for _ in range(n - 1):
        struck = emit.reduce(build("and", threats, emit.unsqueeze(kept, [3])), "max", [2])
        kept = build("and", valid, build("not", struck))
    number = build("scan", emit.cast(kept, int64), kind="sum", axis=2, exclusive=False, reverse=False)
    most = emit.reshape(emit.cast(ctx.value(2), int64), []) if ctx.has(2) else 0
    return build("and", kept, emit.binary("le", number, most))
