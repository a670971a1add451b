"""The shape of a contraction: which iteration dimensions are batch, rows (m), columns (n) and sum (k)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from lumir.dialects.contraction import ALLOW_TF32
from lumir.kernels.contraction_body import multiplies_and_adds, starts_at_zero, widening
from lumir.kernels.dispatch import Dispatch, element_of, remembered, shape_of
from lumir.kernels.index import Index, IndexMath, Place
from lumir.kernels.loop_nest import LoopNest
from lumir.kernels.push import Reshape
from lumir.mlir import arith, ir
from lumir.mlir import math as math_ops
from lumir.sizes import Dim, Shape

Value = ir.Value
Dims = tuple[int, ...]


@dataclass(frozen=True)
class Split:
    """A row-major position as a base plus an offset.

    Args:
        base: a multiple of `window`.
        offset: from 0 to `window` - 1.
    """

    base: Index
    offset: Index
    window: int

    def delinearize(self, index: IndexMath, sizes: Sequence[int]) -> Place:
        """The place at the position; where the window divides the last size, only the base is divided."""
        if not sizes or sizes[-1] % self.window != 0 or self.base.known % self.window:
            return index.delinearize(index.add(self.base, self.offset), sizes)
        *outer, last = index.delinearize(self.base, sizes)
        return (*outer, index.add(last, self.offset))


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
        if not multiplies_and_adds(nest) or not starts_at_zero(nest.outputs[0]):
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
        wide = [d for d in out if nest.sizes[d] != 1]
        return space.swapped() if wide and wide[-1] in m else space

    def place_dims(self) -> Dims:
        """The iteration dimension that each dimension of the result is."""
        return tuple(dims_of(e)[0] for e in self.nest.output_maps[0].results)

    def swapped(self) -> "ContractionSpace":
        """The same product transposed: rows become columns."""
        return replace(self, lhs=self.rhs, rhs=self.lhs, m=self.n, n=self.m)

    def summation_orders(self) -> "list[ContractionSpace]":
        """The same product, k counted in each order that may suit memory: an operand's, or its first dimension last."""
        orders = [_order_in(map_, self.nest.reductions) for map_ in self.nest.maps]
        orders += [(*order[1:], order[0]) for order in orders]
        return [replace(self, k=order) for order in dict.fromkeys(orders)]

    def sizes(self, dims: Dims) -> Shape:
        return tuple(self.nest.sizes[d] for d in dims)

    def extent(self, dims: Dims) -> Dim:
        return math.prod(self.sizes(dims))

    @cached_property
    def shape(self) -> tuple[Dim, Dim, Dim, Dim]:
        """The number of products, and m, n and k of each."""
        return self.extent(self.batch), self.extent(self.m), self.extent(self.n), self.extent(self.k)

    @property
    def result(self) -> Value:
        return self.nest.op.results[0]

    @cached_property
    def accumulator(self) -> ir.Type:
        return element_of(self.result)

    def operand(self, number: int) -> Value:
        return self.nest.inputs[number]

    def rows_of(self, number: int) -> Dims:
        """The dimensions of an input beside batch and k."""
        return self.m if number == self.lhs else self.n

    def operand_view(self, index: IndexMath, number: int, batch: Index, row: Index, k: Index | Split) -> "View":
        """Where input `number` is read for one row (m of the left, n of the right) and one k."""
        groups = [(self.batch, batch), (self.rows_of(number), row), (self.k, k)]
        return self._view(index, self.nest.maps[number], shape_of(self.operand(number)), groups)

    def result_view(self, index: IndexMath, batch: Index, m: Index, n: Index) -> "View":
        """Where the product of one row and one column goes."""
        groups = [(self.batch, batch), (self.m, m), (self.n, n)]
        return self._view(index, self.nest.output_maps[0], shape_of(self.result), groups)

    def _view(
        self, index: IndexMath, map_: ir.AffineMap, shape: Shape, groups: Sequence[tuple[Dims, Index | Split]]
    ) -> "View":
        """Dimensions of a group that lie side by side in the tensor stay one."""
        at, runs = [Index(0)] * self.nest.rank, {}
        expressions, plain = self._without_single(map_), self._plain(map_, shape)
        for dims, position in groups:
            parts = _runs(plain, [d for d in dims if self.nest.sizes[d] != 1])
            sizes = [self.extent(run) for run in parts]
            split = (
                position.delinearize(index, sizes)
                if isinstance(position, Split)
                else index.delinearize(position, sizes)
            )
            for run, place in zip(parts, split, strict=True):
                at[run[0]] = place
                runs[run[0]] = len(run)
        sizes, places, i = [], [], 0
        while i < len(plain):
            length = runs.get(plain[i], 1)
            sizes.append(math.prod(shape[i : i + length]))
            places.append(index.evaluate(expressions[i], at))
            i += length
        return View(tuple(sizes), tuple(places))

    def runs(self, number: int, dims: Dims) -> list[Dims]:
        """The dimensions as input `number` has them: those side by side in it together."""
        plain = self._plain(self.nest.maps[number], shape_of(self.operand(number)))
        return _runs(plain, [d for d in dims if self.nest.sizes[d] != 1])

    def _plain(self, map_: ir.AffineMap, shape: Shape) -> list[int | None]:
        """The dimension that each result of the map is, if it is just that and runs through the tensor's whole size."""
        return [
            e.position if isinstance(e, ir.AffineDimExpr) and self.nest.sizes[e.position] == size else None
            for e, size in zip(self._without_single(map_), shape, strict=True)
        ]

    def expressions(self, number: int) -> list[ir.AffineExpr]:
        """Where input `number` is read, without the terms of dimensions of size 1."""
        return self._without_single(self.nest.maps[number])

    def _without_single(self, map_: ir.AffineMap) -> list[ir.AffineExpr]:
        """The map's results, without the terms of dimensions of size 1."""
        zero = ir.AffineExpr.get_constant(0)
        dims = [zero if size == 1 else ir.AffineExpr.get_dim(i) for i, size in enumerate(self.nest.sizes)]
        substitution = ir.AffineMap.get(self.nest.rank, 0, dims)
        return list(ir.AffineMap.get(self.nest.rank, 0, [e.compose(substitution) for e in map_.results]).results)

    def widening(self, number: int) -> list[ir.Operation]:
        """The operations of the body between input `number` and the multiplication, in order."""
        return widening(self.nest, number)

    @property
    def multiplies_bytes(self) -> bool:
        """Both inputs are bytes that are widened to int32 and summed there."""
        i8, i32 = (ir.IntegerType.get_signless(width) for width in (8, 32))
        return self.accumulator == i32 and all(element_of(self.operand(number)) == i8 for number in (0, 1))

    @property
    def rounds_to_tf32(self) -> bool:
        """float32 operands may be rounded to tf32."""
        return ALLOW_TF32 in self.nest.op.operation.attributes

    def widen(self, number: int, value: Value) -> Value:
        """An element (or vector) of input `number` as the body widens it before it multiplies."""
        for op in self.widening(number):
            to = op.results[0].type
            to = ir.VectorType.get(value.type.shape, to) if isinstance(value.type, ir.VectorType) else to
            attributes = dict(op.attributes.items())
            value = ir.Operation.create(op.name, results=[to], operands=[value], attributes=attributes).results[0]
        return value

    def widens_unsigned(self, number: int) -> bool:
        """Whether the body takes input `number` as unsigned integers."""
        return any(op.name in ("arith.extui", "arith.uitofp") for op in self.widening(number))

    def multiply_add(self, total: Value, x: Value, y: Value) -> Value:
        """total + x * y on widened scalars; floats are rounded once."""
        if isinstance(self.accumulator, ir.FloatType):
            return math_ops.FmaOp(x, y, total).result
        return arith.AddIOp(total, arith.MulIOp(x, y).result).result


