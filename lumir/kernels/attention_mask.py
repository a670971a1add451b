"""What the scores' element-wise operation says about which keys count, so that whole tiles of them can be skipped."""

from dataclasses import dataclass

from lumir.dialects import attribute_of
from lumir.kernels.evaluate import LoopNest
from lumir.mlir import arith, ir
from lumir.sizes import Dim, maximum, minimum

Value = ir.Value
_LAST, _FIRST = arith.CmpIPredicate.sle, arith.CmpIPredicate.sge


@dataclass(frozen=True)
class Band:
    """Query i sees keys i + first to i + last at most; None where nothing bounds them."""

    first: Dim | None = None
    last: Dim | None = None

    def keys_of(self, queries: Dim, keys: Dim) -> tuple[Dim, Dim]:
        """The first of so many keys that some query sees, and how many there are from it to the last such key."""
        first = 0 if self.first is None else maximum(minimum(self.first, keys), 0)
        stop = keys if self.last is None else minimum(keys, queries + self.last)
        return first, maximum(stop - first, 0)


def band_of(scores: Value) -> Band:
    """The bounds c of scores that are `select(key <= query + c, ..., -inf)`, or `>=`, or both.

    Query and key are the last two dimensions.
    """
    return _peeled(scores)[0]


def _peeled(scores: Value) -> tuple[Band, Value | None]:
    """The band, and what the scores are inside of it, a value of their body; None where they have none."""
    if isinstance(scores.owner, ir.Block) or scores.owner.name != "linalg.generic":
        return Band(), None
    nest = LoopNest.of(scores.owner)
    value = list(nest.block.operations)[-1].operands[0]
    if nest.reductions or nest.output_maps[0] != ir.AffineMap.get_identity(nest.rank):
        return Band(), value
    bounds: dict[int, Dim] = {}
    while (bound := _bound(value, nest.rank)) is not None and bound[0] not in bounds:
        bounds[bound[0]], value = bound[1], value.owner.operands[1]
    return Band(bounds.get(int(_FIRST)), bounds.get(int(_LAST))), value


def _bound(value: Value, rank: int) -> tuple[int, Dim] | None:
    """The predicate and c of `select(key predicate query + c, ..., -inf)`."""
    chosen = _defining(value, "arith.select")
    if chosen is None or not _is_minus_infinity(chosen.operands[2]):
        return None
    kept = _defining(chosen.operands[0], "arith.cmpi")
    if kept is None or _dimension(kept.operands[0]) != rank - 1:
        return None
    predicate, offset = kept.attributes["predicate"].value, _offset_of(kept.operands[1], rank - 2)
    return None if offset is None or predicate not in (int(_FIRST), int(_LAST)) else (predicate, offset)


def _offset_of(value: Value, dimension: int) -> Dim | None:
    """c where the value is `index + c` of that dimension."""
    if _dimension(value) == dimension:
        return 0
    added = _defining(value, "arith.addi")
    if added is None or _dimension(added.operands[0]) != dimension:
        return None
    size = _defining(added.operands[1], "lumir.size")
    if size is not None:
        return attribute_of(size, "value")
    constant = _defining(added.operands[1], "arith.constant")
    return None if constant is None else constant.attributes["value"].value


def _dimension(value: Value) -> int | None:
    index = _defining(value, "linalg.index")
    return None if index is None else index.attributes["dim"].value


def _is_minus_infinity(value: Value) -> bool:
    constant = _defining(value, "arith.constant")
    return constant is not None and constant.attributes["value"].value == float("-inf")


def _defining(value: Value, name: str) -> ir.Operation | None:
    return None if isinstance(value.owner, ir.Block) or value.owner.name != name else value.owner


def plain_scale(scores: Value) -> float | None:
    """c > 0 where the scores are a product times c, with -inf for keys outside of `band_of` at most."""
    value = _peeled(scores)[1]
    if value is None:
        return None
    nest = LoopNest.of(scores.owner)
    if nest.reductions or len(nest.inputs) != 1 or nest.maps[0] != nest.output_maps[0]:
        return None
    if nest.argument_number(value) == 0:
        return 1.0
    scaled = _defining(value, "arith.mulf")
    if scaled is None or nest.argument_number(scaled.operands[0]) != 0:
        return None
    constant = _defining(scaled.operands[1], "arith.constant")
    factor = None if constant is None else constant.attributes["value"].value
    return factor if factor is not None and factor > 0 else None
