"""The shape of a contraction: which iteration dimensions are batch, rows (m), columns (n) and sum (k)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from lumir.kernels.dispatch import Dispatch, element_of
from lumir.kernels.evaluate import LoopNest
from lumir.kernels.index import Index, IndexMath, Place
from lumir.mlir import arith, ir, math as math_ops

Value = ir.Value
Dims = tuple[int, ...]


@dataclass(frozen=True)
class ContractionSpace:
    """A multiply-add `linalg.generic` as a batch of matrix products [m, k] x [k, n] -> [m, n].

    m, n and k may each be several iteration dimensions (a convolution's k is channels and window); each group counts
    row-major in the order given.

    Args:
        nest: the operation.
        lhs, rhs: the numbers of the inputs that carry the rows and the columns.
        batch, m, n, k: the iteration dimensions of each group.
    """

    nest: LoopNest
    lhs: int
    rhs: int
    batch: Dims
    m: Dims
    n: Dims
    k: Dims

    @staticmethod
    def of(nest: LoopNest) -> "ContractionSpace | None":
        """The space of a multiply-add from zero; None for any other operation."""
        if len(nest.inputs) != 2 or len(nest.outputs) != 1 or not nest.reductions:
            return None
        if not _multiplies_and_adds(nest) or not _starts_at_zero(nest.outputs[0]):
            return None
        out = [e.position for e in nest.output_maps[0].results if isinstance(e, ir.AffineDimExpr)]
        left, right = (_dims_in(m) for m in nest.maps)
        if len(out) != len(nest.output_maps[0].results) or set(out) | set(nest.reductions) != set(range(nest.rank)):
            return None
        if not set(nest.reductions) <= left & right or not set(out) <= left | right:
            return None
        batch = tuple(d for d in out if d in left and d in right)
        m, n = tuple(d for d in out if d not in right), tuple(d for d in out if d not in left)
        space = ContractionSpace(nest, 0, 1, batch, m, n, _order_in(nest.maps[1], nest.reductions))
        wide = [d for d in out if nest.sizes[d] > 1]
        return space.swapped() if wide and wide[-1] in m else space

    def swapped(self) -> "ContractionSpace":
        """The same product transposed: rows become columns."""
        return replace(self, lhs=self.rhs, rhs=self.lhs, m=self.n, n=self.m)

    def summed_as(self, number: int) -> "ContractionSpace":
        """The same product with k counted in the order of input `number`."""
        return replace(self, k=_order_in(self.nest.maps[number], self.nest.reductions))

    def sizes(self, dims: Dims) -> Dims:
        return tuple(self.nest.sizes[d] for d in dims)

    def extent(self, dims: Dims) -> int:
        return math.prod(self.sizes(dims))

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """The number of products, and m, n and k of each."""
        return self.extent(self.batch), self.extent(self.m), self.extent(self.n), self.extent(self.k)

    @property
    def result(self) -> Value:
        return self.nest.op.results[0]

    @property
    def accumulator(self) -> ir.Type:
        return element_of(self.result)

    def operand(self, number: int) -> Value:
        return self.nest.inputs[number]

    def rows_of(self, number: int) -> Dims:
        """The dimensions of an input beside batch and k."""
        return self.m if number == self.lhs else self.n

    def place(self, index: IndexMath, dims: Sequence[Index], map_: ir.AffineMap) -> Place:
        return tuple(index.evaluate(e, dims) for e in map_.results)

    def dims(self, index: IndexMath, groups: Sequence[tuple[Dims, Index]]) -> list[Index]:
        """Iteration dimensions from the row-major position in each group."""
        dims = [Index(0)] * self.nest.rank
        for group, position in groups:
            for dim, at in zip(group, index.delinearize(position, self.sizes(group)), strict=True):
                dims[dim] = at
        return dims

    def operand_place(self, index: IndexMath, number: int, batch: Index, row: Index, k: Index) -> Place:
        """Where input `number` is read for one row (m of the left, n of the right) and one k."""
        dims = self.dims(index, [(self.batch, batch), (self.rows_of(number), row), (self.k, k)])
        return self.place(index, dims, self.nest.maps[number])

    def result_place(self, index: IndexMath, batch: Index, m: Index, n: Index) -> Place:
        dims = self.dims(index, [(self.batch, batch), (self.m, m), (self.n, n)])
        return self.place(index, dims, self.nest.output_maps[0])

    def widen(self, number: int, value: Value) -> Value:
        """An element (or vector) of input `number` as the body widens it before it multiplies."""
        for op in _widening(self.nest, number):
            to = op.results[0].type
            to = ir.VectorType.get(value.type.shape, to) if isinstance(value.type, ir.VectorType) else to
            attributes = dict(op.attributes.items())
            value = ir.Operation.create(op.name, results=[to], operands=[value], attributes=attributes).results[0]
        return value

    def multiply_add(self, total: Value, x: Value, y: Value) -> Value:
        """total + x * y on widened scalars; floats are rounded once."""
        if isinstance(self.accumulator, ir.FloatType):
            return math_ops.FmaOp(x, y, total).result
        return arith.AddIOp(total, arith.MulIOp(x, y).result).result


def contraction_of(dispatch: Dispatch) -> ContractionSpace | None:
    """The space of the dispatch's only reduction, if it is a contraction."""
    reductions = dispatch.reductions
    return ContractionSpace.of(reductions[0]) if len(reductions) == 1 else None


def _dims_in(map_: ir.AffineMap) -> set[int]:
    return {d for e in map_.results for d in _positions(e)}


def _positions(expression: ir.AffineExpr) -> list[int]:
    if isinstance(expression, ir.AffineDimExpr):
        return [expression.position]
    if isinstance(expression, ir.AffineConstantExpr):
        return []
    return [*_positions(expression.lhs), *_positions(expression.rhs)]


def _order_in(map_: ir.AffineMap, wanted: Sequence[int]) -> Dims:
    """The wanted dimensions in the order in which the operand lays them out."""
    seen = [d for e in map_.results for d in _positions(e) if d in wanted]
    return tuple(dict.fromkeys(seen))


def _starts_at_zero(start: Value) -> bool:
    if isinstance(start.owner, ir.Block) or start.owner.name != "linalg.fill":
        return False
    scalar = start.owner.operands[0].owner
    return not isinstance(scalar, ir.Block) and scalar.name == "arith.constant" and scalar.attributes["value"].value == 0


def _multiplies_and_adds(nest: LoopNest) -> bool:
    """yield(total + widened(x) * widened(y)), and nothing else."""
    add = _defining(list(nest.block.operations)[-1].operands[0])
    if add is None or add.name not in ("arith.addf", "arith.addi"):
        return False
    total, product = add.operands
    multiply = _defining(product)
    if nest.argument_number(total) != 2 or multiply is None or multiply.name not in ("arith.mulf", "arith.muli"):
        return False
    return all(_argument_behind(nest, factor) == number for number, factor in enumerate(multiply.operands))


_WIDENINGS = ("arith.extf", "arith.extsi", "arith.extui", "arith.sitofp", "arith.uitofp")


def _argument_behind(nest: LoopNest, value: Value) -> int | None:
    while (op := _defining(value)) is not None and op.name in _WIDENINGS:
        value = op.operands[0]
    return nest.argument_number(value)


def _widening(nest: LoopNest, number: int) -> list[ir.Operation]:
    """The operations between input `number` and the multiplication, in order."""
    add = _defining(list(nest.block.operations)[-1].operands[0])
    value = _defining(add.operands[1]).operands[number]  # pyright: ignore[reportOptionalMemberAccess]
    chain: list[ir.Operation] = []
    while (op := _defining(value)) is not None:
        chain.append(op)
        value = op.operands[0]
    return chain[::-1]


def _defining(value: Value) -> ir.Operation | None:
    return None if isinstance(value.owner, ir.Block) else value.owner


