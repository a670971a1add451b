"""Functions whose result a model rounds to 16 bits, on GPUs with an instruction for 2^x: short, and good to 2^-14.8.

float16 has 11 digits, so that what a function is off stays below a thirteenth of a unit in the last place. The tail of
1 + erf and of 1 + tanh keeps that relative accuracy, where the sum of the rounded function and one would have none.
"""

import math

from lumir.codegen.math.coefficients import ERF_SHORT, ERFC_SHORT, TANH_SHORT
from lumir.codegen.math.constants import LOG2E
from lumir.codegen.math.operations import (
    absolute,
    approximate_quotient,
    at_least,
    at_most,
    copy_sign,
    flushed_exp2,
    fma,
    hardware_exp2,
    polynomial,
    select,
)
from lumir.codegen.math.values import Value

_LOG2E = LOG2E["f32"][0]
_NO_TAIL = 64.0
"""From here on erfc is zero in float32, and the polynomial in its exponent far from overflow."""


def exp(x: Value) -> Value:
    """e^x; the rounding of the product costs 2^-17.5 where |x| is largest."""
    return hardware_exp2(x * _LOG2E)


def reciprocal(x: Value) -> Value:
    """1 / x, by `rcp.approx.f32`: one unit in the last place, denormals included."""
    return approximate_quotient(1.0, x)


def tanh(x: Value) -> Value:
    """1 - 2 / (e^(2|x|) + 1), and x + x^3 P(x^2) for |x| < 0.25."""
    a = absolute(x)
    large = fma(-2.0, reciprocal(hardware_exp2(a * (2 * _LOG2E)) + 1.0), 1.0)
    u = x * x
    small = fma(a * u, polynomial(u, TANH_SHORT["f32"]), a)
    return copy_sign(select(a < 0.25, small, large), x)


def erf(x: Value) -> Value:
    """1 - erfc(|x|), and x P(x^2) for |x| < 0.5."""
    small = x * polynomial(x * x, ERF_SHORT["f32"])
    a = absolute(x)
    return select(a < 0.5, small, copy_sign(1.0 - _erfc_of_magnitude(a), x))


def one_plus_erf(x: Value) -> Value:
    """erfc(-x)"""
    tail = _erfc_of_magnitude(absolute(x))
    return select(x < 0.0, tail, 2.0 - tail)


def erf_gate(x: Value, scale: float, factor: float) -> Value:
    """factor x (1 + erf(scale x)), both positive: 2 factor max(x, 0), less what factor |x| erfc(scale |x|) is.

    The factor is part of the exponent, the scale of the coefficients. Where x is infinite, so is what the tail is
    multiplied by, and their product no number: as it must be for the lowest x, and is avoided for the highest.
    """
    a = absolute(at_most(x, _NO_TAIL / scale))
    scaled = [coefficient * scale ** (i + 1) for i, coefficient in enumerate(ERFC_SHORT["f32"])]
    tail = flushed_exp2(fma(a, polynomial(a, scaled), math.log2(factor)))
    positive = at_least(x, -0.0)  # the sign of zero stays
    return fma(-a, tail, positive if factor == 0.5 else positive * (2 * factor))


def _erfc_of_magnitude(a: Value) -> Value:
    """2^(a P(a)) for a >= 0; a P(a) is fitted to log2(erfc(a)) up to 5.5, where erfc is 7e-15, and falls on from there.

    What is beyond is off by 3e-19.
    """
    return hardware_exp2(a * polynomial(a, ERFC_SHORT["f32"]))


def one_plus_tanh(x: Value) -> Value:
    """1 / (1/2 + e^(-2x)/2); zero where that is denormal."""
    return reciprocal(hardware_exp2(fma(x, -2 * _LOG2E, -1.0)) + 0.5)
