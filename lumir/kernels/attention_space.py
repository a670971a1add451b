"""Recognises softmax(scores(Q K^T)) V in a dispatch: two contractions with a stable softmax between them."""

from dataclasses import dataclass
from functools import cached_property

from lumir.kernels.attention_mask import Band, band_of
from lumir.kernels.contraction_space import ContractionSpace
from lumir.kernels.dispatch import Dispatch, element_of, shape_of
from lumir.kernels.index import Index, IndexMath, Place
from lumir.kernels.loop_nest import LoopNest
from lumir.kernels.push import Path, paths_from
from lumir.kernels.reduction import combiner_of
from lumir.mlir import ir
from lumir.sizes import Dim

Value = ir.Value


@dataclass(frozen=True)
class AttentionSpace:
    """Attention as [rows, depth] x [depth, keys] -> scores -> softmax -> [rows, keys] x [keys, columns], per batch.

    Batch is batch and key/value head; the rows are the query positions of all query heads that share that key head.

    Args:
        first: the product of queries and keys.
        second: the product of weights and values.
        scores: the tensor that the softmax is taken of.
        path: from the first product to the scores.
        band: the keys that count for a query by their place alone: causality and windows.
    """

    first: ContractionSpace
    second: ContractionSpace
    scores: Value
    path: Path
    band: Band

    @staticmethod
    def of(dispatch: Dispatch) -> "AttentionSpace | None":
        nests = dispatch.reductions
        if len(nests) != 4:
            return None
        first, second = _product_of(nests[0]), _product_of(nests[3])
        if first is None or second is None:
            return None
        scores, weights = _softmax_of(nests[1]), second.operand(second.lhs)
        normal = None if scores is None else _softmax_result(dispatch, scores, nests[1], nests[2])
        if scores is None or normal is None:
            return None
        into, out_of = paths_from(dispatch, first.result).get(scores), paths_from(dispatch, normal).get(weights)
        if into is None or out_of is None or _composed(into, out_of) != Path() or not _fit(first, second):
            return None
        return AttentionSpace(first, second, scores, into, band_of(scores))

    @cached_property
    def shape(self) -> tuple[Dim, Dim, Dim, Dim, Dim]:
        """Batch, rows, keys, depth of a score, columns of the result."""
        batch, rows, keys, depth = self.first.shape
        return batch, rows, keys, depth, self.second.shape[2]

    @cached_property
    def queries(self) -> Dim:
        """Rows of one head: the number of query positions."""
        return self.first.nest.sizes[self.first.m[-1]]

    def score_place(self, index: IndexMath, batch: Index, row: Index, key: Index) -> Place:
        """The place in `scores` of a row and a key."""
        product = shape_of(self.first.result)
        place = self.first.result_view(index, batch, row, key).place_in(index, product)
        return self.path.place(index, place)


def _product_of(nest: LoopNest) -> ContractionSpace | None:
    """The contraction, with the last dimension of its result as columns."""
    space = ContractionSpace.of(nest)
    if space is None:
        return None
    last = space.place_dims()[-1:]
    return space.swapped() if last and last[0] in space.m else space


def _composed(first: Path, second: Path) -> Path:
    for step in second.steps:
        first = first.then(step)
    return first


def _fit(first: ContractionSpace, second: ContractionSpace) -> bool:
    """The first product's rows and keys are, in this order, the second's rows and sum."""
    out = first.place_dims()
    read = tuple(e.position for e in second.nest.maps[second.lhs].results if isinstance(e, ir.AffineDimExpr))
    ordered = out == (*first.batch, *first.m, *first.n) and read == (*second.batch, *second.m, *second.k)
    groups = [(first.batch, second.batch), (first.m, second.m), (first.n, second.k)]
    same = all(first.sizes(x) == second.sizes(y) for x, y in groups)
    return ordered and same and len(first.n) == 1 and bool(first.m)


def _softmax_of(maximum: LoopNest) -> Value | None:
    """What the maximum is taken of, along its last dimension."""
    if combiner_of(maximum) != "arith.maximumf" or len(maximum.inputs) != 1 or not _along_last(maximum):
        return None
    return maximum.inputs[0] if len(list(maximum.block.operations)) == 2 else None


def _softmax_result(dispatch: Dispatch, scores: Value, maximum: LoopNest, total: LoopNest) -> Value | None:
    """exp(scores - max) / sum, with a maximum kept finite and a sum kept from zero; None for anything else."""
    steps = {result: nest for nest in dispatch.nests for result in nest.op.results}
    bounded = _only_user(steps, [maximum.op.results[0]], {"arith.constant", "arith.maximumf"})
    shifted = bounded and _only_user(steps, [scores, bounded], {"arith.subf"})
    weights = shifted and _only_user(steps, [shifted], {"math.exp"})
    if not weights or list(total.inputs) != [weights] or not _sums(total):
        return None
    positive = _only_user(steps, [total.op.results[0]], {"arith.constant", "arith.cmpf", "arith.select"})
    return positive and _only_user(steps, [weights, positive], {"arith.divf"})


def _only_user(steps: dict[Value, LoopNest], operands: list[Value], names: set[str]) -> Value | None:
    """The element-wise operation on exactly these operands whose body consists of operations of these names."""
    for result, nest in steps.items():
        body = {op.operation.name for op in nest.block.operations} - {"linalg.yield"}
        if list(nest.inputs) == operands and not nest.reductions and body == names and _reads_rows(nest):
            return result
    return None


def _reads_rows(nest: LoopNest) -> bool:
    """Every operand is read at the result's own place, or at its row."""
    whole = [str(ir.AffineExpr.get_dim(i)) for i in range(nest.rank)]
    return all([str(e) for e in m.results] in (whole, whole[:-1]) for m in (*nest.maps, *nest.output_maps))


def _sums(total: LoopNest) -> bool:
    return combiner_of(total) == "arith.addf" and _along_last(total) and len(list(total.block.operations)) == 2


def _along_last(nest: LoopNest) -> bool:
    """A reduction over the last dimension of an operand that is read in order."""
    return nest.reductions == [nest.rank - 1] and nest.maps[0] == ir.AffineMap.get_identity(nest.rank)


def element_type(space: AttentionSpace) -> ir.Type:
    """The type that both products read."""
    return element_of(space.first.operand(0))
