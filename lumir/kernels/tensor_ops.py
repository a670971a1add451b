"""The element at one place of the result of each tensor operation: which element of which operand it is.

Reshapes, slices and tiles move the place; padding and concatenation read their operands at places kept inside and
select. `linalg.generic`, which computes, is the evaluator's own.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from lumir.dialects import attribute_of, shape_of_type
from lumir.dialects.shapes import DYNAMIC
from lumir.kernels.index import Index, IndexMath, Place
from lumir.mlir import arith, ir
from lumir.sizes import Dim, Shape, at_least, maximum

if TYPE_CHECKING:
    from lumir.kernels.evaluate import Evaluator

Value = ir.Value
Rule = Callable[["Evaluator", ir.OpView, Value, Place], Value]
"""Of an evaluator, an operation, one of its results, and a place in that: the element there."""


def _fill(evaluator: "Evaluator", op: ir.OpView, tensor: Value, place: Place) -> Value:
    return evaluator.scalar(op.operands[0])


def _dense(evaluator: "Evaluator", op: ir.OpView, tensor: Value, place: Place) -> Value:
    element = ir.RankedTensorType(tensor.type).element_type
    return arith.ConstantOp(element, ir.DenseElementsAttr(op.attributes["value"]).get_splat_value()).result


def _empty(evaluator: "Evaluator", op: ir.OpView, tensor: Value, place: Place) -> Value:
    element = ir.RankedTensorType(tensor.type).element_type
    zero = ir.FloatAttr.get(element, 0.0) if isinstance(element, ir.FloatType) else ir.IntegerAttr.get(element, 0)
    return arith.ConstantOp(element, zero).result


def _retyped(evaluator: "Evaluator", op: ir.OpView, tensor: Value, place: Place) -> Value:
    return evaluator.at(op.operands[0], place)


def _reshaped(evaluator: "Evaluator", op: ir.OpView, tensor: Value, place: Place) -> Value:
    """collapse_shape and expand_shape: each run of dimensions that is one on the other side, by itself."""
    index, source = evaluator.index, op.operands[0]
    runs = [[i.value for i in run] for run in op.attributes["reassociation"]]
    if op.operation.name == "tensor.expand_shape":
        sizes = _shape(tensor)
        moved = [index.linearize([place[i] for i in run], [sizes[i] for i in run]) for run in runs]
        return evaluator.at(source, moved)
    sizes, moved = _shape(source), []
    for here, run in zip(place, runs, strict=True):
        moved += index.delinearize(here, [sizes[i] for i in run])
    return evaluator.at(source, moved or [Index(0)] * len(sizes))


def window(evaluator: "Evaluator", op: ir.OpView, tensor: Value, place: Place) -> Value:
    """extract_slice: the source where the slice has its place."""
    index, starts, steps = evaluator.index, mixed_sizes(op, "static_offsets", 1), tuple(op.attributes["static_strides"])
    moved = [index.offset(index.scale(i, k), s) for i, s, k in zip(place, starts, steps, strict=True)]
    return evaluator.at(op.operands[0], moved)


def _unpack(evaluator: "Evaluator", op: ir.OpView, tensor: Value, place: Place) -> Value:
    """The tile's place among tiles, then the place inside it."""
    outer, inner = list(place), []
    for dim, size in zip(op.attributes["inner_dims_pos"], op.attributes["static_inner_tiles"], strict=True):
        outer[dim], rest = evaluator.index.divmod(place[dim], size)
        inner.append(rest)
    order = tuple(op.attributes["outer_dims_perm"]) if "outer_dims_perm" in op.attributes else ()
    outer = [outer[i] for i in order] if order else outer
    return evaluator.at(op.operands[0], [*outer, *inner])


