"""The shape of a dispatch whose reductions all run over the same dimensions."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from lumir.kernels.dispatch import Dispatch, element_of, shape_of
from lumir.kernels.index import Index, Place
from lumir.kernels.loop_nest import LoopNest
from lumir.kernels.memory import is_packed_type
from lumir.mlir import ir
from lumir.sizes import Dim, Shape

Value = ir.Value


@dataclass(frozen=True)
class RowSpace:
    """A full shape split into kept and reduced dimensions.

    Args:
        full: the shape that is reduced.
        axes: which of its dimensions are reduced, ascending.
    """

    full: Shape
    axes: tuple[int, ...]

    @staticmethod
    def of(dispatch: Dispatch) -> "RowSpace | None":
        """The common space of the dispatch's reductions, or None where they do not share one."""
        spaces = {_space_of(nest) for nest in dispatch.reductions}
        if len(spaces) != 1 or (space := spaces.pop()) is None:
            return None
        fits = all(shape_of(r) == space.full or space.is_row(r) for r in dispatch.results)
        return space if fits and _stays_inside(dispatch, space) else None

    @cached_property
    def kept_axes(self) -> tuple[int, ...]:
        return tuple(i for i in range(len(self.full)) if i not in self.axes)

    @cached_property
    def kept(self) -> Shape:
        return tuple(self.full[i] for i in self.kept_axes)

    @cached_property
    def reduced(self) -> Shape:
        return tuple(self.full[i] for i in self.axes)

    @property
    def inner(self) -> Dim:
        """The last reduced dimension."""
        return self.reduced[-1]

    @cached_property
    def row_count(self) -> Dim:
        return math.prod(self.kept)

    @cached_property
    def row_size(self) -> Dim:
        return math.prod(self.reduced)

    def whole(self, lanes: int) -> Dim:
        """The part of the last reduced dimension that whole lane groups cover."""
        return self.inner // lanes * lanes

    def whole_rows(self, dispatch: Dispatch) -> list[Value]:
        """The arguments of the full shape, where a row is one run of memory of whole elements."""
        runs = self.axes == tuple(range(len(self.kept_axes), len(self.full)))
        whole = [v for v in dispatch.arguments if shape_of(v) == self.full and not is_packed_type(element_of(v))]
        return whole if runs else []

    def is_row(self, tensor: Value) -> bool:
        """It has one element for each row: the kept shape, with dimensions of 1 anywhere."""
        return shape_of(tensor) != self.full and _without_ones(shape_of(tensor)) == _without_ones(self.kept)

    def row_place(self, tensor: Value, row: Place) -> Place:
        """Where a tensor of one element a row has that of a row."""
        sizes, places = list(self.kept), list(row)
        found: list[Index] = []
        for size in shape_of(tensor):
            while sizes and sizes[0] != size and sizes[0] == 1:
                del sizes[0], places[0]
            if sizes and sizes[0] == size:
                found.append(places.pop(0))
                del sizes[0]
            else:
                found.append(Index(0))
        return tuple(found)

    def place(self, row: Place, columns: Place) -> Place:
        """The place in the full shape."""
        indices: list[Index] = [Index(0)] * len(self.full)
        for axis, index in zip((*self.kept_axes, *self.axes), (*row, *columns), strict=True):
            indices[axis] = index
        return tuple(indices)

    def dims(self, nest: LoopNest, row: Place, columns: Place) -> list[Index]:
        """The iteration dimensions of a reduction at a place."""
        full = self.place(row, columns)
        dims = [Index(0)] * nest.rank
        for expression, index in zip(_full_map(nest).results, full, strict=True):
            dims[expression.position] = index
        return dims


def _full_map(nest: LoopNest) -> ir.AffineMap:
    """The map of an operand that has every iteration dimension, in the operand's own order."""
    return next(m for m in nest.maps if _is_permutation(m, nest.rank))


def _is_permutation(map_: ir.AffineMap, rank: int) -> bool:
    plain = [e.position for e in map_.results if isinstance(e, ir.AffineDimExpr)]
    return len(map_.results) == rank and sorted(plain) == list(range(rank))


def _space_of(nest: LoopNest) -> RowSpace | None:
    reads = [(v, m) for v, m in zip(nest.inputs, nest.maps) if _is_permutation(m, nest.rank)]
    if not reads or len(nest.inputs) != 1:
        return None
    operand, map_ = reads[0]
    order = [e.position for e in map_.results]
    kept = [p for p in order if p not in nest.reductions]
    if kept != sorted(kept):
        return None
    axes = tuple(i for i, p in enumerate(order) if p in nest.reductions)
    return RowSpace(shape_of(operand), axes)


def _stays_inside(dispatch: Dispatch, space: RowSpace) -> bool:
    """A reduced value is read only at its own row: by plain element-wise operations over the space.

    A view may give it dimensions of 1, or take them away.
    """
    rows: set[Value] = set()
    for op in dispatch.operations:
        name = op.operation.name
        if name != "linalg.generic":
            if any(v in rows for v in op.operands) and name not in _HARMLESS:
                if name not in _VIEWS or not space.is_row(op.operands[0]) or not space.is_row(op.results[0]):
                    return False
                rows.update(op.results)
            continue
        nest = LoopNest.of(op)
        reads = [(v, m) for v, m in zip(nest.inputs, nest.maps) if v in rows]
        if reads and not _keeps_row(nest, space, [m for _, m in reads]):
            return False
        if nest.reductions or reads:
            rows.update(op.results)
    return True


_HARMLESS = ("func.return", "builtin.unrealized_conversion_cast")
_VIEWS = ("tensor.expand_shape", "tensor.collapse_shape")


def _keeps_row(nest: LoopNest, space: RowSpace, maps: list[ir.AffineMap]) -> bool:
    """The operation runs over the full shape or over the rows, and reads the reduced values at its own row."""
    if nest.reductions:
        return all(_is_permutation(m, nest.rank) for m in maps)
    if [e.position for e in nest.output_maps[0].results if isinstance(e, ir.AffineDimExpr)] != list(range(nest.rank)):
        return False
    result = nest.op.results[0]
    whole = _long(range(nest.rank), shape_of(result))
    allowed = [whole, _long(space.kept_axes, space.full)] if shape_of(result) == space.full else [whole]
    if shape_of(result) != space.full and not space.is_row(result):
        return False
    return all(_long_positions(m, shape_of(result)) in allowed for m in maps)


def _long_positions(map_: ir.AffineMap, sizes: Shape) -> list[int]:
    """The dimensions that a map takes, but for those of 1."""
    return _long([e.position for e in map_.results if isinstance(e, ir.AffineDimExpr)], sizes)


def _long(dims: Iterable[int], sizes: Shape) -> list[int]:
    return [d for d in dims if sizes[d] != 1]


def _without_ones(shape: Shape) -> list[Dim]:
    return [size for size in shape if size != 1]
