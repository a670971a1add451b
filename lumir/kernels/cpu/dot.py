"""Sums of products of bytes on a CPU, four at a time: `vpdpbusd` adds u0 s0 + u1 s1 + u2 s2 + u3 s3 to an int32 lane.

The instruction multiplies unsigned bytes with signed ones. Where both operands are of one kind, the top bit of the
left one is flipped, which moves it by 128; the sums of the right operand's columns, kept in one more row of
accumulators, take that out again. All sums are exact modulo 2^32, as the model's own are.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lumir.kernels.contraction_space import ContractionSpace
from lumir.kernels.evaluate import Evaluator
from lumir.kernels.index import Index
from lumir.mlir import arith, ir, llvm, vector
from lumir.target import Target

Value = ir.Value
Dims = dict[int, Index]
TOGETHER = 4
"""Products that one lane adds up at once."""
INSTRUCTIONS = {16: "llvm.x86.avx512.vpdpbusd.512", 8: "llvm.x86.avx512.vpdpbusd.256"}
"""By the int32 lanes of a vector."""


@dataclass(frozen=True)
class ByteProducts:
    """How a contraction of bytes is summed.

    Args:
        along: the iteration dimension of which four neighbours are multiplied at once.
        unsigned: whether each input holds unsigned bytes.
    """

    along: int
    unsigned: tuple[bool, bool]

    @staticmethod
    def of(space: ContractionSpace, target: Target) -> "ByteProducts | None":
        """None where the operands are no bytes that are summed in int32, or the target has no such instruction."""
        if not target.byte_products or not space.multiplies_bytes:
            return None
        sizes = {d: space.nest.sizes[d] for d in space.k}
        if not all(isinstance(size, int) for size in sizes.values()):
            return None
        along = min(reversed(space.k), key=lambda d: -sizes[d] % TOGETHER / max(sizes[d], 1))
        return ByteProducts(along, (space.widens_unsigned(0), space.widens_unsigned(1)))


@dataclass(frozen=True)
class DotWriter:
    """Writes the sum of one register tile.

    Args:
        evaluators: of the dispatch's tensors, with a lane a column, and with a lane for each of four products.
        read: reads an input's bytes with one of them, at these iteration dimensions.
        packed: reads four rows of the right operand's columns, one after the other for each column, where memory has
            them so, with zeros behind the last row; given the row's place and the column.
    """

    space: ContractionSpace
    products: ByteProducts
    evaluators: tuple[Evaluator, Evaluator]
    read: Callable[[Evaluator, int, Dims], Value]
    packed: Callable[[Index, Index], Value] | None

    @property
    def lanes(self) -> int:
        return self.evaluators[0].index.lanes

    @property
    def right_unsigned(self) -> bool:
        return self.products.unsigned[self.space.rhs]

    @property
    def flipped(self) -> bool:
        """Both operands are of one kind."""
        return self.products.unsigned[0] == self.products.unsigned[1]

    def sum(self, outer: Dims, rows: Sequence[Dims], columns: Sequence[Index]) -> list[Value]:
        """rows x columns accumulators after the whole sum, each a vector of int32."""
        width = len(columns)
        start = [constant(self.lanes, 32, 0)] * ((len(rows) + self.flipped) * width)
        totals = self._nested([d for d in self.space.k if d != self.products.along], outer, start, rows, columns)
        if not self.flipped:
            return totals
        seven, correct = constant(self.lanes, 32, 7), arith.AddIOp if self.right_unsigned else arith.SubIOp
        moved = [arith.ShLIOp(total, seven).result for total in totals[-width:]]
        return [correct(total, moved[i % width]).result for i, total in enumerate(totals[:-width])]

    def _nested(
        self, remaining: list[int], dims: Dims, totals: list[Value], rows: Sequence[Dims], columns: Sequence[Index]
    ) -> list[Value]:
        if not remaining:
            return self._along(dims, totals, rows, columns)
        (wide, narrow), (dim, *inner) = self.evaluators, remaining
        with wide.loop(0, self.space.nest.sizes[dim], 1, totals) as (position, carried, done), narrow.scope():
            done(self._nested(inner, {**dims, dim: position}, carried, rows, columns))
        return done.results

    def _along(self, dims: Dims, totals: list[Value], rows: Sequence[Dims], columns: Sequence[Index]) -> list[Value]:
        """Whole groups of four in a loop, then the products left over, with zeros for those that are missing."""
        wide, narrow = self.evaluators
        left_over = self.space.nest.sizes[self.products.along] % TOGETHER
        whole = self.space.nest.sizes[self.products.along] - left_over
        if whole:
            with wide.loop(0, whole, TOGETHER, totals) as (position, carried, done), narrow.scope():
                done(self._step(dims, position, TOGETHER, carried, rows, columns))
            totals = done.results
        return self._step(dims, Index(whole), left_over, totals, rows, columns) if left_over else totals

    def _step(
        self,
        dims: Dims,
        first: Index,
        count: int,
        totals: list[Value],
        rows: Sequence[Dims],
        columns: Sequence[Index],
    ) -> list[Value]:
        right = [self._right(dims, first, count, column) for column in columns]
        left = [self._left({**dims, **row}, first, count) for row in rows]
        if self.flipped:
            left.append(constant(TOGETHER * self.lanes, 8, 1))
        pairs = ((x, y) for x in left for y in right)
        return [self._dot(total, x, y) for total, (x, y) in zip(totals, pairs, strict=True)]

    def _dot(self, total: Value, left: Value, right: Value) -> Value:
        unsigned, signed = (right, left) if self.right_unsigned else (left, right)
        name = ir.StringAttr.get(INSTRUCTIONS[self.lanes])
        return llvm.call_intrinsic(total.type, name, [total, unsigned, signed], [], [])

    def _left(self, dims: Dims, first: Index, count: int) -> Value:
        """Four bytes of a row, in every lane."""
        narrow, along = self.evaluators[1], self.products.along
        if count == TOGETHER:
            four = Index(first.base, 1, first.multiple)
            value = narrow.widened(self.read(narrow, self.space.lhs, {**dims, along: four}))
        else:
            places = [narrow.index.offset(first, i) for i in range(count)]
            known = [self.read(narrow, self.space.lhs, {**dims, along: place}) for place in places]
            zero = arith.ConstantOp(known[0].type, ir.IntegerAttr.get(known[0].type, 0)).result
            known += [zero] * (TOGETHER - count)
            value = vector.FromElementsOp(ir.VectorType.get([TOGETHER], zero.type), known).result
        if self.flipped:
            value = arith.XOrIOp(value, constant(TOGETHER, 8, -128)).result
        i32 = ir.IntegerType.get_signless(32)
        word = vector.ExtractOp(vector.BitCastOp(ir.VectorType.get([1], i32), value).result, [], [0]).result
        everywhere = vector.BroadcastOp(ir.VectorType.get([self.lanes], i32), word).result
        return vector.BitCastOp(bytes_of(TOGETHER * self.lanes), everywhere).result

    def _right(self, dims: Dims, first: Index, count: int, column: Index) -> Value:
        """Four bytes of each column, side by side."""
        if self.packed is not None:
            return self.packed(first, column)
        wide = self.evaluators[0]
        places = [{**dims, self.products.along: wide.index.offset(first, i)} for i in range(count)]
        rows = [wide.widened(self.read(wide, self.space.rhs, {**place, self.space.n[-1]: column})) for place in places]
        rows += [constant(self.lanes, 8, 0)] * (TOGETHER - count)
        return interleaved(interleaved(rows[0], rows[2]), interleaved(rows[1], rows[3]))


def bytes_of(count: int) -> ir.Type:
    return ir.VectorType.get([count], ir.IntegerType.get_signless(8))


def constant(lanes: int, width: int, number: int) -> Value:
    """An integer in every lane."""
    type_ = ir.VectorType.get([lanes], ir.IntegerType.get_signless(width))
    scalar = ir.IntegerAttr.get(type_.element_type, number)
    return arith.ConstantOp(type_, ir.DenseElementsAttr.get_splat(type_, scalar)).result


def interleaved(x: Value, y: Value) -> Value:
    """x0, y0, x1, y1, ..."""
    (lanes,) = ir.VectorType(x.type).shape
    return ir.Operation.create("vector.interleave", [bytes_of(2 * lanes)], [x, y]).results[0]
