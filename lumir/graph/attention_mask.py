"""The mask of an attention: causality and windows told apart, conditions and-ed, addends summed."""

import math
from dataclasses import dataclass, field
from functools import reduce
from operator import and_

import numpy as np

from lumir.dialects import build
from lumir.dialects.base import is_bool
from lumir.dialects.composite import is_length
from lumir.dialects.constants import splat_value
from lumir.graph.attention_band import EVERY_KEY, Band, band_of
from lumir.graph.attention_empty_rows import split_of
from lumir.graph.attention_length import length_of
from lumir.graph.attention_scores import Condition, drops
from lumir.graph.known import known_array
from lumir.graph.simplify_arithmetic import scalar
from lumir.graph.values import Shape, definition, element, is_splat, shape, short_name
from lumir.mlir import ir
from lumir.sizes import Dim, is_static


@dataclass
class Mask:
    """What is known of a mask; nothing is built until `build_mask`.

    Attributes:
        rows, columns: of the scores.
        keep_empty_rows: whether addends that are finite stay addends.
        band: the keys that a query sees by its place alone; its place from the last key that counts, with `length`.
        length: how many keys count, by batch; then nothing else is masked.
        kept: (condition, negated, shape of the scores).
        added: (addend, shape of the scores).
        filled: conditions that put their finite fill in place of a score, in the order of the model.
        has_means: rows without keys have the mean of all values, which `keep_empty_rows` asked for.
        is_simpler: some part was dropped, became part of the band, or became a condition.
    """

    rows: Dim
    columns: Dim
    keep_empty_rows: bool
    band: Band = EVERY_KEY
    length: ir.Value | None = None
    kept: list[tuple[ir.Value, bool, Shape]] = field(default_factory=list)
    added: list[tuple[ir.Value, Shape]] = field(default_factory=list)
    filled: list[tuple[Condition, Shape]] = field(default_factory=list)
    has_means: bool = False
    is_simpler: bool = False

    def add_condition(self, condition: Condition, dims: Shape) -> None:
        """Take up a condition, part by part."""
        if self._is_outright(condition.fill):
            self._keep(condition.value, condition.negated, dims)
        else:
            self.filled.append((condition, dims))

    def _is_outright(self, fill: float | None) -> bool:
        """Whether a key with this addend or score may be left out; a row without keys tells a finite one apart."""
        return fill is not None and not (self.keep_empty_rows and math.isfinite(fill))

    def _keep(self, value: ir.Value, negated: bool, dims: Shape) -> None:
        op = definition(value, "not", "or" if negated else "and")
        if op is not None:
            for part in op.operands:
                self._keep(part, negated != (short_name(op) == "not"), dims)
            return
        band = band_of(value, negated)
        if band is not None and self._narrow(band):
            return
        array = known_array(value)
        if array is None or not self._keep_known(array != negated):
            self.kept.append((value, negated, dims))

    def _narrow(self, band: Band) -> bool:
        """Take up a band, if an attention can say what is left."""
        if not (self.band & band).is_attribute:
            return False
        self.band, self.is_simpler = self.band & band, True
        return True

    def _keep_known(self, array: np.ndarray) -> bool:
        """Take up a condition whose elements are known, if it says nothing or is a band."""
        if array.all():
            self.is_simpler = True
            return True
        band = Band.of_array(array, self.rows, self.columns)
        return band is not None and self._narrow(band)

    def add_addend(self, value: ir.Value, dims: Shape) -> None:
        """Take up an addend: as a condition, if it is 0 for some keys and drops the others."""
        op = definition(value, "add")
        if op is not None:
            for part in op.operands:
                self.add_addend(part, dims)
            return
        condition = _dropping(value)
        if condition is not None and self._is_outright(condition.fill):
            self._keep(condition.value, condition.negated, dims)
            self.is_simpler = True
        elif not self._add_known(value):
            self.added.append((value, dims))

    def _add_known(self, value: ir.Value) -> bool:
        array = known_array(value)
        if array is None:
            return False
        if not array.any():
            self.is_simpler = True
            return True
        low = array[array != 0].astype(np.float64)
        dropping = all(drops(float(number), element(value)) for number in np.unique(low))
        exact = not self.keep_empty_rows or bool(np.isneginf(low).all())
        return dropping and exact and self._keep_known(array == 0)

    def take(self, value: ir.Value, dims: Shape) -> None:
        """Take up the mask operand of an attention."""
        if is_length(element(value)):
            self.length = value
        elif is_bool(element(value)):
            self._keep(value, False, dims)
        else:
            self.add_addend(value, dims)

    def drop_finite(self) -> None:
        """Drop keys outright where finite addends do as much: all masks are known, and leave every row a key."""
        self._drop_finite_bands()
        self._split_finite()
        finite = [self._kept_table(c.value, dims, c.negated) for c, dims in self.filled]
        finite += [self._kept_table(value, dims, None) for value, dims in self.added]
        tables = [table for table in finite if table is not None]
        if self.kept or not tables or len(tables) < len(finite):
            return
        if self.band != EVERY_KEY:
            if not is_static(self.rows) or not is_static(self.columns):
                return
            tables.append(self.band.table(self.rows, self.columns))
        if not np.logical_and.reduce(tables).any(axis=-1).all():
            return
        filled, added, self.filled, self.added = self.filled, self.added, [], []
        self.is_simpler = self.is_simpler or bool(filled)
        for condition, dims in filled:
            self._keep(condition.value, condition.negated, dims)
        for (value, dims), table in zip(added, finite[len(filled) :], strict=True):
            if table is None or not self._keep_known(table):
                self.added.append((value, dims))

    def _drop_finite_bands(self) -> None:
        """The same for masks that are bands, of whatever size."""
        conditions = [c for c, _ in self.filled] + [_dropping(value) for value, _ in self.added]
        bands = [c and band_of(c.value, c.negated) for c in conditions]
        found = [band for band in bands if band is not None]
        if self.kept or not found or len(found) < len(bands):
            return
        whole = reduce(and_, found, self.band)
        if whole.leaves_each_row_a_key(self.rows, self.columns):
            self.band, self.is_simpler, self.filled, self.added = whole, True, [], []

    def _split_finite(self) -> None:
        """Drop keys of one finite mask outright, and leave rows that then have none to `with_means`."""
        finite = [*self.filled, *((_dropping(value), dims) for value, dims in self.added)]
        if self.kept or self.band != EVERY_KEY or len(finite) != 1 or finite[0][0] is None:
            return
        condition, dims = finite[0]
        split = split_of(condition, self.rows, self.columns)
        if split is None:
            return
        self.band, self.kept = split.band, [(value, negated, dims) for value, negated in split.keys]
        self.filled, self.added, self.has_means, self.is_simpler = [], [], True, True

    def find_length(self, heads: tuple[Dim, Dim]) -> None:
        """Take up a number of keys for each batch, where the mask says nothing else."""
        if self.band != EVERY_KEY or self.filled or self.added or self.has_means or len(self.kept) != 1:
            return
        ((value, negated, dims),) = self.kept
        found = length_of(value, negated, heads[0]) if dims[:-2] == heads else None
        if found is not None:
            self.length, self.kept, self.is_simpler = found, [], True

    def _kept_table(self, value: ir.Value, dims: Shape, negated: bool | None) -> np.ndarray | None:
        """The keys [rows, columns] that every head keeps, of a known condition, or addend where `negated` is None."""
        array = known_array(value)
        if array is None or dims[-2:] != (self.rows, self.columns):
            return None
        if negated is None:
            low = np.unique(array[array != 0].astype(np.float64))
            if not all(drops(float(number), element(value)) for number in low):
                return None
            array, negated = array == 0, False
        whole = np.broadcast_to(array != negated, np.broadcast_shapes(array.shape, dims[-2:]))
        return np.all(whole.reshape(-1, self.rows, self.columns), axis=0, keepdims=True)[0]


