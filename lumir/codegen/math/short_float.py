"""Conversions between float32 and the floats of 8, 6 and 4 bits, by integer arithmetic on their patterns.

Formats are those of the OCP specifications for 8-bit floats (2023) and microscaling (2023), and the two FNUZ formats of
Noune et al., "8-bit numerical formats for deep neural networks" (2022). Overflow without saturation gives what the
format has for it: infinity, else NaN, else the largest number.
"""

from dataclasses import dataclass

from lumir.codegen.math.narrow import to_f32_odd
from lumir.codegen.math.operations import absolute, select
from lumir.codegen.math.values import Value

_F32_MANTISSA, _F32_BIAS = 23, 127


@dataclass(frozen=True)
class Format:
    """A sign, `exponent` bits with `bias`, and `mantissa` bits.

    Args:
        largest: the pattern of the largest finite number.
        overflow: the pattern beyond it.
        nan: the pattern of NaN; None where there is none: a NaN becomes a zero of the other sign, as in ml_dtypes.
        unsigned_zero: 0x80 is NaN and not the negative zero.
    """

    exponent: int
    mantissa: int
    bias: int
    largest: int
    overflow: int
    nan: int | None
    unsigned_zero: bool = False

    @property
    def bits(self) -> int:
        return 1 + self.exponent + self.mantissa

    @property
    def sign(self) -> int:
        return 1 << (self.bits - 1)


FORMATS = {
    "f8E4M3FN": Format(4, 3, 7, 0x7E, 0x7F, 0x7F),
    "f8E5M2": Format(5, 2, 15, 0x7B, 0x7C, 0x7E),
    "f8E4M3FNUZ": Format(4, 3, 8, 0x7F, 0x80, 0x80, unsigned_zero=True),
    "f8E5M2FNUZ": Format(5, 2, 16, 0x7F, 0x80, 0x80, unsigned_zero=True),
    "f6E2M3FN": Format(2, 3, 1, 0x1F, 0x1F, None),
    "f6E3M2FN": Format(3, 2, 3, 0x1F, 0x1F, None),
    "f4E2M1FN": Format(2, 1, 1, 0x7, 0x7, None),
}
SCALE = "f8E8M0FNU"
"""A power of two without a sign: the pattern is the exponent, and 0xFF is NaN."""
WIDTHS = {**{name: format_.bits for name, format_ in FORMATS.items()}, SCALE: 8}


def from_bits(name: str, pattern: Value) -> Value:
    """The float32 of a pattern of the format `name`, held in an integer of the format's width. Exact."""
    wide = pattern.zero_extended("i32")
    if name == SCALE:
        number = select(wide.eq(0), 1 << (_F32_MANTISSA - 1), wide << _F32_MANTISSA)
        return select(wide.eq(0xFF), 0x7FC00000, number).as_float("f32")
    format_ = FORMATS[name]
    sign, magnitude = wide & format_.sign, wide & (format_.sign - 1)
    # The exponent at the foot of float32's: too small by the difference of the biases, also where it is subnormal.
    scaled = (magnitude << (_F32_MANTISSA - format_.mantissa)).as_float("f32") * 2.0 ** (_F32_BIAS - format_.bias)
    bits = scaled.bits() | (sign << (32 - format_.bits))
    if format_.nan is None:
        return bits.as_float("f32")
    if format_.unsigned_zero:
        return select(wide.eq(format_.nan), 0x7FC00000, bits).as_float("f32")
    bits = select(magnitude.compare(">u", format_.largest), bits | 0x7FC00000, bits)
    if format_.overflow != format_.nan:
        infinity = (sign << (32 - format_.bits)) | 0x7F800000
        bits = select(magnitude.eq(format_.overflow), infinity, bits)
    return bits.as_float("f32")


def to_bits(name: str, x: Value) -> Value:
    """The pattern, in an integer of the format's width, of the number nearest to a float; ties go to even."""
    x = to_f32_odd(x) if x.kind == "f64" else x.to("f32")
    if name == SCALE:
        return _to_scale(x).to("i8")
    format_ = FORMATS[name]
    code = _magnitude(format_, absolute(x))
    signed = code | ((x.bits() >> (32 - format_.bits)) & format_.sign)
    if format_.unsigned_zero:
        signed = select(code.eq(0), 0, select(code.eq(format_.overflow), format_.overflow, signed))
    if format_.nan is None:
        zero = ((~x.bits()) >> (32 - format_.bits)) & format_.sign
        signed = select(x.is_nan(), zero, signed)
    elif format_.unsigned_zero:
        signed = select(x.is_nan(), format_.nan, signed)
    else:
        sign = (x.bits() >> (32 - format_.bits)) & format_.sign
        signed = select(x.is_nan(), sign | format_.nan, signed)
    return signed.to(f"i{format_.bits}")


def _magnitude(format_: Format, x: Value) -> Value:
    """The pattern of a number that is not negative, as an i32."""
    dropped = _F32_MANTISSA - format_.mantissa
    bits = x.bits()
    half = (1 << (dropped - 1)) - 1
    rounded = (bits + ((bits >> dropped) & 1) + half) >> dropped
    normal = rounded - ((_F32_BIAS - format_.bias) << format_.mantissa)
    # Adding a number whose last place is the smallest subnormal rounds to it, and leaves the count in the low bits.
    magic = 2.0 ** (1 - format_.bias - format_.mantissa + _F32_MANTISSA)
    subnormal = (x + magic).bits() - x.emitter.constant("f32", magic).bits()
    code = select(x < 2.0 ** (1 - format_.bias), subnormal, normal)
    return select(code > format_.largest, format_.overflow, code)


def _to_scale(x: Value) -> Value:
    bits = x.bits()
    rounded = (bits + ((bits >> _F32_MANTISSA) & 1) + ((1 << (_F32_MANTISSA - 1)) - 1)) >> _F32_MANTISSA
    tiny = select(bits > (3 << (_F32_MANTISSA - 2)), x.emitter.constant("i32", 1), 0)
    code = select(bits < (1 << _F32_MANTISSA), tiny, rounded)
    return select((x > 0.0) & (x < float("inf")), code, 0xFF)
