"""sin, cos and tan: quadrant and remainder, then minimax polynomials on [-pi/4, pi/4]."""

from lumir.codegen.math.coefficients import COS, SIN, TAN
from lumir.codegen.math.operations import fma, polynomial, select
from lumir.codegen.math.reduction import reduce_quadrant
from lumir.codegen.math.values import BITS, Value


def _sin_reduced(r: Value, u: Value) -> Value:
    return fma(r * u, polynomial(u, SIN[r.kind]), r)


def _cos_reduced(u: Value) -> Value:
    return fma(u * u, polynomial(u, COS[u.kind]), fma(u, -0.5, 1.0))


def _of_quadrant(sine: Value, cosine: Value, quadrant: Value) -> Value:
    """sin of a quarter turn taken `quadrant` times, plus the remainder."""
    value = select((quadrant & 1).ne(0), cosine, sine)
    sign = (quadrant & 2) << (BITS[value.kind] - 2)
    return (value.bits() ^ sign).as_float(value.kind)


def sincos(x: Value) -> tuple[Value, Value]:
    """(sin x, cos x), x in radians."""
    r, quadrant = reduce_quadrant(x)
    u = r * r
    sine, cosine = _sin_reduced(r, u), _cos_reduced(u)
    signed = select(x.eq(0.0), x, _of_quadrant(sine, cosine, quadrant))  # keeps -0
    return signed, _of_quadrant(sine, cosine, quadrant + 1)


def sin(x: Value) -> Value:
    """Sine of x in radians."""
    r, quadrant = reduce_quadrant(x)
    u = r * r
    result = _of_quadrant(_sin_reduced(r, u), _cos_reduced(u), quadrant)
    return select(x.eq(0.0), x, result)


def cos(x: Value) -> Value:
    """Cosine of x in radians."""
    r, quadrant = reduce_quadrant(x)
    u = r * r
    return _of_quadrant(_sin_reduced(r, u), _cos_reduced(u), quadrant + 1)


def tan(x: Value) -> Value:
    """Tangent of x in radians: t or -1/t by the quadrant's parity."""
    r, quadrant = reduce_quadrant(x)
    u = r * r
    t = fma(r * u, polynomial(u, TAN[x.kind]), r)
    return select(x.eq(0.0), x, select((quadrant & 1).ne(0), -1.0 / t, t))