def _dropping(addend: ir.Value) -> Condition | None:
    """The condition of an addend that is 0 for some keys and drops the others."""
    op = definition(addend, "select", "cast")
    if op is not None and short_name(op) == "cast":
        op = definition(op.operands[0], "select")
    if op is None:
        return None
    condition, lhs, rhs = op.operands
    for zero, low, negated in ((lhs, rhs, False), (rhs, lhs, True)):
        fill = splat_value(low)
        if fill is not None and is_splat(zero, 0) and drops(fill, element(low)):
            return Condition(condition, negated, fill)
    return None


def build_mask(mask: Mask, type_: ir.Type, heads: tuple[int, int]) -> ir.Value | None:
    """The mask as one value that broadcasts to [*heads, rows, columns]; None where nothing is left of it."""
    if mask.length is not None:
        return mask.length
    kept = [_seen(build("not", value) if negated else value, dims, heads) for value, negated, dims in mask.kept]
    added = [_seen(value, dims, heads) for value, dims in mask.added]
    if mask.filled:
        added.append(_filled(mask.filled, type_, heads))
    condition, addend = _joined("and", kept), _joined("add", added)
    if condition is None or addend is None:
        return condition if addend is None else addend
    return build("select", condition, addend, scalar(-math.inf, element(addend)))


def _filled(conditions: list[tuple[Condition, Shape]], type_: ir.Type, heads: tuple[int, int]) -> ir.Value:
    """0, or the fill of the last condition that drops a key: a fill replaces what was there, it is not added to it."""
    addend = scalar(0, type_)
    for condition, dims in conditions:
        fill = scalar(condition.fill, type_)
        branches = (fill, addend) if condition.negated else (addend, fill)
        addend = build("select", _seen(condition.value, dims, heads), *branches)
    return addend


def _joined(name: str, values: list[ir.Value]) -> ir.Value | None:
    total = values[0] if values else None
    for value in values[1:]:
        total = build(name, total, value)
    return total


def _seen(value: ir.Value, dims: Shape, heads: tuple[int, int]) -> ir.Value:
    """A mask of scores of shape `dims`, for scores of shape [*heads, rows, columns] with the same elements."""
    own = (1,) * (len(dims) - len(shape(value))) + shape(value)
    lead, table = own[:-2], own[-2:]
    if dims[:-2] == heads or math.prod(lead) == 1:
        return build("reshape", value, shape=own if dims[:-2] == heads else table)
    if lead != dims[:-2]:
        value = build("broadcast", value, shape=(*dims[:-2], *table))
    return build("reshape", value, shape=(*heads, *table))
