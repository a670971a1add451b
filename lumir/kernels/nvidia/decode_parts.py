"""Parts of a softmax-weighted sum, each over some of the keys, and how they become one."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

from lumir.kernels.evaluate import Evaluator
from lumir.kernels.index import Index, IndexMath
from lumir.kernels.nvidia.attention_softmax import power
from lumir.kernels.nvidia.mma import byte_offset, separated, store_vector
from lumir.mlir import arith, ir, llvm, vector
from lumir.mlir import math as math_ops

Value = ir.Value
_STATISTICS = 4  # floats of a row: maximum, sum of weights, and two for the alignment
_TOGETHER = 16  # parts that are read at once


@dataclass(frozen=True)
class Parts:
    """Parts side by side in memory, each [rows, columns + statistics] in float32.

    A row holds the sum of weight times value, the weights being exp(score - maximum), then that maximum and the sum of
    the weights.
    """

    rows: int
    columns: int

    @property
    def pitch(self) -> int:
        """Floats of a row."""
        return self.columns + _STATISTICS

    @property
    def bytes(self) -> int:
        """Of one part."""
        return 4 * self.rows * self.pitch

    def row(self, index: IndexMath, base: Value, part: Index, row: Index) -> Value:
        """The address of a part's row."""
        at = index.add(index.scale(part, self.bytes), index.scale(row, 4 * self.pitch))
        return byte_offset(base, index.scalar(at.base))

    def write(self, row: Value, sums: Sequence[Value]) -> None:
        """Store neighbouring sums; the address is a multiple of their size, or of four sums' size."""
        for i in range(0, len(sums), 4):
            store_vector(byte_offset(row, 4 * i), sums[i : i + 4])

    def write_statistics(self, row: Value, maximum: Value, total: Value) -> None:
        store_vector(byte_offset(row, 4 * self.columns), [maximum, total])

    def joined(self, loops: Evaluator, first: Value, count: int, column: Value, lanes: int) -> "Joined":
        """A row over all parts, in their order.

        Args:
            first: the address of the row in part 0.
            column: in bytes; `lanes` columns from there on are joined.
        """

        def read(part: int, base: Value) -> Joined:
            row = byte_offset(base, part * self.bytes)
            maximum, total = separated(_load(byte_offset(row, 4 * self.columns), 2))
            return Joined(maximum, total, _load(byte_offset(row, column), lanes))

        rest = count % _TOGETHER or _TOGETHER
        state = join([read(part, first) for part in range(rest)])
        if rest == count:
            return state
        with loops.loop(rest, count, _TOGETHER, state.values()) as (part, now, done):
            base = byte_offset(first, loops.index.scalar(loops.index.scale(part, self.bytes).base))
            state = join([Joined(*now), *(read(i, base) for i in range(_TOGETHER))])
            done(state.values())
        return Joined(*done.results)


@dataclass(frozen=True)
class Joined:
    """Args:
    maximum: of a row's scores.
    total: the sum of weights.
    sums: of weight times value, a vector with one a column.
    """

    maximum: Value
    total: Value
    sums: Value

    def values(self) -> list[Value]:
        return [self.maximum, self.total, self.sums]


def join(parts: Sequence[Joined]) -> Joined:
    """One part over the keys of all; what was read is all read before the first sum."""
    highest = reduce(lambda x, y: arith.MaximumFOp(x, y).result, [part.maximum for part in parts])
    weights = [power(part.maximum, highest) for part in parts]
    total = arith.MulFOp(parts[0].total, weights[0]).result
    sums = arith.MulFOp(parts[0].sums, _wide(weights[0], parts[0].sums.type)).result
    for part, weight in zip(parts[1:], weights[1:], strict=True):
        total = math_ops.FmaOp(part.total, weight, total).result
        sums = math_ops.FmaOp(part.sums, _wide(weight, sums.type), sums).result
    return Joined(highest, total, sums)


def _wide(value: Value, type_: ir.Type) -> Value:
    return vector.BroadcastOp(type_, value).result


def _load(pointer: Value, lanes: int) -> Value:
    type_ = ir.VectorType.get([lanes], ir.F32Type.get())
    return llvm.LoadOp(type_, pointer, alignment=min(4 * lanes, 16)).result
