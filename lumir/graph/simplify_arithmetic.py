"""Canonical forms of element-wise ops: identities, cheaper equals, lossless casts, implied broadcasts."""

import math

import ml_dtypes
import numpy as np

from lumir.dialects import ELEMENTWISE, build
from lumir.dialects.base import broadcast, is_bool, is_float, is_int
from lumir.dialects.constants import constant, splat_value
from lumir.dtypes import numpy_dtype
from lumir.graph.rewrite import PatternTable
from lumir.graph.values import attribute, definition, element, is_splat, shape, short_name, split_scalar
from lumir.mlir import ir

ARITHMETIC = PatternTable()

# x op number == x. For sub, div and pow the number is the right operand.
NEUTRAL: dict[str, float] = {"add": 0, "sub": 0, "mul": 1, "div": 1, "pow": 1, "max": -math.inf, "min": math.inf}


def scalar(number: float, type_: ir.Type) -> ir.Value:
    """A rank-0 constant of the element type."""
    return constant(np.asarray(number).astype(numpy_dtype(type_)))


@ARITHMETIC.on(*NEUTRAL)
def drop_neutral(op: ir.Operation) -> ir.Value | None:
    """x + 0, x - 0, x * 1, x / 1, x ** 1, max(x, -inf), min(x, inf); x + 0.0 is not, as -0.0 + 0.0 is 0.0."""
    split, name = split_scalar(op), short_name(op)
    if split is None or split[1] != NEUTRAL[name]:
        return None
    changes_sign = name in ("add", "sub") and (math.copysign(1, split[1]) > 0) == (name == "add")
    return None if changes_sign and is_float(element(split[0])) else split[0]


@ARITHMETIC.on("and", "or", "xor")
def drop_neutral_bool(op: ir.Operation) -> ir.Value | None:
    split = split_scalar(op)
    if split is None or not is_bool(element(split[0])):
        return None
    x, flag = split
    match short_name(op), bool(flag):
        case ("and", True) | ("or" | "xor", False):
            return x
        case ("xor", True):
            return build("not", x)
    return build("broadcast", scalar(flag, element(x)), shape=shape(x))


@ARITHMETIC.on("div")
def divide_by_power_of_two(op: ir.Operation) -> ir.Value | None:
    """x / 2**k is x * 2**-k, exactly, while 2**-k is a normal number of the type."""
    number, type_ = splat_value(op.operands[1]), element(op.results[0])
    if number is None or not is_float(type_) or number == 0 or not math.isfinite(number):
        return None
    limits = ml_dtypes.finfo(numpy_dtype(type_))
    inverse = 1 / number
    exact = abs(math.frexp(number)[0]) == 0.5 and float(limits.tiny) <= abs(inverse) <= float(limits.max)
    return build("mul", op.operands[0], scalar(inverse, type_)) if exact else None


@ARITHMETIC.on("div")
def reciprocal_square_root(op: ir.Operation) -> ir.Value | None:
    """1 / sqrt(x)."""
    root = definition(op.operands[1], "sqrt")
    same = shape(op.operands[1]) == shape(op.results[0])
    return build("rsqrt", root.operands[0]) if root and same and is_splat(op.operands[0], 1) else None


@ARITHMETIC.on("pow")
def small_powers(op: ir.Operation) -> ir.Value | None:
    """x ** 2 and x ** 3 as products."""
    x, number = op.operands[0], splat_value(op.operands[1])
    if number not in (2, 3) or shape(x) != shape(op.results[0]):
        return None
    square = build("mul", x, x)
    return square if number == 2 else build("mul", square, x)


@ARITHMETIC.on("mul")
def multiply_by_minus_one(op: ir.Operation) -> ir.Value | None:
    split = split_scalar(op)
    return build("neg", split[0]) if split and split[1] == -1 and is_float(element(split[0])) else None


@ARITHMETIC.on("neg", "not")
def drop_double(op: ir.Operation) -> ir.Value | None:
    inner = definition(op.operands[0], short_name(op))
    return inner.operands[0] if inner else None


@ARITHMETIC.on("select")
def simplify_select(op: ir.Operation) -> ir.Value | None:
    """A condition that is known, negated, or does not matter."""
    condition, lhs, rhs = op.operands
    negated = definition(condition, "not")
    if negated is not None:
        return build("select", negated.operands[0], rhs, lhs)
    known = splat_value(condition)
    if known is None and lhs != rhs:
        return None
    chosen = rhs if known is False else lhs
    return build("broadcast", chosen, shape=shape(op.results[0]))


@ARITHMETIC.on("cast")
def merge_casts(op: ir.Operation) -> ir.Value | None:
    """A cast to the same type; a cast of a cast whose type holds every value of the first one."""
    x = op.operands[0]
    if element(x) == attribute(op, "to"):
        return x
    inner = definition(x, "cast")
    if inner is None or not holds(element(x), element(inner.operands[0])):
        return None
    return build("cast", inner.operands[0], to=attribute(op, "to"), saturate=attribute(op, "saturate"))


def holds(wide: ir.Type, narrow: ir.Type) -> bool:
    """Whether every value of `narrow` is a value of `wide`, exactly."""
    if wide == narrow or is_bool(narrow):
        return True
    if is_int(narrow):
        low, high = _integer_range(narrow)
        if is_int(wide):
            least, most = _integer_range(wide)
            return least <= low and high <= most
        return is_float(wide) and max(-low, high) <= 2 ** (ml_dtypes.finfo(numpy_dtype(wide)).nmant + 1)
    if not (is_float(wide) and is_float(narrow)):
        return False
    big, small = (ml_dtypes.finfo(numpy_dtype(t)) for t in (wide, narrow))
    return (
        big.nmant >= small.nmant
        and float(big.max) >= float(small.max)
        and float(big.smallest_subnormal) <= float(small.smallest_subnormal)
        and bool(np.isinf(np.float32(np.inf).astype(big.dtype)) or not np.isinf(np.float32(np.inf).astype(small.dtype)))
    )


def _integer_range(type_: ir.Type) -> tuple[int, int]:
    integer = ir.IntegerType(type_)
    if integer.is_unsigned:
        return 0, 2**integer.width - 1
    return -(2 ** (integer.width - 1)), 2 ** (integer.width - 1) - 1


@ARITHMETIC.on("select", *(name for name, row in ELEMENTWISE.items() if row.arity == 2))
def drop_implied_broadcast(op: ir.Operation) -> ir.Value | None:
    """Element-wise ops broadcast by themselves: use what was broadcast, where the result keeps its shape."""
    sources = [definition(operand, "broadcast") for operand in op.operands]
    if not any(sources):
        return None
    operands = list(op.operands)
    for i, source in enumerate(sources):
        if source is None:
            continue
        others = [shape(operand) for j, operand in enumerate(operands) if j != i]
        if broadcast(shape(source.operands[0]), *others) == shape(op.results[0]):
            operands[i] = source.operands[0]
    return None if operands == list(op.operands) else build(short_name(op), *operands)
