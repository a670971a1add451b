"""Sizes that are known when a model runs: integer expressions over named symbols.

A dimension is a Python int, or a `Size` such as `batch*seq + 1`. Sizes add, multiply and divide like ints, and keep a
canonical form, a sum of products, so that equal expressions compare equal:

- `==`, `!=`, `bool()` and `hash()` are structural: `a == b` says that they are equal for every value of the symbols,
  `a != b` that this is not known. A Size is never a constant: those are ints.
- `<`, `<=`, `>` and `>=` are decided by the ranges of the symbols, or raise `Undecided`.
- `//` and `%` are Python's. What does not divide becomes an atom of its own; so do `minimum` and `maximum`.

`symbols` has the names, `size_terms` the sums of products. All three need nothing but Python: the compiler, the plan
and the runtime share them.
"""

import functools
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from lumir.size_terms import Terms, bounds_of, common, divided, divisor_of, multiplied, never_zero, summed, without
from lumir.symbols import Symbol, Undecided


@dataclass(frozen=True)
class Opaque:
    """`kind` (floordiv, mod, min, max) of two sizes that no sum of products says."""

    kind: str
    x: "Dim"
    y: "Dim"

    @property
    def key(self) -> tuple[int, str]:
        """Its place among the atoms of a product: after every symbol."""
        return 1, f"{self.kind} {self.x} {self.y}"

    @functools.cached_property
    def symbols(self) -> frozenset[Symbol]:
        return symbols_of(self.x) | symbols_of(self.y)

    def bounds(self) -> tuple[int, int]:
        (a, b), (c, d) = bounds(self.x), bounds(self.y)
        if self.kind in ("min", "max"):
            choose = _FUNCTIONS[self.kind]
            return choose(a, c), choose(b, d)
        if self.kind == "mod":
            return 0, max(d - 1, 0)
        corners = [n // m for n in (a, b) for m in (max(c, 1), max(d, 1))]
        return min(corners), max(corners)

    def divisor(self) -> int:
        if self.kind == "floordiv":
            return 1
        return math.gcd(divisor(self.x), divisor(self.y))

    def at(self, binding: Mapping[str, int]) -> int:
        return _FUNCTIONS[self.kind](value_at(self.x, binding), value_at(self.y, binding))


_FUNCTIONS: dict[str, Callable[[int, int], int]] = {
    "floordiv": operator.floordiv,
    "mod": operator.mod,
    "min": min,
    "max": max,
}
Dim: TypeAlias = Any
"""An int or a `Size`; `Any` to type checkers, since a Size stands wherever an int does."""
Shape = tuple[Dim, ...]


class Size:
    """A sum of products of atoms with integer coefficients, at least one of them not constant.

    Attributes:
        terms: (product, coefficient) in canonical order; the constant is last.
    """

    __slots__ = ("_hash", "_known", "_range", "terms")

    def __init__(self, terms: Terms):
        self.terms = terms
        self._hash = hash(terms)
        self._range: tuple[int, int] | None = None
        self._known: dict[tuple[str, float], Dim] = {}

    @property
    def symbols(self) -> frozenset[Symbol]:
        return frozenset(symbol for product, _ in self.terms for atom in product for symbol in atom.symbols)

    def at(self, binding: Mapping[str, int]) -> int:
        """The value where each symbol has that of `binding`."""
        return sum(k * math.prod(atom.at(binding) for atom in product) for product, k in self.terms)

    def bounds(self) -> tuple[int, int]:
        """Values that it does not go below or above."""
        if self._range is None:
            self._range = bounds_of(self.terms)
        return self._range

    def once(self, what: str, number: float, compute: Callable[[], Dim]) -> Dim:
        """What is made of this size and a number, computed once: a search divides by the same few again and again."""
        if (what, number) not in self._known:
            self._known[what, number] = compute()
        return self._known[what, number]

    def _with(self, what: str, other: Any, function: Callable[[Dim, Dim], Dim]) -> Any:
        if type(other) is int:
            return self.once(what, other, lambda: function(self, other))
        return _combined(self, other, function)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, Size) and self.terms == other.terms

    def __add__(self, other: Any) -> Dim:
        return _combined(self, other, lambda x, y: _dim(summed([*_terms(x), *_terms(y)])))

    def __mul__(self, other: Any) -> Dim:
        return self._with("*", other, _multiplied)

    def __sub__(self, other: Any) -> Dim:
        return _combined(self, other, lambda x, y: x + -1 * y)

    def __rsub__(self, other: Any) -> Dim:
        return _combined(self, other, lambda x, y: y + -1 * x)

    def __neg__(self) -> Dim:
        return -1 * self

    def __floordiv__(self, other: Any) -> Dim:
        return self._with("//", other, _floordiv)

    def __rfloordiv__(self, other: Any) -> Dim:
        return _combined(self, other, lambda x, y: _floordiv(y, x))

    def __mod__(self, other: Any) -> Dim:
        return self._with("%", other, _mod)

    def __rmod__(self, other: Any) -> Dim:
        return _combined(self, other, lambda x, y: _mod(y, x))

    def __divmod__(self, other: Any) -> tuple[Dim, Dim]:
        return self // other, self % other

    __radd__, __rmul__ = __add__, __mul__

    def __lt__(self, other: Any) -> bool:
        return _below(self, other, "<", self, other)

    def __gt__(self, other: Any) -> bool:
        return _below(other, self, ">", self, other)

    def __le__(self, other: Any) -> bool:
        return not _below(other, self, "<=", self, other)

    def __ge__(self, other: Any) -> bool:
        return not _below(self, other, ">=", self, other)

    def __str__(self) -> str:
        from lumir.size_text import format_size

        return format_size(self)

    __repr__ = __str__


