"""isnan, isinf, isfinite and isnormal by the bit pattern, and |x| of integers.

Of these the conversion to LLVM knows only some, and the one to NVVM makes calls of libdevice of them.
"""

from lumir.codegen.math.values import BITS, MANTISSA, Value


def _infinity(x: Value) -> int:
    sign = 1 << (BITS[x.kind] - 1)
    return sign - (1 << MANTISSA[x.kind])


def _magnitude(x: Value) -> Value:
    return x.bits() & ((1 << (BITS[x.kind] - 1)) - 1)


def is_nan(x: Value) -> Value:
    """Whether x is a NaN."""
    return _magnitude(x) > _infinity(x)


def is_infinite(x: Value) -> Value:
    """Whether x is plus or minus infinity."""
    return _magnitude(x).eq(_infinity(x))


def is_finite(x: Value) -> Value:
    """Whether x is neither infinite nor NaN."""
    return _magnitude(x) < _infinity(x)


def is_normal(x: Value) -> Value:
    """Whether x is finite, nonzero and not denormal."""
    return is_finite(x) & (_magnitude(x) >= (1 << MANTISSA[x.kind]))


def absolute_integer(x: Value) -> Value:
    """|x| of a signed integer; the smallest stays as it is."""
    sign = x.arithmetic_shift(int(x.kind[1:]) - 1)
    return (x ^ sign) - sign
