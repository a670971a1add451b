"""What the scores' element-wise operation says about which keys count, so that whole tiles of them can be skipped."""

from dataclasses import dataclass

from lumir.dialects import attribute_of
from lumir.kernels.evaluate import Evaluator
from lumir.kernels.index import Place
from lumir.kernels.loop_nest import LoopNest
from lumir.mlir import arith, ir
from lumir.sizes import Dim, maximum, minimum

Value = ir.Value
_LAST, _FIRST, _BELOW = arith.CmpIPredicate.sle, arith.CmpIPredicate.sge, arith.CmpIPredicate.slt


@dataclass(frozen=True)
class Length:
    """How many keys count, where the data says it of each batch: an input of the scores' operation."""

    nest: LoopNest
    number: int

    @property
    def tensor(self) -> Value:
        return self.nest.inputs[self.number]

    def at(self, evaluator: Evaluator, place: Place) -> Value:
        """It for a place of the scores, in its own type."""
        dims = self.nest.dims_at(place)
        return evaluator.at(
            self.tensor, [evaluator.index.evaluate(e, dims) for e in self.nest.maps[self.number].results]
        )


@dataclass(frozen=True)
class Band:
    """Query i sees keys i + first to i + last at most; None where nothing bounds them.

    With a length, keys count that are below it, and places are relative to it: i + length + first, and so on.
    """

    first: Dim | None = None
    last: Dim | None = None
    length: Length | None = None

    def keys_of(self, queries: Dim, keys: Dim) -> tuple[Dim, Dim]:
        """The first of so many keys that some query may see, and how many there are from it to the last such key."""
        if self.length is not None:
            return 0, keys
        first = 0 if self.first is None else maximum(minimum(self.first, keys), 0)
        stop = keys if self.last is None else minimum(keys, queries + self.last)
        return first, maximum(stop - first, 0)


def band_of(scores: Value) -> Band:
    """The bounds c of scores that are `select(key <= query + c, ..., -inf)`, or `>=`, or both.

    Query and key are the last two dimensions. Inside of them may be `select(key < length, ..., -inf)`, and bounds are
    then `query + c + length`.
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
    length = _length_of(value, nest)
    bounds: dict[int, Dim] = {}
    while (bound := _bound(value, nest, length)) is not None and bound[0] not in bounds:
        bounds[bound[0]], value = bound[1], value.owner.operands[1]
    if length is not None:
        if _comparison(value, nest.rank, _BELOW) is None:  # a bound that is not counted from the length is in between
            return Band(), list(nest.block.operations)[-1].operands[0]
        value = value.owner.operands[1]
    return Band(bounds.get(int(_FIRST)), bounds.get(int(_LAST)), length), value


def _length_of(value: Value, nest: LoopNest) -> Length | None:
    """What keys are held against inside of at most two bounds, if that is one number for each batch."""
    for _ in range(2):
        if _comparison(value, nest.rank, _FIRST, _LAST) is not None:
            value = value.owner.operands[1]
    number = _length_number(_comparison(value, nest.rank, _BELOW), nest)
    if number is None:
        return None
    read = {e.position for e in nest.maps[number].results if isinstance(e, ir.AffineDimExpr)}
    return Length(nest, number) if all(nest.sizes[i] == 1 for i in read - {0}) else None


def _length_number(value: Value | None, nest: LoopNest) -> int | None:
    """The input that a value of the body is, as an index."""
    cast = None if value is None else _defining(value, "arith.index_cast")
    number = None if cast is None else nest.argument_number(cast.operands[0])
    return number if number is not None and number < len(nest.inputs) else None


def _comparison(value: Value, rank: int, *predicates: arith.CmpIPredicate) -> Value | None:
    """What keys are compared with in `select(key predicate x, ..., -inf)`."""
    chosen = _defining(value, "arith.select")
    if chosen is None or not _is_minus_infinity(chosen.operands[2]):
        return None
    kept = _defining(chosen.operands[0], "arith.cmpi")
    if kept is None or _dimension(kept.operands[0]) != rank - 1:
        return None
    return kept.operands[1] if kept.attributes["predicate"].value in map(int, predicates) else None


def _bound(value: Value, nest: LoopNest, length: Length | None) -> tuple[int, Dim] | None:
    """The predicate and c of `select(key predicate query + c, ..., -inf)`, or of `query + c + length`."""
    bound = _comparison(value, nest.rank, _FIRST, _LAST)
    if bound is not None and length is not None:
        added = _defining(bound, "arith.addi")
        number = None if added is None else _length_number(added.operands[1], nest)
        bound = added.operands[0] if added is not None and number == length.number else None
    offset = None if bound is None else _offset_of(bound, nest.rank - 2)
    return None if offset is None else (value.owner.operands[0].owner.attributes["predicate"].value, offset)


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
    if nest.reductions or nest.maps[0] != nest.output_maps[0]:
        return None
    if nest.argument_number(value) == 0:
        return 1.0
    scaled = _defining(value, "arith.mulf")
    if scaled is None or nest.argument_number(scaled.operands[0]) != 0:
        return None
    constant = _defining(scaled.operands[1], "arith.constant")
    factor = None if constant is None else constant.attributes["value"].value
    return factor if factor is not None and factor > 0 else None
