"""Which keys a query may see by its place alone: causal masks and windows, read off the comparisons that make them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import zip_longest

import numpy as np

from lumir.dialects.base import is_int
from lumir.dialects.constants import dense_array, splat_value
from lumir.graph.values import attribute, definition, element, shape, short_name
from lumir.mlir import ir
from lumir.sizes import Dim, at_least, is_static, maximum, minimum


@dataclass(frozen=True)
class Band:
    """Query i sees keys i + first to i + last; None where nothing bounds them."""

    first: Dim | None = None
    last: Dim | None = None

    def __and__(self, other: "Band") -> "Band":
        return Band(_joined(maximum, self.first, other.first), _joined(minimum, self.last, other.last))

    @staticmethod
    def of_attention(causal: bool, offset: Dim, window: int) -> "Band":
        return Band(offset - window + 1 if window else None, offset if causal else None)

    @property
    def is_attribute(self) -> bool:
        """Whether an attention can say it: the width of a band is a number."""
        if self.first is None or self.last is None:
            return True
        width = self.last - self.first
        return is_static(width) and width >= 0

    @property
    def attributes(self) -> dict[str, Dim]:
        """`causal`, `offset` and `window` of the attention."""
        if self.first is None or self.last is None:
            offset = self.first if self.last is None else self.last
            return {"causal": self.last is not None, "offset": offset or 0, "window": int(self.first is not None)}
        return {"causal": True, "offset": self.last, "window": self.last - self.first + 1}

    def table(self, rows: int, columns: int) -> np.ndarray:
        """Which keys are seen, as bools [rows, columns]."""
        seen = np.ones((rows, columns), dtype=bool)
        if self.last is not None:
            seen &= np.tri(rows, columns, self.last, dtype=bool)
        if self.first is not None:
            seen &= ~np.tri(rows, columns, self.first - 1, dtype=bool)
        return seen

    @staticmethod
    def of_table(table: np.ndarray) -> "Band | None":
        """The band that a table is, if it is one and sees some key."""
        rows, columns = table.shape
        distance = np.arange(columns) - np.arange(rows)[:, None]
        seen, dropped = distance[table], distance[~table]
        if not seen.size:
            return None
        first, last = int(seen.min()), int(seen.max())
        band = Band(first if (dropped < first).any() else None, last if (dropped > last).any() else None)
        return band if np.array_equal(band.table(rows, columns), table) else None

    @staticmethod
    def of_array(array: np.ndarray, rows: Dim, columns: Dim) -> "Band | None":
        """The band that every table of bools [..., rows, columns] is; of one row nothing is said."""
        tables = array.reshape(-1, *(1, 1, *array.shape)[-2:])
        if tables.shape[1:] != (rows, columns) or rows == 1 or (tables != tables[0]).any():
            return None
        return Band.of_table(tables[0])

    def leaves_each_row_a_key(self, rows: Dim, columns: Dim) -> bool:
        """Whether it is certain that no query is left without keys."""
        starts_inside = self.first is None or at_least(columns, rows + self.first)
        ends_inside = self.last is None or at_least(self.last, 0)
        return self.is_attribute and starts_inside and ends_inside and at_least(columns, 1)


EVERY_KEY = Band()


def _joined(choose: Callable[[Dim, Dim], Dim], x: Dim | None, y: Dim | None) -> Dim | None:
    return y if x is None else x if y is None else choose(x, y)


def band_of(condition: ir.Value, negated: bool = False) -> Band | None:
    """The band of a bool [..., query, key] whose comparisons are of the two places alone."""
    op = definition(condition)
    name = short_name(op) if op is not None else ""
    if op is None:
        return None
    if name == "not":
        return band_of(op.operands[0], not negated)
    if name == ("or" if negated else "and"):
        left, right = (band_of(part, negated) for part in op.operands)
        return None if left is None or right is None else left & right
    if name in ("reshape", "broadcast"):
        source = op.operands[0]
        return band_of(source, negated) if shape(source)[-2:] == shape(condition)[-2:] else None
    return _comparison(op, NEGATED.get(name, "") if negated else name)


NEGATED = {"le": "gt", "lt": "ge", "ge": "lt", "gt": "le"}
MIRRORED = {"le": "ge", "lt": "gt", "ge": "le", "gt": "lt"}


def _comparison(op: ir.Operation, name: str) -> Band | None:
    if name not in NEGATED or not is_int(element(op.operands[0])):
        return None
    wide = definition(op.operands[0], "abs")
    if wide is not None:
        within = _half(linear_of(wide.operands[0]), linear_of(op.operands[1]), name)
        beyond = _half(linear_of(op.operands[1]), _scaled(linear_of(wide.operands[0]), -1), MIRRORED[name])
        return within & beyond if name in ("le", "lt") and within and beyond else None
    return _half(linear_of(op.operands[0]), linear_of(op.operands[1]), name)


def _half(left: "Linear | None", right: "Linear | None", name: str) -> Band | None:
    """The band of `left name right`, a bound on key - query."""
    if left is None or right is None:
        return None
    difference = left + _minus(right)
    *outer, query, key = (0, 0, *difference.factors)
    if any(outer) or (query, key) not in ((-1, 1), (1, -1)):
        return None
    if key < 0:
        difference, name = _minus(difference), MIRRORED[name]
    bound = 0 - difference.constant
    match name:
        case "le":
            return Band(last=bound)
        case "lt":
            return Band(last=bound - 1)
        case "ge":
            return Band(first=bound)
    return Band(first=bound + 1)


@dataclass(frozen=True)
class Linear:
    """The sum of each place times a factor, one a dimension, and of a constant."""

    factors: tuple[int, ...]
    constant: Dim = 0

    def __add__(self, other: "Linear") -> "Linear":
        """As broadcasting aligns them."""
        pairs = zip_longest(reversed(self.factors), reversed(other.factors), fillvalue=0)
        return Linear(tuple(x + y for x, y in pairs)[::-1], self.constant + other.constant)


def _scaled(value: Linear | None, by: int) -> Linear | None:
    return value and Linear(tuple(by * f for f in value.factors), by * value.constant)


def _minus(value: Linear) -> Linear:
    return Linear(tuple(-f for f in value.factors), 0 - value.constant)


def linear_of(value: ir.Value) -> Linear | None:
    """An integer tensor as a linear function of its indices; along dimensions of size 1 nothing changes."""
    op = definition(value)
    if op is None or not _counts_places(element(value)):
        return None
    found = _linear_by_name(op, short_name(op), shape(value))
    if found is None:
        return None
    sizes = ((1,) * len(found.factors) + shape(value))[-len(found.factors) or None :]
    return replace(found, factors=tuple(0 if n == 1 else f for f, n in zip(found.factors, sizes)))


def _counts_places(type_: ir.Type) -> bool:
    """Whether sums and differences of places do not wrap in integers of this type."""
    if not is_int(type_):
        return False
    integer = ir.IntegerType(type_)
    return integer.width >= 32 and not integer.is_unsigned


def _linear_by_name(op: ir.Operation, name: str, dims: tuple[Dim, ...]) -> Linear | None:
    match name:
        case "iota":
            axis = attribute(op, "axis") % len(dims)
            return Linear(tuple(int(i == axis) for i in range(len(dims))))
        case "size":
            return Linear((), attribute(op, "value"))
        case "constant":
            return _constant(op)
        case "add" | "sub":
            left, right = map(linear_of, op.operands)
            return None if left is None or right is None else left + (right if name == "add" else _minus(right))
        case "neg":
            return _scaled(linear_of(op.operands[0]), -1)
        case "mul":
            return _product(*op.operands)
        case "cast" | "broadcast":
            return linear_of(op.operands[0])
        case "reshape":
            return _reshaped(linear_of(op.operands[0]), shape(op.operands[0]), dims)
        case "transpose":
            inner = linear_of(op.operands[0])
            order = attribute(op, "permutation")
            return inner and replace(inner, factors=tuple(_whole(inner, len(order))[i] for i in order))
        case "slice":
            return _sliced(linear_of(op.operands[0]), attribute(op, "starts"), attribute(op, "steps"))
    return None


def _whole(value: Linear, rank: int) -> tuple[int, ...]:
    """A factor for each of so many dimensions."""
    return (0,) * (rank - len(value.factors)) + value.factors


def _product(left: ir.Value, right: ir.Value) -> Linear | None:
    for value, number in ((left, splat_value(right)), (right, splat_value(left))):
        if number is not None:
            return _scaled(linear_of(value), int(number))
    return None


def _constant(op: ir.Operation) -> Linear | None:
    number = splat_value(op.results[0])
    if number is not None:
        return Linear((), int(number))
    array = dense_array(op.attributes["value"])
    places = [i for i, n in enumerate(array.shape) if n > 1]
    if len(places) != 1:
        return None
    row = array.reshape(-1).astype(np.int64)
    step = int(row[1] - row[0])
    if not np.array_equal(row, row[0] + step * np.arange(len(row))):
        return None
    return Linear(tuple(step * int(i == places[0]) for i in range(array.ndim)), int(row[0]))


def _reshaped(value: Linear | None, old: tuple[Dim, ...], new: tuple[Dim, ...]) -> Linear | None:
    """Through a reshape that only adds or drops dimensions of size 1."""
    kept, wanted = ([i for i, n in enumerate(dims) if n != 1] for dims in (old, new))
    if value is None or [old[i] for i in kept] != [new[j] for j in wanted]:
        return None
    factors = _whole(value, len(old))
    return replace(value, factors=tuple(factors[kept[wanted.index(j)]] if j in wanted else 0 for j in range(len(new))))


def _sliced(value: Linear | None, starts: tuple[Dim, ...], steps: tuple[int, ...]) -> Linear | None:
    if value is None:
        return None
    factors = _whole(value, len(starts))
    moved = value.constant
    for factor, start in zip(factors, starts, strict=True):
        moved = moved + factor * start
    return Linear(tuple(f * step for f, step in zip(factors, steps, strict=True)), moved)
