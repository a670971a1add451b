"""erf and erfc."""

from lumir.codegen.math.coefficients import ERF, ERF_TAIL, ERFC, ERFC_WIDE
from lumir.codegen.math.exponential import exp_of_sum
from lumir.codegen.math.operations import absolute, at_most, copy_sign, fma, polynomial, select
from lumir.codegen.math.values import Value


def _erfc_of_magnitude(a: Value) -> Value:
    """exp(-a^2) P(q) / (1 + 2a) with q = (a - k) / (a + k), after Shepherd and Laframboise (1981); a > 0.45.

    What the quotient and its divisor lost goes, as a relative error, into the exponent; P is about 1 / 0.84.
    """
    pole, coefficients = (2.0, ERFC["f32"]) if a.kind == "f32" else (3.0, ERFC_WIDE["f64"])
    a = at_most(a, 11.0 if a.kind == "f32" else 28.0)
    numerator = polynomial((a - pole) / (a + pole), coefficients)
    divisor = fma(a, 2.0, 1.0)
    scaled = numerator / divisor
    lost = fma(-scaled, fma(a, 2.0, 1.0 - divisor), fma(-scaled, divisor, numerator))
    square = a * a
    return exp_of_sum(-square, fma(lost, 0.84, -fma(a, a, -square))) * scaled


def _erf_near_zero(x: Value) -> Value:
    """x + x P(x^2), for |x| < 1.1."""
    return fma(x, polynomial(x * x, ERF[x.kind]), x)


def erfc(x: Value) -> Value:
    """1 - erf(x), without loss for large x."""
    a = absolute(x)
    right = _erfc_of_magnitude(a)
    tail = select(x < 0.0, 2.0 - right, right)
    return select(a < 0.5, 1.0 - _erf_near_zero(x), tail)


def erf(x: Value) -> Value:
    """x P(x^2) up to 1.1; above, in f32 a polynomial in |x| - 2.5 (erf(3.92) rounds to one), in f64 1 - erfc(|x|)."""
    a = absolute(x)
    if x.kind == "f32":
        large = at_most(polynomial(at_most(a, 3.925) - 2.5, ERF_TAIL["f32"]), 1.0)
    else:
        large = 1.0 - _erfc_of_magnitude(a)
    return select(a < 1.1, _erf_near_zero(x), copy_sign(large, x))
