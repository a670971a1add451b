"""What every lumir op shares: declaration, type inference, verification and building.

An op is a class with its operands and attributes as annotations, a docstring, and one static method
`infer(operand types..., **attributes) -> result type`. The builder uses it to make the result type; the verifier calls
it again and compares. So a rule is written once, and its message is the same wherever it is broken.
"""

import typing
from collections.abc import Sequence
from typing import Any, get_origin

from lumir.mlir import ext, ir

Tensor = ir.RankedTensorType
Shape = tuple[int, ...]


class RuleError(ValueError):
    """A broken rule of an op: the text says which operand or attribute, the rule, and the values seen."""


def require(condition: bool, rule: str, **seen: Any) -> None:
    """Raise `RuleError` with the rule and the values seen, unless the condition holds."""
    if not condition:
        values = ", ".join(f"{name} = {show(value)}" for name, value in seen.items())
        raise RuleError(f"{rule}{f' (found {values})' if values else ''}")


def show(value: Any) -> str:
    return "[" + ", ".join(str(v) for v in value) + "]" if isinstance(value, tuple | list) else str(value)


def shape(type_: ir.Type) -> Shape:
    return tuple(ir.RankedTensorType(type_).shape)


def element(type_: ir.Type) -> ir.Type:
    return ir.RankedTensorType(type_).element_type


def tensor(dims: Sequence[int], element_type: ir.Type) -> ir.RankedTensorType:
    return ir.RankedTensorType.get(list(dims), element_type)


def is_float(type_: ir.Type) -> bool:
    return isinstance(type_, ir.FloatType)


def is_bool(type_: ir.Type) -> bool:
    return isinstance(type_, ir.IntegerType) and type_.width == 1


def is_int(type_: ir.Type) -> bool:
    return isinstance(type_, ir.IntegerType) and type_.width > 1


def normalize_axis(axis: int, rank: int, name: str = "axis") -> int:
    require(-rank <= axis < rank, f"{name} must be in -rank..rank-1", **{name: axis, "rank": rank})
    return axis % rank


def broadcast(*shapes: Shape) -> Shape:
    """The shape that numpy's rules give operands of these shapes."""
    rank = max(len(s) for s in shapes)
    padded = [(1,) * (rank - len(s)) + s for s in shapes]
    result = []
    for axis, dims in enumerate(zip(*padded, strict=True)):
        wide = {d for d in dims if d != 1}
        require(len(wide) <= 1, "operand shapes must broadcast", shapes=[show(s) for s in shapes], axis=axis)
        result.append(wide.pop() if wide else 1)
    return tuple(result)


def to_attribute(value: Any) -> ir.Attribute:
    """A Python value as an attribute: an int is i64, a float f64, a sequence of ints array<i64: ...>."""
    match value:
        case ir.Attribute():
            return value
        case bool():
            return ir.BoolAttr.get(value)
        case int():
            return ir.IntegerAttr.get(ir.IntegerType.get_signless(64), value)
        case float():
            return ir.FloatAttr.get(ir.F64Type.get(), value)
        case str():
            return ir.StringAttr.get(value)
        case bytes():
            return ir.StringAttr.get(value)
        case ir.Type():
            return ir.TypeAttr.get(value)
        case dict():
            return ir.DictAttr.get({k: to_attribute(v) for k, v in value.items()})
        case tuple() | list() if all(type(v) is int for v in value):
            return ir.DenseI64ArrayAttr.get(list(value))
        case tuple() | list():
            return ir.ArrayAttr.get([to_attribute(v) for v in value])
    raise TypeError(f"no attribute for {value!r} of type {type(value).__name__}")


def from_attribute(attribute: ir.Attribute) -> Any:
    """The inverse of `to_attribute`; attributes that have no Python value are returned as they are."""
    match attribute:
        case ir.BoolAttr() | ir.IntegerAttr() | ir.FloatAttr() | ir.StringAttr() | ir.TypeAttr():
            return attribute.value
        case ir.FlatSymbolRefAttr():
            return attribute.value
        case ir.DenseI64ArrayAttr():
            return tuple(attribute)
        case ir.ArrayAttr():
            return tuple(from_attribute(a) for a in attribute)
        case ir.DictAttr():
            return {named.name: from_attribute(named.attr) for named in attribute}
    return attribute


class Lumir(ext.Dialect, name="lumir"):
    """Tensor operations of neural-network inference, and the dispatches they are grouped into."""


class Op(ext.Operation):
    """Base of lumir's ops; see the module's docstring."""

    infer = None

    @classmethod
    def operand_count(cls) -> tuple[int, bool]:
        """The number of named operands, and whether the last one is variadic."""
        hints = typing.get_type_hints(cls)
        kinds = [get_origin(h) is Sequence for h in hints.values() if _is_operand(h)]
        return len(kinds), bool(kinds and kinds[-1])


def _is_operand(hint: Any) -> bool:
    inner = typing.get_args(hint)[0] if get_origin(hint) is Sequence else hint
    return get_origin(inner) is ir.Value


def attributes_of(op: ir.OpView | ir.Operation) -> dict[str, Any]:
    """The op's attributes as Python values, by name."""
    return {name: from_attribute(attribute) for name, attribute in op.operation.attributes.items()}


def verify_inferred(op: ir.OpView) -> bool:
    """Infer the result types again; on a difference, emit an error with op, rule and values at the op's location."""
    cls = OPS[op.operation.name.removeprefix("lumir.")]
    if cls.infer is None:
        return True
    try:
        inferred = cls.infer(*(value.type for value in op.operands), **attributes_of(op))
        expected = list(inferred) if isinstance(inferred, list) else [inferred]
        found = [result.type for result in op.results]
        require(found == expected, "result type must be the inferred one", expected=expected, result=found)
    except RuleError as error:
        op.location.emit_error(f"'{op.operation.name}' op {error}")
        return False
    except TypeError as error:
        reason = str(error).partition("infer() ")[2] or str(error)
        op.location.emit_error(f"'{op.operation.name}' op is malformed: {reason}")
        return False
    return True


OPS: dict[str, type[Op]] = {}


def register(cls: type[Op]) -> type[Op]:
    """Enter an op's class into the table of ops by its short name."""
    OPS[cls._op_name] = cls  # pyright: ignore[reportAttributeAccessIssue]
    return cls


def build(name: str, *operands: ir.Value, results: Sequence[ir.Type] | None = None, **attributes: Any) -> Any:
    """Build `lumir.<name>` at the current insertion point and location.

    Args:
        name: the op's short name, e.g. `transpose`.
        operands: SSA values, in the declared order.
        results: the result types of an op that does not infer them.
        attributes: Python values (see `to_attribute`); `None` leaves an optional attribute out.

    Returns:
        the single result, or the list of results when there is not exactly one.

    Raises:
        RuleError: the operands or attributes break a rule of the op.
    """
    cls = OPS[name]
    attributes = {key: value for key, value in attributes.items() if value is not None}
    if cls.infer is not None:
        normalized = {key: from_attribute(to_attribute(value)) for key, value in attributes.items()}
        inferred = cls.infer(*(operand.type for operand in operands), **normalized)
        results = inferred if isinstance(inferred, list) else [inferred]
    op = ir.Operation.create(
        f"lumir.{name}",
        results=list(results or []),
        operands=list(operands),
        attributes={key: to_attribute(value) for key, value in attributes.items()},
    )
    return op.results[0] if len(op.results) == 1 else list(op.results)
