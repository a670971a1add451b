"""Rows that a finite fill leaves without keys, beside an attention that drops keys outright.

Exporters fill scores of dropped keys with a huge finite number: softmax gives these keys nothing where a row keeps any
key, and all keys the same where it keeps none. So an attention that skips keys is right for every row but those, whose
result is the mean of all values.
"""

from dataclasses import dataclass

from lumir.dialects import build
from lumir.dialects.base import tensor
from lumir.graph.attention_band import EVERY_KEY, Band, band_of
from lumir.graph.attention_scores import Condition
from lumir.graph.known import known_array
from lumir.graph.simplify_arithmetic import scalar
from lumir.graph.values import definition, element, shape, short_name
from lumir.mlir import ir
from lumir.sizes import Dim, at_least, is_static

NOWHERE = -(1 << 31)
"""Before every key that a window may begin with."""


@dataclass(frozen=True)
class Split:
    """A condition as a band and conditions of the key alone, which have one row: (value, negated)."""

    band: Band
    keys: tuple[tuple[ir.Value, bool], ...]


def split_of(condition: Condition, rows: Dim, columns: Dim) -> Split | None:
    """The condition in parts; None where it has others, or where nothing would be skipped."""
    band, keys = EVERY_KEY, []
    for value, negated in _parts(condition.value, condition.negated):
        part = band_of(value, negated) or _known_band(value, negated, rows, columns)
        if part is not None:
            band = band & part
        elif shape(value)[-2:-1] in ((), (1,)) and shape(value)[-1:] == (columns,):
            keys.append((value, negated))
        else:
            return None
    if band.last is None or not keys or rows == 1 or not band.leaves_each_row_a_key(rows, columns):
        return None
    return Split(band, tuple(keys)) if at_least(columns, rows + band.last) else None


def _known_band(value: ir.Value, negated: bool, rows: Dim, columns: Dim) -> Band | None:
    array = known_array(value)
    return None if array is None else Band.of_array(array != negated, rows, columns)


def _parts(value: ir.Value, negated: bool) -> list[tuple[ir.Value, bool]]:
    op = definition(value, "not", "or" if negated else "and")
    if op is None:
        return [(value, negated)]
    return [found for part in op.operands for found in _parts(part, negated != (short_name(op) == "not"))]


def with_means(attended: ir.Value, value: ir.Value, seen: ir.Value, band: Band) -> ir.Value:
    """The attention [b, h, m, e] over values [b, g, n, e], with means in rows that have no key.

    Args:
        seen: the keys that are kept in the band, bool [b or 1, h or 1, 1, n].
    """
    return build("select", _is_empty(seen, band, shape(attended)[2]), _means(value, shape(attended)[1]), attended)


def _is_empty(seen: ir.Value, band: Band, rows: Dim) -> ir.Value:
    """[..., m, 1]: whether no key from i + first to i + last is seen."""
    *lead, _, columns = shape(seen)
    assert band.last is not None
    keys = _places(columns, (1, columns))
    here = _places(rows, (rows, 1))
    if band.first is None:
        first = build("reduce", build("select", seen, keys, _number(columns)), kind="min", axes=[len(lead) + 1])
        earliest = build("reshape", first, shape=[*lead, 1, 1])
        return build("gt", earliest, build("add", here, _number(band.last)))
    latest = build("select", seen, keys, _number(NOWHERE))
    latest = build("scan", latest, kind="max", axis=len(lead) + 1, exclusive=False, reverse=False)
    rank = len(lead) + 2
    starts, sizes = [0] * (rank - 1) + [band.last], [*lead, 1, rows]
    latest = build("slice", latest, starts=starts, sizes=sizes, steps=[1] * rank)
    latest = build("reshape", latest, shape=[*lead, rows, 1])
    return build("lt", latest, build("add", here, _number(band.first)))


def _means(value: ir.Value, heads: Dim) -> ir.Value:
    """[b, h, 1, e]: over all keys, of the values that each query head reads."""
    b, groups, count, width = shape(value)
    wide, kind = ir.F32Type.get(), element(value)
    total = build("reduce", build("cast", value, to=wide), kind="sum", axes=[2])
    number = scalar(count, wide) if is_static(count) else build("cast", _number(count), to=wide)
    mean = build("cast", build("div", total, number), to=kind)
    mean = build("reshape", mean, shape=[b, groups, 1, 1, width])
    mean = build("broadcast", mean, shape=[b, groups, heads // groups, 1, width])
    return build("reshape", mean, shape=[b, heads, 1, width])


def _places(count: Dim, dims: tuple[Dim, Dim]) -> ir.Value:
    return build("reshape", build("iota", type=tensor([count], _i64()), axis=0), shape=list(dims))


def _number(value: Dim) -> ir.Value:
    """A size or a number as an int64 scalar."""
    if is_static(value):
        return scalar(value, _i64())
    return build("size", value=value, to=ir.RankedTensorType.get([], _i64()))


def _i64() -> ir.Type:
    return ir.IntegerType.get_signless(64)
