"""The LUMIR_* environment variables: one typed table, read once per `from_environment()`.

A field `dump_dir` is the variable `LUMIR_DUMP_DIR`. A name that is not in the table, or a value of the wrong type, is
an error: a mistyped variable must not be ignored in silence.
"""

import dataclasses
import difflib
import os
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lumir.diagnostics import UserError
from lumir.option_values import describe_type, format_value, parse_value

PREFIX = "LUMIR_"


@dataclass(frozen=True)
class Options:
    """What the environment asks for."""

    dump_dir: Path | None = field(default=None, metadata={"help": "folder for the IR after each step and pass"})
    reproducer_dir: Path | None = field(default=None, metadata={"help": "folder for reproducers of internal errors"})
    print_ir_before: tuple[str, ...] = field(default=(), metadata={"help": "print the IR before these passes"})
    print_ir_after: tuple[str, ...] = field(default=(), metadata={"help": "print the IR after these passes"})
    print_ir_after_change: bool = field(
        default=False, metadata={"help": "print the IR after each pass that changes it"}
    )
    timing: bool = field(default=False, metadata={"help": "print the time of each step and pass at the end"})
    num_threads: int | None = field(default=None, metadata={"help": "threads of the CPU runtime, 1 to 1024"})
    tuning_db: Path | None = field(default=None, metadata={"help": "tuning database, or a folder of them"})
    verify_each: bool = field(default=True, metadata={"help": "verify the IR after each pass"})


def from_environment(environment: Mapping[str, str] | None = None) -> Options:
    """The options that the environment (`os.environ` by default) sets.

    Raises `UserError`: `unknown-variable` or `bad-variable`.
    """
    environment = os.environ if environment is None else environment
    kinds = typing.get_type_hints(Options)
    known = {PREFIX + option.name.upper(): option.name for option in dataclasses.fields(Options)}
    values: dict[str, Any] = {}
    for variable in sorted(name for name in environment if name.startswith(PREFIX)):
        if variable not in known:
            close = difflib.get_close_matches(variable, known, n=1)
            raise UserError(
                f"unknown environment variable {variable}",
                code="unknown-variable",
                values={"variables": ", ".join(known)},
                hint=f"did you mean {close[0]}?" if close else "unset it",
            )
        try:
            values[known[variable]] = parse_value(environment[variable], kinds[known[variable]])
        except ValueError as error:
            raise UserError(f"environment variable {variable}: {error}", code="bad-variable") from None
    return Options(**values)


def describe() -> str:
    """The table for people: one line a variable."""
    kinds = typing.get_type_hints(Options)
    return "\n".join(
        f"{PREFIX}{option.name.upper()}: {option.metadata['help']} "
        f"({describe_type(kinds[option.name])}; default {format_value(option.default, kinds[option.name]) or 'empty'})"
        for option in dataclasses.fields(Options)
    )
