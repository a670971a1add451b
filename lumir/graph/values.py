"""Looking at lumir IR in few words: shapes, definitions, uses, constants."""

from typing import Any

from lumir.dialects import attribute_of, shape_of_type
from lumir.dialects.constants import splat_value
from lumir.mlir import ir
from lumir.sizes import Shape


def shape(value: ir.Value) -> Shape:
    return shape_of_type(value.type)


def element(value: ir.Value) -> ir.Type:
    return ir.RankedTensorType(value.type).element_type


def short_name(op: ir.Operation) -> str:
    """`transpose` of `lumir.transpose`; other dialects' names as they are."""
    return op.name.removeprefix("lumir.")


def attribute(op: ir.Operation, name: str) -> Any:
    """An attribute as a Python value."""
    return attribute_of(op, name)


def definition(value: ir.Value, *names: str) -> ir.Operation | None:
    """The lumir op that `value` is a result of, if it has one of the short names (any lumir op without names)."""
    owner = value.owner
    if isinstance(owner, ir.Block):
        return None
    op = owner.operation
    if not op.name.startswith("lumir."):
        return None
    return op if not names or short_name(op) in names else None


def users(value: ir.Value) -> list[ir.Operation]:
    """The ops that use the value, one entry a use."""
    return [use.owner.operation for use in value.uses]


def is_splat(value: ir.Value, *numbers: float) -> bool:
    """Whether every element is known to be one of the numbers."""
    found = splat_value(value)
    return found is not None and found in numbers


def split_scalar(op: ir.Operation) -> tuple[ir.Value, float] | None:
    """`(x, c)` of a binary op with one splat operand c and the shape of x; c may be on the left if the op commutes."""
    lhs, rhs = op.operands
    result = shape(op.results[0])
    number = splat_value(rhs)
    if number is not None and result == shape(lhs):
        return lhs, number
    number = splat_value(lhs) if short_name(op) in COMMUTATIVE else None
    if number is not None and result == shape(rhs):
        return rhs, number
    return None


COMMUTATIVE = frozenset(["add", "mul", "max", "min", "and", "or", "xor", "eq", "ne"])
