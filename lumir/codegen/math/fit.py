"""Fits the polynomials of `coefficients.py`. Needs mpmath; the compiler itself does not run it.

`python -m lumir.codegen.math.fit > lumir/codegen/math/coefficients.py` writes that module again.

Each table is a nearly minimax polynomial, found in 50 digits by least squares on Chebyshev nodes with Lawson's
reweighting (Cline 1972), its coefficients rounded to the format one after the other from the lowest, with a new fit of
the rest after each rounding.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import mpmath as mp
import numpy as np

TINY = mp.mpf("1e-12")  # stands for zero where the target is a quotient

HEADER = '''"""Minimax polynomials, lowest power first. Written by `python -m lumir.codegen.math.fit`, not by hand."""
'''

Number = Any  # an mpmath number
Real = Callable[[Number], Number]


class Table(NamedTuple):
    """A polynomial p(u) to fit: p approximates `target` on [low, high] with the error measured after `weight`."""

    target: Real
    weight: Real
    low: Number
    high: Number
    terms: dict[str, int]  # number of coefficients for each format


def _least_squares(rows: Sequence[Sequence[Number]], rhs: Sequence[Number], weights: Sequence[Number]) -> list[Number]:
    """Coefficients that minimise the weighted squares of rows * c - rhs, by the normal equations."""
    count = len(rows[0])
    matrix = mp.matrix(count, count)
    for i in range(count):
        for j in range(i, count):
            matrix[i, j] = matrix[j, i] = mp.fsum(w * row[i] * row[j] for w, row in zip(weights, rows))
    vector = mp.matrix([mp.fsum(w * row[i] * v for w, row, v in zip(weights, rows, rhs)) for i in range(count)])
    return list(mp.lu_solve(matrix, vector))


def minimax(target: Real, weight: Real, low: Number, high: Number, powers: Sequence[int]) -> list[Number]:
    """Coefficients c of sum(c[i] * u**powers[i]) with nearly the least maximum of |(p(u) - target(u)) * weight(u)|."""
    count = 5 * len(powers) + 8
    middle, half = (low + high) / 2, (high - low) / 2
    grid = [middle - half * mp.cos(mp.pi * (2 * i + 1) / (2 * count)) for i in range(count)]
    rows = [[weight(u) * u**power for power in powers] for u in grid]
    rhs = [weight(u) * target(u) for u in grid]
    lawson = [mp.mpf(1)] * count
    for _ in range(5):
        found = _least_squares(rows, rhs, lawson)
        error = [abs(mp.fdot(row, found) - value) for row, value in zip(rows, rhs)]
        mean = mp.fsum(error) / count
        lawson = [w * (e / mean + mp.mpf("0.05")) for w, e in zip(lawson, error)]
    return found


def round_to(value: Number, width: str) -> float:
    """The nearest number of the format, as a Python float."""
    if width == "f64":
        return float(value)
    return float(np.float32(np.float64(float(value))))


def fit(table: Table, width: str) -> list[float]:
    """Coefficients of the table, lowest power first, each a number of the format."""
    count, fixed = table.terms[width], []

    def rest(u: Number) -> Number:
        return table.target(u) - sum(c * u**k for k, c in enumerate(fixed))

    while len(fixed) < count:
        found = minimax(rest, table.weight, table.low, table.high, range(len(fixed), count))
        fixed.append(round_to(found[0], width))
    return fixed


def residual(table: Table, coefficients: Sequence[float]) -> Number:
    """The largest weighted error of the rounded polynomial on the interval."""
    middle, half = (table.low + table.high) / 2, (table.high - table.low) / 2
    grid = [middle - half * mp.cos(mp.pi * (2 * i + 1) / 2000) for i in range(1000)]
    return max(abs((mp.polyval(list(coefficients[::-1]), u) - table.target(u)) * table.weight(u)) for u in grid)


def _odd(function: Real) -> Real:
    """(f(x)/x - 1)/u with u = x*x, of an odd function with slope one at zero."""
    return lambda u: (function(mp.sqrt(u)) / mp.sqrt(u) - 1) / u


def _relative(function: Real) -> Real:
    """The weight that turns an error of `_odd` into a relative error of the function."""
    return lambda u: u * mp.sqrt(u) / function(mp.sqrt(u))


def _scaled_erfc(pole: int) -> Real:
    """(1 + 2a) exp(a^2) erfc(a) as a function of q = (a - pole)/(a + pole), after Shepherd and Laframboise (1981)."""

    def target(q: Number) -> Number:
        a = pole * (1 + q) / (1 - q)
        return (1 + 2 * a) * mp.exp(a * a) * mp.erfc(a)

    return target


def _erfc_table(pole: int, largest: str, terms: dict[str, int]) -> Table:
    low, high = ((mp.mpf(a) - pole) / (mp.mpf(a) + pole) for a in ("0.45", largest))
    target = _scaled_erfc(pole)
    return Table(target, lambda q: 1 / target(q), low, high, terms)


def exponential_tables() -> dict[str, Table]:
    """Polynomials of the exponential and logarithm families."""
    half_ln2 = mp.log(2) / 2 * mp.mpf("1.0005")
    low_f, high_f = mp.sqrt(0.5) - 1 - mp.mpf("1e-4"), mp.sqrt(2) - 1 + mp.mpf("1e-4")
    high_s2 = (high_f / (2 + high_f)) ** 2
    atanh_of_root = lambda u: mp.atanh(mp.sqrt(u)) / mp.sqrt(u)  # noqa: E731
    return {
        "EXP": Table(lambda r: (mp.expm1(r) - r) / r**2, lambda r: r, -half_ln2, half_ln2, {"f32": 5, "f64": 10}),
        "LOG": Table(
            lambda f: (mp.log1p(f) - f + f * f / 2) / f**3,
            lambda f: f**3 / mp.log1p(f),
            low_f,
            high_f,
            {"f32": 8},
        ),
        "ATANH": Table(_odd(mp.atanh), _relative(mp.atanh), TINY, high_s2, {"f64": 7}),
        "POW": Table(
            lambda u: (atanh_of_root(u) - 1 - u / 3) / u**2, lambda u: u**2, TINY, high_s2, {"f32": 3, "f64": 7}
        ),
        "TANH": Table(_odd(mp.tanh), _relative(mp.tanh), TINY, mp.mpf("0.36"), {"f32": 5}),
        "TANH_SHORT": Table(_odd(mp.tanh), _relative(mp.tanh), TINY, mp.mpf("0.0625"), {"f32": 2}),
    }


def circular_tables() -> dict[str, Table]:
    """Polynomials of the trigonometric functions and their inverses."""
    square = (mp.pi / 4 * mp.mpf("1.0005")) ** 2
    return {
        "SIN": Table(_odd(mp.sin), _relative(mp.sin), TINY, square, {"f32": 3, "f64": 6}),
        "COS": Table(
            lambda u: (mp.cos(mp.sqrt(u)) - 1 + u / 2) / u**2,
            lambda u: u**2 / mp.cos(mp.sqrt(u)),
            TINY,
            square,
            {"f32": 3, "f64": 6},
        ),
        "TAN": Table(_odd(mp.tan), _relative(mp.tan), TINY, square, {"f32": 7, "f64": 15}),
        "ATAN": Table(_odd(mp.atan), _relative(mp.atan), TINY, mp.mpf(1), {"f32": 9, "f64": 20}),
        "ASIN": Table(_odd(mp.asin), _relative(mp.asin), TINY, mp.mpf("0.2501"), {"f32": 5, "f64": 13}),
    }


def error_function_tables() -> dict[str, Table]:
    """Polynomials of erf (below and above ERF_SPLIT), of erfc, and of its logarithm."""
    erf_of_root = lambda u: mp.erf(mp.sqrt(u)) / mp.sqrt(u)  # noqa: E731
    middle, half = mp.mpf(2.5), mp.mpf("1.425")
    return {
        "ERF": Table(
            lambda u: erf_of_root(u) - 1, lambda u: 1 / erf_of_root(u), TINY, mp.mpf("1.21"), {"f32": 7, "f64": 14}
        ),
        "ERF_TAIL": Table(lambda v: mp.erf(v + middle), lambda v: mp.mpf(1), -half, half, {"f32": 14}),
        "ERFC": _erfc_table(2, "10.1", {"f32": 10}),
        "ERFC_WIDE": _erfc_table(3, "27.3", {"f64": 24}),
        "ERF_SHORT": Table(erf_of_root, lambda u: 1 / erf_of_root(u), TINY, mp.mpf("0.25"), {"f32": 3}),
        "ERFC_SHORT": Table(
            lambda a: mp.log(mp.erfc(a), 2) / a, lambda a: a * mp.log(2), TINY, mp.mpf("5.5"), {"f32": 7}
        ),
    }


def main() -> None:
    """Print `coefficients.py`."""
    mp.mp.dps = 50
    print(HEADER, end="")
    for name, table in (exponential_tables() | circular_tables() | error_function_tables()).items():
        print(f"\n{name} = {{")
        for width in table.terms:
            coefficients = fit(table, width)
            error = mp.log(residual(table, coefficients), 2)
            print(f"    # Weighted error 2^{mp.nstr(error, 4)} on [{mp.nstr(table.low, 5)}, {mp.nstr(table.high, 5)}].")
            print(f'    "{width}": (')
            print("".join(f"        {coefficient!r},\n" for coefficient in coefficients), end="")
            print("    ),")
        print("}")


if __name__ == "__main__":
    main()
