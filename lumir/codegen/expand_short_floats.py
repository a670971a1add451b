"""Expansion of conversions from and to floats of 8, 6 and 4 bits, for which LLVM has no types.

    %1 = arith.extf %0 : vector<16xf8E4M3FN> to vector<16xf32>

becomes a bitcast to vector<16xi8> and integer arithmetic. Requires kernels after vectorisation, in which values of
these types are only converted, selected, loaded and stored. Guarantees: what is left of these types are bitcasts and
moves, which the conversion to LLVM takes for integers.
"""

import math

import numpy as np

from lumir.codegen.math.short_float import WIDTHS, from_bits, to_bits
from lumir.codegen.math.values import Emitter, Value
from lumir.dtypes import numpy_dtype
from lumir.mlir import ir


def expand_short_floats(root: ir.Operation, target: str) -> None:
    """Expand, in place, every conversion and constant of a short float under `root`."""
    found: list[ir.Operation] = []

    def collect(op: ir.Operation) -> ir.WalkResult:
        if _is_ours(op):
            found.append(op)
        return ir.WalkResult.ADVANCE

    root.walk(collect)
    for op in found:
        with op.location, ir.InsertionPoint(op):
            result = _constant(op) if op.name == "arith.constant" else _conversion(op, target)
        op.results[0].replace_all_uses_with(result)
        op.erase()


def _is_ours(op: ir.Operation) -> bool:
    if op.name == "arith.extf":
        return _element(op.operands[0]) in WIDTHS
    return op.name in ("arith.truncf", "arith.constant") and _element(op.results[0]) in WIDTHS


def _conversion(op: ir.Operation, target: str) -> ir.Value:
    operand, result = op.operands[0], op.results[0]
    lanes = math.prod(result.type.shape) if isinstance(result.type, ir.VectorType) else None
    emitter = Emitter(lanes, target, op.block)
    if op.name == "arith.extf":
        name = _element(operand)
        kind = f"i{WIDTHS[name]}"
        pattern = _reshaped(_bitcast(operand, _pattern_type(operand.type)), emitter.type(kind))
        number = from_bits(name, Value(emitter, kind, pattern))
        return _reshaped(number.to(_element(result)).ssa, result.type)
    kind = _element(operand)
    number = Value(emitter, kind, _reshaped(operand, emitter.type(kind)))
    pattern = _reshaped(to_bits(_element(result), number).ssa, _pattern_type(result.type))
    return _bitcast(pattern, result.type)


def _constant(op: ir.Operation) -> ir.Value:
    """A splat, as a bitcast of its pattern."""
    type_, value = op.results[0].type, op.attributes["value"]
    number = ir.DenseElementsAttr(value).get_splat_value() if isinstance(type_, ir.VectorType) else value
    element = ir.FloatAttr(number).type
    pattern = int(np.asarray(ir.FloatAttr(number).value).astype(numpy_dtype(element)).view(np.uint8))
    integer = ir.IntegerType.get_signless(WIDTHS[str(element)])
    signed = pattern - (1 << integer.width) if pattern >> (integer.width - 1) else pattern
    attribute: ir.Attribute = ir.IntegerAttr.get(integer, signed)
    if isinstance(type_, ir.VectorType):
        attribute = ir.DenseElementsAttr.get_splat(_pattern_type(type_), attribute)
    bits = ir.Operation.create("arith.constant", [_pattern_type(type_)], attributes={"value": attribute}).result
    return _bitcast(bits, type_)


def _element(value: ir.Value) -> str:
    return str(value.type.element_type if isinstance(value.type, ir.ShapedType) else value.type)


def _pattern_type(type_: ir.Type) -> ir.Type:
    """The integers of the patterns of a short float, or of a vector of them."""
    element = str(type_.element_type if isinstance(type_, ir.VectorType) else type_)
    integer = ir.IntegerType.get_signless(WIDTHS[element])
    return ir.VectorType.get(type_.shape, integer) if isinstance(type_, ir.VectorType) else integer


def _bitcast(value: ir.Value, type_: ir.Type) -> ir.Value:
    return ir.Operation.create("arith.bitcast", [type_], [value]).result


def _reshaped(value: ir.Value, type_: ir.Type) -> ir.Value:
    """`value` as a vector type of another rank and the same number of elements."""
    return value if value.type == type_ else ir.Operation.create("vector.shape_cast", [type_], [value]).result
