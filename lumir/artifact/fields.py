"""Checked access to the fields of a JSON object read from an artifact."""

from collections.abc import Mapping
from typing import Any

from lumir.artifact.dtypes import is_dtype
from lumir.diagnostics import UserError
from lumir.size_text import is_declared, parse_size
from lumir.sizes import Dim, bounds, symbols_of

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1


def malformed(message: str, **values: Any) -> UserError:
    """The error for an artifact whose contents break the format."""
    return UserError(
        message,
        code="bad-artifact",
        values=values,
        hint="the file is damaged or was not written by lumir; compile the model again",
    )


def require(condition: bool, message: str, **values: Any) -> None:
    if not condition:
        raise malformed(message, **values)


def get_object(data: Any, where: str) -> Mapping[str, Any]:
    require(isinstance(data, dict), f"{where} is not a JSON object", found=type(data).__name__)
    return data


def get_list(data: Mapping[str, Any], key: str, where: str, default: list[Any] | None = None) -> list[Any]:
    value = data.get(key, default)
    require(isinstance(value, list), f'{where} has no list "{key}"', found=value)
    return value  # pyright: ignore[reportReturnType]


def get_str(data: Mapping[str, Any], key: str, where: str, default: str | None = None) -> str:
    value = data.get(key, default)
    require(isinstance(value, str), f'{where} has no string "{key}"', found=value)
    return value  # pyright: ignore[reportReturnType]


def get_int(
    data: Mapping[str, Any], key: str, where: str, *, default: int | None = None, low: int = 0, high: int = INT64_MAX
) -> int:
    return check_int(data.get(key, default), f'"{key}" of {where}', low=low, high=high)


def check_int(value: Any, what: str, *, low: int = 0, high: int = INT64_MAX) -> int:
    is_int = isinstance(value, int) and not isinstance(value, bool)
    require(is_int and low <= value <= high, f"{what} is not an integer in {low}..{high}", found=value)
    return value


def check_size(value: Any, what: str, *, low: int = 0, high: int = INT64_MAX) -> Dim:
    """An integer in a range, or the text of a size over the declared symbols whose every value is in it."""
    if not isinstance(value, str):
        return check_int(value, what, low=low, high=high)
    try:
        size = parse_size(value)
    except (ValueError, ZeroDivisionError) as error:
        raise malformed(f"{what} is no size", found=value) from error
    unknown = sorted(symbol.name for symbol in symbols_of(size) if not is_declared(symbol.name))
    require(not unknown, f"{what} names a symbol that is not there", found=value, symbols=unknown)
    least, greatest = bounds(size)
    require(low <= least and greatest <= high, f"{what} is not in {low}..{high}", found=value)
    return size


def get_dtype(data: Mapping[str, Any], where: str) -> str:
    dtype = get_str(data, "dtype", where)
    require(is_dtype(dtype), f"{where} has an unknown element type", dtype=dtype)
    return dtype


def get_bool(data: Mapping[str, Any], key: str, where: str, *, default: bool | None = None) -> bool:
    value = data.get(key, default)
    require(isinstance(value, bool), f'"{key}" of {where} is not true or false', found=value)
    return value  # pyright: ignore[reportReturnType]


def get_ints(
    data: Mapping[str, Any], key: str, where: str, *, default: list[int] | None = None, low: int = 0, high: int
) -> tuple[int, ...]:
    return tuple(check_int(n, f'"{key}" of {where}', low=low, high=high) for n in get_list(data, key, where, default))


def get_strings(data: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
    items = get_list(data, key, where, default=[])
    require(all(isinstance(item, str) for item in items), f'"{key}" of {where} is not a list of strings', found=items)
    return tuple(items)
