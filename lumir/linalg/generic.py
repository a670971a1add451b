"""Builders for linalg on tensors: the few forms that every lowering rule is written in."""

import math
from collections.abc import Callable, Sequence
from functools import reduce

from lumir.dialects import build, shape_of_type, tensor_type
from lumir.dialects.shapes import DYNAMIC
from lumir.mlir import arith, ir, linalg, tensor
from lumir.shape_groups import whole_groups
from lumir.sizes import Dim, Shape, Size

Value = ir.Value
Body = Callable[..., Value | Sequence[Value]]


def dims_of(value: Value) -> Shape:
    return shape_of_type(value.type)


def element_of(value: Value) -> ir.Type:
    return ir.RankedTensorType(value.type).element_type


def signless(type_: ir.Type) -> ir.Type:
    """arith and linalg take signless integers; signedness lives in the choice of operation."""
    if isinstance(type_, ir.RankedTensorType):
        return ir.RankedTensorType.get(type_.shape, signless(type_.element_type), type_.encoding)
    if isinstance(type_, ir.IntegerType) and not type_.is_signless:
        return ir.IntegerType.get_signless(type_.width)
    return type_


def dim_map(rank: int, dims: Sequence[int]) -> ir.AffineMap:
    """The map of an operand that reads iteration dimensions `dims`, in that order."""
    return ir.AffineMap.get(rank, 0, [ir.AffineExpr.get_dim(d) for d in dims])


def broadcast_map(shape: Sequence[int], result: Sequence[int]) -> ir.AffineMap:
    """The map of an operand of `shape` that broadcasts, by numpy's rules, to the iteration space `result`."""
    skip = len(result) - len(shape)
    zero = ir.AffineExpr.get_constant(0)
    exprs = [
        zero if size == 1 and result[i + skip] != 1 else ir.AffineExpr.get_dim(i + skip) for i, size in enumerate(shape)
    ]
    return ir.AffineMap.get(len(result), 0, exprs)


def index(value: Dim) -> Value:
    """A size or a number as an `index`."""
    if isinstance(value, Size):
        return build("size", value=value, to=ir.IndexType.get())
    return constant(value, ir.IndexType.get())


def dynamic(sizes: Sequence[Dim]) -> tuple[list[Value], list[int]]:
    """Sizes as MLIR's ops take them: the values of those that are not fixed, and all with a mark in place of these."""
    return [index(d) for d in sizes if isinstance(d, Size)], [DYNAMIC if isinstance(d, Size) else d for d in sizes]


def empty(shape: Sequence[Dim], element: ir.Type) -> Value:
    return ir.Operation.create("tensor.empty", [tensor_type(shape, element)], dynamic(shape)[0]).result


def constant(value: float | int, element: ir.Type) -> Value:
    """A scalar constant of an integer (wrapped to its width) or float type."""
    if isinstance(element, ir.IntegerType):
        wrapped = int(value) & ((1 << element.width) - 1)
        signed = wrapped - (1 << element.width) if element.width > 1 and wrapped >> (element.width - 1) else wrapped
        return arith.ConstantOp(element, ir.IntegerAttr.get(element, signed)).result
    if isinstance(element, ir.IndexType):
        return arith.ConstantOp(element, ir.IntegerAttr.get(element, int(value))).result
    return arith.ConstantOp(element, ir.FloatAttr.get(element, float(value))).result


def filled(shape: Sequence[int], value: Value) -> Value:
    """A tensor of `shape` whose elements are the scalar `value`."""
    return linalg.fill(value, outs=[empty(shape, value.type)])


def generic(
    inputs: Sequence[Value],
    maps: Sequence[ir.AffineMap],
    outputs: Sequence[Value],
    reductions: int,
    body: Body,
    output_maps: Sequence[ir.AffineMap] | None = None,
) -> list[Value]:
    """`linalg.generic` whose last `reductions` iteration dimensions are summed over; its outputs are initial values.

    Args:
        inputs, maps: input tensors and the map of each.
        outputs: initial values (`empty` where nothing is accumulated); their maps default to the parallel dimensions.
        body: called with one scalar per input and output; returns the scalar(s) to yield.
    """
    parallel = len(dims_of(outputs[0]))
    rank = parallel + reductions
    output_maps = output_maps or [dim_map(rank, range(parallel))] * len(outputs)
    rank = output_maps[0].n_dims
    kinds = ["parallel"] * (rank - reductions) + ["reduction"] * reductions
    op = ir.Operation.create(
        "linalg.generic",
        results=[out.type for out in outputs],
        operands=[*inputs, *outputs],
        attributes={
            "indexing_maps": ir.ArrayAttr.get([ir.AffineMapAttr.get(m) for m in (*maps, *output_maps)]),
            "iterator_types": ir.ArrayAttr.get([ir.Attribute.parse(f"#linalg.iterator_type<{k}>") for k in kinds]),
            "operandSegmentSizes": ir.DenseI32ArrayAttr.get([len(inputs), len(outputs)]),
        },
        regions=1,
    )
    location = ir.Location.current
    elements = [element_of(v) for v in (*inputs, *outputs)]
    block = op.regions[0].blocks.append(*elements, arg_locs=[location] * len(elements))
    with ir.InsertionPoint(block):
        results = body(*block.arguments)
        linalg.YieldOp([results] if isinstance(results, Value) else list(results))
    return list(op.results)


def pointwise(inputs: Sequence[Value], shape: Sequence[int], element: ir.Type, body: Body) -> Value:
    """Element-wise over `shape` with numpy broadcasting of the inputs; the body gets one scalar an input."""
    maps = [broadcast_map(dims_of(v), shape) for v in inputs]
    return generic(inputs, maps, [empty(shape, element)], 0, lambda *args: body(*args[: len(inputs)]))[0]


def reshaped(value: Value, shape: Sequence[Dim]) -> Value:
    """Row-major reshape: runs of dimensions that hold the same elements become one each, and are split again."""
    old, new = dims_of(value), tuple(shape)
    if old == new:
        return value
    if not old or not new:
        return _expanded(value, new, []) if new else _collapsed(value, (), [])
    groups = whole_groups(old, new)
    merged = tuple(math.prod(old[i] for i in left) for left, _ in groups)
    if merged != old:
        value = _collapsed(value, merged, [left for left, _ in groups])
    return value if merged == new else _expanded(value, new, [right for _, right in groups])


def _collapsed(value: Value, shape: Shape, groups: Sequence[range]) -> Value:
    return tensor.CollapseShapeOp(tensor_type(shape, element_of(value)), value, [list(g) for g in groups]).result


def _expanded(value: Value, shape: Shape, groups: Sequence[range]) -> Value:
    type_ = tensor_type(shape, element_of(value))
    return tensor.ExpandShapeOp(type_, value, [list(g) for g in groups], *dynamic(shape)).result


def fold(function: Callable[[Value, Value], Value], values: Sequence[Value]) -> Value:
    return reduce(function, values)
