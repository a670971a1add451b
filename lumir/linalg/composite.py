"""Composite ops as chains of reductions, element-wise ops and contractions, computed in float32 or wider."""

import math as math_

from lumir.dialects.composite import is_length
from lumir.dtypes import lowest_finite
from lumir.linalg.contraction import cast_to, contracted
from lumir.linalg.generic import (
    broadcast_map,
    constant,
    dim_map,
    dims_of,
    element_of,
    empty,
    generic,
    index,
    pointwise,
    reshaped,
)
from lumir.linalg.reduction import reduced
from lumir.linalg.rules import Source, rule
from lumir.linalg.scalar import BINARY, compare, compute_type, convert, is_float
from lumir.mlir import arith, ir, linalg, math
from lumir.sizes import Dim, is_static

Value = ir.Value


def _with_row(x: Value, row: Value, axes: list[int], body) -> Value:
    """Element-wise over `x` and a tensor that lacks the dimensions `axes`."""
    dims = dims_of(x)
    kept = [i for i in range(len(dims)) if i not in axes]
    maps = [dim_map(len(dims), range(len(dims))), dim_map(len(dims), kept)]
    return generic([x, row], maps, [empty(dims, element_of(x))], 0, lambda v, r, _: body(v, r))[0]


def stable_softmax(x: Value, axis: int, log: bool = False, empty_rows: bool = False) -> Value:
    """Softmax along `axis` of a float32 or float64 tensor; with `empty_rows`, a row of -inf gives zeros, not NaN."""
    kind = element_of(x)
    highest = reduced(x, "max", [axis])
    if empty_rows:
        lowest = lowest_finite(kind)
        highest = pointwise(
            [highest], dims_of(highest), kind, lambda m: BINARY["max"](m, constant(lowest, kind), False)
        )
    shifted = _with_row(x, highest, [axis], lambda v, m: arith.SubFOp(v, m).result)
    weights = pointwise([shifted], dims_of(x), kind, math.exp)
    total = reduced(weights, "sum", [axis])
    if log:
        return _with_row(shifted, total, [axis], lambda v, t: arith.SubFOp(v, math.log(t)).result)
    if empty_rows:
        total = pointwise([total], dims_of(total), kind, _one_if_zero)
        return _with_row(weights, total, [axis], lambda v, t: arith.DivFOp(v, t).result)
    # One division a row: on a GPU, one for each element takes as long as reading and writing it.
    inverse = pointwise([total], dims_of(total), kind, lambda t: arith.DivFOp(constant(1, kind), t).result)
    return _with_row(weights, inverse, [axis], lambda v, s: arith.MulFOp(v, s).result)


def _one_if_zero(total: Value) -> Value:
    return arith.SelectOp(compare("eq", total, constant(0, total.type)), constant(1, total.type), total).result


@rule("softmax")
def lower_softmax(source: Source, x: Value) -> Value:
    wide = cast_to(x, compute_type(element_of(x)))
    return cast_to(stable_softmax(wide, source.axis % len(dims_of(x)), source.log), source.element)


@rule("normalize")
def lower_normalize(source: Source, x: Value) -> Value:
    """Two passes for the variance: sum((x - mean)^2), not E[x^2] - mean^2, which cancels."""
    dims = dims_of(x)
    axes = list(range(source.axis % len(dims), len(dims)))
    wide = cast_to(x, compute_type(element_of(x)))
    kind = element_of(wide)
    count = math_.prod(dims[axis] for axis in axes)
    if source.center:
        total = reduced(wide, "sum", axes)
        mean = pointwise([total], dims_of(total), kind, lambda t: arith.MulFOp(t, _reciprocal(count, kind)).result)
        wide = _with_row(wide, mean, axes, lambda v, m: arith.SubFOp(v, m).result)
    square = pointwise([wide], dims, kind, lambda v: arith.MulFOp(v, v).result)
    power = reduced(square, "sum", axes)

    def inverse(total: Value) -> Value:
        variance = arith.MulFOp(total, _reciprocal(count, kind)).result
        root = math.sqrt(arith.AddFOp(variance, constant(source.epsilon, kind)).result)
        return arith.DivFOp(constant(1, kind), root).result

    scale = pointwise([power], dims_of(power), kind, inverse)
    return cast_to(_with_row(wide, scale, axes, lambda v, s: arith.MulFOp(v, s).result), source.element)


def _reciprocal(count: Dim, kind: ir.Type) -> Value:
    """1 / count as a float."""
    if is_static(count):
        return constant(1 / count, kind)
    number = arith.IndexCastOp(ir.IntegerType.get_signless(64), index(count)).result
    return arith.DivFOp(constant(1, kind), arith.UIToFPOp(kind, number).result).result


@rule("attention")
def lower_attention(source: Source, query: Value, key: Value, value: Value, *mask: Value) -> Value:
    """Scores, masked and scaled; softmax; product with the values. Query heads of one group share a key head."""
    (b, h, m, d), (_, g, n, _) = dims_of(query), dims_of(key)
    accumulator = compute_type(element_of(query))
    grouped = reshaped(query, [b, g, h // g, m, d])
    scores = contracted(grouped, key, "bgrmd,bgnd->bgrmn", accumulator)
    scores = reshaped(scores, [b, h, m, n])
    scores = _modified(source, scores, mask)
    weights = stable_softmax(scores, 3, empty_rows=True)
    weights = cast_to(weights, element_of(value))
    out = contracted(reshaped(weights, [b, g, h // g, m, n]), value, "bgrmn,bgne->bgrme", accumulator)
    return cast_to(reshaped(out, source.shape), source.element)


def _modified(source: Source, scores: Value, mask: tuple[Value, ...]) -> Value:
    """scale, softcap, mask, window and causality, as one element-wise op on the scores."""
    dims, kind = dims_of(scores), element_of(scores)
    maps = [dim_map(4, range(4)), *(broadcast_map(dims_of(extra), dims) for extra in mask)]

    counts = bool(mask) and is_length(element_of(mask[0]))

    def place(offset: Dim, *extra: Value) -> Value:
        """Of the query and an offset, among the keys."""
        here = arith.AddIOp(linalg.IndexOp(2).result, index(offset)).result
        return arith.AddIOp(here, _length(extra[0])).result if counts else here

    def body(score: Value, *extra: Value) -> Value:
        score = arith.MulFOp(score, constant(source.scale / (source.softcap or 1.0), kind)).result
        if source.softcap:
            score = arith.MulFOp(constant(source.softcap, kind), math.tanh(score)).result
        dropped = constant(float("-inf"), kind)
        if mask and is_float(element_of(mask[0])):
            score = arith.AddFOp(score, convert(extra[0], kind)).result
        elif counts:
            inside = compare("lt", linalg.IndexOp(3).result, _length(extra[0]))
            score = arith.SelectOp(inside, score, dropped).result
        elif mask:
            score = arith.SelectOp(extra[0], score, dropped).result
        if source.window:
            first = place(source.offset - source.window + 1, *extra)
            score = arith.SelectOp(compare("ge", linalg.IndexOp(3).result, first), score, dropped).result
        if source.causal:
            last = place(source.offset, *extra)
            score = arith.SelectOp(compare("le", linalg.IndexOp(3).result, last), score, dropped).result
        return score

    return generic([scores, *mask], maps, [empty(dims, kind)], 0, lambda *args: body(*args[: 1 + len(mask)]))[0]


def _length(count: Value) -> Value:
    return arith.IndexCastOp(ir.IndexType.get(), count).result
