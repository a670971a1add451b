"""Option values between text and Python, both ways: `parse_value(format_value(v, t), t) == v`.

Types: `bool`, `int`, `float`, `str`, `Path`, `Literal[...]`, string enums, `tuple[T, ...]` of those, and `T | None`.
"""

import enum
import json
import re
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

_BARE = re.compile(r"[\w.:/+@%^*$-]+", re.ASCII)
_BOOLS = {"true": True, "1": True, "false": False, "0": False}
_SCALARS = (bool, int, float, str, Path)
_OPENING, _CLOSING = "{[(", "}])"


def split_outside(text: str, separator: str) -> Iterator[str]:
    """Split at the separator (`" "` means any run of white space), but not inside quotes or brackets.

    Raises `ValueError` for a quote or bracket that is not closed.
    """
    start, position = 0, 0
    while position < len(text):
        if text[position] == separator or (separator == " " and text[position].isspace()):
            yield text[start:position]
            start = position = position + 1
            continue
        position = skip_token(text, position)
    yield text[start:]


def skip_token(text: str, position: int) -> int:
    """The position after the character, quoted string or bracketed group that starts at `position`."""
    if text[position] in "\"'":
        return _skip_quoted(text, position)
    if text[position] not in _OPENING:
        return position + 1
    closing = _CLOSING[_OPENING.index(text[position])]
    start, position = position, position + 1
    while position < len(text) and text[position] != closing:
        position = skip_token(text, position)
    if position >= len(text):
        raise ValueError(f"'{text[start]}' at column {start + 1} is not closed")
    return position + 1


def _skip_quoted(text: str, start: int) -> int:
    position = start + 1
    while position < len(text) and text[position] != text[start]:
        position += 2 if text[position] == "\\" and text[start] == '"' else 1
    if position >= len(text):
        raise ValueError(f"the quote at column {start + 1} is not closed")
    return position + 1


def describe_type(kind: Any) -> str:
    """The type as the user reads it: `integer`, `true or false`, `one of a, b`, `integers separated by commas`."""
    inner = _optional_of(kind)
    if inner is not None:
        return f"{describe_type(inner)}, or none"
    if choices := _choices(kind):
        return "one of " + ", ".join(choices)
    if typing.get_origin(kind) is tuple:
        return f"list of {describe_type(typing.get_args(kind)[0])}, separated by commas"
    return {bool: "true or false", int: "integer", float: "number", str: "text", Path: "path"}[kind]


def is_supported(kind: Any) -> bool:
    """Whether values of this type have a text form."""
    inner = _optional_of(kind)
    if inner is not None:
        return is_supported(inner)
    if typing.get_origin(kind) is tuple:
        arguments = typing.get_args(kind)
        return len(arguments) == 2 and arguments[1] is Ellipsis and _is_element(arguments[0])
    return kind in _SCALARS or bool(_choices(kind))


def parse_value(text: str, kind: Any) -> Any:
    """The value that the text stands for; raises `ValueError` when it is not of the type."""
    inner = _optional_of(kind)
    if inner is not None:
        return None if text == "none" else parse_value(text, inner)
    if typing.get_origin(kind) is tuple:
        element = typing.get_args(kind)[0]
        return tuple(parse_value(part.strip(), element) for part in split_outside(text, ",")) if text else ()
    if choices := _choices(kind):
        return choices[_unquote(text)] if _unquote(text) in choices else _reject(text, kind)
    if kind is bool:
        return _BOOLS[text.lower()] if text.lower() in _BOOLS else _reject(text, kind)
    try:
        return kind(_unquote(text)) if kind in (str, Path) else kind(text)
    except ValueError:
        return _reject(text, kind)


def format_value(value: Any, kind: Any) -> str:
    """The text of a value of the type."""
    inner = _optional_of(kind)
    if inner is not None:
        return "none" if value is None else format_value(value, inner)
    if typing.get_origin(kind) is tuple:
        element = typing.get_args(kind)[0]
        return ",".join(format_value(item, element) for item in value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, enum.Enum):
        return _quote(str(value.value))
    return repr(value) if isinstance(value, int | float) else _quote(str(value))


def _is_element(kind: Any) -> bool:
    return kind in _SCALARS or bool(_choices(kind))


def _choices(kind: Any) -> dict[str, Any]:
    if typing.get_origin(kind) is Literal:
        values = typing.get_args(kind)
        return {str(v): v for v in values} if all(type(v) in (str, int) for v in values) else {}
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return {str(member.value): member for member in kind}
    return {}


def _optional_of(kind: Any) -> Any:
    """T of `T | None`, else None."""
    if typing.get_origin(kind) not in (typing.Union, types.UnionType):
        return None
    inner = [argument for argument in typing.get_args(kind) if argument is not type(None)]
    return inner[0] if len(inner) == 1 else None


def _quote(text: str) -> str:
    return text if _BARE.fullmatch(text) and text != "none" else json.dumps(text)


def _unquote(text: str) -> str:
    if len(text) >= 2 and text[0] == text[-1] == '"':
        return json.loads(text)
    if len(text) >= 2 and text[0] == text[-1] == "'":
        return text[1:-1]
    return text


def _reject(text: str, kind: Any) -> Any:
    raise ValueError(f"expected {describe_type(kind)}, got '{text}'")
