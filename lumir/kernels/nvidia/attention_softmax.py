"""The running softmax of an attention kernel: each thread's rows, a tile of keys at a time.

Source of the algorithm: Milakov and Gimelshein, "Online normalizer calculation for softmax" (2018); Dao,
"FlashAttention-2" (2023): outputs are scaled when a row's maximum grows, and divided by the sum once at the end.
"""

import math
from dataclasses import dataclass
from functools import reduce

import numpy as np

from lumir.kernels.nvidia.mma import shuffle_xor
from lumir.mlir import arith, ir
from lumir.mlir import math as math_ops

Value = ir.Value
LOWEST = float(np.finfo(np.float32).min)
"""Where a row's maximum starts: finite, so that a row whose scores are all -inf has weights of zero.

No finite score is below it: masks add the lowest number itself, and a row of that alone has equal weights.
"""
_LOG2_E = 1 / math.log(2)


@dataclass(frozen=True)
class RowState:
    """Args:
    maxima, sums: float32 by row of this thread; the sums over this thread's columns only.
    """

    maxima: list[Value]
    sums: list[Value]

    @staticmethod
    def initial(rows: int) -> "RowState":
        return RowState([f32(LOWEST)] * rows, [f32(0.0)] * rows)


@dataclass(frozen=True)
class RowSoftmax:
    """Args:
    partners: lane distances (powers of two) to the threads that hold the other columns of the same rows.
    """

    partners: tuple[int, ...]

    def update(self, scores: list[list[Value]], state: RowState) -> tuple[list[list[Value]], RowState, list[Value]]:
        """Weights exp(score - maximum) by row, the new state, and what earlier sums and outputs must be scaled by."""
        weights, maxima, sums, scales = [], [], [], []
        for row, before, total in zip(scores, state.maxima, state.sums, strict=True):
            highest = arith.MaximumFOp(before, self.across(row, arith.MaximumFOp)).result
            row_weights = [power(score, highest) for score in row]
            scale = power(before, highest)
            here = reduce(lambda x, y: arith.AddFOp(x, y).result, row_weights)
            weights.append(row_weights)
            maxima.append(highest)
            sums.append(math_ops.FmaOp(total, scale, here).result)
            scales.append(scale)
        return weights, RowState(maxima, sums), scales

    def inverse_sums(self, state: RowState) -> list[Value]:
        """1 / the whole row's sum, and 1 where that is zero."""
        inverses = []
        for total in state.sums:
            inverses.append(inverse_sum(self.across([total], arith.AddFOp)))
        return inverses

    def across(self, values: list[Value], join: type) -> Value:
        """The values of all partners joined."""
        joined = reduce(lambda x, y: join(x, y).result, values)
        for distance in self.partners:
            joined = join(joined, shuffle_xor(joined, distance)).result
        return joined


def power(score: Value, highest: Value) -> Value:
    """exp(score - highest): subtracted first, as score * log2(e) rounds by more than 1 where masks reach -1e9."""
    below = arith.SubFOp(score, highest).result
    return math_ops.Exp2Op(arith.MulFOp(below, f32(_LOG2_E)).result).result


def inverse_sum(total: Value) -> Value:
    """1 / total, and 1 where that is zero: a row without keys gives zeros."""
    empty = arith.CmpFOp(arith.CmpFPredicate.OEQ, total, f32(0.0)).result
    return arith.DivFOp(f32(1.0), arith.SelectOp(empty, f32(1.0), total).result).result


def f32(value: float) -> Value:
    type_ = ir.F32Type.get()
    return arith.ConstantOp(type_, ir.FloatAttr.get(type_, value)).result
