"""Schedules: how one kernel family runs one dispatch, as data."""

from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from lumir.dialects import from_attribute, to_attribute
from lumir.mlir import ir


@dataclass(frozen=True)
class Schedule:
    """Base of every family's schedule: a frozen dataclass of ints, bools and strings that prints as an attribute."""

    def to_attribute(self) -> ir.Attribute:
        return to_attribute(asdict(self))

    @classmethod
    def from_attribute(cls, attribute: ir.Attribute) -> Self:
        values: dict[str, Any] = from_attribute(attribute)
        return cls(**{f.name: values[f.name] for f in fields(cls) if f.name in values})