# -- what is known of an int or a Size ---------------------------------------------------------------------------------


def size_of(symbol: Symbol) -> Dim:
    """The symbol as a size; an int where its range holds one value."""
    return symbol.low if symbol.low == symbol.high else Size((((symbol,), 1),))


def is_static(x: object) -> bool:
    return not isinstance(x, Size)


def bounds(x: Dim) -> tuple[int, int]:
    """The least and the greatest value, as far as known."""
    return x.bounds() if isinstance(x, Size) else (x, x)


def low(x: Dim) -> int:
    return bounds(x)[0]


def high(x: Dim) -> int:
    return bounds(x)[1]


def divisor(x: Dim) -> int:
    """A number that divides every value: the magnitude of an int; 0 for 0, which every number divides."""
    if not isinstance(x, Size):
        return abs(x)
    return divisor_of(x.terms)


def value_at(x: Dim, binding: Mapping[str, int]) -> Dim:
    """The value where each symbol has that of `binding`; x itself where one has none."""
    if not isinstance(x, Size) or any(symbol.name not in binding for symbol in x.symbols):
        return x
    return x.at(binding)


def symbols_of(x: Dim) -> frozenset[Symbol]:
    return x.symbols if isinstance(x, Size) else frozenset()


def typical(x: Dim, part: float = 0.75) -> int:
    """One value to estimate costs with: every symbol that part up its range, counted in factors."""
    if not isinstance(x, Size):
        return x
    return x.once("typical", part, lambda: x.at({symbol.name: symbol.typical(part) for symbol in x.symbols}))


def minimum(x: Dim, y: Dim) -> Dim:
    """The smaller; an atom where the ranges do not tell which."""
    return _extremum("min", x, y)


def maximum(x: Dim, y: Dim) -> Dim:
    """The larger; an atom where the ranges do not tell which."""
    return _extremum("max", x, y)


def equal(x: Dim, y: Dim) -> bool:
    """Whether two sizes are equal, for every value of the symbols or for none.

    Raises:
        Undecided: for some.
    """
    if x == y:
        return True
    least, greatest = bounds(x - y)
    if least > 0 or greatest < 0:
        return False
    if isinstance(x - y, Size) and never_zero((x - y).terms):
        return False
    raise Undecided(f"{x} == {y}", sorted(symbols_of(x) | symbols_of(y), key=lambda symbol: symbol.name))


