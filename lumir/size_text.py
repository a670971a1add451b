"""Sizes and symbols as text, both ways: `batch*seq + 1`, `(seq + 1)//2`, `min(seq, 512)`, `1..4096:8`.

A name that is not letters, digits, `_` and `.` stands in backquotes. `declare` says which symbols the names mean.
"""

import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from lumir.size_terms import Product
from lumir.sizes import Dim, Opaque, Size, maximum, minimum, size_of
from lumir.symbols import Symbol

_TOKEN = re.compile(r"\s*(?:(\d+)|([A-Za-z_][\w.]*)|`([^`]+)`|(//|[-+*%(),]))")
_BARE = re.compile(r"[A-Za-z_][\w.]*", re.ASCII)
_CALLS = {"min": minimum, "max": maximum}
_RANGE = re.compile(r"\s*(\d+)(?:\s*\.\.\s*(\d+)\s*(?::\s*(\d+))?)?\s*")
_SUMS: dict[str, Callable[[Dim, Dim], Dim]] = {"+": operator.add, "-": operator.sub}
_PRODUCTS: dict[str, Callable[[Dim, Dim], Dim]] = {"*": operator.mul, "//": operator.floordiv, "%": operator.mod}


class Declared:
    """The symbols that are declared, and the texts that were parsed for them."""

    def __init__(self, symbols: Mapping[str, Symbol]):
        self.symbols, self.parsed = dict(symbols), dict[str, Dim]()


_NOTHING = Declared({})
_DECLARED: ContextVar[Declared] = ContextVar("lumir_symbols", default=_NOTHING)


@contextmanager
def declare(symbols: Mapping[str, Symbol]) -> Iterator[None]:
    """Names mean these symbols inside; others mean a symbol from 1 on."""
    token = _DECLARED.set(Declared(symbols))
    try:
        yield
    finally:
        _DECLARED.reset(token)


def add_symbol(symbol: Symbol) -> None:
    """Declare one more symbol until the end of the innermost `declare`."""
    declared = _DECLARED.get()
    if declared is not _NOTHING:
        declared.symbols[symbol.name] = symbol


def declared_symbols() -> dict[str, Symbol]:
    return dict(_DECLARED.get().symbols)


def is_declared(name: str) -> bool:
    return name in _DECLARED.get().symbols


def parse_size(text: str) -> Dim:
    """The size that a text says, over the declared symbols.

    Raises:
        ValueError: the text is no expression.
    """
    declared = _DECLARED.get()
    if text not in declared.parsed:
        declared.parsed[text] = _Parser(text, declared.symbols).whole()
    return declared.parsed[text]


def parse_symbol(name: str, text: str) -> Symbol:
    """`8..4096:8` (low, high and what it is a multiple of), or `128` for one value.

    Raises:
        ValueError: the text is neither, or no value is left.
    """
    match = _RANGE.fullmatch(text)
    if match is None:
        raise ValueError(f"'{text}' is neither a size (128) nor a range of sizes (1..4096, or 8..4096:8)")
    low, high, multiple = int(match[1]), int(match[2] or match[1]), int(match[3] or 1)
    return bounded(Symbol(name, low, high, multiple))


def bounded(symbol: Symbol) -> Symbol:
    """The symbol with a range that begins and ends at values that it takes."""
    multiple = symbol.multiple
    if multiple < 1:
        raise ValueError(f"a size cannot be a multiple of {multiple}")
    low, high = -(-symbol.low // multiple) * multiple, symbol.high // multiple * multiple
    if not 0 <= low <= high:
        raise ValueError(f"no size is in the range {symbol.range}")
    return Symbol(symbol.name, low, high, multiple)


def format_size(x: Dim) -> str:
    if not isinstance(x, Size):
        return str(x)
    text = ""
    for product, k in x.terms:
        sign = "-" if k < 0 else "+"
        text += f" {sign} {_term(product, abs(k))}" if text else f"{'-' if k < 0 else ''}{_term(product, abs(k))}"
    return text


def _term(product: Product, k: int) -> str:
    factors = [str(k)] if k != 1 or not product else []
    return "*".join([*factors, *map(_factor, product)])


def _factor(atom: Symbol | Opaque) -> str:
    if isinstance(atom, Symbol):
        return atom.name if _BARE.fullmatch(atom.name) and atom.name not in _CALLS else f"`{atom.name}`"
    if atom.kind in _CALLS:
        return f"{atom.kind}({format_size(atom.x)}, {format_size(atom.y)})"
    sign = "//" if atom.kind == "floordiv" else "%"
    return f"({_operand(atom.x)}{sign}{_operand(atom.y)})"


def _operand(x: Dim) -> str:
    simple = not isinstance(x, Size) or (len(x.terms) == 1 and x.terms[0][1] == 1 and len(x.terms[0][0]) == 1)
    return format_size(x) if simple else f"({format_size(x)})"


class _Parser:
    """Recursive descent: sum = product {(+|-) product}, product = factor {(*|//|%) factor}."""

    def __init__(self, text: str, symbols: Mapping[str, Symbol]):
        self.text, self.symbols = text, symbols
        self.tokens: Sequence[tuple[str, str]] = self._tokens()
        self.position = 0

    def whole(self) -> Dim:
        value = self._sum()
        if self.position < len(self.tokens):
            raise self._wrong()
        return value

    def _tokens(self) -> list[tuple[str, str]]:
        tokens, position, text = [], 0, self.text.rstrip()
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None:
                raise self._wrong()
            kind = ("number", "name", "name", "sign")[(match.lastindex or 1) - 1]
            tokens.append((kind if match.lastindex != 3 else "quoted", match[match.lastindex or 0]))
            position = match.end()
        return tokens

    def _wrong(self) -> ValueError:
        return ValueError(f"'{self.text}' is no size")

    def _chain(self, signs: Mapping[str, Callable[[Dim, Dim], Dim]], part: Callable[[], Dim]) -> Dim:
        value = part()
        while self.position < len(self.tokens) and self.tokens[self.position][1] in signs:
            if self.tokens[self.position][0] != "sign":
                break
            sign = self._next()[1]
            value = signs[sign](value, part())
        return value

    def _next(self) -> tuple[str, str]:
        if self.position == len(self.tokens):
            raise self._wrong()
        self.position += 1
        return self.tokens[self.position - 1]

    def _expect(self, sign: str) -> None:
        if self._next() != ("sign", sign):
            raise self._wrong()

    def _sum(self) -> Dim:
        return self._chain(_SUMS, lambda: self._chain(_PRODUCTS, self._factor))

    def _factor(self) -> Dim:
        kind, text = self._next()
        match kind, text:
            case "number", _:
                return int(text)
            case "name", "min" | "max":
                self._expect("(")
                x = self._sum()
                self._expect(",")
                y = self._sum()
                self._expect(")")
                return _CALLS[text](x, y)
            case (("name" | "quoted"), _):
                return size_of(self.symbols.get(text, Symbol(text)))
            case "sign", "(":
                value = self._sum()
                self._expect(")")
                return value
            case "sign", "-":
                return -1 * self._factor()
        raise self._wrong()
