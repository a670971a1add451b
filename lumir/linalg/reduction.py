"""Reductions, scans and order statistics as reductions of `linalg.generic`."""

from collections.abc import Callable, Sequence

from lumir.linalg.generic import constant, dim_map, dims_of, element_of, filled, generic, pointwise
from lumir.linalg.rules import Source, rule
from lumir.linalg.scalar import BINARY, compare, compute_type, convert, is_float
from lumir.mlir import arith, ir, linalg

Value = ir.Value


def neutral(kind: str, element: ir.Type, unsigned: bool = False) -> float | int:
    """The element that leaves `kind` unchanged."""
    if kind in ("sum", "prod"):
        return 0 if kind == "sum" else 1
    if is_float(element):
        return float("-inf") if kind == "max" else float("inf")
    width = ir.IntegerType(element).width
    low, high = (0, (1 << width) - 1) if unsigned else (-(1 << (width - 1)), (1 << (width - 1)) - 1)
    return low if kind == "max" else high


def combine(kind: str, unsigned: bool = False) -> Callable[[Value, Value], Value]:
    name = {"sum": "add", "prod": "mul"}.get(kind, kind)
    return lambda value, total: BINARY[name](total, value, unsigned)


def reduced(x: Value, kind: str, axes: Sequence[int], unsigned: bool = False, widen: bool = True) -> Value:
    """`x` reduced over `axes`; sums and products of narrow floats are returned in float32."""
    dims = dims_of(x)
    kept = [i for i in range(len(dims)) if i not in axes]
    order = [*kept, *axes]
    element = compute_type(element_of(x)) if widen and kind in ("sum", "prod") else element_of(x)
    start = filled([dims[i] for i in kept], constant(neutral(kind, element, unsigned), element))
    body = combine(kind, unsigned)
    x_map = dim_map(len(dims), [order.index(i) for i in range(len(dims))])
    return generic([x], [x_map], [start], len(axes), lambda v, total: body(convert(v, element), total))[0]


def _axes(source: Source) -> list[int]:
    rank = len(source.operand_types[0].shape)
    return sorted(axis % rank for axis in source.axes)


@rule("reduce")
def lower_reduce(source: Source, x: Value) -> Value:
    total = reduced(x, source.kind, _axes(source), source.unsigned)
    return pointwise([total], source.shape, source.element, lambda v: convert(v, source.element))


@rule("arg_reduce")
def lower_arg_reduce(source: Source, x: Value) -> Value:
    """Two accumulators, the best value and its index; the index starts at 0 and NaN wins, the first or the last."""
    dims = dims_of(x)
    axis = source.axis % len(dims)
    order = [*(i for i in range(len(dims)) if i != axis), axis]
    outer, i64 = [dims[i] for i in order[:-1]], ir.IntegerType.get_signless(64)
    starts = [
        filled(outer, constant(neutral(source.kind, element_of(x), source.unsigned), element_of(x))),
        filled(outer, constant(0, i64)),
    ]
    predicate = ("ge" if source.last else "gt") if source.kind == "max" else ("le" if source.last else "lt")

    def body(value: Value, best: Value, index: Value) -> list[Value]:
        here = arith.IndexCastOp(i64, linalg.IndexOp(len(dims) - 1).result).result
        better = compare(predicate, value, best, source.unsigned)
        if is_float(value.type):
            fresh = arith.CmpFOp(arith.CmpFPredicate.UNO, value, value).result
            if not source.last:
                was_nan = arith.CmpFOp(arith.CmpFPredicate.UNO, best, best).result
                fresh = arith.AndIOp(fresh, arith.XOrIOp(was_nan, constant(1, was_nan.type)).result).result
            better = arith.OrIOp(better, fresh).result
        better = arith.OrIOp(
            better, arith.AndIOp(compare("eq", here, constant(0, i64)), constant(1, better.type)).result
        ).result
        return [arith.SelectOp(better, value, best).result, arith.SelectOp(better, here, index).result]

    x_map = dim_map(len(dims), [order.index(i) for i in range(len(dims))])
    return generic([x], [x_map], starts, 1, body)[1]


def _triangle(exclusive: bool, reverse: bool) -> str:
    """The predicate `source index ? result index` of the elements that a scan's result takes in."""
    return ("gt" if exclusive else "ge") if reverse else ("lt" if exclusive else "le")


@rule("scan")
def lower_scan(source: Source, x: Value) -> Value:
    """Each result reduces the elements before it: quadratic in the axis, and parallel."""
    dims = dims_of(x)
    axis, rank = source.axis % len(dims), len(dims)
    element = compute_type(element_of(x)) if source.kind in ("sum", "prod") else element_of(x)
    start = filled(dims, constant(neutral(source.kind, element, source.unsigned), element))
    x_map = dim_map(rank + 1, [rank if i == axis else i for i in range(rank)])
    body = combine(source.kind, source.unsigned)

    def step(value: Value, total: Value) -> Value:
        predicate = _triangle(source.exclusive, source.reverse)
        taken = compare(predicate, linalg.IndexOp(rank).result, linalg.IndexOp(axis).result)
        return arith.SelectOp(taken, body(convert(value, element), total), total).result

    total = generic([x], [x_map], [start], 1, step)[0]
    return pointwise([total], source.shape, source.element, lambda v: convert(v, source.element))


def _precedes(source: Source, other: Value, value: Value, other_index: Value, index: Value) -> Value:
    """Whether `other` comes before `value` in the sorted order: by value (NaN largest), then by lower index."""
    ahead = compare("gt" if source.largest else "lt", other, value, source.unsigned)
    equal = compare("eq", other, value)
    if is_float(value.type):
        other_nan, value_nan = (arith.CmpFOp(arith.CmpFPredicate.UNO, v, v).result for v in (other, value))
        first, second = (other_nan, value_nan) if source.largest else (value_nan, other_nan)
        not_second = arith.XOrIOp(second, constant(1, second.type)).result
        ahead = arith.OrIOp(ahead, arith.AndIOp(first, not_second).result).result
        equal = arith.OrIOp(equal, arith.AndIOp(other_nan, value_nan).result).result
    return arith.OrIOp(ahead, arith.AndIOp(equal, compare("lt", other_index, index)).result).result


@rule("top_k")
def lower_top_k(source: Source, x: Value) -> list[Value]:
    """By rank: an element's place is the number that precede it; place p takes the element of rank p."""
    dims, i64 = dims_of(x), ir.IntegerType.get_signless(64)
    rank = len(dims)
    own, other = dim_map(rank + 1, range(rank)), dim_map(rank + 1, [*range(rank - 1), rank])

    def count(value: Value, candidate: Value, total: Value) -> Value:
        before = _precedes(source, candidate, value, linalg.IndexOp(rank).result, linalg.IndexOp(rank - 1).result)
        return arith.AddIOp(total, arith.ExtUIOp(i64, before).result).result

    places = generic([x, x], [own, other], [filled(dims, constant(0, i64))], 1, count)[0]
    starts = [filled(source.shape, constant(0, element_of(x))), filled(source.shape, constant(0, i64))]

    def pick(value: Value, place: Value, best: Value, index: Value) -> list[Value]:
        position = arith.IndexCastOp(i64, linalg.IndexOp(rank - 1).result).result
        here = compare("eq", place, position)
        found = arith.IndexCastOp(i64, linalg.IndexOp(rank).result).result
        return [arith.SelectOp(here, value, best).result, arith.SelectOp(here, found, index).result]

    return generic([x, places], [other, other], starts, 1, pick)
