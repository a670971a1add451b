"""What every lumir op shares: declaration, type inference, verification and building.

An op is a class with its operands and attributes as annotations, a docstring, and one static method
`infer(operand types..., **attributes) -> result type`. The builder uses it to make the result type; the verifier calls
it again and compares. So a rule is written once, and its message is the same wherever it is broken.
"""

import functools
import inspect
import itertools
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from lumir.dialects.constraints import attribute_rule, field_kind, says_sizes
from lumir.dialects.shapes import has_sizes, shape_of_type, tensor_type
from lumir.mlir import ext, ir
from lumir.size_text import parse_size
from lumir.sizes import Dim, Shape, Size, equal
from lumir.symbols import Undecided

Tensor = ir.RankedTensorType


class RuleError(ValueError):
    """A broken rule of an op: the text says which operand or attribute, the rule, and the values seen."""


def require(condition: bool, rule: str, **seen: Any) -> None:
    """Raise `RuleError` with the rule and the values seen, unless the condition holds."""
    if not condition:
        values = ", ".join(f"{name} = {show(value)}" for name, value in seen.items())
        raise RuleError(f"{rule}{f' (found {values})' if values else ''}")


def show(value: Any) -> str:
    return "[" + ", ".join(str(v) for v in value) + "]" if isinstance(value, tuple | list) else str(value)


def possible(condition: Callable[[], bool]) -> bool:
    """Whether a rule holds, as far as the ranges of symbols tell: what they leave open is not refuted."""
    try:
        return condition()
    except Undecided:
        return True


def equal_shapes(x: Sequence[Dim], y: Sequence[Dim]) -> bool:
    """Whether two shapes are the same; raises `Undecided` where that depends on a symbol."""
    return len(x) == len(y) and all(equal(a, b) for a, b in zip(x, y, strict=True))


def shape(type_: ir.Type) -> Shape:
    return shape_of_type(type_)


def element(type_: ir.Type) -> ir.Type:
    return ir.RankedTensorType(type_).element_type


def tensor(dims: Sequence[Dim], element_type: ir.Type) -> ir.RankedTensorType:
    return tensor_type(dims, element_type)


def is_float(type_: ir.Type) -> bool:
    return isinstance(type_, ir.FloatType)


def is_bool(type_: ir.Type) -> bool:
    return isinstance(type_, ir.IntegerType) and type_.width == 1


def is_int(type_: ir.Type) -> bool:
    return isinstance(type_, ir.IntegerType) and type_.width > 1


def is_element(type_: ir.Type) -> bool:
    return is_float(type_) or isinstance(type_, ir.IntegerType)


def normalize_axis(axis: int, rank: int, name: str = "axis") -> int:
    require(-rank <= axis < rank, f"{name} must be in -rank..rank-1", **{name: axis, "rank": rank})
    return axis % rank


def broadcast(*shapes: Shape) -> Shape:
    """The shape that numpy's rules give operands of these shapes. A size that is not known to be 1 is not repeated."""
    rank = max(len(s) for s in shapes)
    padded = [(1,) * (rank - len(s)) + s for s in shapes]
    result = []
    for axis, dims in enumerate(zip(*padded, strict=True)):
        wide = {d for d in dims if d != 1}
        agree = len(wide) <= 1 or all(equal(x, y) for x, y in itertools.combinations(wide, 2))
        require(agree, "operand shapes must broadcast", shapes=[show(s) for s in shapes], axis=axis)
        result.append(wide.pop() if wide else 1)
    return tuple(result)


def to_attribute(value: Any) -> ir.Attribute:
    """A Python value as an attribute: an int is i64, a float f64, ints array<i64: ...>, a Size its text."""
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
        case Size():
            return ir.StringAttr.get(str(value))
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


class Lumir(ext.Dialect, name="lumir"):  # pyright: ignore[reportGeneralTypeIssues, reportCallIssue]
    """Tensor operations of neural-network inference, and the dispatches they are grouped into."""


