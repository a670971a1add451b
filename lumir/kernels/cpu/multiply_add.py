"""Sums of products on a CPU, one at a time: each step reads a vector of every column and an element of every row."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lumir.kernels.contraction_space import ContractionSpace
from lumir.kernels.evaluate import Evaluator
from lumir.kernels.index import Index
from lumir.mlir import arith, ir

Value = ir.Value
Dims = dict[int, Index]


@dataclass(frozen=True)
class MultiplyAddWriter:
    """Writes the sum of one register tile.

    Args:
        evaluator: of the dispatch's tensors, with a lane a column.
        read: reads an input's elements with it, at these iteration dimensions.
    """

    space: ContractionSpace
    evaluator: Evaluator
    read: Callable[[Evaluator, int, Dims], Value]

    def sum(self, outer: Dims, rows: Sequence[Dims], columns: Sequence[Index]) -> list[Value]:
        """rows x columns accumulators after the whole sum."""
        zero = arith.ConstantOp(self.space.accumulator, _zero(self.space.accumulator)).result
        start = self.evaluator.widened(zero) if self.evaluator.index.lanes > 1 else zero
        return self._nested(self.space.k, outer, [start] * (len(rows) * len(columns)), rows, columns)

    def _nested(
        self,
        remaining: Sequence[int],
        dims: Dims,
        totals: list[Value],
        rows: Sequence[Dims],
        columns: Sequence[Index],
    ) -> list[Value]:
        if not remaining:
            return self._step(dims, totals, rows, columns)
        dim, *inner = remaining
        with self.evaluator.loop(0, self.space.nest.sizes[dim], 1, totals) as (position, carried, done):
            done(self._nested(inner, {**dims, dim: position}, carried, rows, columns))
        return done.results

    def _step(self, dims: Dims, totals: list[Value], rows: Sequence[Dims], columns: Sequence[Index]) -> list[Value]:
        right = [self._factor(self.space.rhs, {**dims, self.space.n[-1]: column}) for column in columns]
        left = (self._factor(self.space.lhs, {**dims, **row}) for row in rows)  # each is read before its own products
        pairs = ((x, y) for x in left for y in right)
        alike = self.evaluator.alike
        return [self.space.multiply_add(*alike(total, x, y)) for total, (x, y) in zip(totals, pairs, strict=True)]

    def _factor(self, number: int, dims: Dims) -> Value:
        return self.space.widen(number, self.read(self.evaluator, number, dims))


def _zero(element: ir.Type) -> ir.Attribute:
    return ir.FloatAttr.get(element, 0.0) if isinstance(element, ir.FloatType) else ir.IntegerAttr.get(element, 0)
