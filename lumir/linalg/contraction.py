"""Contraction and convolution: one multiply-add `linalg.generic` each."""

from collections.abc import Sequence

from lumir.dialects.contraction import ALLOW_TF32, channels_second, parse_equation
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
    total = contracted(lhs, rhs, source.equation, accumulator, unsigned)
    if ALLOW_TF32 in source.op.attributes:
        total.owner.attributes[ALLOW_TF32] = ir.UnitAttr.get()
    return cast_to(total, source.element)


@rule("conv")
def lower_conv(source: Source, x: Value, w: Value) -> Value:
    """Iteration space [n, (g), o, spatial...] x [c, window...], or [n, spatial..., (g), o] x [window..., c].

    Several groups are a dimension of their own.
    """
    groups, last = source.groups, source.channels_last
    (n, channels, *extent), (filters, per_group, *window) = (channels_second(dims_of(v), last) for v in (x, w))
    grouped = [groups] if groups > 1 else []
    split = [*grouped, channels // groups]
    x = reshaped(x, [n, *extent, *split] if last else [n, *split, *extent])
    low, high = (_around(spatial, last, len(split)) for spatial in (source.low, source.high))
    x = padded(x, low, high, constant(0, element_of(x)))
    w = reshaped(w, [*grouped, filters // groups, *([*window, per_group] if last else [per_group, *window])])
    places, split = source.shape[1:-1] if last else source.shape[2:], [*grouped, filters // groups]
    outer = [n, *places, *split] if last else [n, *split, *places]
    x_map, w_map = _conv_maps(len(grouped), source)
    accumulator = accumulator_type(element_of(x), source.element)
    start = filled(outer, constant(0, accumulator))
    body = multiply_add(accumulator, [_is_unsigned(t) for t in source.operand_types])
    result = generic([x, w], [x_map, w_map], [start], 1 + len(window), body)[0]
    return cast_to(reshaped(result, source.shape), source.element)


def _around(spatial: Sequence[int], channels_last: bool, channels: int = 1) -> list[int]:
    """Amounts of padding of every dimension, of which so many are channels."""
    none = [0] * channels
    return [0, *spatial, *none] if channels_last else [0, *none, *spatial]


def _conv_maps(grouped: int, source: Source) -> tuple[ir.AffineMap, ir.AffineMap]:
    """Maps over the iteration space of the padded input and of the filter."""
    spatial, last = len(source.strides), source.channels_last
    rank = 1 + grouped + 1 + spatial + 1 + spatial
    n, *outer = (ir.AffineExpr.get_dim(i) for i in range(rank - spatial - 1))
    inner = [ir.AffineExpr.get_dim(i) for i in range(rank - spatial - 1, rank)]
    position, split = (outer[:spatial], outer[spatial:]) if last else (outer[grouped + 1 :], outer[: grouped + 1])
    window, c = (inner[:-1], inner[-1]) if last else (inner[1:], inner[0])
    places = _window_places(position, window, source)
    *group, o = split
    image = [n, *places, *group, c] if last else [n, *group, c, *places]
    filters = [*group, o, *window, c] if last else [*group, o, c, *window]
    return ir.AffineMap.get(rank, 0, image), ir.AffineMap.get(rank, 0, filters)


def _window_places(
    position: Sequence[ir.AffineExpr], window: Sequence[ir.AffineExpr], source: Source
) -> list[ir.AffineExpr]:
    """Where in the padded input a place of the window at a position lies."""
    steps = zip(position, source.strides, window, source.dilations, strict=True)
    return [p * stride + k * dilation for p, stride, k, dilation in steps]


@rule("window_reduce")
def lower_window_reduce(source: Source, x: Value) -> Value:
    from lumir.linalg.reduction import combine, neutral

    element, spatial = element_of(x), len(dims_of(x)) - 2
    wide = compute_type(element) if source.kind == "sum" else element
    outside = constant(neutral(source.kind, element, source.unsigned), element)
    last = source.channels_last
    x = padded(x, _around(source.low, last), _around(source.high, last), outside)
    rank = 2 + 2 * spatial
    dim = [ir.AffineExpr.get_dim(i) for i in range(rank)]
    first = 1 if last else 2
    places = _window_places(dim[first : first + spatial], dim[2 + spatial :], source)
    x_map = ir.AffineMap.get(rank, 0, [*dim[:first], *places, *dim[first + spatial : 2 + spatial]])
    window = empty(source.window, element)
    start = filled(source.shape, constant(neutral(source.kind, wide, source.unsigned), wide))
    body = combine(source.kind, source.unsigned)
    result = generic(
        [x, window], [x_map, dim_map(rank, range(2 + spatial, rank))], [start], spatial,
        lambda v, _, total: body(convert(v, wide), total),
    )[0]  # fmt: skip
    return cast_to(result, element)