class Op(ext.Operation):
    """Base of lumir's ops; see the module's docstring.

    `infer` gives the result type or types; an op whose rule is not about types has `check(op)` instead. Both raise
    `RuleError`.
    """

    infer = None
    check = None


@dataclass(frozen=True)
class Layout:
    """The declared fields of an op.

    Attributes:
        operands: names, in order; the last one may stand for none or many when `variadic`.
        attributes: for each name, the Python type of its value and that type in words.
    """

    operands: tuple[str, ...]
    variadic: bool
    attributes: dict[str, tuple[type | tuple[type, ...], str]]
    results: tuple[str, ...]
    regions: tuple[str, ...]


def layout(cls: type[Op]) -> Layout:
    """The fields that the class's annotations declare."""
    return _layout(cls)  # pyright: ignore[reportArgumentType]


@functools.cache
def _layout(cls: Any) -> Layout:
    hints = cls.__annotations__
    kinds = {name: field_kind(hint) for name, hint in hints.items()}

    def named(kind: str) -> tuple[str, ...]:
        return tuple(name for name, (found, _) in kinds.items() if found == kind)

    return Layout(
        operands=named("operand"),
        variadic=any(variadic for kind, variadic in kinds.values() if kind == "operand"),
        attributes={name: attribute_rule(hints[name]) for name in named("attribute")},
        results=named("result"),
        regions=named("region"),
    )


def attributes_of(op: ir.OpView | ir.Operation) -> dict[str, Any]:
    """The op's declared attributes as Python values, by name; discardable ones (`dialect.name`) are left out."""
    cls = OPS.get(op.operation.name.removeprefix("lumir."))
    return {name: _value(cls, name, attr) for name, attr in op.operation.attributes.items() if "." not in name}


def attribute_of(op: ir.OpView | ir.Operation, name: str) -> Any:
    """One attribute of an op as a Python value."""
    return _value(OPS.get(op.operation.name.removeprefix("lumir.")), name, op.operation.attributes[name])


def _value(cls: type[Op] | None, name: str, attribute: ir.Attribute) -> Any:
    """An attribute as a Python value; the texts in one that says sizes are `Size`s."""
    value = from_attribute(attribute)
    if cls is None or not says_sizes(cls.__annotations__.get(name)):
        return value
    if isinstance(value, tuple):
        return tuple(parse_size(item) if isinstance(item, str) else item for item in value)
    return parse_size(value) if isinstance(value, str) else value


_FOUND_VALID: ContextVar[set[Hashable] | None] = ContextVar("found_valid", default=None)


@contextmanager
def verifying_alike_once() -> Iterator[None]:
    """Inside, ops of the same name, types and attributes are checked once, however often the IR is verified.

    For one module, whose ranges of sizes stay as they are.
    """
    token = _FOUND_VALID.set(set())
    try:
        yield
    finally:
        _FOUND_VALID.reset(token)


def verify(op: ir.OpView) -> bool:
    """Check fields, then infer the result types again; a broken rule is an error at the op's location."""
    cls, known = OPS[op.operation.name.removeprefix("lumir.")], _FOUND_VALID.get()
    if known is None or cls.check is not None:
        return _is_valid(cls, op)
    looks = _looks(op.operation)
    if looks in known:
        return True
    valid = _is_valid(cls, op)
    if valid:
        known.add(looks)
    return valid


def _looks(op: ir.Operation) -> Hashable:
    """All of an op that its rules see, but for a `check` of its class, which may look further."""
    operands, results = (tuple(value.type for value in values) for values in (op.operands, op.results))
    return op.name, operands, tuple(op.attributes.items()), results


def _is_valid(cls: type[Op], op: ir.OpView) -> bool:
    try:
        with op.operation.context:
            _check(cls, op)
    except Undecided:
        return True  # the rule was decided where the op was built, by the ranges that its module declares
    except ValueError as error:
        op.location.emit_error(f"'{op.operation.name}' op {error}")
        return False
    return True


