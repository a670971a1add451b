"""The arithmetic of sums of products, the canonical form of sizes: 3*batch*seq + 1 is (((batch, seq), 3), ((), 1)).

A product is made of atoms: symbols, and what no sum of products says. Terms stand in canonical order, each product
once and none with the coefficient 0, so that equal sums have equal terms; zero has no terms.
"""

import functools
import math
import operator
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from lumir.sizes import Opaque
    from lumir.symbols import Symbol

Atom: TypeAlias = "Symbol | Opaque"
Product: TypeAlias = tuple["Atom", ...]
"""Atoms multiplied, in order of their keys; () is 1."""
Term = tuple[Product, int]
"""A product and its coefficient."""
Terms = tuple[Term, ...]


def summed(terms: Iterable[Term]) -> Terms:
    """Terms in any order, some of the same product, in canonical form."""
    total: Counter[Product] = Counter()
    for product, k in terms:
        total[product] += k
    return tuple(sorted(((product, k) for product, k in total.items() if k), key=_order))


def multiplied(x: Terms, y: Terms) -> Terms:
    return summed((_ordered((*p, *q)), j * k) for p, j in x for q, k in y)


def divided(x: Terms, y: Terms) -> tuple[Terms, Terms]:
    """Polynomial division: q and r with x == q * y + r, where no term of r is divisible by the first term of y."""
    product, k = y[0]
    quotient, rest, left = [], [], x
    while left:
        (first, c), *others = left
        if Counter(product) - Counter(first) or c % k:
            rest.append((first, c))
            left = tuple(others)
            continue
        factor = (_less(first, Counter(product)), c // k)
        quotient.append(factor)
        left = summed([*left, *multiplied(((factor[0], -factor[1]),), y)])
    return summed(quotient), summed(rest)


def common(terms: Iterable[Term]) -> tuple[Counter[Atom], int]:
    """The atoms, all positive, and the number that divide every term."""
    products, factors = zip(*terms, strict=True)
    return Counter({atom: n for atom, n in _shared(products).items() if atom.bounds()[0] > 0}), math.gcd(*factors)


def without(terms: Terms, factor: tuple[Counter[Atom], int]) -> Terms:
    """The terms divided by what `common` found in them."""
    atoms, k = factor
    return summed((_less(product, atoms), c // k) for product, c in terms)


def bounds_of(terms: Terms) -> tuple[int, int]:
    """Interval arithmetic, after atoms that every term has are taken out: batch*seq - seq is seq * (batch - 1)."""
    shared = _shared(product for product, _ in terms)
    if shared and len(terms) > 1:
        return _times(_product_bounds(shared.elements()), bounds_of(without(terms, (shared, 1))))
    parts = [_times((k, k), _product_bounds(product)) for product, k in terms]
    return sum(part[0] for part in parts), sum(part[1] for part in parts)


def divisor_of(terms: Iterable[Term]) -> int:
    """A number that divides every value of every term."""
    return math.gcd(*(abs(k) * math.prod(atom.divisor() for atom in product) for product, k in terms))


def never_zero(terms: Terms) -> bool:
    """The constant is no multiple of what divides all other terms."""
    *others, (product, constant) = terms
    if product or not others:
        return False
    return constant % divisor_of(others) != 0


def _order(term: Term) -> tuple:
    product = term[0]
    return -len(product), tuple(map(_key, product))


@functools.cache
def _key(atom: Atom) -> tuple[int, str]:
    return atom.key


def _ordered(atoms: Iterable[Atom]) -> Product:
    return tuple(sorted(atoms, key=_key))


def _less(product: Product, atoms: Counter[Atom]) -> Product:
    return _ordered((Counter(product) - atoms).elements())


def _shared(products: Iterable[Product]) -> Counter[Atom]:
    """The atoms that every product has."""
    return functools.reduce(operator.and_, map(Counter, products))


def _product_bounds(atoms: Iterable[Atom]) -> tuple[int, int]:
    return functools.reduce(_times, (atom.bounds() for atom in atoms), (1, 1))


def _times(x: tuple[int, int], y: tuple[int, int]) -> tuple[int, int]:
    corners = [a * b for a in x for b in y]
    return min(corners), max(corners)
