"""Constants through ops: a result of at most `LARGEST` bytes, or one whose elements are all equal, is computed now."""

import math

import numpy as np

from lumir.dialects import ELEMENTWISE, build
from lumir.dialects.constants import dense_array
from lumir.dtypes import byte_size, dense_attribute
from lumir.graph.rewrite import PatternTable
from lumir.graph.values import definition, short_name
from lumir.mlir import ir
from lumir.reference.rules import RULES, Call

LARGEST = 1024
UNIFORM = frozenset(["reshape", "transpose", "broadcast", "slice", "select", "cast", *ELEMENTWISE])
FOLDS = PatternTable()


@FOLDS.on(*(name for name in RULES if name != "dequantize"))
def fold_constants(op: ir.Operation) -> ir.Value | None:
    """Evaluate an op of constants with the reference interpreter's rule.

    A quantised constant stays: `lumir-contract-integers` looks for it.
    """
    if len(op.results) != 1:
        return None
    sources = [definition(operand, "constant") for operand in op.operands]
    if any(source is None for source in sources):
        return None
    type_ = ir.RankedTensorType(op.results[0].type)
    if not type_.has_static_shape or short_name(op) == "size":
        return None
    attributes = [ir.DenseElementsAttr(source.attributes["value"]) for source in sources if source]
    if attributes and short_name(op) in UNIFORM and all(a.is_splat for a in attributes) and 0 not in type_.shape:
        return _uniform(op, attributes, type_)
    if math.prod(type_.shape) * byte_size(type_.element_type) > LARGEST:
        return None
    result = _compute(Call.of(op), [dense_array(a) for a in attributes])
    return None if result is None else build("constant", value=dense_attribute(result))


def _uniform(op: ir.Operation, attributes: list[ir.DenseElementsAttr], type_: ir.RankedTensorType) -> ir.Value | None:
    """One element stands for all: moving elements keeps it, computing is done once."""
    elements = [np.asarray(dense_array(a).flat[0]) for a in attributes]
    if short_name(op) in ELEMENTWISE or short_name(op) in ("select", "cast"):
        call = Call.of(op)
        result = _compute(Call(call.name, call.attributes, [()], call.dtypes), elements)
    else:
        result = elements[0]
    if result is None:
        return None
    return build("constant", value=ir.DenseElementsAttr.get_splat(type_, dense_attribute(result).get_splat_value()))


def _compute(call: Call, arrays: list[np.ndarray]) -> np.ndarray | None:
    """The rule's result; None where the op has no value there, e.g. an index out of range."""
    try:
        with np.errstate(all="ignore"):
            return np.asarray(RULES[call.name](call, *arrays)).reshape(call.shapes[0])
    except (IndexError, ValueError, ZeroDivisionError):
        return None