def at_least(x: Dim, y: Dim) -> bool:
    """Whether x >= y is known to hold."""
    return low(x - y) >= 0


# -- arithmetic and order ----------------------------------------------------------------------------------------------


def _combined(size: Size, other: Any, function: Callable[[Dim, Dim], Dim]) -> Any:
    if isinstance(other, Size):
        return function(size, other)
    try:
        return function(size, operator.index(other))
    except TypeError:
        return NotImplemented


def _terms(x: Dim) -> Terms:
    if isinstance(x, Size):
        return x.terms
    return (((), x),) if x else ()


def _dim(terms: Terms) -> Dim:
    """The sum of canonical terms: an int where the only one is constant."""
    if not terms:
        return 0
    return Size(terms) if terms[0][0] else terms[0][1]


def _multiplied(x: Dim, y: Dim) -> Dim:
    return _dim(multiplied(_terms(x), _terms(y)))


def _floordiv(x: Dim, y: Dim) -> Dim:
    """x // y: what divides comes out as a sum, the rest as an atom."""
    if y == 0:
        raise ZeroDivisionError(f"{x} // 0")
    if _inside(x, y):
        return 0
    quotient, rest = map(_dim, divided(_terms(x), _terms(y)))
    if _inside(rest, y):
        return quotient
    factor = common([*_terms(rest), *_terms(y)])
    rest, y = (_dim(without(_terms(part), factor)) for part in (rest, y))
    if y == 1:
        return quotient + rest
    if isinstance(y, int) and (inner := _as_floordiv(rest)) is not None:
        return quotient + _floordiv(inner.x, inner.y * y)
    return quotient + _atom("floordiv", rest, y)


def _mod(x: Dim, y: Dim) -> Dim:
    if _inside(x, y):
        return x
    terms = _terms(x)
    rest = _dim(divided(terms, y.terms)[1] if isinstance(y, Size) else summed(t for t in terms if divisor_of([t]) % y))
    return rest if _inside(rest, y) else _atom("mod", rest, y)


def _inside(x: Dim, y: Dim) -> bool:
    """0 <= x < y is known."""
    return x == 0 or (low(x) >= 0 and low(y - x) > 0)


def _as_floordiv(x: Dim) -> Opaque | None:
    """x where it is one floordiv by a positive int."""
    if not isinstance(x, Size) or len(x.terms) != 1 or x.terms[0][1] != 1 or len(x.terms[0][0]) != 1:
        return None
    (atom,) = x.terms[0][0]
    if not isinstance(atom, Opaque) or atom.kind != "floordiv" or isinstance(atom.y, Size):
        return None
    return atom if atom.y > 0 else None


def _atom(kind: str, x: Dim, y: Dim) -> Dim:
    if not isinstance(x, Size) and not isinstance(y, Size):
        return _FUNCTIONS[kind](x, y)
    atom = Opaque(kind, x, y)
    least, greatest = atom.bounds()
    return least if least == greatest else Size((((atom,), 1),))


def _extremum(kind: str, x: Dim, y: Dim) -> Dim:
    least, greatest = bounds(x - y)
    if least >= 0 or greatest <= 0:
        return x if (least >= 0) == (kind == "max") else y
    first, second = sorted((x, y), key=str)
    return _atom(kind, first, second)


def _below(x: Dim, y: Dim, sign: str, left: Dim, right: Dim) -> Any:
    """x < y; `left sign right` is what the caller was asked."""
    try:
        difference = y - x
    except TypeError:
        return NotImplemented
    least, greatest = bounds(difference)
    if least > 0:
        return True
    if greatest <= 0:
        return False
    raise Undecided(f"{left} {sign} {right}", sorted(symbols_of(difference), key=lambda symbol: symbol.name))
