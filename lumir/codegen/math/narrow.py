"""Rounding to 16-bit floats by integer arithmetic; x86 without AVX512-BF16 or AVX512-FP16 would call a library."""

from lumir.codegen.math.operations import absolute, select
from lumir.codegen.math.values import Value


def to_bf16(x: Value) -> Value:
    """f32 or f64 to bf16, to nearest even; NaN stays a quiet NaN."""
    single = to_f32_odd(x) if x.kind == "f64" else x
    bits = single.bits()
    rounded = bits + ((bits >> 16) & 1) + 0x7FFF
    pattern = select(single.is_nan(), bits | 0x400000, rounded) >> 16
    return pattern.to("i16").as_float("bf16")


def to_f32_odd(x: Value) -> Value:
    """f64 to f32, inexact results to the neighbour with an odd last bit: rounding that to 16 bits is then correct."""
    nearest = x.to("f32")
    back, magnitude = absolute(nearest.to("f64")), absolute(x)
    bits = nearest.bits()
    toward_zero = select(back > magnitude, bits - 1, bits)
    inexact = (back > magnitude) | (back < magnitude)
    return select(inexact, toward_zero | 1, bits).as_float("f32")


def to_f16(x: Value) -> Value:
    """f32 or f64 to f16, to nearest even."""
    return (to_f32_odd(x) if x.kind == "f64" else x).to("f16")
