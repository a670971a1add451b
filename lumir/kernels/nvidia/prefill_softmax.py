"""The running softmax of the family `prefill`, on sums as wgmma holds them.

Of 64 rows, a thread holds rows lane / 4 and 8 more of its warp's sixteen; of each eight columns, 2 * (lane % 4) and the
next.
"""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from lumir.kernels.index import Index
from lumir.kernels.nvidia.attention_block import minus_infinity
from lumir.kernels.nvidia.attention_softmax import LOWEST, RowSoftmax, RowState, f32
from lumir.kernels.nvidia.function import NvidiaKernel
from lumir.kernels.nvidia.mma import joined, packed_pair, separated
from lumir.kernels.nvidia.valid_keys import ValidKeys
from lumir.mlir import arith, ir, llvm, scf
from lumir.mlir import math as math_ops

if TYPE_CHECKING:
    from lumir.kernels.nvidia.prefill_schedule import PrefillProblem

Value = ir.Value
Rows = list[list[Value]]
BELOW_PRODUCTS = -1.0e30
"""Far below every product, and finite also when it is scaled."""


class PrefillSoftmax:
    """Turns a tile's products into weights.

    Args:
        batch: of the key head.
        head: among those that share it.
        first_row: this thread's first row, a query position; the other one is 8 after it.
        pair: the first of this thread's two columns of each eight.
        valid: where the data says how many keys count.
    """

    def __init__(
        self,
        problem: "PrefillProblem",
        kernel: NvidiaKernel,
        batch: Index,
        head: Index,
        first_row: Index,
        pair: Index,
        valid: ValidKeys | None = None,
    ):
        self.valid = valid
        self.problem, self.kernel, self.index = problem, kernel, kernel.narrow_index()
        self.batch, self.head, self.pair = batch, head, pair
        self.rows = [first_row, self.index.offset(first_row, 8)]
        self.across = RowSoftmax((1, 2)).across

    @property
    def lowest(self) -> float:
        """Where a row's maximum starts; general scores may be the lowest number, where masks add it."""
        return LOWEST if self.problem.scale is None else BELOW_PRODUCTS

    @property
    def factor(self) -> float:
        """What scores, as `scores` gives them, are multiplied by to be exponents of two."""
        scale = self.problem.scale
        return (1.0 if scale is None else scale) / math.log(2)

    def scores(self, sums: Sequence[Value], first_key: Index, whole: Value | bool) -> Rows:
        """By row, what is compared: products where the scores are only a multiple of them, else the scores.

        Args:
            whole: all of the tile's keys count for every row; an i1 where only the running kernel knows.
        """
        rows = [[sums[4 * j + 2 * h + e] for j in range(len(sums) // 4) for e in (0, 1)] for h in (0, 1)]
        if self.problem.scale is None:
            return [self._general(row, at, first_key) for row, at in zip(rows, self.rows, strict=True)]
        if isinstance(whole, bool):
            return rows if whole else self._masked(rows, first_key)
        flat = [value for row in rows for value in row]
        branch = scf.IfOp(whole, [value.type for value in flat], has_else=True)
        with ir.InsertionPoint(branch.then_block):
            scf.YieldOp(flat)
        with ir.InsertionPoint(branch.else_block):
            scf.YieldOp([value for row in self._masked(rows, first_key) for value in row])
        found = list(branch.results)
        return [found[: len(found) // 2], found[len(found) // 2 :]]

    def update(self, scores: Rows, state: RowState) -> tuple[Rows, RowState, list[Value]]:
        """Weights by row, the new state, and what earlier sums and outputs must be scaled by."""
        weights, maxima, sums, scales = [], [], [], []
        factor = f32(self.factor)
        for row, before, total in zip(scores, state.maxima, state.sums, strict=True):
            highest = arith.MaximumFOp(before, self.across([_tree(row, arith.MaximumFOp)], arith.MaximumFOp)).result
            power = self._power(highest, factor)
            row_weights = [power(score) for score in row]
            scale = self._scale(before, highest)
            weights.append(row_weights)
            maxima.append(highest)
            sums.append(math_ops.FmaOp(total, scale, _tree(row_weights, arith.AddFOp)).result)
            scales.append(scale)
        return weights, RowState(maxima, sums), scales

    def operands(self, weights: Rows) -> list[Value]:
        """Weights as left operands of the product with the values: four registers for each sixteen keys."""
        element = self.problem.element
        return [
            packed_pair(weights[h][2 * j], weights[h][2 * j + 1], element)
            for k in range(0, len(weights[0]) // 2, 2)
            for j in (k, k + 1)
            for h in (0, 1)
        ]

    def _power(self, highest: Value, factor: Value) -> Callable[[Value], Value]:
        """exp of scores minus the highest; general scores are subtracted first, as masks may reach -1e9 and more."""
        if self.problem.scale is None:
            return lambda x: exp2(arith.MulFOp(arith.SubFOp(x, highest).result, factor).result)
        below = arith.MulFOp(highest, f32(-self.factor)).result
        return lambda x: exp2(math_ops.FmaOp(x, factor, below).result)

    def _scale(self, before: Value, highest: Value) -> Value:
        """What weights to the old maximum are scaled by; exactly 1 where it stays, however large it is."""
        if self.problem.scale is None:
            return exp2(arith.MulFOp(arith.SubFOp(before, highest).result, f32(self.factor)).result)
        exponents = [arith.MulFOp(maximum, f32(self.factor)).result for maximum in (before, highest)]
        return exp2(arith.SubFOp(*exponents).result)

    def _masked(self, rows: Rows, first_key: Index) -> Rows:
        """-inf for keys outside of those that count for their row."""
        here = self.index.scale(self.index.add(first_key, self.pair), -1)
        return [self._masked_row(row, at, here) for row, at in zip(rows, self.rows, strict=True)]

    def _masked_row(self, row: list[Value], at: Index, here: Index) -> list[Value]:
        """Args:
        here: minus the key of the thread's first column.
        """
        index, band, keys = self.index, self.problem.space.band, self.problem.space.shape[2]
        last = Index(keys - 1) if band.last is None else index.minimum(index.offset(at, band.last), keys - 1)
        if self.valid is not None:
            last = index.offset(self.valid.stop_of(at), -1)
        bounds = [(arith.CmpIPredicate.sge, index.add(last, here))]
        if band.first is not None:
            first = index.offset(at, band.first) if self.valid is None else self.valid.first_of(at)
            bounds.append((arith.CmpIPredicate.sle, index.add(first, here)))
        out, lowest = [], minus_infinity(ir.F32Type.get())
        for i, value in enumerate(row):
            column = index.constant(8 * (i // 2) + i % 2)
            for predicate, bound in bounds:
                counts = arith.CmpIOp(predicate, index.scalar(bound.base), column).result
                value = arith.SelectOp(counts, value, lowest).result
            out.append(value)
        return out

    def _general(self, row: list[Value], at: Index, first_key: Index) -> list[Value]:
        """What the dispatch makes of the products; keys past the last one never count."""
        problem, lanes = self.problem, self.problem.score_lanes
        evaluator, space = self.kernel.evaluator(lanes), problem.space
        index, keys = evaluator.index, space.shape[2]
        at = self.index.minimum(at, space.queries - 1) if space.queries % problem.schedule.m != 0 else at
        of = self.kernel.index_of
        batch, place_row = of(self.batch), index.add(index.scale(of(self.head), space.queries), of(at))
        first = of(self.index.add(first_key, self.pair))
        out: list[Value] = []
        for i in range(0, len(row), lanes):
            total = joined(row[i : i + lanes])
            key = index.offset(first, 8 * (i // 2) + i % 2)
            key = Index(key.base, 0, max(key.multiple, lanes))
            ragged = keys % problem.schedule.n != 0
            kept = index.minimum(key, keys - lanes) if ragged else key
            evaluator.bind(space.first.result, lambda _, total=total: total)
            if self.valid is not None:
                self.valid.bind(evaluator)
            place = space.score_place(index, batch, place_row, Index(kept.base, int(lanes > 1), kept.multiple))
            value = evaluator.at(space.scores, place)
            if ragged:
                value = arith.SelectOp(index.below(key, keys), value, minus_infinity(value.type)).result
            out += separated(value)
        return out


def _tree(values: Sequence[Value], join: type) -> Value:
    """All values joined pairwise: the joins of a level do not wait for each other."""
    values = list(values)
    while len(values) > 1:
        odd = values[len(values) // 2 * 2 :]
        values = [join(x, y).result for x, y in zip(values[::2], values[1::2])] + odd
    return values[0]


def exp2(value: Value) -> Value:
    """2^value in one instruction; results below 2^-126 are zero."""
    return llvm.inline_asm(ir.F32Type.get(), [value], "ex2.approx.ftz.f32 $0, $1;", "=f,f")
