"""Sizes that are known when a model runs: integer expressions over named symbols.

A dimension is a Python int, or a `Size` such as `batch*seq + 1`. Sizes add, multiply and divide like ints, and keep a
canonical form, a sum of products, so that equal expressions compare equal:

- `==`, `!=`, `bool()` and `hash()` are structural: `a == b` says that they are equal for every value of the symbols,
  `a != b` that this is not known. A Size is never a constant: those are ints.
- `<`, `<=`, `>` and `>=` are decided by the ranges of the symbols, or raise `Undecided`.
- `//` and `%` are Python's. What does not divide becomes an atom of its own; so do `minimum` and `maximum`.

This module needs nothing but Python: the compiler, the plan and the runtime share it.
"""

import functools
import math
import operator
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

UNBOUNDED = 2**31 - 1
"""The high end of a symbol that nobody declared."""


class Undecided(ValueError):
    """A comparison that holds for some values of the symbols and not for others.

    Args:
        question: what was asked, e.g. `seq <= 512`.
        symbols: the symbols that it depends on.
    """

    def __init__(self, question: str, symbols: "Iterable[Symbol]"):
        self.question, self.symbols = question, tuple(symbols)
        ranges = ", ".join(str(symbol) for symbol in self.symbols)
        super().__init__(f"whether {question} depends on {ranges}")

    @property
    def hint(self) -> str:
        pins = " ".join(f"--dim {symbol.name}={symbol.high}" for symbol in self.symbols)
        return f"pin a size ({pins}), or narrow its range"


@dataclass(frozen=True)
class Symbol:
    """A size with a name: from `low` to `high`, both included, in steps of `multiple`. Its name is its identity."""

    name: str
    low: int = field(default=1, compare=False)
    high: int = field(default=UNBOUNDED, compare=False)
    multiple: int = field(default=1, compare=False)

    @property
    def range(self) -> str:
        """`1..4096`, or `8..4096:8` where it is a multiple of 8."""
        return f"{self.low}..{self.high}" + (f":{self.multiple}" if self.multiple > 1 else "")

    @property
    def symbols(self) -> "frozenset[Symbol]":
        return frozenset((self,))

    def bounds(self) -> tuple[int, int]:
        return self.low, self.high

    def divisor(self) -> int:
        return self.multiple

    def at(self, binding: Mapping[str, int]) -> int:
        return binding[self.name]

    def admits(self, value: int) -> bool:
        return self.low <= value <= self.high and value % self.multiple == 0

    def __str__(self) -> str:
        return f"{self.name} ({self.range})"


@dataclass(frozen=True)
class Opaque:
    """`kind` (floordiv, mod, min, max) of two sizes that no sum of products says."""

    kind: str
    x: "Dim"
    y: "Dim"

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
Atom = Symbol | Opaque
Product = tuple[Atom, ...]
"""Atoms multiplied, in order of their keys; () is 1."""
Dim: TypeAlias = Any
"""An int or a `Size`; `Any` to type checkers, since a Size stands wherever an int does."""
Shape = tuple[Dim, ...]


class Size:
    """A sum of products of atoms with integer coefficients, at least one of them not constant.

    Attributes:
        terms: (product, coefficient) in canonical order; the constant is last.
    """

    __slots__ = ("_hash", "_known", "_range", "terms")

    def __init__(self, terms: tuple[tuple[Product, int], ...]):
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
            self._range = _bounds(self.terms)
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
        return _combined(self, other, lambda x, y: _sum([*_terms(x), *_terms(y)]))

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
    return math.gcd(*(_divisor(term) for term in x.terms))


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
    return x.once("typical", part, lambda: x.at({symbol.name: _typical(symbol, part) for symbol in x.symbols}))


