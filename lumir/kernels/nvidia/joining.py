"""How partial results of a reduction, from two lanes or two threads, become one."""

from collections.abc import Callable, Sequence

from lumir.diagnostics import InternalError
from lumir.kernels.evaluate import Evaluator
from lumir.kernels.index import Index
from lumir.kernels.loop_nest import LoopNest
from lumir.kernels.memory import like
from lumir.kernels.reduction import combiner_of
from lumir.mlir import arith, ir

Value = ir.Value
Join = Callable[[Sequence[Value], Sequence[Value]], list[Value]]
"""Two lists of accumulators, one of each part of the row -> the accumulators of both parts together."""


def is_joinable(nest: LoopNest) -> bool:
    """Whether parts of a row can be reduced apart and joined after; if not, one thread runs over the whole row."""
    return combiner_of(nest) is not None or selects(nest)


def join_of(nest: LoopNest, fresh: Callable[[], Evaluator]) -> Join:
    """How to join the accumulators of two parts of a row.

    Args:
        fresh: makes an evaluator that has nothing bound.

    Raises:
        InternalError: the reduction is not joinable.
    """
    name = combiner_of(nest)
    if name is not None:
        return lambda x, y: [ir.Operation.create(name, results=[x[0].type], operands=[x[0], y[0]]).results[0]]
    if selects(nest):
        return lambda x, y: _select_joined(nest, fresh(), x, y)
    raise InternalError("a reduction that only one thread can run was given to several", code="bad-schedule")


def selects(nest: LoopNest) -> bool:
    """Whether the reduction picks one element and its index, as arg_reduce does.

    Then the body yields `select(better, value, best)` and `select(better, index, best's index)`, and to take an element
    twice does no harm.
    """
    if len(nest.outputs) != 2 or len(nest.reductions) != 1 or len(nest.inputs) != 1:
        return False
    value, best, best_index = nest.block.arguments
    chosen = [v.owner for v in list(nest.block.operations)[-1].operands]
    if any(isinstance(op, ir.Block) or op.name != "arith.select" for op in chosen):
        return False
    first, second = chosen
    same = first.operands[0] == second.operands[0]
    keeps = first.operands[1] == value and first.operands[2] == best and second.operands[2] == best_index
    return same and keeps and _is_index(second.operands[1], nest.reductions[0])


def _is_index(value: Value, dim: int) -> bool:
    op = value.owner
    if isinstance(op, ir.Block) or op.name != "arith.index_cast":
        return False
    source = op.operands[0].owner
    return not isinstance(source, ir.Block) and source.name == "linalg.index" and source.attributes["dim"].value == dim


def _select_joined(nest: LoopNest, evaluator: Evaluator, x: Sequence[Value], y: Sequence[Value]) -> list[Value]:
    """The body itself, run on the later of the two elements with the earlier one as the best so far."""
    later = arith.CmpIOp(arith.CmpIPredicate.slt, x[1], y[1]).result
    first = [arith.SelectOp(later, a, b).result for a, b in zip(x, y, strict=True)]
    second = [arith.SelectOp(later, b, a).result for a, b in zip(x, y, strict=True)]
    evaluator.bind(nest.inputs[0], lambda _place: second[0])
    dims = [Index(0)] * nest.rank
    position = _as_index(second[1], evaluator.index.type)
    dims[nest.reductions[0]] = Index(position, None if isinstance(position.type, ir.VectorType) else 0)
    return evaluator.body(nest, dims, lambda number: first[number])


def _as_index(value: Value, type_: ir.Type) -> Value:
    target = like(value.type, type_)
    return value if value.type == target else arith.TruncIOp(target, value).result
