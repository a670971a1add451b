"""onnxruntime's attention operators (domain com.microsoft)."""

import math

from lumir.dialects import build
from lumir.frontend import emit
from lumir.frontend.context import NodeContext
from lumir.frontend.handlers.attention import Heads, all_of, merge_heads, rotate, split_heads
from lumir.frontend.registry import MICROSOFT, Result, handler
from lumir.mlir import ir


def attend(
    heads: Heads, mask: ir.Value | None, scale: float, *, causal: bool = False, softcap: float = 0.0
) -> ir.Value:
    """Attention of [b, h, m, d] heads, merged to [b, m, h * e]; `scale` 0 stands for 1 / sqrt(d)."""
    result = build(
        "attention",
        heads.query,
        heads.key,
        heads.value,
        *([] if mask is None else [mask]),
        scale=float(scale or 1 / math.sqrt(emit.shape(heads.query)[3])),
        causal=causal,
        offset=heads.past,
        softcap=float(softcap),
    )
    return merge_heads(result)


@handler("MultiHeadAttention", domain=MICROSOFT)
def multi_head_attention(ctx: NodeContext) -> list[Result]:
    for index, name in ((8, "past_sequence_length"), (9, "cache_indirection")):
        if ctx.has(index):
            ctx.refuse(f"the input {name} is not supported")
    query, key, value = _projections(ctx)
    past = 0
    if ctx.has(6):
        past = ctx.tensor(6).shape[2]
        key, value = emit.concat([ctx.value(6), key], 2), emit.concat([ctx.value(7), value], 2)
    heads = Heads(query, key, value, past)
    mask = _additive_mask(ctx, heads)
    causal = bool(ctx.attribute("unidirectional", 0))
    result = attend(heads, mask, ctx.attribute("scale", 0.0), causal=causal)
    return [result, key, value][: len(ctx.node.output)]


def _projections(ctx: NodeContext) -> tuple[ir.Value, ir.Value, ir.Value]:
    """Query, key and value as [b, heads, s, d], from any of the packings that the operator takes."""
    heads, query = ctx.attribute("num_heads"), ctx.value(0)
    if emit.rank(query) == 5:
        packed = emit.transpose(query, [3, 0, 2, 1, 4])
        return tuple(_part(packed, i) for i in range(3))  # pyright: ignore[reportReturnType]
    bias = ctx.optional(3)
    hidden = emit.shape(query)[2]
    query = split_heads(_plus(query, bias, 0, hidden), heads)
    key = ctx.value(1)
    if emit.rank(key) == 5:
        packed = emit.transpose(key, [3, 0, 2, 1, 4])
        return query, _part(packed, 0), _part(packed, 1)
    value = ctx.value(2)
    if emit.rank(key) == 3:
        key = split_heads(_plus(key, bias, hidden, emit.shape(key)[2]), heads)
        value = split_heads(_plus(value, bias, 2 * hidden, emit.shape(value)[2]), heads)
    return query, key, value


def _part(packed: ir.Value, index: int) -> ir.Value:
    return emit.reshape(emit.slice_(packed, 0, index, 1), emit.shape(packed)[1:])


def _plus(x: ir.Value, bias: ir.Value | None, start: int, size: int) -> ir.Value:
    return x if bias is None else emit.add(x, emit.slice_(bias, 0, start, size))


def _additive_mask(ctx: NodeContext, heads: Heads) -> ir.Value | None:
    """The attention bias, plus `mask_filter_value` where the key padding mask drops a key."""
    bias = ctx.optional(5)
    if not ctx.has(4):
        return bias
    b, _, m, n = heads.scores
    padding = ctx.value(4)
    match emit.shape(padding):
        case [size] if size == b:
            keep = build("lt", emit.iota([1, n], 1, emit.element(padding)), emit.unsqueeze(padding, [1]))
            keep = emit.reshape(keep, [b, 1, 1, n])
        case [rows, columns] if (rows, columns) == (b, n):
            keep = emit.reshape(emit.binary("ne", padding, 0), [b, 1, 1, n])
        case [rows, queries, columns] if (rows, queries, columns) == (b, m, n):
            keep = emit.unsqueeze(emit.binary("ne", padding, 0), [1])
        case other:
            ctx.refuse(f"a key padding mask of shape {other} is not supported")
    filler = emit.scalar(ctx.attribute("mask_filter_value", -10000.0), emit.element(heads.query))
    mask = emit.select(keep, 0, filler)
    return mask if bias is None else emit.add(mask, bias)


