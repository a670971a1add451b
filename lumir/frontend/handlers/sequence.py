"""Sequences of tensors and optional values, which are gone after import: a sequence is as many values as it has."""

import numpy as np

from lumir.dialects.base import normalize_axis
from lumir.frontend import emit
from lumir.frontend.context import NodeContext
from lumir.frontend.registry import Result, handler
from lumir.frontend.values import POISON, Operand, Tensor, TensorSequence
from lumir.mlir import ir


@handler("SequenceConstruct", since=11)
def sequence_construct(ctx: NodeContext) -> Result:
    return TensorSequence(tuple(ctx.tensor(i) for i in range(len(ctx.inputs))))


@handler("SequenceEmpty", since=11)
def sequence_empty(ctx: NodeContext) -> Result:
    return TensorSequence(())


@handler("SequenceInsert", since=11)
def sequence_insert(ctx: NodeContext) -> Result:
    items = ctx.sequence(0)
    place = _position(ctx, 2, len(items), end=1) if ctx.has(2) else len(items)
    return TensorSequence((*items[:place], ctx.tensor(1), *items[place:]))


@handler("SequenceErase", since=11)
def sequence_erase(ctx: NodeContext) -> Result:
    items = ctx.sequence(0)
    place = _position(ctx, 1, len(items)) if ctx.has(1) else len(items) - 1
    return TensorSequence((*items[:place], *items[place + 1 :]))


def _position(ctx: NodeContext, index: int, size: int, end: int = 0) -> int:
    """The place that input `index` names in a sequence of `size` tensors; negative numbers count from its end.

    With `end` 1 the place behind the last tensor is one too.
    """
    place = ctx.ints(index, "position")[0]
    if not -size <= place < size + end:
        ctx.malformed(f"position {place} must be in {-size}..{size - 1 + end}")
    return place + size if place < 0 else place


@handler("SequenceAt", since=11)
def sequence_at(ctx: NodeContext) -> Result:
    """A tensor of the sequence; by a computed position where all have one type."""
    items = ctx.sequence(0)
    if ctx.known(1) is None and items and all(item.type == items[0].type for item in items):
        stacked = emit.concat([emit.unsqueeze(item.value(), [0]) for item in items], 0)
        return emit.gather(stacked, emit.reshape(ctx.value(1), []), 0)
    return items[_position(ctx, 1, len(items))]


@handler("SequenceLength", since=11)
def sequence_length(ctx: NodeContext) -> Result:
    return np.array(len(ctx.sequence(0)), np.int64)


@handler("ConcatFromSequence", since=11)
def concat_from_sequence(ctx: NodeContext) -> Result:
    values = [item.value() for item in ctx.sequence(0)]
    if not values:
        ctx.malformed("an empty sequence cannot be joined")
    if ctx.attribute("new_axis", 0):
        axis = normalize_axis(ctx.attribute("axis"), emit.rank(values[0]) + 1)
        values = [emit.unsqueeze(value, [axis]) for value in values]
    return emit.concat(values, normalize_axis(ctx.attribute("axis"), emit.rank(values[0])))


@handler("SplitToSequence", since=11)
def split_to_sequence(ctx: NodeContext) -> Result:
    x = ctx.value(0)
    axis = normalize_axis(ctx.attribute("axis", 0), emit.rank(x))
    dims = emit.shape(x)
    parts = emit.split(x, axis, _chunks(ctx, dims[axis]))
    if not ctx.has(1) and not ctx.attribute("keepdims", 1):
        parts = [emit.reshape(part, dims[:axis] + dims[axis + 1 :]) for part in parts]
    return TensorSequence(tuple(_tensor(part) for part in parts))


def _chunks(ctx: NodeContext, size: int) -> list[int]:
    """The sizes of the parts: all 1, as the input `split` lists them, or all as it says but the last."""
    split = ctx.static(1, "split") if ctx.has(1) else np.array(1)
    if split.ndim == 0:
        step = int(split)
        if step <= 0:
            ctx.malformed(f"split {step} must be positive")
        return [min(step, size - start) for start in range(0, size, step)]
    chunks = [int(chunk) for chunk in split]
    if sum(chunks) != size or min(chunks, default=0) < 0:
        ctx.malformed(f"split {chunks} must add up to the dimension, {size}")
    return chunks


@handler("SequenceMap", since=17)
def sequence_map(ctx: NodeContext) -> list[Operand]:
    """The body for each tensor of the first sequence, with those at its place in the others; tensors go to each."""
    steps, columns = len(ctx.sequence(0)), []
    for index, value in enumerate(ctx.inputs):
        if not isinstance(value, TensorSequence):
            columns.append([ctx.tensor(index)] * steps)
        elif len(value.items) == steps:
            columns.append(value.items)
        else:
            ctx.malformed(f"input {index} has {len(value.items)} tensors, and input 0 has {steps}")
    body = ctx.attribute("body")
    rows = [ctx.services.inline(body, list(row), str(step)) for step, row in enumerate(zip(*columns, strict=True))]
    return [_collected(ctx, [row[i] for row in rows]) for i in range(len(body.output))]


def _collected(ctx: NodeContext, values: list[Operand]) -> Operand:
    items = tuple(value for value in values if isinstance(value, Tensor))
    if POISON in values:
        return POISON
    if len(items) < len(values):
        ctx.malformed("its body must give tensors")
    return TensorSequence(items)


def _tensor(value: ir.Value) -> Tensor:
    return Tensor(ir.RankedTensorType(value.type), value=value)


@handler("Optional", since=15)
def optional(ctx: NodeContext) -> Result:
    return ctx.input(0)


@handler("OptionalHasElement", since=15)
def optional_has_element(ctx: NodeContext) -> Result:
    return np.array(ctx.has(0))


@handler("OptionalGetElement", since=15)
def optional_get_element(ctx: NodeContext) -> Result:
    if not ctx.has(0):
        ctx.malformed("the optional is empty: ask OptionalHasElement first")
    return ctx.input(0)