def _check(cls: type[Op], op: ir.OpView) -> None:
    _check_fields(layout(cls), op)
    if cls.infer is not None:
        inferred = cls.infer(*(value.type for value in op.operands), **attributes_of(op))
        expected = list(inferred) if isinstance(inferred, list) else [inferred]
        found = [result.type for result in op.results]
        require(found == expected, "result type must be the inferred one", expected=expected, result=found)
    if cls.check is not None:
        cls.check(op)


def _check_fields(fields: Layout, op: ir.OpView) -> None:
    """Operands, attributes and results are there, and of the declared kind."""
    count, least = len(op.operands), len(fields.operands) - fields.variadic
    words = f"at least {least}" if fields.variadic else str(least)
    require(count == least or (fields.variadic and count > least), f"needs {words} operands", operands=count)
    require(len(op.results) == len(fields.results), f"needs {len(fields.results)} results", results=len(op.results))
    for value in (*op.operands, *op.results):
        known = has_sizes(value.type) or isinstance(value.type, ir.IndexType)
        require(known, "operands and results must be ranked tensors whose every size is given", type=value.type)
    given = attributes_of(op)
    for name, (type_, words) in fields.attributes.items():
        require(name in given, f"needs the attribute '{name}' ({words})")
        matches = isinstance(given[name], type_) and (type_ is not int or not isinstance(given[name], bool))
        require(matches, f"attribute '{name}' must be {words}", **{name: given[name]})
    unknown = sorted(set(given) - set(fields.attributes))
    require(not unknown, "unknown attributes; one of your own needs a prefix with a dot", attributes=unknown)


def sizes_from(attribute: ir.Attribute) -> tuple[Dim, ...]:
    """The ints and Sizes of an array attribute that `to_attribute` made of them."""
    return as_sizes(from_attribute(attribute))


def as_sizes(items: Iterable[int | str]) -> tuple[Dim, ...]:
    """Ints as they are, texts as the Sizes that they say."""
    return tuple(parse_size(item) if isinstance(item, str) else item for item in items)


OPS: dict[str, type[Op]] = {}


def register(cls: type[Op]) -> type[Op]:
    """Enter an op's class into the table of ops by its short name, and give it its verifier."""
    OPS[cls._op_name] = cls  # pyright: ignore[reportAttributeAccessIssue]
    cls.verify_invariants = staticmethod(verify)  # pyright: ignore[reportAttributeAccessIssue]
    return cls


@functools.cache
def _defaults(cls: Any) -> dict[str, Any]:
    """The attributes that `infer` declares a default for."""
    parameters = inspect.signature(cls.infer).parameters.values() if cls.infer else ()
    return {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty}


def build(name: str, *operands: ir.Value, results: Sequence[ir.Type] | None = None, **attributes: Any) -> Any:
    """Build `lumir.<name>` at the current insertion point and location.

    Args:
        name: the op's short name, e.g. `transpose`.
        operands: SSA values, in the declared order.
        results: the result types of an op that does not infer them.
        attributes: Python values (see `to_attribute`); one that is `None` or left out gets the default that the op's
            `infer` declares.

    Returns:
        the single result, or the list of results when there is not exactly one.

    Raises:
        RuleError: the operands or attributes break a rule of the op.
    """
    cls = OPS[name]
    given = {key: value for key, value in attributes.items() if value is not None}
    attributes = _defaults(cls) | given  # pyright: ignore[reportArgumentType]
    if cls.infer is not None:
        normalized = {key: _value(cls, key, to_attribute(value)) for key, value in attributes.items()}
        inferred = cls.infer(*(operand.type for operand in operands), **normalized)
        results = inferred if isinstance(inferred, list) else [inferred]
    op = ir.Operation.create(
        f"lumir.{name}",
        results=list(results or []),
        operands=list(operands),
        attributes={key: to_attribute(value) for key, value in attributes.items()},
    )
    return op.results[0] if len(op.results) == 1 else list(op.results)
