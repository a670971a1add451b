"""What the scores' element-wise operation says about which keys count, so that whole tiles of them can be skipped."""

from lumir.dialects import attribute_of
from lumir.kernels.evaluate import LoopNest
from lumir.mlir import arith, ir
from lumir.sizes import Dim

Value = ir.Value


def causal_offset(scores: Value) -> Dim | None:
    """c where the scores are `select(key <= query + c, ..., -inf)`, query and key being the last two dimensions."""
    if isinstance(scores.owner, ir.Block) or scores.owner.name != "linalg.generic":
        return None
    nest = LoopNest.of(scores.owner)
    if nest.reductions or nest.output_maps[0] != ir.AffineMap.get_identity(nest.rank):
        return None
    chosen = _defining(list(nest.block.operations)[-1].operands[0], "arith.select")
    if chosen is None or not _is_minus_infinity(chosen.operands[2]):
        return None
    kept = _defining(chosen.operands[0], "arith.cmpi")
    if kept is None or kept.attributes["predicate"].value != int(arith.CmpIPredicate.sle):
        return None
    if _dimension(kept.operands[0]) != nest.rank - 1:
        return None
    return _offset_of(kept.operands[1], nest.rank - 2)


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
    """c > 0 where the scores are a product times c, with -inf for keys that `causal_offset` says at most."""
    if isinstance(scores.owner, ir.Block) or scores.owner.name != "linalg.generic":
        return None
    nest = LoopNest.of(scores.owner)
    if nest.reductions or len(nest.inputs) != 1 or nest.maps[0] != nest.output_maps[0]:
        return None
    value = list(nest.block.operations)[-1].operands[0]
    if causal_offset(scores) is not None:
        value = value.owner.operands[1]
    if nest.argument_number(value) == 0:
        return 1.0
    scaled = _defining(value, "arith.mulf")
    if scaled is None or nest.argument_number(scaled.operands[0]) != 0:
        return None
    constant = _defining(scaled.operands[1], "arith.constant")
    factor = None if constant is None else constant.attributes["value"].value
    return factor if factor is not None and factor > 0 else None
