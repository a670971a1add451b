"""asin, acos, atan and atan2: reduction to a short interval as in fdlibm and Cephes, then minimax polynomials."""

from math import inf

from lumir.codegen.math.coefficients import ASIN, ATAN
from lumir.codegen.math.constants import HALF_PI, PI
from lumir.codegen.math.operations import absolute, copy_sign, fma, polynomial, select, sqrt
from lumir.codegen.math.values import BITS, Value


def _asin_tail(s: Value, u: Value) -> Value:
    """asin(s) - s for |s| <= 1/2, u = s^2."""
    return s * u * polynomial(u, ASIN[s.kind])


def asin(x: Value) -> Value:
    """Above 1/2: pi/2 - 2 asin(sqrt((1 - |x|) / 2)). NaN outside [-1, 1], from the square root."""
    a = absolute(x)
    small = a < 0.5
    half_complement = fma(a, -0.5, 0.5)
    u = select(small, a * a, half_complement)
    s = select(small, a, sqrt(half_complement))
    tail = _asin_tail(s, u)
    high, low, *_ = HALF_PI[x.kind]
    large = fma(s, -2.0, high) - fma(tail, 2.0, -low)
    return copy_sign(select(small, s + tail, large), x)


def acos(x: Value) -> Value:
    """pi/2 - asin(x) near zero, 2 asin(sqrt((1 - x) / 2)) near one, pi minus that near minus one."""
    a = absolute(x)
    small = a < 0.5
    half_complement = fma(a, -0.5, 0.5)
    u = select(small, a * a, half_complement)
    s = select(small, x, sqrt(half_complement))
    tail = _asin_tail(s, u)
    high, low, *_ = HALF_PI[x.kind]
    pi_high, pi_low = PI[x.kind]
    middle = high - (s + (tail - low))
    twice = (s + tail) * 2.0
    left = pi_high - (fma(tail, 2.0, -pi_low) + s * 2.0)
    return select(small, middle, select(x < 0.0, left, twice))


def _atan_tail(t: Value) -> Value:
    """atan(t) - t for 0 <= t <= 1."""
    u = t * t
    return t * u * polynomial(u, ATAN[t.kind])


def atan(x: Value) -> Value:
    """atan(a) up to 1, pi/2 - atan(1/a) above, a = |x|."""
    a = absolute(x)
    inverted = a > 1.0
    t = select(inverted, 1.0 / a, a)
    tail = _atan_tail(t)
    high, low, *_ = HALF_PI[x.kind]
    return copy_sign(select(inverted, high - (t + (tail - low)), t + tail), x)


def atan2(y: Value, x: Value) -> Value:
    """The angle of the point (x, y), in [-pi, pi], signed zeros and infinities as in C99 annex F."""
    kind, a, b = y.kind, absolute(y), absolute(x)
    steep = a > b
    short, long = select(steep, b, a), select(steep, a, b)
    quotient = select(long.eq(inf) & short.eq(inf), 1.0, short / long)
    t = select(a.eq(0.0) & b.eq(0.0), 0.0, quotient)
    tail = _atan_tail(t)
    high, low, *_ = HALF_PI[kind]
    pi_high, pi_low = PI[kind]
    first = select(steep, high - (t + (tail - low)), t + tail)
    leftward = (x.bits() >> (BITS[kind] - 1)).ne(0)
    left = select(steep, high + (t + (tail + low)), pi_high - (t + (tail - pi_low)))
    return copy_sign(select(leftward, left, first), y)
