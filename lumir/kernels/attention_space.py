"""The parts of an attention dispatch: what step 4 writes for `lumir.attention`, found again by its structure."""

from dataclasses import dataclass

from lumir.kernels.contraction_space import ContractionSpace
from lumir.kernels.dispatch import Dispatch, shape_of
from lumir.kernels.evaluate import LoopNest
from lumir.kernels.index import Index, IndexMath, Place
from lumir.kernels.reduction import combiner_of
from lumir.mlir import ir

Value = ir.Value
B, G, R, M = range(4)
"""Iteration dimensions that both products share: batch, key/value head, query head of the group, query."""


@dataclass(frozen=True)
class AttentionSpace:
    """scores[b, g, r, m, n] = query . key, changed element by element; softmax over n; result = weights . value.

    Args:
        scores: the first product; iteration dimensions b, g, r, m, n, d.
        changed: the scores that softmax is taken of, [b, h, m, n] with h = g * groups + r.
        product: the second product; iteration dimensions b, g, r, m, e, n.
    """

    scores: ContractionSpace
    changed: Value
    product: ContractionSpace

    @staticmethod
    def of(dispatch: Dispatch) -> "AttentionSpace | None":
        """The space of a dispatch whose reductions are a product, a maximum, a sum and a product; else None."""
        if len(dispatch.reductions) != 4:
            return None
        first, highest, total, last = dispatch.reductions
        scores, product = ContractionSpace.of(first), ContractionSpace.of(last)
        if scores is None or product is None or first.rank != 6 or last.rank != 6:
            return None
        if combiner_of(highest) != "arith.maximumf" or combiner_of(total) != "arith.addf":
            return None
        changed = highest.inputs[0]
        rows = [_reduces_last(nest) for nest in (highest, total)]
        if not all(rows) or len(shape_of(changed)) != 4 or first.sizes[4] != last.sizes[5]:
            return None
        return AttentionSpace(scores, changed, product)

    @property
    def sizes(self) -> tuple[int, int, int, int, int, int, int]:
        """b, g, r, m, n, d, e."""
        b, g, r, m, n, d = self.scores.nest.sizes
        return b, g, r, m, n, d, self.product.nest.sizes[4]

    @property
    def accumulator(self) -> ir.Type:
        return self.scores.accumulator

    def query_place(self, index: IndexMath, outer: Place, m: Index, d: Index) -> Place:
        return _evaluate(index, self.scores.nest, 0, [*outer, m, Index(0), d])

    def key_place(self, index: IndexMath, outer: Place, n: Index, d: Index) -> Place:
        return _evaluate(index, self.scores.nest, 1, [*outer, Index(0), n, d])

    def value_place(self, index: IndexMath, outer: Place, n: Index, e: Index) -> Place:
        return _evaluate(index, self.product.nest, 1, [*outer, Index(0), e, n])

    def changed_place(self, index: IndexMath, outer: Place, m: Index, n: Index) -> Place:
        """Where the changed scores are read: query head h = g * groups + r."""
        b, g, r = outer
        head = index.add(index.scale(g, self.scores.nest.sizes[R]), r)
        return b, head, m, n

    def result_place(self, outer: Place, m: Index, e: Index) -> Place:
        return *outer, m, e


def _evaluate(index: IndexMath, nest: LoopNest, number: int, dims: list[Index]) -> Place:
    return tuple(index.evaluate(e, dims) for e in nest.maps[number].results)


def _reduces_last(nest: LoopNest) -> bool:
    return nest.rank == 4 and nest.reductions == [3] and len(nest.inputs) == 1
