"""The table: which function expands which operation.

A rule takes `Value`s of f32 or f64 (f16 and bf16 operands are extended to f32, the result is rounded back) and returns
the result, or a tuple of results.
"""

from collections.abc import Callable

from lumir.codegen.math import error_function, exponential, inverse_trigonometric, logarithm, power, remainder
from lumir.codegen.math import trigonometric as trig
from lumir.codegen.math.operations import at_least, at_most, max_num, min_num
from lumir.codegen.math.values import Value

Rule = Callable[..., Value | tuple[Value, ...]]


def _clamp(x: Value, low: Value, high: Value) -> Value:
    return at_most(at_least(x, low), high)


RULES: dict[str, Rule] = {
    "math.exp": exponential.exp,
    "math.exp2": exponential.exp2,
    "math.expm1": exponential.expm1,
    "math.tanh": exponential.tanh,
    "math.sinh": exponential.sinh,
    "math.cosh": exponential.cosh,
    "math.log": logarithm.log,
    "math.log2": logarithm.log2,
    "math.log10": logarithm.log10,
    "math.log1p": logarithm.log1p,
    "math.asinh": logarithm.asinh,
    "math.acosh": logarithm.acosh,
    "math.atanh": logarithm.atanh,
    "math.sin": trig.sin,
    "math.cos": trig.cos,
    "math.sincos": trig.sincos,
    "math.tan": trig.tan,
    "math.asin": inverse_trigonometric.asin,
    "math.acos": inverse_trigonometric.acos,
    "math.atan": inverse_trigonometric.atan,
    "math.atan2": inverse_trigonometric.atan2,
    "math.erf": error_function.erf,
    "math.erfc": error_function.erfc,
    "math.powf": power.powf,
    "math.fpowi": power.fpowi,
    "math.ipowi": power.ipowi,
    "math.cbrt": power.cbrt,
    "math.rsqrt": power.rsqrt,
    "math.clampf": _clamp,
    "arith.remf": remainder.remf,
    "arith.maxnumf": max_num,
    "arith.minnumf": min_num,
}
