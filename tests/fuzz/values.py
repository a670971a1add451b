"""Values of a growing graph: concrete arrays that know how far another correct implementation may lie from them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

FLOATS = ("float32", "float16", "float64")
SIGNED = ("int64", "int32", "int8", "int16")
UNSIGNED = ("uint8", "uint16", "uint32", "uint64")
INTEGERS = SIGNED + UNSIGNED
NUMBERS = FLOATS + INTEGERS
ALL = (*NUMBERS, "bool")

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor of the graph with the elements that onnxruntime computed for it.

    Attributes:
        error: for floats, the error that correct implementations may have, an array like `array`; None elsewhere.
        kind: `input`, `initializer` or `constant` (a node) for a value the graph starts with; `result` of a node.
        fixed: a parameter that must be known at compile time, such as the shape of a Reshape.
    """

    name: str
    array: Array
    error: Array | None = None
    kind: str = "result"
    fixed: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def rank(self) -> int:
        return self.array.ndim

    @property
    def dtype(self) -> str:
        return self.array.dtype.name


@dataclass(frozen=True)
class Domain:
    """Where an operator is worth comparing.

    Attributes:
        low, high: the least and the largest element.
        away: the least magnitude of an element.
        special: whether infinities, NaN and the extremes of integers may occur.
    """

    low: float = -1e4
    high: float = 1e4
    away: float = 0.0
    special: bool = False

    def holds(self, array: Array) -> bool:
        """Whether every element lies in the domain."""
        if array.dtype == bool or array.size == 0 or self.special:
            return True
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            return False
        low, high = array.min().item(), array.max().item()
        return low >= self.low and high <= self.high and bool((np.abs(array) >= self.away).all())


ANY = Domain(special=True)
TAME = Domain()


def random_array(rng: np.random.Generator, dtype: str, shape: Sequence[int], domain: Domain, edges: bool) -> Array:
    """Fresh elements inside a domain; with `edges` some are infinities, NaN, signed zeros or an integer's extremes.

    Floats lie in [-2, 2] or as near to it as the domain lets them; half of the time on multiples of 1/8, so that ties
    and zeros occur. Integers lie in [-8, 8].
    """
    kind = np.dtype(dtype)
    if kind.kind == "b":
        return np.asarray(rng.random(shape) < 0.5)
    low, high = _span(domain, *((-2.0, 2.0) if kind.kind == "f" else (0 if kind.kind == "u" else -8, 8)))
    if kind.kind == "f":
        wide = rng.uniform(low, high, shape)
        array = np.asarray(np.clip(np.round(wide * 8) / 8, low, high) if rng.random() < 0.5 else wide)
    else:
        array = np.asarray(rng.integers(int(np.ceil(low)), int(high) + 1, shape))
    if domain.away:
        sign = np.where(array < 0, -1, 1) if domain.low < 0 else 1
        array = np.where(np.abs(array) < domain.away, sign * max(domain.away, 1 if kind.kind != "f" else 0), array)
    array = np.asarray(array).astype(kind)
    return _with_edges(rng, array) if edges and domain.special else array


def _span(domain: Domain, low: float, high: float) -> tuple[float, float]:
    """[low, high] moved and cut so that it lies in the domain."""
    if low < domain.low:
        low, high = domain.low, max(high, domain.low + 2)
    if high > domain.high:
        low, high = max(min(low, domain.high - 2), domain.low), domain.high
    return low, high


def _with_edges(rng: np.random.Generator, array: Array) -> Array:
    if array.dtype.kind == "f":
        choices = [
            np.nan,
            np.inf,
            -np.inf,
            0.0,
            -0.0,
            float(np.finfo(array.dtype).max),
            float(np.finfo(array.dtype).tiny),
        ]
    else:
        info = np.iinfo(array.dtype)
        choices = [info.min, info.max, 0]
    picks = np.asarray(choices, array.dtype)[rng.integers(0, len(choices), array.shape)]
    return np.asarray(np.where(rng.random(array.shape) < 0.25, picks, array))
