"""The functions that the expansions approximate, in wider floats, and where to sample them.

For f32 and below the references are numpy's in double precision; for f64, numpy's in x87's 80-bit format.
"""

import math
from collections.abc import Callable

import numpy as np


def _erf_series(x: np.ndarray) -> np.ndarray:
    """exp(-x^2) 2/sqrt(pi) sum of 2^n x^(2n+1) / (2n+1)!!, all terms of one sign; |x| <= 7."""
    term, total = x.copy(), x.copy()
    for n in range(1, 220):
        term = term * (2 * x * x) / (2 * n + 1)
        total = total + term
    return (
        _exp_of_minus_square(x) * total * (2 / np.sqrt(np.longdouble(math.pi) + np.longdouble(1.2246467991473532e-16)))
    )


def _exp_of_minus_square(x: np.ndarray) -> np.ndarray:
    high = x.astype(np.float32).astype(x.dtype)
    return np.exp(-high * high) * np.exp(-(x - high) * (x + high))


def _erfc_fraction(x: np.ndarray) -> np.ndarray:
    """Laplace's continued fraction, from the tail; x >= 1."""
    below = x.copy()
    for k in range(600, 0, -1):
        below = x + (np.longdouble(k) / 2) / below
    root = np.sqrt(np.longdouble(math.pi) + np.longdouble(1.2246467991473532e-16))
    return _exp_of_minus_square(x) / (below * root)


def erf(x: np.ndarray) -> np.ndarray:
    """erf in the precision of the argument's dtype."""
    wide = x.astype(np.longdouble)
    bounded = np.clip(wide, -7, 7)
    series = _erf_series(bounded)
    return np.where(np.isnan(wide), wide, np.where(np.abs(wide) < 7, series, np.sign(bounded))).astype(x.dtype)


def erfc(x: np.ndarray) -> np.ndarray:
    """erfc in the precision of the argument's dtype."""
    wide = x.astype(np.longdouble)
    a = np.clip(np.abs(wide), 1, 100)
    tail = _erfc_fraction(np.where(np.isnan(a), 1, a))
    far = np.where(wide > 0, tail, 2 - tail)
    near = 1 - _erf_series(np.clip(np.where(np.isnan(wide), 0, wide), -1, 1))
    return np.where(np.isnan(wide), wide, np.where(np.abs(wide) < 1, near, far)).astype(x.dtype)


def rsqrt(x: np.ndarray) -> np.ndarray:
    """1 / sqrt(x)."""
    return 1 / np.sqrt(x)


Unary = Callable[[np.ndarray], np.ndarray]

# Function, and the interval where it is interesting; samples beyond it come from random bit patterns.
UNARY: dict[str, tuple[Unary, float, float]] = {
    "exp": (np.exp, -104, 90),
    "exp2": (np.exp2, -151, 130),
    "expm1": (np.expm1, -20, 3),
    "tanh": (np.tanh, -10, 10),
    "sinh": (np.sinh, -6, 6),
    "cosh": (np.cosh, -6, 6),
    "log": (np.log, 0, 4),
    "log2": (np.log2, 0, 4),
    "log10": (np.log10, 0, 4),
    "log1p": (np.log1p, -1, 3),
    "asinh": (np.arcsinh, -3, 3),
    "acosh": (np.arccosh, 1, 4),
    "atanh": (np.arctanh, -1, 1),
    "sin": (np.sin, -100, 100),
    "cos": (np.cos, -100, 100),
    "tan": (np.tan, -100, 100),
    "asin": (np.arcsin, -1, 1),
    "acos": (np.arccos, -1, 1),
    "atan": (np.arctan, -4, 4),
    "erf": (erf, -4, 4),
    "erfc": (erfc, -4, 10.1),
    "cbrt": (np.cbrt, -8, 8),
    "rsqrt": (rsqrt, 0, 4),
}

_EDGES = (
    0,
    1,
    0.5,
    2,
    3,
    10,
    math.inf,
    math.nan,
    math.pi / 2,
    math.pi,
    math.log(2) / 2,
    math.sqrt(0.5),
    1e10,
    1e20,
    1e38,
)
_EDGES_F32 = (
    1e-45,
    1.1754942e-38,
    1.17549435e-38,
    3.4028235e38,
    88.72283,
    88.7228394,
    103.97208,
    87.33655,
    0.99999994,
    1.0000001,
)
_EDGES_F64 = (
    5e-324,
    2.2250738585072014e-308,
    1.7976931348623157e308,
    709.782712893384,
    709.7827128933841,
    745.1332191019411,
)
_HARD_F64 = (
    6381956970095103 * 2.0**797,
    1 - 2**-53,
    1 + 2**-52,
    745.1332191019412,
)  # the first is nearly a multiple of pi/2


def edges(dtype: np.dtype) -> np.ndarray:
    """Arguments where formulas break: both signs of zero, one, infinity, NaN, denormals, the limits of the range."""
    extra = _EDGES_F32 if dtype == np.float32 else (*_EDGES_F64, *_HARD_F64)
    values = np.array([*_EDGES, *extra], dtype)
    return np.concatenate([values, -values])


def any_bits(rng: np.random.Generator, dtype: np.dtype, count: int) -> np.ndarray:
    """Random bit patterns: every exponent equally likely, infinities and NaN now and then."""
    bits = rng.integers(0, 256, count * dtype.itemsize, dtype=np.uint8)
    return bits.view(dtype)


def samples(rng: np.random.Generator, dtype: np.dtype, low: float, high: float, count: int) -> np.ndarray:
    """Edges, uniform samples of the interval, the same pushed towards zero, and random bits; `count` in all."""
    part = (count - edges(dtype).size) // 3
    uniform = rng.uniform(low, high, part).astype(dtype)
    small = (rng.uniform(low, high, part) * 2.0 ** rng.uniform(-40, 0, part)).astype(dtype)
    rest = count - edges(dtype).size - 2 * part
    return np.concatenate([edges(dtype), uniform, small, any_bits(rng, dtype, rest)])
