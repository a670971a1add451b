"""What each element-wise op means on scalars, in arith and math.

Half and 8-bit floats compute in float32 and round once at the end.
"""

from collections.abc import Callable

import ml_dtypes

from lumir.dtypes import numpy_dtype
from lumir.linalg.generic import constant
from lumir.mlir import arith, ir, math

Value = ir.Value
ROUNDS = "lumir.rounds"
"""The mark of an `arith.truncf` whose rounding is wanted."""
SHORT = "lumir.short"
"""The mark of a float32 operation whose result the model rounds to 16 bits or fewer: it need not be more accurate."""
_CHEAPER_SHORT = ("math.erf", "math.exp", "math.tanh", "arith.divf")


def is_float(type_: ir.Type) -> bool:
    return isinstance(type_, ir.FloatType)


def compute_type(type_: ir.Type) -> ir.Type:
    """The type that arithmetic on `type_` is done in: float32 for narrower floats."""
    return ir.F32Type.get() if is_float(type_) and ir.FloatType(type_).width < 32 else type_


def compare(predicate: str, x: Value, y: Value, unsigned: bool = False) -> Value:
    """x `predicate` y for eq, ne, lt, le, gt, ge; false (ne: true) if either is NaN."""
    if is_float(x.type):
        kind = getattr(arith.CmpFPredicate, "UNE" if predicate == "ne" else f"O{predicate.upper()}")
        return arith.CmpFOp(kind, x, y).result
    name = predicate if predicate in ("eq", "ne") else f"{'u' if unsigned else 's'}{predicate}"
    return arith.CmpIOp(getattr(arith.CmpIPredicate, name), x, y).result


def convert(x: Value, to: ir.Type, unsigned: bool = False, to_unsigned: bool = False, saturate: bool = True) -> Value:
    """`x` as `to`: nearest even for floats, truncation for float to integer, `!= 0` for bool."""
    source = x.type
    if source == to:
        return x
    if isinstance(to, ir.IntegerType) and to.width == 1:
        return compare("ne", x, constant(0, source))
    if is_float(source):
        return _from_float(x, to, to_unsigned, saturate)
    unsigned = unsigned or (isinstance(source, ir.IntegerType) and source.width == 1)
    if is_float(to):
        wide = compute_type(to)
        return convert((arith.UIToFPOp if unsigned else arith.SIToFPOp)(wide, x).result, to)
    if ir.IntegerType(to).width < ir.IntegerType(source).width:
        return arith.TruncIOp(to, x).result
    return (arith.ExtUIOp if unsigned else arith.ExtSIOp)(to, x).result


def _from_float(x: Value, to: ir.Type, to_unsigned: bool, saturate: bool) -> Value:
    width = ir.FloatType(x.type).width
    if not is_float(to):
        return _float_to_integer(convert(x, compute_type(x.type)), to, to_unsigned)
    if saturate and (limit := _limit_of(to)):
        x = _clamped(convert(x, compute_type(x.type)), limit)
        return arith.TruncFOp(to, x).result
    if ir.FloatType(to).width == width:
        return convert(arith.ExtFOp(ir.F32Type.get(), x).result, to)
    if ir.FloatType(to).width > width:
        return arith.ExtFOp(to, x).result
    return arith.TruncFOp(to, x).result


def rounding(value: Value) -> Value:
    """The value, marked so that the rounding which made it stays.

    Where a model does arithmetic on narrow floats, a fused chain may keep its intermediates in float32. What the model
    itself casts to a narrow float has the narrow float's value also where it is widened again.
    """
    if not isinstance(value.owner, ir.Block) and value.owner.name == "arith.truncf":
        value.owner.attributes[ROUNDS] = ir.UnitAttr.get()
    return value


def _float_to_integer(x: Value, to: ir.Type, to_unsigned: bool) -> Value:
    """Truncated toward zero, modulo the width where that fits 32 or 64 bits."""
    width = ir.IntegerType(to).width
    wide = ir.IntegerType.get_signless(64 if width == 64 or (width == 32 and to_unsigned) else 32)
    signed = arith.FPToSIOp(wide, x).result
    if width < 64 or not to_unsigned:
        return convert(signed, to)
    large = compare("ge", x, constant(2.0**63, x.type))
    return arith.SelectOp(large, arith.FPToUIOp(wide, x).result, signed).result


def _limit_of(to: ir.Type) -> float | None:
    """The largest number of a float type of 8 bits or fewer; None for the wider ones, which overflow to infinity."""
    return float(ml_dtypes.finfo(numpy_dtype(to)).max) if ir.FloatType(to).width <= 8 else None


def _clamped(x: Value, limit: float) -> Value:
    """x between -limit and limit; NaN stays."""
    above = arith.MinimumFOp(x, constant(limit, x.type)).result
    return arith.MaximumFOp(above, constant(-limit, x.type)).result


def _sign(x: Value, unsigned: bool) -> Value:
    zero, one = constant(0, x.type), constant(1, x.type)
    if is_float(x.type):
        signed = math.CopySignOp(one, x).result
        return arith.SelectOp(compare("ne", math.absf(x), zero), _keep_nan(x, signed), x).result
    negative = constant(0 if unsigned else -1, x.type)
    below = arith.SelectOp(compare("lt", x, zero, unsigned), negative, zero).result
    return arith.SelectOp(compare("gt", x, zero, unsigned), one, below).result


def _keep_nan(x: Value, otherwise: Value) -> Value:
    return arith.SelectOp(arith.CmpFOp(arith.CmpFPredicate.UNO, x, x).result, x, otherwise).result


