"""exp, exp2, expm1 and the hyperbolic functions that rest on them.

Range reduction x = n ln2 + r with |r| <= ln2/2 by a two-part ln2 (Cody and Waite 1980), n rounded by adding a large
constant whose low bits then hold n (Muller, Elementary Functions, ch. 11), e^r by a minimax polynomial.
"""

from lumir.codegen.math.coefficients import EXP, TANH
from lumir.codegen.math.constants import LN2, LOG2E
from lumir.codegen.math.operations import (
    absolute,
    approximate_quotient,
    at_least,
    at_most,
    copy_sign,
    fma,
    hardware_exp2,
    has_exp2,
    polynomial,
    select,
)
from lumir.codegen.math.values import BIAS, MANTISSA, Value

# 1.5 * 2^mantissa, which leaves an integer in the low bits of the sum, plus twice the exponent's bias.
_MAGIC = {"f32": 1.5 * 2.0**23 + 254, "f64": 1.5 * 2.0**52 + 2046}

# Below the first, e^x rounds to zero; above the second, to infinity.
_RANGE = {"f32": (-104.0, 89.0), "f64": (-746.0, 710.0)}
_EXP2_RANGE = {"f32": (-151.0, 129.0), "f64": (-1076.0, 1025.0)}
_EXPM1_LOW = {"f32": -18.0, "f64": -40.0}  # e^x - 1 rounds to -1


def reduce_exp(x: Value) -> tuple[Value, Value, Value]:
    """(r, n, biased): x = n ln2 + r; n as a float; an integer whose low bits are n + 2 bias. |n| < 2 bias."""
    magic, (high, low) = _MAGIC[x.kind], LN2[x.kind]
    shifted = fma(x, LOG2E[x.kind][0], magic)
    n = shifted - magic
    return fma(n, -low, fma(n, -high, x)), n, shifted.bits()


def times_power_of_two(p: Value, biased: Value) -> Value:
    """p * 2^n in two steps, so that denormal results are rounded once and overflow gives infinity."""
    half, mantissa = biased >> 1, MANTISSA[p.kind]
    return p * (half << mantissa).as_float(p.kind) * ((biased - half) << mantissa).as_float(p.kind)


def power_of_two(biased: Value, offset: int, kind: str) -> Value:
    """2^(n + offset), which must be a normal number."""
    return ((biased + (offset - BIAS[kind])) << MANTISSA[kind]).as_float(kind)


def _exp_reduced(r: Value) -> Value:
    return polynomial(r, (1.0, 1.0, *EXP[r.kind]))


def _expm1_reduced(r: Value) -> Value:
    return fma(r * r, polynomial(r, EXP[r.kind]), r)


def exp(x: Value) -> Value:
    """e^x."""
    if has_exp2(x):
        return _exp_by_hardware(x)
    low, high = _RANGE[x.kind]
    r, _, biased = reduce_exp(at_most(at_least(x, low), high))
    return times_power_of_two(_exp_reduced(r), biased)


def _exp_by_hardware(x: Value) -> Value:
    """2^t (1 + e ln2) with t + e = x log2(e): the rounding error of t would otherwise grow with |x|."""
    high, low = LOG2E["f32"]
    x = at_least(x, -105.0)
    t = at_most(x * high, 127.99999237060546875)  # the largest float below 128, whose power is finite
    y = hardware_exp2(t)
    return fma(y, fma(x, low, fma(x, high, -t)) * LN2["f32"][0], y)


def exp_of_sum(high: Value, low: Value) -> Value:
    """e^(high + low) where |low| is a rounding error of `high`, or anything finite where e^high is 0 or infinite."""
    bottom, top = _RANGE[high.kind]
    r, _, biased = reduce_exp(at_most(at_least(high, bottom), top))
    p = _exp_reduced(r)
    return times_power_of_two(fma(p, low, p), biased)


def exp2(x: Value) -> Value:
    """2^x: the reduction is exact, and the polynomial is that of e^x."""
    if has_exp2(x):
        return hardware_exp2(x)
    low, high = _EXP2_RANGE[x.kind]
    magic, x = _MAGIC[x.kind], at_most(at_least(x, low), high)
    shifted = x + magic
    fraction = x - (shifted - magic)
    r = fma(fraction, LN2[x.kind][0], fraction * LN2[x.kind][1])
    return times_power_of_two(_exp_reduced(r), shifted.bits())


def expm1(x: Value) -> Value:
    """e^x - 1 = 2 (2^(n-1) s + 2^(n-1) - 1/2) with s = e^r - 1; the halves keep 2^128 out of it."""
    r, n, biased = reduce_exp(at_most(at_least(x, _EXPM1_LOW[x.kind]), _RANGE[x.kind][1]))
    s, half = _expm1_reduced(r), power_of_two(biased, -1, x.kind)
    scaled = fma(half, s, half - 0.5) * 2.0
    return copy_sign(select(n.eq(0.0), s, scaled), x)


def tanh(x: Value) -> Value:
    """E / (E + 2) with E = e^(2|x|) - 1. With a hardware 2^x: 1 - 2 / (e^(2|x|) + 1), and a polynomial near zero."""
    if has_exp2(x):
        return _tanh_by_hardware(x)
    a = at_most(absolute(x), {"f32": 9.25, "f64": 20.0}[x.kind])
    r, _, biased = reduce_exp(a + a)
    s, power = _expm1_reduced(r), power_of_two(biased, 0, x.kind)
    e = fma(power, s, power - 1.0)
    return copy_sign(e / (e + 2.0), x)


def _tanh_by_hardware(x: Value) -> Value:
    a = absolute(x)
    e = hardware_exp2(at_most(a, 9.25) * (2 * LOG2E["f32"][0]))
    large = fma(-2.0, approximate_quotient(1.0, e + 1.0), 1.0)
    u = x * x
    small = fma(a * u, polynomial(u, TANH["f32"]), a)
    return copy_sign(select(a < 0.6, small, large), x)


def sinh(x: Value) -> Value:
    """h + h / (2h + 1) with h = (e^|x| - 1) / 2, halved once more so that nothing overflows before the result."""
    a = absolute(x)
    r, _, biased = reduce_exp(at_most(a, {"f32": 89.5, "f64": 710.5}[x.kind]))
    quarter = power_of_two(biased, -2, x.kind)
    q = fma(quarter, _expm1_reduced(r), quarter - 0.25)
    result = (q + q / fma(q, 4.0, 1.0)) * 2.0
    return select(a < 1e-4 if x.kind == "f32" else a < 1e-8, x, copy_sign(result, x))


def cosh(x: Value) -> Value:
    """2 (w + 1 / (16 w)) with w = e^|x| / 4."""
    r, _, biased = reduce_exp(at_most(absolute(x), {"f32": 89.5, "f64": 710.5}[x.kind]))
    w = _exp_reduced(r) * power_of_two(biased, -2, x.kind)
    return (w + 0.0625 / w) * 2.0
