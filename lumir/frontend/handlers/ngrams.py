"""Counting n-grams of integers: TfIdfVectorizer."""

import math

import numpy as np

from lumir.dialects import build
from lumir.frontend import emit
from lumir.frontend.context import NodeContext
from lumir.frontend.registry import Result, handler
from lumir.mlir import ir


@handler("TfIdfVectorizer", since=9)
def tf_idf_vectorizer(ctx: NodeContext) -> Result:
    """How often each n-gram of the pool occurs in a row: `TF` the count, `IDF` its weight if at all, `TFIDF` both.

    A gram's elements lie s + 1 apart, for every s from 0 to `max_skip_count`.
    """
    if ctx.attribute("pool_strings"):
        ctx.refuse("strings are not supported: give the pool as integers")
    places = np.array(ctx.attribute("ngram_indexes"), np.int64)
    weights = np.array(ctx.attribute("weights") or np.ones(len(places)), np.float32)
    x = ctx.value(0)
    rows = emit.reshape(x, [math.prod(emit.shape(x)[:-1]), emit.shape(x)[-1]])
    parts, first = [emit.broadcast(emit.scalar(0, emit.type_("float32")), [emit.shape(rows)[0], 1])], 0
    source = np.zeros(places.max() + 1, np.int64)
    for grams in _pool(ctx):
        source[places[first : first + len(grams)]] = 1 + first + np.arange(len(grams))
        parts.append(_counts(ctx, rows, grams))
        first += len(grams)
    counts = emit.gather(emit.concat(parts, 1), ctx.constant(source), 1)
    mode = ctx.attribute("mode")
    if mode == "IDF":
        counts = emit.cast(emit.binary("gt", counts, 0), emit.type_("float32"))
    if mode != "TF":
        spread = np.ones(len(source), np.float32)
        spread[places] = weights
        counts = emit.mul(counts, ctx.constant(spread))
    return emit.reshape(counts, [*emit.shape(x)[:-1], len(source)])


def _pool(ctx: NodeContext) -> list[np.ndarray]:
    """The pool's grams of length 1, 2, ...: [grams, length] each."""
    pool = np.array(ctx.attribute("pool_int64s"), np.int64)
    starts = [*ctx.attribute("ngram_counts"), len(pool)]
    lengths = range(1, len(starts))
    return [pool[starts[n - 1] : starts[n]].reshape(-1, n) for n in lengths]


def _counts(ctx: NodeContext, rows: ir.Value, grams: np.ndarray) -> ir.Value:
    """[rows, grams]: how often each gram occurs; 0 where grams of this length do not count."""
    (batch, size), (count, length) = emit.shape(rows), grams.shape
    counted = ctx.attribute("min_gram_length") <= length <= ctx.attribute("max_gram_length")
    skips = range(ctx.attribute("max_skip_count") + 1 if length > 1 else 1)
    steps = [np.arange(length) * (skip + 1) for skip in skips]
    windows = [np.arange(size - step[-1])[:, None] + step for step in steps if step[-1] < size]
    if not counted or not windows or not count:
        return emit.broadcast(emit.scalar(0, emit.type_("float32")), [batch, count])
    taken = emit.gather(rows, ctx.constant(np.concatenate(windows)), 1)
    taken = emit.cast(emit.unsqueeze(taken, [2]), emit.type_("int64"))
    equal = emit.reduce(build("eq", taken, ctx.constant(grams[None, None])), "min", [3])
    return emit.reduce(emit.cast(equal, emit.type_("float32")), "sum", [1])
