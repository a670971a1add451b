"""Attention and rotary embeddings."""

import math
from dataclasses import dataclass
from typing import Any

from lumir.dialects import build
from lumir.dialects.base import is_bool
from lumir.frontend import emit
from lumir.frontend.context import NodeContext
from lumir.frontend.registry import Result, handler
from lumir.mlir import ir


@dataclass(frozen=True)
class Heads:
    """Query [b, h, m, d], key [b, g, n, d] and value [b, g, n, e], and the number of keys before the first query's."""

    query: ir.Value
    key: ir.Value
    value: ir.Value
    past: int = 0

    @property
    def scores(self) -> list[int]:
        """The shape [b, h, m, n] of the scores."""
        return [*emit.shape(self.query)[:3], emit.shape(self.key)[2]]


def split_heads(x: ir.Value, heads: int) -> ir.Value:
    """[b, s, heads * d] -> [b, heads, s, d]."""
    b, s, hidden = emit.shape(x)
    return emit.transpose(emit.reshape(x, [b, s, heads, hidden // heads]), [0, 2, 1, 3])


def merge_heads(x: ir.Value) -> ir.Value:
    """[b, heads, s, d] -> [b, s, heads * d]."""
    b, heads, s, d = emit.shape(x)
    return emit.reshape(emit.transpose(x, [0, 2, 1, 3]), [b, s, heads * d])


@handler("Attention", since=23)
def attention(ctx: NodeContext) -> list[Result]:
    heads = _with_past(ctx, _heads(ctx))
    scale = ctx.attribute("scale") or 1 / math.sqrt(emit.shape(heads.query)[3])
    softcap, causal = ctx.attribute("softcap", 0.0), bool(ctx.attribute("is_causal", 0))
    if ctx.has(6) and not ctx.has(3) and not ctx.wants(3):
        mask, band = _lengths(ctx), _band_from_end(ctx, heads, causal)
    else:
        mask = _mask(ctx, heads, causal)
        # with lengths, each batch has its own offset, so the mask holds the causal rule
        band: dict[str, Any] = {"causal": causal and not ctx.has(6), "offset": heads.past, "window": 0}
    result = build(
        "attention",
        heads.query,
        heads.key,
        heads.value,
        *([] if mask is None else [mask]),
        scale=float(scale),
        **band,
        softcap=float(softcap),
    )
    output = result if len(ctx.tensor(0).shape) == 4 else merge_heads(result)
    results: list[Result] = [output, heads.key, emit.cast(heads.value, ctx.tensor(2).type.element_type)]
    if ctx.wants(3):
        results.append(_scores(ctx, heads, mask, scale=float(scale), softcap=float(softcap), causal=band["causal"]))
    return results[: len(ctx.node.output)]


def _heads(ctx: NodeContext) -> Heads:
    q, k, v = (ctx.value(i) for i in range(3))
    if emit.rank(q) == 3:
        q_heads, kv_heads = ctx.attribute("q_num_heads", 0), ctx.attribute("kv_num_heads", 0)
        if not q_heads or not kv_heads:
            ctx.malformed("3-D inputs need the attributes q_num_heads and kv_num_heads")
        q, k, v = split_heads(q, q_heads), split_heads(k, kv_heads), split_heads(v, kv_heads)
    return Heads(q, k, emit.cast(v, emit.element(q)))


def _with_past(ctx: NodeContext, heads: Heads) -> Heads:
    if not ctx.has(4):
        return heads
    past_key, past_value = ctx.value(4), emit.cast(ctx.value(5), emit.element(heads.query))
    key, value = emit.concat([past_key, heads.key], 2), emit.concat([past_value, heads.value], 2)
    return Heads(heads.query, key, value, emit.shape(past_key)[2])


def _mask(ctx: NodeContext, heads: Heads, causal: bool) -> ir.Value | None:
    """The mask operand: the node's own mask, joined with its window and with the number of valid keys."""
    keep = _window(ctx, heads, causal)
    if not ctx.has(3):
        return keep
    mask = ctx.value(3)
    missing = heads.scores[3] - emit.shape(mask)[-1]
    if missing > 0 and emit.shape(mask)[-1] != 1:
        fill = False if is_bool(emit.element(mask)) else -math.inf
        mask = emit.pad(mask, [0] * emit.rank(mask), [0] * (emit.rank(mask) - 1) + [missing], fill)
    if keep is None:
        return mask
    if is_bool(emit.element(mask)):
        return build("and", mask, keep)
    return emit.select(keep, mask, -math.inf)


def _lengths(ctx: NodeContext) -> ir.Value:
    """[b, 1, 1, 1]: how many keys of each batch count."""
    return emit.reshape(ctx.value(6), [ctx.tensor(6).size, 1, 1, 1])


def _band_from_end(ctx: NodeContext, heads: Heads, causal: bool) -> dict[str, Any]:
    """`causal`, `offset` and `window` for queries that are the last of the keys that count; one alone sees all."""
    left, right = ctx.attribute("left_window_size", -1), ctx.attribute("right_window_size", -1)
    last = 0 if causal else right
    offset, width = -heads.scores[2], left + max(last, 0) + 1
    if last < 0:
        return {"causal": False, "offset": offset - max(left, 0), "window": int(left >= 0)}
    return {"causal": heads.scores[2] != 1, "offset": offset + last, "window": width if left >= 0 else 0}


def _window(ctx: NodeContext, heads: Heads, causal: bool) -> ir.Value | None:
    """Which keys a query may see by window size and number of valid keys; None where all."""
    left, right = ctx.attribute("left_window_size", -1), ctx.attribute("right_window_size", -1)
    lengths = _lengths(ctx) if ctx.has(6) else None
    if lengths is None and left < 0 and right < 0:
        return None
    m, n = heads.scores[2:]
    index = emit.type_("int64")
    query, key = emit.iota([1, 1, m, 1], 2, index), emit.iota([1, 1, 1, n], 3, index)
    offset = emit.scalar(heads.past, index) if lengths is None else emit.sub(lengths, m)
    distance = emit.sub(key, emit.add(query, offset))
    rules = []
    if left >= 0:
        rules.append(emit.binary("ge", distance, -left))
    if right >= 0:
        rules.append(emit.binary("le", distance, right))
    if lengths is not None:
        rules.append(build("lt", key, lengths))
        if causal:
            rules.append(emit.binary("le", distance, 0))
    return all_of(rules)


def all_of(rules: list[ir.Value]) -> ir.Value:
    result = rules[0]
    for rule in rules[1:]:
        result = build("and", result, rule)
    return result


def _scores(
    ctx: NodeContext, heads: Heads, mask: ir.Value | None, *, scale: float, softcap: float, causal: bool
) -> ir.Value:
    """The optional output: the scores raw (mode 0), capped (1), masked (2), or after softmax (3)."""
    mode = ctx.attribute("qk_matmul_output_mode", 0)
    b, h, m, n = heads.scores
    g, d = emit.shape(heads.key)[1], emit.shape(heads.key)[3]
    query = emit.reshape(emit.widen(heads.query), [b, g, h // g, m, d])
    scores = emit.contract(query, emit.widen(heads.key), "bgrmd,bgnd->bgrmn")
    scores = emit.mul(emit.reshape(scores, [b, h, m, n]), scale)
    if mode >= 1 and softcap > 0:
        scores = emit.mul(build("tanh", emit.div(scores, softcap)), softcap)
    if mode >= 2:
        scores = _masked(scores, mask, causal, heads.past)
    if mode == 3:
        empty = emit.binary("eq", emit.reduce(scores, "max", [3], True), -math.inf)
        scores = emit.select(empty, 0, build("softmax", emit.select(empty, 0, scores), axis=3, log=False))
    return emit.cast(scores, emit.element(heads.query))


def _masked(scores: ir.Value, mask: ir.Value | None, causal: bool, past: int) -> ir.Value:
    if mask is not None and is_bool(emit.element(mask)):
        scores = emit.select(mask, scores, -math.inf)
    elif mask is not None:
        scores = emit.add(scores, emit.cast(mask, emit.element(scores)))
    if not causal:
        return scores
    m, n = emit.shape(scores)[2:]
    index = emit.type_("int64")
    visible = build("le", emit.iota([1, n], 1, index), emit.add(emit.iota([m, 1], 0, index), past))
    return emit.select(visible, scores, -math.inf)


@handler("RotaryEmbedding", since=23)
def rotary_embedding(ctx: NodeContext) -> Result:
    x, cos, sin = ctx.value(0), ctx.value(1), ctx.value(2)
    flat = emit.rank(x) == 3
    if flat and not ctx.attribute("num_heads", 0):
        ctx.malformed("a 3-D input needs the attribute num_heads")
    x = split_heads(x, ctx.attribute("num_heads")) if flat else x
    if ctx.has(3):
        cos, sin = (emit.gather(cache, ctx.value(3), 0) for cache in (cos, sin))
    cos, sin = emit.unsqueeze(cos, [1]), emit.unsqueeze(sin, [1])
    result = rotate(x, cos, sin, ctx.attribute("rotary_embedding_dim", 0), bool(ctx.attribute("interleaved", 0)))
    return merge_heads(result) if flat else result


def rotate(x: ir.Value, cos: ir.Value, sin: ir.Value, dim: int, interleaved: bool) -> ir.Value:
    """Rotate pairs of the first `dim` (0: all) features of x [b, h, s, d] by angles [b or 1, 1, s, dim / 2].

    Pairs are (i, i + dim / 2), or neighbours where `interleaved`.
    """
    *outer, size = emit.shape(x)
    dim = dim or size
    turned, rest = emit.slice_(x, 3, 0, dim), emit.slice_(x, 3, dim, size - dim) if dim < size else None
    half, last = dim // 2, 4
    if interleaved:
        turned = emit.transpose(emit.reshape(turned, [*outer, half, 2]), [0, 1, 2, 4, 3])
    else:
        turned = emit.reshape(turned, [*outer, 2, half])
    first, second = (emit.reshape(emit.slice_(turned, 3, i, 1), [*outer, half]) for i in (0, 1))
    real = emit.sub(emit.mul(first, cos), emit.mul(second, sin))
    imaginary = emit.add(emit.mul(first, sin), emit.mul(second, cos))
    if interleaved:
        pairs = emit.concat([emit.unsqueeze(real, [last]), emit.unsqueeze(imaginary, [last])], last)
        result = emit.reshape(pairs, [*outer, dim])
    else:
        result = emit.concat([real, imaginary], 3)
    return result if rest is None else emit.concat([result, rest], 3)