@handler("GroupQueryAttention", domain=MICROSOFT)
def group_query_attention(ctx: NodeContext) -> list[Result]:
    """Causal attention with a cache: each batch's new keys go behind its `seqlens_k + 1 - s` valid old ones."""
    if ctx.attribute("smooth_softmax", 0) or ctx.has(11):
        ctx.refuse("attention sinks are not supported")
    if ctx.has(12) or ctx.has(13):
        ctx.refuse("quantised caches are not supported")
    query, key, value = _grouped_projections(ctx)
    length = emit.shape(query)[2]
    total = int(ctx.static(6, "total_sequence_length").reshape(-1)[0])
    start = None if total == length else _starts(ctx, length)
    if ctx.attribute("do_rotary", 0):
        query, key = _rotated(ctx, query, start), _rotated(ctx, key, start)
    key, value = _cached(ctx, 3, key, start, total), _cached(ctx, 4, value, start, total)
    heads = Heads(query, key, value)
    mask = _visible(ctx, heads, start)
    if ctx.has(10):
        bias = ctx.value(10)
        mask = bias if mask is None else emit.select(mask, bias, -math.inf)
    softcap = ctx.attribute("softcap", 0.0)
    result = attend(heads, mask, ctx.attribute("scale", 0.0), causal=start is None, softcap=softcap)
    return [result, key, value][: len(ctx.node.output)]


def _grouped_projections(ctx: NodeContext) -> list[ir.Value]:
    heads, groups = ctx.attribute("num_heads"), ctx.attribute("kv_num_heads")
    if ctx.has(1):
        return [split_heads(ctx.value(i), n) for i, n in enumerate((heads, groups, groups))]
    packed = ctx.value(0)
    size = emit.shape(packed)[2] // (heads + 2 * groups)
    parts = emit.split(packed, 2, [heads * size, groups * size, groups * size])
    return [split_heads(part, n) for part, n in zip(parts, (heads, groups, groups), strict=True)]


def _starts(ctx: NodeContext, length: int) -> ir.Value:
    """[b, 1, 1, 1]: how many valid keys each batch has before the new ones."""
    lengths = emit.cast(ctx.value(5), emit.type_("int64"))
    return emit.reshape(emit.sub(lengths, length - 1), [ctx.tensor(5).size, 1, 1, 1])


def _rotated(ctx: NodeContext, x: ir.Value, start: ir.Value | None) -> ir.Value:
    b, _, length, _ = emit.shape(x)
    if ctx.has(9):
        positions = emit.cast(ctx.value(9), emit.type_("int64"))
    else:
        positions = emit.iota([1, length], 1, emit.type_("int64"))
        positions = positions if start is None else emit.add(emit.reshape(start, [b, 1]), positions)
    cos, sin = (emit.unsqueeze(emit.gather(ctx.value(i), positions, 0), [1]) for i in (7, 8))
    return rotate(x, cos, sin, 2 * emit.shape(cos)[3], bool(ctx.attribute("rotary_interleaved", 0)))


def _cached(ctx: NodeContext, index: int, new: ir.Value, start: ir.Value | None, total: int) -> ir.Value:
    """The cache [b, g, t, d] with the new rows written from `start` on; t is the larger of the old size and `total`."""
    if not ctx.has(index) or ctx.tensor(index).shape[2] == 0:
        return new
    old = ctx.value(index)
    b, g, room, d = emit.shape(old)
    length = emit.shape(new)[2]
    size = max(room, total)
    if start is None:
        return emit.concat([new, emit.slice_(old, 2, length, size - length)], 2) if size > length else new
    old = emit.pad(old, [0] * 4, [0, 0, size - room, 0])
    place = emit.sub(emit.iota([1, 1, size, 1], 2, emit.type_("int64")), start)
    inside = build("and", emit.binary("ge", place, 0), emit.binary("lt", place, length))
    source = emit.broadcast(emit.minimum(emit.maximum(place, 0), length - 1), [b, g, size, d])
    return emit.select(inside, build("gather_elements", new, source, axis=2), old)


def _visible(ctx: NodeContext, heads: Heads, start: ir.Value | None) -> ir.Value | None:
    """Which keys [b, 1, m, n] a query sees; None where the plain causal rule says it all."""
    window = ctx.attribute("local_window_size", -1)
    if start is None and window < 0:
        return None
    m, n = heads.scores[2:]
    index = emit.type_("int64")
    query = emit.iota([1, 1, m, 1], 2, index)
    query = query if start is None else emit.add(query, start)
    distance = emit.sub(emit.iota([1, 1, 1, n], 3, index), query)
    rules = [] if start is None else [emit.binary("le", distance, 0)]
    if window >= 0:
        rules.append(emit.binary("gt", distance, -window))
    return all_of(rules)
