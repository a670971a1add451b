"""What a user says of the model's symbols: a size (128), a range (1..4096), a range of multiples (8..4096:8).

Inside the compiler each is a `Symbol`; one that has a single value is no symbol any more, but a size.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

from lumir.diagnostics import UserError
from lumir.size_text import bounded, parse_symbol
from lumir.symbols import Symbol

Given: TypeAlias = int | str | range | tuple[int, int] | Symbol
"""A size, its text, `(low, high)` with both included, or a Python range."""
Dims = Mapping[str, Given]
Symbols = dict[str, Symbol]


def as_symbols(dims: Mapping[str, Any]) -> Symbols:
    """Each symbol with its range.

    Raises:
        UserError: `bad-dimension`.
    """
    symbols = {}
    for name, given in dims.items():
        try:
            symbols[name] = _symbol(name, given)
        except (ValueError, TypeError) as error:
            raise UserError(
                f"the size of dimension '{name}' cannot be read: {error}",
                code="bad-dimension",
                hint=f"give a size ({name}=128), or a range ({name}=1..4096, {name}=8..4096:8)",
            ) from None
    return symbols


def as_texts(symbols: Mapping[str, Symbol]) -> dict[str, int | str]:
    """The inverse of `as_symbols`: sizes as numbers, ranges as text."""
    return {name: s.low if s.low == s.high else s.range for name, s in symbols.items()}


def _symbol(name: str, given: Any) -> Symbol:
    match given:
        case Symbol():
            return bounded(Symbol(name, given.low, given.high, given.multiple))
        case bool():
            raise TypeError(f"{given} is no size")
        case int():
            return bounded(Symbol(name, given, given))
        case str():
            return parse_symbol(name, given)
        case range() if given.step > 0 and given:
            return bounded(Symbol(name, given[0], given[-1], given.step if given[0] % given.step == 0 else 1))
        case (int(low), int(high)):
            return bounded(Symbol(name, low, high))
    raise TypeError(f"{given!r} is neither a size nor a range")
