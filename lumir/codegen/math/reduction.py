"""x = q pi/2 + r with |r| <= pi/4, for every finite x.

Small |x|: three parts of pi/2 subtracted by fused multiply-adds (Cody and Waite 1980). Large |x|: the window of 2/pi
that matters, multiplied in fixed point (Payne and Hanek 1983), on a branch that is taken only if some lane needs it.
"""

from itertools import pairwise
from math import inf

from lumir.codegen.math.constants import HALF_PI, TWO_OVER_PI, TWO_OVER_PI_WORDS
from lumir.codegen.math.control import any_lane, when
from lumir.codegen.math.operations import absolute, fma, select, wide_product
from lumir.codegen.math.values import BIAS, MANTISSA, Value

_MAGIC = {"f32": 1.5 * 2.0**23, "f64": 1.5 * 2.0**52}  # added, it leaves the rounded integer in the low bits
_LARGE = {"f32": 2.0**16, "f64": 2.0**30}
_LAST_WORD = {"f32": 2, "f64": 16}  # where the window of the largest finite number begins


def reduce_quadrant(x: Value) -> tuple[Value, Value]:
    """(r, q): q is an integer of the width of x, of which the two low bits count. NaN and infinity give r = NaN."""
    shifted = fma(x, TWO_OVER_PI[x.kind], _MAGIC[x.kind])
    n, r = shifted - _MAGIC[x.kind], x
    for part in HALF_PI[x.kind]:
        r = fma(n, -part, r)
    quadrant, magnitude = shifted.bits(), absolute(x)
    large = (magnitude > _LARGE[x.kind]) & (magnitude < inf)

    def exact() -> tuple[Value, Value]:
        large_r, large_quadrant = _reduce_large(x)
        return select(large, large_r, r), select(large, large_quadrant, quadrant)

    r, quadrant = when(any_lane(large), exact, (r, quadrant))
    return r, quadrant


def _reduce_large(x: Value) -> tuple[Value, Value]:
    """Payne and Hanek: |x| = m 2^e; of m 2^e (2/pi) only the bits of weight 2 and below matter."""
    kind, mantissa_bits = x.kind, MANTISSA[x.kind]
    bits = x.bits().zero_extended("i64") if kind == "f32" else x.bits()
    mantissa = (bits & ((1 << mantissa_bits) - 1)) | (1 << mantissa_bits)
    exponent = ((bits >> mantissa_bits) & (2 * BIAS[kind] + 1)) - (BIAS[kind] + mantissa_bits)
    product = _product_single if kind == "f32" else _product_double
    high, low = product(mantissa, exponent + 62)
    quadrant = (high + (1 << 61)) >> 62
    r = _fraction_to_angle(high - (quadrant << 62), low, kind)
    negative = x < 0.0
    quadrant = quadrant if kind == "f64" else quadrant.to("i32")
    return select(negative, -r, r), select(negative, -quadrant, quadrant)


def _window(position: Value, words: int, last: int) -> list[Value]:
    """`words` words of 2/pi from that bit on; the word where the window begins is found by comparing."""
    index, shift = position >> 6, position & 63
    found = [position.like(TWO_OVER_PI_WORDS[k]) for k in range(words + 1)]
    for first in range(1, last + 1):
        here = index.eq(first)
        found = [select(here, TWO_OVER_PI_WORDS[first + k], word) for k, word in enumerate(found)]
    spill = 63 - shift
    return [(word << shift) | ((following >> 1) >> spill) for word, following in pairwise(found)]


def _product_single(mantissa: Value, position: Value) -> tuple[Value, Value | None]:
    """The upper 64 of 128 bits, in units of 2^-62 quarter turns, modulo four; 24-bit mantissa."""
    high, middle = _window(position, 2, _LAST_WORD["f32"])
    return mantissa * high + ((mantissa * (middle >> 32)) >> 32), None


def _product_double(mantissa: Value, position: Value) -> tuple[Value, Value | None]:
    """The upper 128 of 192 bits, in units of 2^-62 and 2^-126 quarter turns, modulo four; 53-bit mantissa."""
    high, middle, low = _window(position, 3, _LAST_WORD["f64"])
    middle_low, middle_high = wide_product(mantissa, middle)
    fraction = middle_low + wide_product(mantissa, low)[1]
    carry = fraction.compare("<u", middle_low).zero_extended("i64")
    return mantissa * high + middle_high + carry, fraction


def _fraction_to_angle(high: Value, low: Value | None, kind: str) -> Value:
    """Signed fixed point, in quarter turns, to radians."""
    unit = 2.0**-62
    if low is None:
        return (high.to("f64") * (HALF_PI["f64"][0] * unit)).to(kind)
    tail_bits = high & 0x7FF
    head = (high - tail_bits).to("f64")
    tail = fma((low >> 11).to("f64"), 2.0**-53, tail_bits.to("f64"))
    total = head + tail
    rest = (head - total) + tail
    part, part_low = HALF_PI["f64"][0] * unit, HALF_PI["f64"][1] * unit
    return fma(total, part, fma(total, part_low, rest * part))
