"""Determinants."""

import functools
import math

from lumir.dialects import build
from lumir.frontend import emit
from lumir.frontend.context import NodeContext
from lumir.frontend.registry import Result, handler
from lumir.mlir import ir

LARGEST = 64


@handler("Det", since=11)
def det(ctx: NodeContext) -> Result:
    """Of the last two dimensions."""
    x = ctx.value(0)
    *batch, rows, columns = emit.shape(x)
    if rows != columns:
        ctx.malformed(f"the last two dimensions of {emit.shape(x)} must be equal")
    if rows > LARGEST:
        ctx.refuse(f"determinants of more than {LARGEST} rows are not supported")
    result = determinant(emit.reshape(emit.widen(x), [math.prod(batch), rows, rows]))
    return emit.cast(emit.reshape(result, batch), emit.element(x))


def determinant(x: ir.Value) -> ir.Value:
    """[b, n, n] -> [b], by elimination with the largest element of the column as the pivot."""
    factors = []
    while (size := emit.shape(x)[1]) > 0:
        column = emit.slice_(x, 2, 0, 1)
        place = build("arg_reduce", build("abs", column), kind="max", axis=1, last=False)
        index = emit.unsqueeze(place, [2])
        pivots = build("gather_elements", x, emit.broadcast(index, [emit.shape(x)[0], 1, size]), axis=1)
        pivot = emit.slice_(pivots, 2, 0, 1)
        swapped = emit.binary("gt", index, 0)
        factors.append(emit.reshape(emit.select(swapped, emit.neg(pivot), pivot), [emit.shape(x)[0]]))
        here = build("eq", emit.iota([1, size, 1], 1, emit.element(index)), index)
        rest = emit.slice_(emit.select(here, emit.slice_(x, 1, 0, 1), x), 1, 1, size - 1)
        singular = emit.binary("eq", pivot, 0)
        share = emit.div(emit.slice_(rest, 2, 0, 1), emit.select(singular, 1, pivot))
        x = emit.sub(emit.slice_(rest, 2, 1, size - 1), emit.mul(share, emit.slice_(pivots, 2, 1, size - 1)))
    one = emit.broadcast(emit.scalar(1, emit.element(x)), [emit.shape(x)[0]])
    return functools.reduce(emit.mul, factors, one)
