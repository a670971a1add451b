"""Tensors as strided memory: which view of an argument is still a start and a stride a dimension, as TMA wants it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lumir.kernels.dispatch import Dispatch, shape_of
from lumir.kernels.loop_nest import LoopNest
from lumir.kernels.push import Band, Path, Reshape, Step, matching_groups, paths_from
from lumir.kernels.tensor_ops import mixed_sizes
from lumir.mlir import ir
from lumir.sizes import Dim

Value = ir.Value
Factor = tuple[Dim, Dim]
"""A size and the distance between neighbours, in elements."""
Factors = tuple[Factor, ...]
"""A dimension as several, the outermost first; () for a dimension of size 1."""


@dataclass(frozen=True)
class Strided:
    """A view of dense memory.

    Args:
        dims: the factors of each dimension; those that are left out at the end have size 1.
        offset: of the first element, in elements.
    """

    dims: tuple[Factors, ...]
    offset: Dim = 0

    @staticmethod
    def dense(shape: Sequence[Dim]) -> "Strided":
        """Row-major."""
        strides = [math.prod(shape[i + 1 :]) for i in range(len(shape))]
        return Strided(tuple(_factors([factor]) for factor in zip(shape, strides, strict=True)))

    def permuted(self, order: Sequence[int | None]) -> "Strided":
        """Dimension i is this one's `order[i]`, or of size 1."""
        return Strided(tuple(() if i is None else self.dims[i] for i in order), self.offset)

    def reshaped(self, old: Sequence[Dim], new: Sequence[Dim]) -> "Strided | None":
        """The same row-major order in the shape `new`; None where a new dimension would have no factors."""
        dims: list[Factors] = []
        for sources, targets in matching_groups(tuple(old), tuple(new)):
            split = _split(self.joined(sources), [new[i] for i in targets])
            if split is None:
                return None
            dims += split
        return Strided(tuple(dims), self.offset)

    def sliced(self, starts: Sequence[Dim], sizes: Sequence[Dim], steps: Sequence[int]) -> "Strided | None":
        dims, offset = [], self.offset
        for factors, start, size, step in zip(self.dims, starts, sizes, steps, strict=True):
            whole = start == 0 and step == 1 and math.prod(n for n, _ in factors) == size
            if len(factors) > 1 and not whole:
                return None
            stride = factors[0][1] if factors else 0
            offset += start * stride
            dims.append(factors if whole else _factors([(size, step * stride)]))
        return Strided(tuple(dims), offset)

    def undone(self, path: Path) -> "Strided | None":
        """This view of where a path ends as one of where it begins; of a band, as if it were the whole."""
        view: Strided | None = self
        for step in reversed(path.steps):
            view = view and _undone(view, step)
        return view

    def joined(self, dims: Sequence[int]) -> Factors:
        """Several dimensions as one, counted row-major in this order."""
        return _factors([factor for dim in dims if dim < len(self.dims) for factor in self.dims[dim]])


def _factors(factors: Sequence[Factor]) -> Factors:
    """Without sizes of 1; neighbours that memory has side by side become one."""
    merged: list[Factor] = []
    for size, stride in factors:
        if size == 1:
            continue
        if merged and merged[-1][1] == size * stride:
            merged[-1] = (merged[-1][0] * size, stride)
        else:
            merged.append((size, stride))
    return tuple(merged)


def _split(factors: Factors, sizes: Sequence[Dim]) -> list[Factors] | None:
    """The factors dealt out to dimensions of these sizes, the innermost first."""
    left, dims = list(factors), []
    for size in reversed(sizes):
        taken: list[Factor] = []
        while size != 1:
            if not left:
                return None
            inner, stride = left.pop()
            if size % inner == 0:
                taken.append((inner, stride))
                size //= inner
            elif inner % size == 0:
                left.append((inner // size, stride * size))
                taken.append((size, stride))
                size = 1
            else:
                return None
        dims.append(_factors(taken[::-1]))
    return dims[::-1]


def strided_argument(dispatch: Dispatch, tensor: Value) -> tuple[Value, Strided] | None:
    """The argument that a tensor is a strided view of, and the view; None if there is none."""
    return strided_view(tensor, lambda value: value in dispatch.arguments)


def strided_view(tensor: Value, is_root: Callable[[Value], bool]) -> tuple[Value, Strided] | None:
    """The nearest root that a tensor is a strided view of, as if it were dense memory, and the view."""
    if is_root(tensor):
        return tensor, Strided.dense(shape_of(tensor))
    step = None if isinstance(tensor.owner, ir.Block) else _VIEWS.get(tensor.owner.name)
    if step is None or not len(tensor.owner.operands):
        return None
    source = strided_view(tensor.owner.operands[0], is_root)
    if source is None:
        return None
    view = step(tensor.owner.opview, source[1])
    return None if view is None else (source[0], view)


def strided_results(dispatch: Dispatch, root: Value) -> list[Strided | None]:
    """How each result's memory lies in terms of the dimensions of `root`, or of a band of it, whose elements it has."""
    paths = paths_from(dispatch, root, bands=True)
    return [
        Strided.dense(shape_of(result)).undone(paths[result]) if result in paths else None
        for result in dispatch.results
    ]


def _undone(view: Strided, step: Step) -> Strided | None:
    """A view of a step's result as one of its source."""
    if isinstance(step, Band):
        return view
    if isinstance(step, Reshape):
        return view.reshaped(step.new, step.old)
    rank = max((i for i in step.order if i is not None), default=-1) + 1
    places = {source: i for i, source in enumerate(step.order) if source is not None}
    return view.permuted([places.get(i) for i in range(rank)])


def _reshaped(op: ir.OpView, view: Strided) -> Strided | None:
    return view.reshaped(shape_of(op.operands[0]), shape_of(op.results[0]))


def _sliced(op: ir.OpView, view: Strided) -> Strided | None:
    starts, sizes = mixed_sizes(op, "static_offsets", 1), mixed_sizes(op, "static_sizes", 2)
    return view.sliced(starts, sizes, tuple(op.attributes["static_strides"]))


def _copied(op: ir.OpView, view: Strided) -> Strided | None:
    """A `linalg.generic` that only moves the elements of its first input."""
    nest = LoopNest.of(op)
    operations = list(nest.block.operations)
    if nest.reductions or len(operations) != 1 or nest.argument_number(operations[0].operands[0]) != 0:
        return None
    read = list(nest.maps[0].results)
    if not all(_is_plain(e) for e in (*read, *nest.output_maps[0].results)):
        return None
    places = {e.position: i for i, e in enumerate(read) if isinstance(e, ir.AffineDimExpr)}
    dims = []
    for expression in nest.output_maps[0].results:
        dim = expression.position if isinstance(expression, ir.AffineDimExpr) else None
        size = 1 if dim is None else nest.sizes[dim]
        dims.append(view.dims[places[dim]] if dim in places else _factors([(size, 0)]))
    return Strided(tuple(dims), view.offset)


def _is_plain(expression: ir.AffineExpr) -> bool:
    if isinstance(expression, ir.AffineConstantExpr):
        return expression.value == 0
    return isinstance(expression, ir.AffineDimExpr)


_VIEWS: dict[str, Callable[[ir.OpView, Strided], Strided | None]] = {
    "tensor.collapse_shape": _reshaped,
    "tensor.expand_shape": _reshaped,
    "tensor.extract_slice": _sliced,
    "builtin.unrealized_conversion_cast": lambda op, view: view,
    "linalg.generic": _copied,
}
