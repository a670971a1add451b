"""powf, fpowi, ipowi, cbrt and rsqrt.

x^y = e^(y log x) with log x in two parts: of atanh's series in s = (m - 1) / (m + 1), the first two terms in
double-length arithmetic (Dekker 1971, with fused multiply-adds), the rest by a minimax polynomial.
"""

from math import inf, nan
from typing import NamedTuple

from lumir.codegen.math.coefficients import POW
from lumir.codegen.math.constants import LN2, ONE_THIRD
from lumir.codegen.math.control import any_lane, repeat_while
from lumir.codegen.math.exponential import exp_of_sum
from lumir.codegen.math.logarithm import SMALLEST_NORMAL, split
from lumir.codegen.math.operations import (
    absolute,
    copy_sign,
    fma,
    hardware_rsqrt,
    has_exp2,
    polynomial,
    select,
    sqrt,
    trunc,
)
from lumir.codegen.math.values import BITS, Operand, Value


class Double(NamedTuple):
    """An unevaluated sum; |low| is of the size of the rounding error of high."""

    high: Value
    low: Operand


def _plus(a: Double, b: Double) -> Double:
    """Sum, for |a| >= |b| or a = 0."""
    total = a.high + b.high
    low = ((a.high - total) + b.high) + (b.low + a.low)
    high = total + low
    return Double(high, (total - high) + low)


def _times(a: Double, b: Double) -> Double:
    product = a.high * b.high
    error = fma(a.high, b.high, -product)
    return Double(product, fma(a.high, b.low, fma(a.low, b.high, error)))


def _atanh_argument(f: Value) -> Double:
    """s = f / (2 + f): the quotient, and its remainder divided once more."""
    denominator = f + 2.0
    lost = f - (denominator - 2.0)
    s = f / denominator
    remainder = fma(-s, lost, fma(-s, denominator, f))
    return Double(s, remainder / denominator)


def log_in_two_parts(x: Value) -> Double:
    """log(x) of a positive finite x, to about 1.4 times the digits of the format."""
    e, f = split(x)
    s = _atanh_argument(f)
    square = _times(s, s)
    third, third_low = ONE_THIRD[x.kind]
    tail = square.high * polynomial(square.high, POW[x.kind])
    factor = _plus(Double(x.like(third), third_low), Double(tail, 0.0))
    half = _plus(s, _times(_times(s, square), factor))
    high, low = LN2[x.kind]
    octaves = e * high
    octaves_low = fma(e, low, fma(e, high, -octaves))
    return _plus(Double(octaves, octaves_low), Double(half.high * 2.0, half.low * 2.0))


def _power_of_magnitude(a: Value, y: Double) -> Value:
    """a^y for a >= 0, zero and infinity included; wrong only where the exact exponent is 0 * infinity."""
    log = log_in_two_parts(a)
    high = select(a.eq(0.0), -inf, select(a < inf, log.high, a))
    product = y.high * high
    error = fma(y.high, log.low, fma(y.low, log.high, fma(y.high, high, -product)))
    return exp_of_sum(product, select(absolute(product) < 2000.0, error, 0.0))


def _sign_bit(x: Value) -> Value:
    return (x.bits() >> (BITS[x.kind] - 1)).ne(0)


def powf(x: Value, y: Value) -> Value:
    """x^y with the special cases of C99 annex F.9.4.4."""
    a, half = absolute(x), y * 0.5
    whole = trunc(y).eq(y)
    odd = whole & trunc(half).ne(half)
    result = _power_of_magnitude(a, Double(y, 0.0))
    result = select(odd & _sign_bit(x), -result, result)
    undefined = (x < 0.0) & (a < inf) & ~whole
    one = x.eq(1.0) | y.eq(0.0) | (a.eq(1.0) & absolute(y).eq(inf))
    return select(one, 1.0, select(undefined, nan, result))


def fpowi(x: Value, n: Value) -> Value:
    """x^n for an integer n: the power function with n in two parts, so that no bit of n is lost."""
    # A float below 2^63. Powers beyond it overflow or vanish, except of one.
    wide, limit = n.to("i64"), {"f32": 1 << 62, "f64": (1 << 63) - 1024}[x.kind]
    bounded = select(wide > limit, limit, select(wide < -limit, -limit, wide))
    y = bounded.to(x.kind)
    result = _power_of_magnitude(absolute(x), Double(y, (bounded - y.to("i64")).to(x.kind)))
    result = select((wide & 1).ne(0) & _sign_bit(x), -result, result)
    return select(x.eq(1.0) | wide.eq(0), 1.0, result)


def ipowi(base: Value, exponent: Value) -> Value:
    """Integer power modulo 2^width by squaring; a negative exponent gives the truncated reciprocal, 0 for base 0."""
    negative = exponent < 0
    remaining = select(negative, exponent & 1, exponent)  # enough for bases 1 and -1, the only ones not truncated to 0

    def square(result: Value, factor: Value, left: Value) -> tuple[Value, ...]:
        return select((left & 1).ne(0), result * factor, result), factor * factor, left >> 1

    power, *_ = repeat_while(
        lambda _result, _factor, left: any_lane(left.ne(0)), square, (base.like(1), base, remaining)
    )
    unit = base.eq(1) | base.eq(-1)
    return select(negative & ~unit, 0, power)


# Bits of 1 / cbrt(x) are about this constant minus a third of the bits of x (f64: of the upper words).
_INVERSE_CBRT = {"f32": 0x54A2FA8C, "f64": 0x553EF0FF}


def _inverse_cbrt_estimate(a: Value) -> Value:
    """1 / cbrt(a) within 4 %, for a normal and positive."""
    if a.kind == "f32":
        return (_INVERSE_CBRT["f32"] - (a.bits().to("f32") * (1.0 / 3)).to("i32")).as_float("f32")
    upper = ((a.bits() >> 32) + 0x4338000000000000).as_float("f64") - 1.5 * 2.0**52
    return (fma(upper, -1.0 / 3, 1.5 * 2.0**52 + _INVERSE_CBRT["f64"]).bits() << 32).as_float("f64")


def cbrt(x: Value) -> Value:
    """Cube root: 1 / cbrt by cubic iterations from a guess in the exponent bits, then one corrected Newton step."""
    magnitude, kind = absolute(x), x.kind
    lift, drop = {"f32": (2.0**24, 2.0**-8), "f64": (2.0**54, 2.0**-18)}[kind]
    tiny = magnitude < SMALLEST_NORMAL[kind]
    a = select(tiny, magnitude * lift, magnitude)
    r = _inverse_cbrt_estimate(a)
    for _ in range(2 if kind == "f32" else 3):
        error = fma(-(a * r), r * r, 1.0)
        r = fma(r * error, fma(error, 2.0 / 9, 1.0 / 3), r)
    y = a * r * r
    square = y * y
    residual = fma(-square, y, a) - fma(y, y, -square) * y
    root = fma(residual, r * r * (1.0 / 3), y)
    root = copy_sign(select(tiny, root * drop, root), x)
    return select(magnitude.eq(0.0) | ~(magnitude < inf), x, root)


def rsqrt(x: Value) -> Value:
    """1 / sqrt(x); `rsqrt.approx.f32` on NVIDIA (at most 2 ulp)."""
    return hardware_rsqrt(x) if has_exp2(x) else 1.0 / sqrt(x)
