"""Products of mma.sync on lines of the weight, and what packed weights need after them: scales, and less of a base."""

from collections.abc import Sequence

from lumir.kernels.nvidia.dequantise import defining, widened_from
from lumir.kernels.nvidia.mma import constant_i32, multiply_16x8x16, shuffle_xor
from lumir.kernels.nvidia.skinny_weight import Line
from lumir.mlir import arith, ir, llvm, math

Value = ir.Value
Operand = tuple[Value, Value, Value, Value]
"""The left operand of an instruction."""
SUMS = 4
"""Accumulators of a thread for one 16x8 tile."""
MOST_HALVED = 2
"""Tiles of a warp that have registers for two chains of products each."""
MOST_ZERO = 128
"""Zero points that a base may be larger by, and still is a number of either type."""


def zero() -> Value:
    return arith.ConstantOp(ir.F32Type.get(), ir.FloatAttr.get_f32(0.0)).result


class Products:
    """Multiplies chunks of k.

    Args:
        element: f16 or bf16.
        order, bases: as `WeightReader` has them.
    """

    def __init__(self, element: ir.Type, order: Sequence[tuple[int, int]], bases: Sequence[float]):
        self.element, self.order, self.bases = element, order, bases

    def add(
        self,
        rows: Sequence[tuple[Line, Line]],
        pairs: Sequence[Value],
        totals: Sequence[list[Value]],
        dealt: Sequence[Value] = (),
    ) -> list[list[Value]]:
        """The accumulators of each tile with a chunk's products.

        Args:
            rows: lines of each tile.
            pairs: of a column of activations.
            dealt: as in `MmaBlock.multiplied`.
        """
        if rows[0][0].scale is not None:
            return self._scaled(rows, pairs, totals, dealt)
        return self._chains(_operands(rows), [pairs] * len(rows), totals)

    def _scaled(
        self,
        rows: Sequence[tuple[Line, Line]],
        pairs: Sequence[Value],
        totals: Sequence[list[Value]],
        dealt: Sequence[Value],
    ) -> list[list[Value]]:
        """The sums of each tile with this chunk's products, whose scales and bases are still to be applied."""
        common = _common_zero([line for lines in rows for line in lines])
        bases = [base + (common or 0.0) for base in self.bases]
        alone = self._surplus_of_one(bases, dealt, common is None) if dealt else None
        operands = _operands(rows) if alone else [self._left(bases), *_operands(rows)]
        sums = self._halves(operands, pairs) if len(rows) <= MOST_HALVED else self._whole(operands, pairs)
        surplus, *sums = [alone, *sums] if alone else sums
        return [
            [
                _real(lines[i // 2], sum_, surplus[i % 2 :: 2], total, common is None)
                for i, (sum_, total) in enumerate(zip(*both))
            ]
            for lines, *both in zip(rows, sums, totals, strict=True)
        ]

    def _left(self, bases: Sequence[float]) -> list[Operand]:
        """A left operand that gives, for two rows of activations, the sums of base times activation; below, of 1."""
        words, one = [self._pair(base, base) for base in bases], self._pair(1.0, 1.0)
        return [(words[i], one, words[i + 1], one) for i in range(0, len(words), 2)]

    def _surplus_of_one(self, bases: Sequence[float], dealt: Sequence[Value], plain: bool) -> list[Value]:
        """What the products with `_left` give of a single row of activations, by one product.

        Its columns are parts of the row, and are added up.

        Args:
            plain: whether the sums of the activations themselves are asked for.
        """
        by_element = {e: base for pair, base in zip(self.order, bases, strict=True) for e in pair}
        each = 2 * len(dealt)
        assert all(base == by_element[e % each] for e, base in by_element.items())
        words = [self._pair(by_element[i], by_element[i + 1]) for i in range(0, each, 2)]
        none, one = constant_i32(0), self._pair(1.0, 1.0)
        left = (words[0], one, words[1], one) if len(words) > 1 else (words[0], one, none, none)
        sums = multiply_16x8x16(left, [*dealt, none][:2], [zero()] * SUMS, self.element)
        found = [arith.AddFOp(sums[i], sums[i + 1]).result for i in ((0, 2) if plain else (0,))]
        for distance in (1, 2):
            found = [arith.AddFOp(x, shuffle_xor(x, distance)).result for x in found]
        return [x for x in found for _ in (0, 1)]

    def _whole(self, operands: Sequence[list[Operand]], pairs: Sequence[Value]) -> list[list[Value]]:
        return self._chains(operands, [pairs] * len(operands), [[zero()] * SUMS for _ in operands])

    def _halves(self, operands: Sequence[list[Operand]], pairs: Sequence[Value]) -> list[list[Value]]:
        """As two chains for each operand: an instruction waits for the sums of the one before it."""
        middle = len(operands[0]) // 2
        parts = [part for left in operands for part in (left[:middle], left[middle:])]
        twice = [pairs[: 2 * middle], pairs[2 * middle :]] * len(operands)
        sums = self._chains(parts, twice, [[zero()] * SUMS for _ in parts])
        return [[arith.AddFOp(x, y).result for x, y in zip(*both)] for both in zip(sums[::2], sums[1::2], strict=True)]

    def _chains(
        self, operands: Sequence[list[Operand]], pairs: Sequence[Sequence[Value]], sums: Sequence[list[Value]]
    ) -> list[list[Value]]:
        """The sums of several chains of products, which take turns: none waits for its last one."""
        result = list(sums)
        for i in range(len(operands[0])):
            for chain, left in enumerate(operands):
                right = pairs[chain][2 * i : 2 * i + 2]
                result[chain] = multiply_16x8x16(left[i], right, result[chain], self.element)
        return result

    def _pair(self, low: float, high: float) -> Value:
        """Two numbers, as i32."""
        pair = ir.VectorType.get([2], self.element)
        values = [ir.FloatAttr.get(self.element, value) for value in (low, high)]
        both = arith.ConstantOp(pair, ir.DenseElementsAttr.get(values, pair)).result
        return llvm.BitcastOp(ir.IntegerType.get_signless(32), both).result


def _operands(rows: Sequence[tuple[Line, Line]]) -> list[list[Operand]]:
    """The left operands of a chunk, of each tile."""
    return [
        [
            (lower.pairs[i], upper.pairs[i], lower.pairs[i + 1], upper.pairs[i + 1])
            for i in range(0, len(lower.pairs), 2)
        ]
        for lower, upper in rows
    ]


def _common_zero(lines: Sequence[Line]) -> float | None:
    """The number that the pairs of all lines are too large by; None where that is not known."""
    zeros = set()
    for line in lines:
        op = None if line.zero is None else defining(widened_from(line.zero))
        if line.zero is not None and (op is None or op.name != "arith.constant"):
            return None
        zeros.add(0.0 if op is None else float(op.attributes["value"].value))
    zero = zeros.pop()
    return zero if not zeros and zero.is_integer() and 0 <= zero <= MOST_ZERO else None


def _real(line: Line, sum_: Value, surplus: Sequence[Value], total: Value, plain: bool) -> Value:
    """A sum without what its pairs were too large by, scaled, added to a total.

    Args:
        surplus: the sums of base times activation, and where `plain`, of the activations, for zero to be multiplied.
    """
    real = arith.SubFOp(sum_, surplus[0]).result
    if line.zero is not None and plain:
        real = math.FmaOp(arith.NegFOp(line.zero).result, surplus[1], real).result
    assert line.scale is not None
    return math.FmaOp(real, line.scale, total).result