def _typical(symbol: Symbol, part: float) -> int:
    value = round(max(symbol.low, 1) ** (1 - part) * max(symbol.high, 1) ** part)
    return min(max(-(-value // symbol.multiple) * symbol.multiple, symbol.low), symbol.high)


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
    if isinstance(x - y, Size) and _never_zero(x - y):
        return False
    raise Undecided(f"{x} == {y}", sorted(symbols_of(x) | symbols_of(y), key=lambda symbol: symbol.name))


def at_least(x: Dim, y: Dim) -> bool:
    """Whether x >= y is known to hold."""
    return low(x - y) >= 0


# -- arithmetic --------------------------------------------------------------------------------------------------------


def _combined(size: Size, other: Any, function: Callable[[Dim, Dim], Dim]) -> Any:
    if isinstance(other, Size):
        return function(size, other)
    try:
        return function(size, operator.index(other))
    except TypeError:
        return NotImplemented


def _terms(x: Dim) -> tuple[tuple[Product, int], ...]:
    return x.terms if isinstance(x, Size) else (((), x),)


def _sum(terms: Iterable[tuple[Product, int]]) -> Dim:
    total: Counter[Product] = Counter()
    for product, k in terms:
        total[product] += k
    kept = [(product, k) for product, k in total.items() if k]
    if not any(product for product, _ in kept):
        return kept[0][1] if kept else 0
    return Size(tuple(sorted(kept, key=_order)))


def _order(term: tuple[Product, int]) -> tuple:
    product = term[0]
    return -len(product), tuple(map(_key, product))


@functools.cache
def _key(atom: Atom) -> tuple[int, str]:
    return (0, atom.name) if isinstance(atom, Symbol) else (1, f"{atom.kind} {atom.x} {atom.y}")


def _multiplied(x: Dim, y: Dim) -> Dim:
    return _sum((tuple(sorted((*p, *q), key=_key)), j * k) for p, j in _terms(x) for q, k in _terms(y))


def _floordiv(x: Dim, y: Dim) -> Dim:
    """x // y: what divides comes out as a sum, the rest as an atom."""
    if y == 0:
        raise ZeroDivisionError(f"{x} // 0")
    if _inside(x, y):
        return 0
    quotient, rest = _divided(x, y)
    if _inside(rest, y):
        return quotient
    common = _common([*_terms(rest), *_terms(y)])
    rest, y = _without(rest, common), _without(y, common)
    if y == 1:
        return quotient + rest
    if isinstance(y, int) and (inner := _as_floordiv(rest)) is not None:
        return quotient + _floordiv(inner.x, inner.y * y)
    return quotient + _atom("floordiv", rest, y)


def _mod(x: Dim, y: Dim) -> Dim:
    if _inside(x, y):
        return x
    rest = _divided(x, y)[1] if isinstance(y, Size) else _sum(term for term in _terms(x) if _divisor(term) % y)
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


def _divided(x: Dim, y: Dim) -> tuple[Dim, Dim]:
    """Polynomial division: q and r with x == q * y + r, where no term of r is divisible by the first term of y."""
    product, k = _terms(y)[0]
    quotient, rest, left = 0, 0, x
    while left != 0:
        (first, c), *others = _terms(left)
        missing = Counter(product) - Counter(first)
        if missing or c % k:
            rest, left = rest + _sum([(first, c)]), _sum(others)
            continue
        factor = _sum([(tuple(sorted((Counter(first) - Counter(product)).elements(), key=_key)), c // k)])
        quotient, left = quotient + factor, left - factor * y
    return quotient, rest


def _common(terms: Iterable[tuple[Product, int]]) -> tuple[Counter, int]:
    """The atoms, all positive, and the number that divide every term."""
    products, factors = zip(*terms, strict=True)
    atoms = functools.reduce(operator.and_, (Counter(product) for product in products))
    return Counter({atom: n for atom, n in atoms.items() if atom.bounds()[0] > 0}), math.gcd(*factors)


def _without(x: Dim, common: tuple[Counter, int]) -> Dim:
    atoms, k = common
    return _sum((tuple(sorted((Counter(product) - atoms).elements(), key=_key)), c // k) for product, c in _terms(x))


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


# -- ranges ------------------------------------------------------------------------------------------------------------


def _bounds(terms: tuple[tuple[Product, int], ...]) -> tuple[int, int]:
    """Interval arithmetic, after atoms that every term has are taken out: batch*seq - seq is seq * (batch - 1)."""
    shared = functools.reduce(operator.and_, (Counter(product) for product, _ in terms))
    if shared and len(terms) > 1:
        rest = _sum((tuple(sorted((Counter(p) - shared).elements(), key=_key)), k) for p, k in terms)
        return _times(_product_bounds(shared.elements()), bounds(rest))
    parts = [_times((k, k), _product_bounds(product)) for product, k in terms]
    return sum(part[0] for part in parts), sum(part[1] for part in parts)


def _product_bounds(atoms: Iterable[Atom]) -> tuple[int, int]:
    return functools.reduce(_times, (atom.bounds() for atom in atoms), (1, 1))


def _times(x: tuple[int, int], y: tuple[int, int]) -> tuple[int, int]:
    corners = [a * b for a in x for b in y]
    return min(corners), max(corners)


def _divisor(term: tuple[Product, int]) -> int:
    product, k = term
    return abs(k) * math.prod(atom.divisor() for atom in product)


def _never_zero(difference: Size) -> bool:
    """The constant is no multiple of what divides all other terms."""
    *others, (product, constant) = difference.terms
    if product or not others:
        return False
    return constant % math.gcd(*(_divisor(term) for term in others)) != 0


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
