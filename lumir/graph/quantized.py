"""Tensors that are integers minus a zero point, maybe times a scale: what a product in integers is made of."""

import math
from dataclasses import dataclass

from lumir.dialects import build
from lumir.dialects.base import is_int
from lumir.dialects.constants import splat_value
from lumir.graph.values import definition, element, is_splat, shape
from lumir.mlir import ir


@dataclass(frozen=True)
class Factor:
    """(integers - zero) * scale.

    Args:
        integers: of 8 bits.
        zero: of 8 bits or int32, broadcasts to the integers; None for 0.
        scale: float32, broadcasts to the integers; None for 1.
    """

    integers: ir.Value
    zero: ir.Value | None
    scale: ir.Value | None

    @property
    def parameters(self) -> list[ir.Value]:
        return [value for value in (self.zero, self.scale) if value is not None]

    @property
    def largest(self) -> int:
        """The largest magnitude that an integer may have after the zero point is taken off."""
        low, high = byte_range(element(self.integers))
        middle = 0 if self.zero is None else splat_value(self.zero)
        return high - low if middle is None else max(abs(low - int(middle)), abs(high - int(middle)))


def i32() -> ir.Type:
    return ir.IntegerType.get_signless(32)


def is_byte(type_: ir.Type) -> bool:
    return is_int(type_) and ir.IntegerType(type_).width == 8


def byte_range(type_: ir.Type) -> tuple[int, int]:
    return (0, 255) if ir.IntegerType(type_).is_unsigned else (-128, 127)


def dequantized(value: ir.Value) -> Factor | None:
    """The factor that a float32 value is, if `lumir.dequantize` computes it from bytes."""
    op = definition(value, "dequantize")
    if op is None or not is_byte(element(op.operands[0])):
        return None
    x, scale, zero = op.operands
    return Factor(x, None if is_splat(zero, 0) else zero, scale)


def centered(value: ir.Value) -> Factor | None:
    """The factor that an int32 value is: a byte cast up, or one minus a zero point."""
    difference = definition(value, "sub")
    x, zero = difference.operands if difference else (value, None)
    op = definition(x, "cast")
    if op is None or not is_byte(element(op.operands[0])) or shape(x) != shape(value):
        return None
    return Factor(op.operands[0], zero, None)


def fits_byte(zero: ir.Value, type_: ir.Type) -> bool:
    """Whether a zero point is known to be a value of the 8-bit type."""
    op, number, (low, high) = definition(zero, "cast"), splat_value(zero), byte_range(type_)
    if number is not None:
        return low <= number <= high
    return element(zero) == type_ or (op is not None and element(op.operands[0]) == type_)


def is_single(value: ir.Value) -> bool:
    return math.prod(shape(value)) == 1


def as_type(value: ir.Value, type_: ir.Type) -> ir.Value:
    return value if element(value) == type_ else build("cast", value, to=type_)


def scaled(total: ir.Value, scales: list[ir.Value]) -> ir.Value:
    """An int32 sum times the scales, whose product is taken first, in float32; the sum itself where there are none."""
    if not scales:
        return total
    product = scales[0]
    for scale in scales[1:]:
        product = build("mul", product, scale)
    return build("mul", build("cast", total, to=ir.F32Type.get()), product)


def summed(x: ir.Value, axes: list[int]) -> ir.Value:
    """The int32 sum of integers over the axes."""
    wide = as_type(x, i32())
    return build("reduce", wide, kind="sum", axes=axes) if axes else wide
