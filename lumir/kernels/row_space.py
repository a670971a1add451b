"""The shape of a dispatch whose reductions all run over the same dimensions."""

import math
from dataclasses import dataclass

from lumir.kernels.dispatch import Dispatch, shape_of
from lumir.kernels.evaluate import LoopNest
from lumir.kernels.index import Index, Place
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
        fits = all(shape_of(r) in (space.full, space.kept) for r in dispatch.results)
        return space if fits and _stays_inside(dispatch, space) else None

    @property
    def kept_axes(self) -> tuple[int, ...]:
        return tuple(i for i in range(len(self.full)) if i not in self.axes)

    @property
    def kept(self) -> Shape:
        return tuple(self.full[i] for i in self.kept_axes)

    @property
    def reduced(self) -> Shape:
        return tuple(self.full[i] for i in self.axes)

    @property
    def inner(self) -> Dim:
        """The last reduced dimension."""
        return self.reduced[-1]

    @property
    def row_count(self) -> Dim:
        return math.prod(self.kept)

    @property
    def row_size(self) -> Dim:
        return math.prod(self.reduced)

    def whole(self, lanes: int) -> Dim:
        """The part of the last reduced dimension that whole lane groups cover."""
        return self.inner // lanes * lanes

    def is_row(self, tensor: Value) -> bool:
        return shape_of(tensor) == self.kept and self.kept != self.full

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
    """A reduced value is read only at its own row: by plain element-wise operations over the space."""
    rows: set[Value] = set()
    for op in dispatch.operations:
        if op.operation.name != "linalg.generic":
            if any(v in rows for v in op.operands) and op.operation.name not in (
                "func.return",
                "builtin.unrealized_conversion_cast",
            ):
                return False
            continue
        nest = LoopNest.of(op)
        reads = [(v, m) for v, m in zip(nest.inputs, nest.maps) if v in rows]
        if reads and not _keeps_row(nest, space, [m for _, m in reads]):
            return False
        if nest.reductions or reads:
            rows.update(op.results)
    return True


def _keeps_row(nest: LoopNest, space: RowSpace, maps: list[ir.AffineMap]) -> bool:
    """The operation runs over the full shape or over the rows, and reads the reduced values at its own row."""
    identity = [e.position for e in nest.output_maps[0].results if isinstance(e, ir.AffineDimExpr)]
    if nest.reductions:
        return all(_is_permutation(m, nest.rank) for m in maps)
    if identity != list(range(nest.rank)):
        return False
    whole, kept = list(range(nest.rank)), list(space.kept_axes)
    shape = shape_of(nest.op.results[0])
    allowed = ([whole] if shape == space.kept else []) + ([whole, kept] if shape == space.full else [])
    return all([e.position for e in m.results if isinstance(e, ir.AffineDimExpr)] in allowed for m in maps)
