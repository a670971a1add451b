"""Parts of a softmax-weighted sum, each over some of the keys, and how they become one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce

from lumir.kernels.evaluate import Evaluator
from lumir.kernels.index import Index, IndexMath
from lumir.kernels.nvidia.attention_softmax import LOWEST, f32, power
from lumir.kernels.nvidia.mma import byte_offset, separated, store_vector
from lumir.kernels.nvidia.tiles_fill import zero_of
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

    def joined(self, loops: Evaluator, first: Value, count: int | Value, column: Value, lanes: int) -> "Joined":
        """A row over all parts, in their order.

        Args:
            first: the address of the row in part 0.
            column: in bytes; `lanes` columns from there on are joined.
        """

        def read(base: Value, part: int = 0) -> Joined:
            row = byte_offset(base, part * self.bytes)
            maximum, total = separated(_load(byte_offset(row, 4 * self.columns), 2))
            return Joined(maximum, total, _load(byte_offset(row, column), lanes))

        if not isinstance(count, int):
            return self._joined_some(loops, first, count, read)
        rest = count % _TOGETHER or _TOGETHER
        state = join([read(first, part) for part in range(rest)])
        if rest == count:
            return state
        with loops.loop(rest, count, _TOGETHER, state.values()) as (part, now, done):
            base = byte_offset(first, loops.index.scalar(loops.index.scale(part, self.bytes).base))
            state = join([Joined(*now), *(read(base, i) for i in range(_TOGETHER))])
            done(state.values())
        return Joined(*done.results)

    def _joined_some(self, loops: Evaluator, first: Value, count: Value, read: Callable[..., "Joined"]) -> "Joined":
        """The same of a number of parts that the running kernel knows; what lies past the last one adds nothing."""
        index, last = loops.index, arith.SubIOp(count, loops.index.constant(1)).result

        def some(start: Index) -> list[Joined]:
            found = []
            for i in range(_TOGETHER):
                number = index.scalar(index.offset(start, i).base)
                at = index.scale(Index(arith.MinSIOp(number, last).result), self.bytes)
                counts = arith.CmpIOp(arith.CmpIPredicate.slt, number, count).result
                found.append(read(byte_offset(first, index.scalar(at.base))).where(counts))
            return found

        state = join(some(Index(0)))
        with loops.loop(_TOGETHER, count, _TOGETHER, state.values()) as (part, now, done):
            done(join([Joined(*now), *some(part)]).values())
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

    def where(self, counts: Value) -> "Joined":
        """Itself, or a part of no keys."""
        empty = [f32(LOWEST), f32(0.0), zero_of(self.sums.type)]
        return Joined(*(arith.SelectOp(counts, x, y).result for x, y in zip(self.values(), empty, strict=True)))


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
