"""onnxruntime's attention operators (domain com.microsoft)."""

import math

from lumir.dialects import build
from lumir.dialects.base import is_bool
from lumir.frontend import emit
from lumir.frontend.context import NodeContext
from lumir.frontend.handlers.attention import Heads, all_of, merge_heads, rotate, split_heads
from lumir.frontend.registry import MICROSOFT, Result, handler
from lumir.mlir import ir
from lumir.sizes import Dim, maximum


def attend(
    heads: Heads,
    mask: ir.Value | None,
    scale: float,
    *,
    causal: bool = False,
    window: int = 0,
    softcap: float = 0.0,
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
        window=window,
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
    mask = _additive_mask(ctx, heads, 4, 5)
    causal = bool(ctx.attribute("unidirectional", 0))
    if causal and emit.shape(key)[2] - past != emit.shape(query)[2]:
        ctx.refuse("unidirectional attention needs as many new keys as queries")
    result = attend(heads, mask, ctx.attribute("scale", 0.0), causal=causal)
    return [result, key, value][: len(ctx.node.output)]


@handler("Attention", domain=MICROSOFT)
def attention(ctx: NodeContext) -> list[Result]:
    """The projection of x [b, s, i] to queries, keys and values by one matrix, and attention between them.

    The cache is one tensor: [2, b, h, n, d], keys and then values.
    """
    if ctx.has(6) or ctx.attribute("past_present_share_buffer", 0):
        ctx.refuse("a cache in a buffer that is longer than its content is not supported")
    if ctx.attribute("do_rotary", 0):
        ctx.refuse("rotary embeddings inside of it are not supported: use GroupQueryAttention")
    x, heads, past = ctx.value(0), ctx.attribute("num_heads"), 0
    projected = emit.matmul(x, ctx.value(1))
    if ctx.has(2):
        projected = emit.add(projected, ctx.value(2))
    width = emit.shape(projected)[2]
    sizes = ctx.ints_attribute("qkv_hidden_sizes", [width // 3] * 3)
    query, key, value = (split_heads(part, heads) for part in emit.split(projected, 2, sizes))
    if ctx.has(4):
        cache = [emit.reshape(part, emit.shape(part)[1:]) for part in emit.split(ctx.value(4), 0, [1, 1])]
        past = emit.shape(cache[0])[2]
        key, value = emit.concat([cache[0], key], 2), emit.concat([cache[1], value], 2)
    split = Heads(query, key, value, past)
    mask = _additive_mask(ctx, split, 3, 5)
    causal = bool(ctx.attribute("unidirectional", 0))
    result = attend(split, mask, ctx.attribute("scale", 0.0), causal=causal)
    if not ctx.wants(1):
        return [result]
    return [result, emit.concat([emit.unsqueeze(key, [0]), emit.unsqueeze(value, [0])], 0)]


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


def _additive_mask(ctx: NodeContext, heads: Heads, padding_index: int, bias_index: int) -> ir.Value | None:
    """The attention bias, plus `mask_filter_value` where the key padding mask drops a key."""
    bias = ctx.optional(bias_index)
    if not ctx.has(padding_index):
        return bias
    b, _, m, n = heads.scores
    padding = ctx.value(padding_index)
    match emit.shape(padding):
        case [size] if size in (b, 2 * b):
            keep = _between(padding, b, n)
        case [rows, columns] if (rows, columns) == (b, n):
            keep = emit.reshape(emit.binary("ne", padding, 0), [b, 1, 1, n])
        case [rows, queries, columns] if (rows, queries, columns) == (b, m, n):
            keep = emit.unsqueeze(emit.binary("ne", padding, 0), [1])
        case [rows, 1, longest, _] if rows == b and longest >= n:
            seen = emit.slice_(emit.slice_(padding, 2, heads.past, m), 3, 0, n)
            keep = emit.binary("ne", seen, 0)
        case other:
            ctx.refuse(f"a key padding mask of shape {other} is not supported")
    filler = emit.scalar(ctx.attribute("mask_filter_value", -10000.0), emit.element(heads.query))
    mask = emit.select(keep, 0, filler)
    return mask if bias is None else emit.add(mask, bias)


def _between(bounds: ir.Value, b: int, n: int) -> ir.Value:
    """[b, 1, 1, n]: keys before each batch's end, [b], and from its start on where those follow the ends, [2 b]."""
    place = emit.iota([1, n], 1, emit.element(bounds))
    ends, *starts = (emit.unsqueeze(part, [1]) for part in emit.split(bounds, 0, [b] * (emit.shape(bounds)[0] // b)))
    rules = [build("lt", place, ends), *(build("ge", place, start) for start in starts)]
    return emit.reshape(all_of(rules), [b, 1, 1, n])


@handler("GroupQueryAttention", domain=MICROSOFT)
def group_query_attention(ctx: NodeContext) -> list[Result]:
    """Causal attention with a cache: each batch's new keys go behind its `seqlens_k + 1 - s` valid old ones.

    Where `total_sequence_length` is computed, a cache is taken to have room for so many keys.
    """
    if ctx.has(12) or ctx.has(13):
        ctx.refuse("quantised caches are not supported")
    query, key, value = _grouped_projections(ctx)
    length = emit.shape(query)[2]
    start = _starts(ctx, length)
    if ctx.attribute("do_rotary", 0):
        query, key = _rotated(ctx, query, start), _rotated(ctx, key, start)
    key, value = _cached(ctx, 3, key, start), _cached(ctx, 4, value, start)
    heads, options = Heads(query, key, value), {"softcap": ctx.attribute("softcap", 0.0)}
    sinks = _sinks(ctx, heads)
    if start is not None and sinks is None and not ctx.has(10):
        lengths, window = emit.add(start, length), max(ctx.attribute("local_window_size", -1), 0)
        last = Heads(query, key, value, -length)
        more = {"causal": length != 1, "window": window, **options}
        return [attend(last, lengths, ctx.attribute("scale", 0.0), **more), key, value][: len(ctx.node.output)]
    mask = _visible(ctx, heads, start)
    if ctx.has(10):
        bias = emit.pad(ctx.value(10), [0] * 4, [0, 0, 0, heads.scores[3] - ctx.tensor(10).shape[3]])
        mask = bias if mask is None else emit.select(mask, bias, -math.inf)
    if sinks is not None:
        heads, mask = _with_sinks(heads, mask, sinks)
    result = attend(heads, mask, ctx.attribute("scale", 0.0), causal=start is None, **options)
    return [result, key, value][: len(ctx.node.output)]


def _sinks(ctx: NodeContext, heads: Heads) -> ir.Value | None:
    """[1, h, 1, 1]: a score of each head that takes its share of the softmax and adds nothing, or None."""
    count, to = heads.scores[1], emit.element(heads.query)
    if ctx.has(11):
        return emit.reshape(emit.cast(ctx.value(11), to), [1, count, 1, 1])
    return emit.broadcast(emit.scalar(0, to), [1, count, 1, 1]) if ctx.attribute("smooth_softmax", 0) else None


def _with_sinks(heads: Heads, mask: ir.Value | None, sinks: ir.Value) -> tuple[Heads, ir.Value]:
    """A key of zeros in front of all others, whose value is 0 and whose score the mask makes the sink."""
    key, value = (emit.pad(x, [0, 0, 1, 0], [0] * 4) for x in (heads.key, heads.value))
    if mask is None:
        mask = emit.broadcast(emit.scalar(0, emit.element(sinks)), [1, 1, 1, heads.scores[3]])
    elif is_bool(emit.element(mask)):
        mask = emit.select(mask, emit.scalar(0, emit.element(sinks)), -math.inf)
    b, h, m, n = (max(a, c) for a, c in zip(emit.shape(mask), emit.shape(sinks), strict=True))
    joined = emit.concat([emit.broadcast(sinks, [b, h, m, 1]), emit.broadcast(mask, [b, h, m, n])], 3)
    return Heads(heads.query, key, value, heads.past + 1), joined


def _grouped_projections(ctx: NodeContext) -> list[ir.Value]:
    heads, groups = ctx.attribute("num_heads"), ctx.attribute("kv_num_heads")
    if ctx.has(1):
        return [split_heads(ctx.value(i), n) for i, n in enumerate((heads, groups, groups))]
    packed = ctx.value(0)
    size = emit.shape(packed)[2] // (heads + 2 * groups)
    parts = emit.split(packed, 2, [heads * size, groups * size, groups * size])
    return [split_heads(part, n) for part, n in zip(parts, (heads, groups, groups), strict=True)]


def _total(ctx: NodeContext) -> Dim | None:
    """`total_sequence_length`, where it is known when shapes are."""
    return ctx.sizes(6, "total_sequence_length")[0] if ctx.tensor(6).is_known else None


def _starts(ctx: NodeContext, length: Dim) -> ir.Value | None:
    """[b, 1, 1, 1]: how many valid keys each batch has before the new ones; None in the first prompt, whose are all."""
    total = _total(ctx)
    if total is not None and total == length:
        return None
    lengths = emit.cast(ctx.value(5), emit.type_("int64"))
    starts = emit.reshape(emit.sub(lengths, length - 1), [ctx.tensor(5).size, 1, 1, 1])
    if length == 1 or isinstance(total, int):
        return starts
    is_first = emit.binary("eq", emit.cast(ctx.value(6), emit.type_("int64")), length)
    return emit.select(emit.reshape(is_first, [1, 1, 1, 1]), 0, starts)


def _rotated(ctx: NodeContext, x: ir.Value, start: ir.Value | None) -> ir.Value:
    """By position: those that are given, in the first prompt the first of them and its successors, else the place."""
    b, _, length, _ = emit.shape(x)
    positions = emit.iota([1, length], 1, emit.type_("int64"))
    if ctx.has(9):
        given = emit.cast(ctx.value(9), emit.type_("int64"))
        positions = emit.add(emit.slice_(emit.slice_(given, 0, 0, 1), 1, 0, 1), positions) if start is None else given
    elif start is not None:
        positions = emit.add(emit.reshape(start, [b, 1]), positions)
    cos, sin = (emit.unsqueeze(emit.gather(ctx.value(i), positions, 0), [1]) for i in (7, 8))
    return rotate(x, cos, sin, 2 * emit.shape(cos)[3], bool(ctx.attribute("rotary_interleaved", 0)))


def _cached(ctx: NodeContext, index: int, new: ir.Value, start: ir.Value | None) -> ir.Value:
    """The cache [b, g, t, d] with the new rows written from `start` on; t is the larger of the old size and all."""
    if not ctx.has(index) or ctx.tensor(index).shape[2] == 0:
        return new
    old, total = ctx.value(index), _total(ctx)
    b, g, room, d = emit.shape(old)
    length = emit.shape(new)[2]
    size = room if total is None else maximum(room, total)
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