@dataclass(frozen=True)
class View:
    """A place in a tensor that is looked at in another shape of the same row-major order."""

    shape: Shape
    place: Place

    def place_in(self, index: IndexMath, shape: Shape) -> Place:
        return Reshape(self.shape, shape).place(index, self.place)


def _runs(plain: list[int | None], dims: Sequence[int]) -> list[Dims]:
    """The dimensions split where the tensor does not have the next one right after."""
    runs: list[Dims] = []
    for dim in dims:
        before = runs[-1][-1] if runs else None
        adjacent = before in plain and plain.index(before) + 1 < len(plain) and plain[plain.index(before) + 1] == dim
        if runs and adjacent and plain.count(dim) == 1:
            runs[-1] = (*runs[-1], dim)
        else:
            runs.append((dim,))
    return runs


def contraction_of(dispatch: Dispatch) -> ContractionSpace | None:
    """The space of the dispatch's only reduction, if it is a contraction; found once."""

    def find(dispatch: Dispatch) -> ContractionSpace | None:
        reductions = dispatch.reductions
        return ContractionSpace.of(reductions[0]) if len(reductions) == 1 else None

    return remembered(dispatch, "contraction", find)


def _dims_in(map_: ir.AffineMap) -> set[int]:
    return {d for e in map_.results for d in dims_of(e)}


def dims_of(expression: ir.AffineExpr) -> list[int]:
    """The iteration dimensions in an affine expression."""
    if isinstance(expression, ir.AffineDimExpr):
        return [expression.position]
    if isinstance(expression, ir.AffineConstantExpr):
        return []
    return [*dims_of(expression.lhs), *dims_of(expression.rhs)]


def _order_in(map_: ir.AffineMap, wanted: Sequence[int]) -> Dims:
    """The wanted dimensions in the order in which the operand lays them out."""
    seen = [d for e in map_.results for d in dims_of(e) if d in wanted]
    return tuple(dict.fromkeys(seen))
