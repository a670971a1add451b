"""Contraction and convolution: one multiply-add `linalg.generic` each."""

from collections.abc import Sequence

from lumir.dialects.contraction import parse_equation
from lumir.linalg.generic import constant, dim_map, dims_of, element_of, empty, filled, generic, pointwise, reshaped
from lumir.linalg.rules import Source, rule
from lumir.linalg.scalar import compute_type, convert, is_float
from lumir.linalg.shaping import padded
from lumir.mlir import arith, ir

Value = ir.Value


def accumulator_type(element: ir.Type, to: ir.Type) -> ir.Type:
    """Floats accumulate in float32 or wider, integers in at least 32 bits."""
    if is_float(to):
        return compute_type(
            to if is_float(element) and ir.FloatType(to).width >= ir.FloatType(element).width else element
        )
    return to if ir.IntegerType(to).width >= 32 else ir.IntegerType.get_signless(32)


def cast_to(value: Value, element: ir.Type) -> Value:
    if element_of(value) == element:
        return value
    return pointwise([value], dims_of(value), element, lambda v: convert(v, element))


def multiply_add(accumulator: ir.Type, unsigned: Sequence[bool] = (False, False)):
    """The body of a contraction: widen both factors, multiply, add."""

    def body(lhs: Value, rhs: Value, total: Value) -> Value:
        x, y = (convert(v, accumulator, u) for v, u in zip((lhs, rhs), unsigned, strict=True))
        if is_float(accumulator):
            return arith.AddFOp(total, arith.MulFOp(x, y).result).result
        return arith.AddIOp(total, arith.MulIOp(x, y).result).result

    return body


def contracted(
    lhs: Value, rhs: Value, equation: str, accumulator: ir.Type, unsigned: Sequence[bool] = (False, False)
) -> Value:
    """Einsum of two tensors, accumulated and returned in `accumulator`."""
    left, right, out = parse_equation(equation)
    summed = [label for label in left if label not in out]
    order = [*out, *summed]
    sizes = dict(zip(left, dims_of(lhs))) | dict(zip(right, dims_of(rhs)))
    maps = [dim_map(len(order), [order.index(label) for label in labels]) for labels in (left, right)]
    start = filled([sizes[label] for label in out], constant(0, accumulator))
    return generic([lhs, rhs], maps, [start], len(summed), multiply_add(accumulator, unsigned))[0]


def _is_unsigned(type_: ir.RankedTensorType) -> bool:
    kind = type_.element_type
    return isinstance(kind, ir.IntegerType) and kind.is_unsigned


@rule("contract")
def lower_contract(source: Source, lhs: Value, rhs: Value) -> Value:
    accumulator = accumulator_type(element_of(lhs), source.element)
    unsigned = [_is_unsigned(t) for t in source.operand_types]
    return cast_to(contracted(lhs, rhs, source.equation, accumulator, unsigned), source.element)


@rule("conv")
def lower_conv(source: Source, x: Value, w: Value) -> Value:
    """Iteration space [n, (g), o, spatial...] x [c, window...]; several groups are a dimension of their own."""
    groups, spatial = source.groups, len(dims_of(x)) - 2
    low, high = ([0, 0, *source.low], [0, 0, *source.high])
    x = padded(x, low, high, constant(0, element_of(x)))
    n, channels, *extent = dims_of(x)
    filters, per_group, *window = dims_of(w)
    grouped = [groups] if groups > 1 else []
    x = reshaped(x, [n, *grouped, channels // groups, *extent])
    w = reshaped(w, [*grouped, filters // groups, per_group, *window])
    outer = [n, *grouped, filters // groups, *source.shape[2:]]
    x_map, w_map = _conv_maps(len(grouped), spatial, source.strides, source.dilations)
    accumulator = accumulator_type(element_of(x), source.element)
    start = filled(outer, constant(0, accumulator))
    body = multiply_add(accumulator, [_is_unsigned(t) for t in source.operand_types])
    result = generic([x, w], [x_map, w_map], [start], 1 + spatial, body)[0]
    return cast_to(reshaped(result, source.shape), source.element)


def _conv_maps(
    grouped: int, spatial: int, strides: Sequence[int], dilations: Sequence[int]
) -> tuple[ir.AffineMap, ir.AffineMap]:
    """Maps over (n, g?, o, spatial..., c, window...) of the padded input and of the filter."""
    rank = 1 + grouped + 1 + spatial + 1 + spatial
    dim = [ir.AffineExpr.get_dim(i) for i in range(rank)]
    n, group, o = dim[0], dim[1 : 1 + grouped], dim[1 + grouped]
    position, (c, *window) = dim[2 + grouped : 2 + grouped + spatial], dim[2 + grouped + spatial :]
    places = [
        p * stride + k * dilation for p, stride, k, dilation in zip(position, strides, window, dilations, strict=True)
    ]
    return ir.AffineMap.get(rank, 0, [n, *group, c, *places]), ir.AffineMap.get(rank, 0, [*group, o, c, *window])


@rule("window_reduce")
def lower_window_reduce(source: Source, x: Value) -> Value:
    from lumir.linalg.reduction import combine, neutral

    element, spatial = element_of(x), len(dims_of(x)) - 2
    wide = compute_type(element) if source.kind == "sum" else element
    x = padded(
        x, [0, 0, *source.low], [0, 0, *source.high], constant(neutral(source.kind, element, source.unsigned), element)
    )
    rank = 2 + 2 * spatial
    dim = [ir.AffineExpr.get_dim(i) for i in range(rank)]
    places = [
        p * s + k * d
        for p, s, k, d in zip(dim[2 : 2 + spatial], source.strides, dim[2 + spatial :], source.dilations, strict=True)
    ]
    x_map = ir.AffineMap.get(rank, 0, [*dim[:2], *places])
    window = empty(source.window, element)
    start = filled(source.shape, constant(neutral(source.kind, wide, source.unsigned), wide))
    body = combine(source.kind, source.unsigned)
    result = generic(
        [x, window], [x_map, dim_map(rank, range(2 + spatial, rank))], [start], spatial,
        lambda v, _, total: body(convert(v, wide), total),
    )[0]  # fmt: skip
    return cast_to(result, element)
