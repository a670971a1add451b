"""What operands and attributes may be, as annotations that become IRDL constraints.

IRDL is what other toolchains check; `lumir.dialects.base.verify` runs first here and says the same in more words.
"""

import functools
import operator
import types
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, TypeVar, get_args, get_origin

from lumir.mlir import ext, ir
from lumir.sizes import Size


class IntArray(ir.Attribute):
    """`array<i64: ...>`."""

    attr_name = "builtin.dense_array"


class _Bool(ir.Attribute):
    __class_getitem__ = classmethod(types.GenericAlias)
    get = ir.BoolAttr.get


class _Text(ir.Attribute):
    __class_getitem__ = classmethod(types.GenericAlias)
    get = ir.StringAttr.get


def one_of(*choices: str) -> Any:
    """The constraint of a string attribute that must be one of `choices`."""
    return functools.reduce(operator.or_, (_Text[choice] for choice in choices))


Flag: TypeAlias = _Bool[True] | _Bool[False]
SizeAttr: TypeAlias = ir.IntegerAttr | ir.StringAttr
"""An integer, or a size as text: `"seq + 1"`."""
SizeArray: TypeAlias = IntArray | ir.ArrayAttr
"""`array<i64: ...>`, or an array of integers and of sizes as text: `["batch", 384]`."""
Tensor = ir.RankedTensorType
SameType = TypeVar("SameType", bound=ir.RankedTensorType)

Field: TypeAlias = Literal["operand", "result", "attribute", "region"]
_FIELDS: dict[Any, Field] = {ir.Value: "operand", ir.OpResult: "result"}
_PYTHON: dict[Any, tuple[type | tuple[type, ...], str]] = {
    ir.IntegerAttr: (int, "an integer"),
    ir.FloatAttr: (float, "a float"),
    ir.StringAttr: (str, "a string"),
    ir.TypeAttr: (ir.Type, "a type"),
    ir.FlatSymbolRefAttr: (str, "a symbol"),
    IntArray: (tuple, "array<i64: ...>"),
    SizeArray: (tuple, "array<i64: ...>, or an array of integers and texts"),
    SizeAttr: ((int, Size), "a size"),
}


def says_sizes(hint: Any) -> bool:
    """Whether an attribute of this annotation holds sizes."""
    return hint in (SizeAttr, SizeArray)


def field_kind(hint: Any) -> tuple[Field, bool]:
    """Whether an annotation declares an operand, a result, an attribute or a region; and whether it is variadic."""
    variadic = get_origin(hint) is Sequence
    inner = get_args(hint)[0] if variadic else hint
    return ("region" if inner is ext.Region else _FIELDS.get(get_origin(inner), "attribute")), variadic


def attribute_rule(hint: Any) -> tuple[type | tuple[type, ...], str]:
    """The Python type that `from_attribute` gives an attribute of this annotation, and its name in words."""
    if hint in _PYTHON:
        return _PYTHON[hint]
    alternatives = [get_args(part)[0] for part in get_args(hint)]
    if hint == Flag:
        return bool, "true or false"
    if alternatives:
        return str, "one of " + ", ".join(f'"{name}"' for name in alternatives)
    return object, "an attribute"