def _abs(x: Value, unsigned: bool) -> Value:
    if is_float(x.type):
        return math.absf(x)
    return x if unsigned else math.absi(x)


def _neg(x: Value, unsigned: bool) -> Value:
    return arith.NegFOp(x).result if is_float(x.type) else arith.SubIOp(constant(0, x.type), x).result


def _sigmoid(x: Value, unsigned: bool) -> Value:
    one = constant(1, x.type)
    return arith.DivFOp(one, arith.AddFOp(one, math.exp(arith.NegFOp(x).result)).result).result


def _not(x: Value, unsigned: bool) -> Value:
    return arith.XOrIOp(x, constant(-1, x.type)).result


def _isinf(x: Value, unsigned: bool) -> Value:
    return compare("eq", math.absf(x), constant(float("inf"), x.type))


_SAME_IN_MATH = (
    *("exp", "log", "log1p", "expm1", "sqrt", "rsqrt", "erf", "floor", "ceil", "trunc"),
    *("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh"),
)
"""Ops that the math dialect has under the same name."""

UNARY: dict[str, Callable[[Value, bool], Value]] = {
    "abs": _abs,
    "neg": _neg,
    "sign": _sign,
    "sigmoid": _sigmoid,
    "not": _not,
    "isnan": lambda x, _: arith.CmpFOp(arith.CmpFPredicate.UNO, x, x).result,
    "isinf": _isinf,
    "round": lambda x, _: math.roundeven(x),
    **{name: lambda x, _, name=name: getattr(math, name)(x) for name in _SAME_IN_MATH},
}


def _choose(float_op: type, int_op: type, unsigned_op: type | None = None) -> Callable[[Value, Value, bool], Value]:
    def emit(x: Value, y: Value, unsigned: bool) -> Value:
        if is_float(x.type):
            return float_op(x, y).result
        return (unsigned_op if unsigned and unsigned_op else int_op)(x, y).result

    return emit


def _fmod(x: Value, y: Value, unsigned: bool) -> Value:
    return _choose(arith.RemFOp, arith.RemSIOp, arith.RemUIOp)(x, y, unsigned)


def _mod(x: Value, y: Value, unsigned: bool) -> Value:
    """The remainder moved to the divisor's sign."""
    remainder = _fmod(x, y, unsigned)
    if unsigned:
        return remainder
    zero = constant(0, x.type)
    differs = arith.XOrIOp(compare("lt", remainder, zero), compare("lt", y, zero)).result
    wrong = arith.AndIOp(compare("ne", remainder, zero), differs).result
    moved = arith.AddFOp(remainder, y) if is_float(x.type) else arith.AddIOp(remainder, y)
    return arith.SelectOp(wrong, moved.result, remainder).result


def _pow(x: Value, y: Value, unsigned: bool) -> Value:
    return math.powf(x, y) if is_float(x.type) else math.ipowi(x, y)


def _shift(op: type, x: Value, y: Value) -> Value:
    """Bits shifted out at either end are lost; a distance from the width on, or below 0, leaves none."""
    inside = compare("lt", y, constant(ir.IntegerType(x.type).width, x.type), unsigned=True)
    shifted = op(x, arith.SelectOp(inside, y, constant(0, x.type)).result).result
    return arith.SelectOp(inside, shifted, constant(0, x.type)).result


def _shift_right(x: Value, y: Value, unsigned: bool) -> Value:
    """Signed numbers are shifted with their sign, which is all that is left from the width on."""
    if unsigned:
        return _shift(arith.ShRUIOp, x, y)
    last = constant(ir.IntegerType(x.type).width - 1, x.type)
    return arith.ShRSIOp(x, arith.MinUIOp(y, last).result).result


BINARY: dict[str, Callable[[Value, Value, bool], Value]] = {
    "add": _choose(arith.AddFOp, arith.AddIOp),
    "sub": _choose(arith.SubFOp, arith.SubIOp),
    "mul": _choose(arith.MulFOp, arith.MulIOp),
    "div": _choose(arith.DivFOp, arith.DivSIOp, arith.DivUIOp),
    "max": _choose(arith.MaximumFOp, arith.MaxSIOp, arith.MaxUIOp),
    "min": _choose(arith.MinimumFOp, arith.MinSIOp, arith.MinUIOp),
    "and": lambda x, y, _: arith.AndIOp(x, y).result,
    "or": lambda x, y, _: arith.OrIOp(x, y).result,
    "xor": lambda x, y, _: arith.XOrIOp(x, y).result,
    "fmod": _fmod,
    "mod": _mod,
    "pow": _pow,
    "shl": lambda x, y, _: _shift(arith.ShLIOp, x, y),
    "shr": _shift_right,
    **{p: lambda x, y, u, p=p: compare(p, x, y, u) for p in ("eq", "ne", "lt", "le", "gt", "ge")},
}


def emit_elementwise(name: str, operands: list[Value], result: ir.Type, unsigned: bool) -> Value:
    """The scalar code of element-wise op `name`, computed in `compute_type` and converted to `result`."""
    wide = [convert(x, compute_type(x.type)) for x in operands]
    value = UNARY[name](wide[0], unsigned) if len(wide) == 1 else BINARY[name](wide[0], wide[1], unsigned)
    if is_float(result) and ir.FloatType(result).width < 32:
        _mark_short(value, wide)
    return convert(value, result)


def _mark_short(value: Value, operands: list[Value]) -> None:
    """Mark what computes a value from the operands."""
    if value in operands or isinstance(value.owner, ir.Block):
        return
    if value.owner.name in _CHEAPER_SHORT:
        value.owner.attributes[SHORT] = ir.UnitAttr.get()
    for operand in value.owner.operands:
        _mark_short(operand, operands)