def _pad(evaluator: "Evaluator", op: ir.OpView, tensor: Value, place: Place) -> Value:
    """The source where the place is inside it, else the padding value; the source is read at a place in it."""
    index, source, low = evaluator.index, op.operands[0], mixed_sizes(op, "static_low", 1)
    inside, moved = None, []
    for here, lo, size, padded in zip(place, low, _shape(source), _shape(tensor), strict=True):
        if size == padded:
            moved.append(here)
            continue
        shifted = index.offset(here, -lo)
        hit = index.below(shifted, size)
        inside = hit if inside is None else arith.AndIOp(*evaluator.alike(inside, hit)).result
        moved.append(index.minimum(index.maximum(shifted, 0), maximum(size - 1, 0)))
    value = evaluator.scalar(list(op.regions[0].blocks[0].operations)[-1].operands[0])
    return value if inside is None else _select(evaluator, inside, evaluator.at(source, moved), value)


def _concat(evaluator: "Evaluator", op: ir.OpView, tensor: Value, place: Place) -> Value:
    """Every operand is read at a place kept inside it; the axis says which counts."""
    index, axis, start, result = evaluator.index, op.attributes["dim"].value, 0, None
    for source in op.operands:
        size = _shape(source)[axis]
        kept = _kept_inside(index, index.offset(place[axis], -start), start, size)
        value = evaluator.at(source, [*place[:axis], kept, *place[axis + 1 :]])
        result = value if result is None else _select(evaluator, _reached(index, place[axis], start), value, result)
        start += size
    assert result is not None
    return result


def _kept_inside(index: IndexMath, here: Index, start: Dim, size: Dim) -> Index:
    """`here` limited to the operand; a lane group that cannot straddle its ends stays contiguous."""
    lanes = index.lanes
    whole = start % lanes == 0 and size % lanes == 0 and at_least(size, lanes)
    if here.step == 1 and whole and here.known % lanes == 0:
        first = index.minimum(index.maximum(Index(here.base, 0, here.multiple), 0), size - lanes)
        return Index(first.base, 1, lanes)
    return index.minimum(index.maximum(here, 0), maximum(size - 1, 0))


def _reached(index: IndexMath, here: Index, start: Dim) -> Value:
    """`start <= here`: one i1 for a lane group that cannot straddle the start, else one a lane."""
    if here.step == 1 and start % index.lanes == 0 and here.known % index.lanes == 0:
        here = Index(here.base, 0, here.multiple)
    limit, value = index.constant(start), index.value(here)
    return arith.CmpIOp(arith.CmpIPredicate.sge, value, limit if here.uniform else index.splat(limit)).result


def _select(evaluator: "Evaluator", condition: Value, yes: Value, no: Value) -> Value:
    """select, where a scalar condition may choose between vectors."""
    if isinstance(condition.type, ir.VectorType):
        condition, yes, no = evaluator.alike(condition, yes, no)
    else:
        yes, no = evaluator.alike(yes, no)
    return arith.SelectOp(condition, yes, no).result


def _shape(tensor: Value) -> Shape:
    return shape_of_type(tensor.type)


def mixed_sizes(op: ir.OpView, name: str, group: int) -> Shape:
    """Sizes that an op has partly as the attribute `name`, and partly as operands of its operand group `group`."""
    counts = list(op.attributes["operandSegmentSizes"])
    first = sum(counts[:group])
    operands = iter(list(op.operands)[first : first + counts[group]])
    static = tuple(op.attributes[name])
    return tuple(attribute_of(next(operands).owner, "value") if d == DYNAMIC else d for d in static)


RULES: dict[str, Rule] = {
    "linalg.fill": _fill,
    "linalg.unpack": _unpack,
    "arith.constant": _dense,
    "tensor.empty": _empty,
    "tensor.pad": _pad,
    "tensor.concat": _concat,
    "tensor.extract_slice": window,
    "tensor.collapse_shape": _reshaped,
    "tensor.expand_shape": _reshaped,
    "builtin.unrealized_conversion_cast": _retyped,
}
