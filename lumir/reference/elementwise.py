"""Rules of the element-wise ops: a table of numpy functions, computed in float32 or wider and rounded once."""

import math
from collections.abc import Callable

import numpy as np

from lumir.reference.rules import Call, is_float, narrow, rule, widen


def _erf(x: np.ndarray) -> np.ndarray:
    return np.asarray([math.erf(value) for value in x.flat], x.dtype).reshape(x.shape)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    z = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, z) / (1 + z)


def _div(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    if is_float(x.dtype):
        return x / y
    quotient = x // y
    inexact = (quotient * y != x) & ((x < 0) != (y < 0))
    return quotient + inexact.astype(quotient.dtype)


def _pow(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """x ** y; an integer to a negative power is 1 / x**-y, truncated."""
    if x.dtype.kind != "i" or not (y < 0).any():
        return np.power(x, y)
    odd = np.where(y % 2 == 0, 1, x)
    inverse = np.where(x == 1, 1, np.where(x == -1, odd, 0))
    return np.where(y < 0, inverse, np.power(x, np.maximum(y, 0))).astype(x.dtype)


FUNCTIONS: dict[str, Callable[..., np.ndarray]] = {
    "abs": np.abs,
    "neg": np.negative,
    "sign": np.sign,
    "exp": np.exp,
    "log": np.log,
    "log1p": np.log1p,
    "expm1": np.expm1,
    "sqrt": np.sqrt,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "tanh": np.tanh,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
    "erf": _erf,
    "sigmoid": _sigmoid,
    "floor": np.floor,
    "ceil": np.ceil,
    "round": np.rint,
    "trunc": np.trunc,
    "isnan": np.isnan,
    "isinf": np.isinf,
    "not": np.invert,
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": _div,
    "mod": np.mod,
    "fmod": np.fmod,
    "pow": _pow,
    "max": np.maximum,
    "min": np.minimum,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "shl": np.left_shift,
    "shr": np.right_shift,
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}


@rule(*FUNCTIONS)
def elementwise(call: Call, *operands: np.ndarray) -> np.ndarray:
    result = FUNCTIONS[call.name](*map(widen, operands))
    return narrow(np.asarray(result), call.dtypes[0])


@rule("select")
def select(call: Call, condition: np.ndarray, lhs: np.ndarray, rhs: np.ndarray) -> np.ndarray:
    return np.where(condition, lhs, rhs)


@rule("cast")
def cast(call: Call, x: np.ndarray) -> np.ndarray:
    to = call.dtypes[0]
    if to.kind == "b":
        return widen(x) != 0
    if is_float(to) and to.itemsize == 1:
        return _to_short_float(widen(x), to, call.attributes.get("saturate", True))
    return narrow(widen(x), to)


@rule("dequantize")
def dequantize(call: Call, x: np.ndarray, scale: np.ndarray, zero: np.ndarray) -> np.ndarray:
    return narrow((x.astype(np.int32) - zero.astype(np.int32)) * widen(scale), call.dtypes[0])


def _to_short_float(x: np.ndarray, to: np.dtype, saturate: bool) -> np.ndarray:
    """To a float of 8 bits or fewer: out of range saturates, or becomes what the type has for overflow."""
    if not saturate:
        return x.astype(to)
    import ml_dtypes

    limit = float(ml_dtypes.finfo(to).max)
    return np.clip(x, -limit, limit).astype(to)
