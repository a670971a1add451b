"""The remainder of C's fmod, exact."""

from math import inf, nan

from lumir.codegen.math.control import any_lane, repeat_while
from lumir.codegen.math.operations import absolute, copy_sign, fma, select, trunc
from lumir.codegen.math.values import Value

_SMALLEST_NORMAL, _LIFT = 2.0**-1022, 54


def _exponent(x: Value) -> Value:
    """floor(log2(x)) plus a constant, of a positive f64, denormals included; zero gives a small number."""
    tiny = x < _SMALLEST_NORMAL
    raw = select(tiny, x * 2.0**_LIFT, x).bits() >> 52
    return select(tiny, raw - _LIFT, raw)


def _scaled(x: Value, n: Value) -> Value:
    """x * 2^n for 0 <= n <= 2046, where the result is finite."""
    half = n >> 1
    return x * ((half + 1023) << 52).as_float("f64") * ((n - half + 1023) << 52).as_float("f64")


def remf(x: Value, y: Value) -> Value:
    """x - trunc(x / y) y, with the sign of x: NaN for infinite x or zero y, x for infinite y. Computed in f64.

    Each turn subtracts the multiple of y 2^n that leaves a remainder below y 2^n, n chosen so that the quotient has at
    most 52 bits. The remainder is then a multiple of the last place of y 2^n, hence exact.
    """
    wide_x, wide_y = x.to("f64"), y.to("f64")
    a, b = absolute(wide_x), absolute(wide_y)
    regular = (a < inf) & (b > 0.0) & (b < inf)
    divisor = select(regular, b, 1.0)
    exponent = _exponent(divisor)

    def subtract(r: Value) -> tuple[Value]:
        excess = _exponent(r) - exponent - 51
        step = _scaled(divisor, select(excess > 0, excess, 0))
        rest = fma(-trunc(r / step), step, r)
        return (select(rest < 0.0, rest + step, rest),)

    (rest,) = repeat_while(lambda r: any_lane(r >= divisor), subtract, (select(regular, a, 0.0),))
    special = select((a < inf) & b.eq(inf), a, nan)
    return copy_sign(select(regular, rest, special).to(x.kind), x)
