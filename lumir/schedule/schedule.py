"""Schedules: how one kernel family runs one dispatch, as data."""

from collections.abc import Mapping
from dataclasses import MISSING, Field, asdict, dataclass, fields
from typing import Any, Literal, Self, get_args, get_origin

from lumir.dialects import from_attribute, to_attribute
from lumir.mlir import ir

MOST = 2**31
"""No number of a schedule reaches it."""


@dataclass(frozen=True)
class Schedule:
    """Base of every family's schedule: a frozen dataclass of ints, bools and literals that prints as an attribute.

    A number is at least 1, or 0 where that is its default.
    """

    def to_attribute(self) -> ir.Attribute:
        return to_attribute(asdict(self))

    @classmethod
    def from_attribute(cls, attribute: ir.Attribute) -> Self:
        values: dict[str, Any] = from_attribute(attribute)
        return cls(**{f.name: values[f.name] for f in fields(cls) if f.name in values})

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """The schedule with the values that somebody wrote down; others are as by default.

        Raises:
            ValueError: what is unknown, missing, or no value of its field.
        """
        known = {f.name: f for f in fields(cls)}
        if unknown := [name for name in values if name not in known]:
            raise ValueError(f"there is no {', '.join(unknown)} in it, only {', '.join(known)}")
        if missing := [name for name, f in known.items() if f.default is MISSING and name not in values]:
            raise ValueError(f"it says no {', '.join(missing)}")
        for name, value in values.items():
            if not _is_of(known[name], value):
                raise ValueError(f"{name} is {value!r}, not {_words(known[name])}")
        return cls(**values)


def _least(field: Field[Any]) -> int:
    return 0 if field.default == 0 else 1


def _is_of(field: Field[Any], value: Any) -> bool:
    if get_origin(field.type) is Literal:
        return value in get_args(field.type)
    if field.type is int:
        return type(value) is int and _least(field) <= value < MOST
    return isinstance(value, field.type) if isinstance(field.type, type) else True


def _words(field: Field[Any]) -> str:
    if get_origin(field.type) is Literal:
        return " or ".join(get_args(field.type))
    if field.type is int:
        return f"a number from {_least(field)} on"
    return "true or false" if field.type is bool else f"of type {getattr(field.type, '__name__', field.type)}"
