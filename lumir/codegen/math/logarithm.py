"""log, log2, log10, log1p and the inverse hyperbolic functions that rest on log1p.

x = 2^e m with m in [sqrt(1/2), sqrt(2)), f = m - 1. In f32, log(1 + f) is a polynomial in f (as in Cephes); in f64 it
is f - (f^2/2 - s (f^2/2 + R)) with s = f / (2 + f), the form of fdlibm.
"""

from math import inf, nan

from lumir.codegen.math.coefficients import ATANH, LOG
from lumir.codegen.math.constants import LN2, LOG2E, LOG10_2, LOG10E
from lumir.codegen.math.operations import absolute, copy_sign, fma, polynomial, select, sqrt
from lumir.codegen.math.values import BIAS, MANTISSA, Value

_SQRT_HALF_BITS = {"f32": 0x3F3504F3, "f64": 0x3FE6A09E667F3BCD}
SMALLEST_NORMAL = {"f32": 2.0**-126, "f64": 2.0**-1022}
_LIFT = {"f32": 25, "f64": 54}  # denormals are multiplied by 2^lift first


def _exponent_as_float(e: Value, kind: str) -> Value:
    """A small signed integer as a float; in f64 by adding a constant, which vectorises on every CPU."""
    if kind == "f32":
        return e.to("f32")
    return (e + 0x4338000000000000).as_float("f64") - 1.5 * 2.0**52


def split(x: Value) -> tuple[Value, Value]:
    """(e, f) of a positive x: x = 2^e (1 + f), e as a float."""
    kind, lift = x.kind, _LIFT[x.kind]
    tiny = x < SMALLEST_NORMAL[kind]
    bits = select(tiny, x * 2.0**lift, x).bits()
    e = (bits - _SQRT_HALF_BITS[kind]).arithmetic_shift(MANTISSA[kind])
    f = (bits - (e << MANTISSA[kind])).as_float(kind) - 1.0
    exponent = _exponent_as_float(e, kind)
    return select(tiny, exponent - float(lift), exponent), f


def _log_tail(f: Value) -> Value:
    """log(1 + f) - f, for sqrt(1/2) <= 1 + f < sqrt(2)."""
    if f.kind == "f32":
        return fma(polynomial(f, LOG["f32"]), f, -0.5) * (f * f)
    s, half_square = f / (f + 2.0), f * f * 0.5
    u = s * s
    return fma(s, fma(u * 2.0, polynomial(u, ATANH["f64"]), half_square), -half_square)


def _with_special(argument: Value, result: Value) -> Value:
    """The logarithm of zero, of negative numbers, of infinity and NaN."""
    regular = (argument > 0.0) & (argument < inf)
    special = select(argument.eq(0.0), -inf, select(argument < 0.0, nan, argument))
    return select(regular, result, special)


def _log_from(e: Value, f: Value) -> Value:
    high, low = LN2[f.kind]
    return fma(e, high, fma(e, low, _log_tail(f)) + f)


def log(x: Value) -> Value:
    """Natural logarithm."""
    return _with_special(x, _log_from(*split(x)))


def _log_to_base(x: Value, octave: tuple[float, float], scale: tuple[float, float]) -> Value:
    """e * octave + log(1 + f) * scale, both constants and the logarithm in two parts, added without loss."""
    e, f = split(x)
    tail = _log_tail(f)
    high = f + tail
    low = (f - high) + tail
    y = high * scale[0]
    y_low = fma(high, scale[0], -y) + fma(low, scale[0], high * scale[1])
    a = e * octave[0]
    a_low = fma(e, octave[0], -a) + e * octave[1]
    total = a + y
    return _with_special(x, total + (((a - total) + y) + (a_low + y_low)))


def log2(x: Value) -> Value:
    """Logarithm to base 2."""
    return _log_to_base(x, (1.0, 0.0), LOG2E[x.kind])


def log10(x: Value) -> Value:
    """Logarithm to base 10."""
    return _log_to_base(x, LOG10_2[x.kind], LOG10E[x.kind])


def log1p(x: Value) -> Value:
    """log(1 + x): the exponent of the rounded sum, and f = x 2^-e + (2^-e - 1), which is rounded once."""
    kind, total = x.kind, x + 1.0
    e = (total.bits() - _SQRT_HALF_BITS[kind]).arithmetic_shift(MANTISSA[kind])
    scale = ((BIAS[kind] + 2) - e << MANTISSA[kind]).as_float(kind)  # 4 * 2^-e, normal even where e is the largest
    f = fma(x * 0.25, scale, fma(scale, 0.25, -1.0))
    result = _with_special(total, _log_from(_exponent_as_float(e, kind), f))
    return select(absolute(x) < {"f32": 1e-8, "f64": 1e-17}[kind], x, result)


def atanh(x: Value) -> Value:
    """log1p(2a / (1 - a)) / 2 with a = |x|."""
    a = absolute(x)
    return copy_sign(log1p((a + a) / (1.0 - a)) * 0.5, x)


def asinh(x: Value) -> Value:
    """log1p(a + a^2 / (1 + sqrt(1 + a^2))) with a = |x|; log(2a) where a^2 + 1 is a^2."""
    a, square = absolute(x), x * x
    large = a > 1e18
    argument = select(large, a, a + square / (sqrt(square + 1.0) + 1.0))
    result = log1p(argument)
    return copy_sign(select(large, result + LN2[x.kind][0], result), x)


def acosh(x: Value) -> Value:
    """log1p(t + sqrt(t^2 + 2t)) with t = x - 1; log(2x) for large x; NaN below 1."""
    t = x - 1.0
    large = x > 1e18
    result = log1p(select(large, x, t + sqrt(fma(t, t, t + t))))
    return select(x < 1.0, nan, select(large, result + LN2[x.kind][0], result))
