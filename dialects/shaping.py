"""Ops that move elements without computing: views, slices, pads, gathers."""

# The annotations below are constraints, read by `dialects.ext`.
# pyright: reportInvalidTypeForm=false, reportGeneralTypeIssues=false, reportCallIssue=false

import math

from lumir.dialects.base import (
    Lumir,
    Op,
    Shape,
    broadcast,
    element,
    equal_shapes,
    is_int,
    normalize_axis,
    possible,
    register,
    require,
    shape,
    tensor,
)
from lumir.dialects.constraints import IntArray, SameType, SizeArray, Tensor, one_of
from lumir.dialects.shapes import shape_of_type
from lumir.mlir import ext, ir
from lumir.sizes import Dim, equal, maximum


@register
class Reshape(Op, dialect=Lumir, name="reshape", traits=[ext.Pure]):
    """The same elements in row-major order under another `shape`."""

    input: ext.Operand[Tensor]
    shape: SizeArray
    result: ext.Result[Tensor]

    @staticmethod
    def infer(x: ir.Type, shape: Shape) -> ir.Type:
        old = shape_of_type(x)
        require(all(d >= 0 for d in shape), "sizes must not be negative", shape=shape)
        require(
            equal(math.prod(old), math.prod(shape)), "reshape must keep the number of elements", input=x, shape=shape
        )
        return tensor(shape, element(x))


@register
class Transpose(Op, dialect=Lumir, name="transpose", traits=[ext.Pure]):
    """Result dimension i is input dimension `permutation[i]`."""

    input: ext.Operand[Tensor]
    permutation: IntArray
    result: ext.Result[Tensor]

    @staticmethod
    def infer(x: ir.Type, permutation: Shape) -> ir.Type:
        dims = shape(x)
        require(
            sorted(permutation) == list(range(len(dims))),
            "permutation must name each dimension once",
            permutation=permutation,
            input=x,
        )
        return tensor([dims[i] for i in permutation], element(x))


@register
class Broadcast(Op, dialect=Lumir, name="broadcast", traits=[ext.Pure]):
    """Repeat along dimensions of size 1, and along new leading ones, to `shape`."""

    input: ext.Operand[Tensor]
    shape: SizeArray
    result: ext.Result[Tensor]

    @staticmethod
    def infer(x: ir.Type, shape: Shape) -> ir.Type:
        old = shape_of_type(x)
        require(all(d >= 0 for d in shape), "sizes must not be negative", shape=shape)
        require(equal_shapes(broadcast(old, shape), shape), "input must broadcast to shape", input=x, shape=shape)
        return tensor(shape, element(x))


@register
class Slice(Op, dialect=Lumir, name="slice", traits=[ext.Pure]):
    """Result element i along a dimension is input element `starts + i * steps`; steps may be negative."""

    input: ext.Operand[Tensor]
    starts: SizeArray
    sizes: SizeArray
    steps: IntArray
    result: ext.Result[Tensor]

    @staticmethod
    def infer(x: ir.Type, starts: Shape, sizes: Shape, steps: Shape) -> ir.Type:
        dims = shape(x)
        require(
            len(starts) == len(sizes) == len(steps) == len(dims),
            "one start, size and step a dimension",
            starts=starts,
            sizes=sizes,
            steps=steps,
        )
        for start, size, step, dim in zip(starts, sizes, steps, dims, strict=True):
            inside = possible(lambda start=start, size=size, step=step, dim=dim: _inside(start, size, step, dim))
            require(inside, "slice must stay inside the input", start=start, size=size, step=step, dim=dim)
        return tensor(sizes, element(x))


def _inside(start: Dim, size: Dim, step: int, dim: Dim) -> bool:
    """The places from start on are places of a dimension; no place always is."""
    last = start + (size - 1) * step
    return size == 0 or (size >= 0 and 0 <= start < dim and 0 <= last < dim)


PAD_MODES = ("constant", "edge", "reflect", "wrap")
PadMode = one_of(*PAD_MODES)


@register
class Pad(Op, dialect=Lumir, name="pad", traits=[ext.Pure]):
    """Add `low`/`high` elements at the ends and `interior` ones between elements; negative low/high crop.

    `mode` constant uses the scalar operand; edge, reflect and wrap read the input again and need interior 0.
    """

    input: ext.Operand[Tensor]
    value: ext.Operand[Tensor]
    low: SizeArray
    high: SizeArray
    interior: IntArray
    mode: PadMode
    result: ext.Result[Tensor]

    @staticmethod
    def infer(x: ir.Type, value: ir.Type, *, low: Shape, high: Shape, interior: Shape, mode: str) -> ir.Type:
        dims = shape(x)
        require(
            len(low) == len(high) == len(interior) == len(dims),
            "one low, high and interior a dimension",
            low=low,
            high=high,
        )
        require(mode in PAD_MODES, f"mode must be one of {', '.join(PAD_MODES)}", mode=mode)
        require(mode == "constant" or not any(interior), "interior padding needs mode constant", mode=mode)
        require(
            shape(value) == () and element(value) == element(x),
            "value must be a scalar of the input's type",
            value=value,
        )
        gaps = [maximum(d - 1, 0) * i for d, i in zip(dims, interior, strict=True)]
        sizes = [lo + d + gap + hi for d, lo, hi, gap in zip(dims, low, high, gaps, strict=True)]
        require(all(s >= 0 for s in sizes), "padded sizes must not be negative", sizes=sizes)
        return tensor(sizes, element(x))


@register
class Concat(Op, dialect=Lumir, name="concat", traits=[ext.Pure]):
    """`lhs`, then `rhs`, along `axis`. More operands are a chain: IRDL gives a variadic group one type."""

    lhs: ext.Operand[Tensor]
    rhs: ext.Operand[Tensor]
    axis: ir.IntegerAttr
    result: ext.Result[Tensor]

    @staticmethod
    def infer(lhs: ir.Type, rhs: ir.Type, axis: int) -> ir.Type:
        dims, other = list(shape(lhs)), list(shape(rhs))
        require(len(dims) == len(other), "operands must have one rank", lhs=lhs, rhs=rhs)
        axis = normalize_axis(axis, len(dims))
        same = equal_shapes(dims[:axis] + dims[axis + 1 :], other[:axis] + other[axis + 1 :])
        require(
            same and element(lhs) == element(rhs),
            "operands must agree in type outside axis",
            axis=axis,
            lhs=lhs,
            rhs=rhs,
        )
        dims[axis] += other[axis]
        return tensor(dims, element(lhs))


@register
class Iota(Op, dialect=Lumir, name="iota", traits=[ext.Pure]):
    """A tensor of type `type` whose elements are their index along `axis`."""

    type: ir.TypeAttr
    axis: ir.IntegerAttr
    result: ext.Result[Tensor]

    @staticmethod
    def infer(type: ir.Type, axis: int) -> ir.Type:
        require(isinstance(type, ir.RankedTensorType), "type must be a ranked tensor", type=type)
        normalize_axis(axis, len(shape(type)))
        return type


def _indices(type_: ir.Type) -> None:
    require(is_int(element(type_)), "indices must be integers", indices=type_)


def _element_indices(x: ir.Type, indices: ir.Type, axis: int) -> None:
    """Indices replace the position along `axis`; along the other dimensions they stay inside the input."""
    _indices(indices)
    axis = normalize_axis(axis, len(shape(x)))
    require(len(shape(x)) == len(shape(indices)), "input and indices must have one rank", input=x, indices=indices)
    pairs = enumerate(zip(shape(indices), shape(x), strict=True))
    inside = all(i == axis or possible(lambda n=n, d=d: n <= d) for i, (n, d) in pairs)
    require(inside, "indices must not exceed the input outside axis", axis=axis, input=x, indices=indices)


@register
class Gather(Op, dialect=Lumir, name="gather", traits=[ext.Pure]):
    """Slices of the input at `indices` along `axis`, as numpy.take; negative indices count from the end."""

    input: ext.Operand[Tensor]
    indices: ext.Operand[Tensor]
    axis: ir.IntegerAttr
    result: ext.Result[Tensor]

    @staticmethod
    def infer(x: ir.Type, indices: ir.Type, axis: int) -> ir.Type:
        _indices(indices)
        axis = normalize_axis(axis, len(shape(x)))
        return tensor([*shape(x)[:axis], *shape(indices), *shape(x)[axis + 1 :]], element(x))


@register
class GatherElements(Op, dialect=Lumir, name="gather_elements", traits=[ext.Pure]):
    """Element by element along `axis`, as numpy.take_along_axis; negative indices count from the end."""

    input: ext.Operand[Tensor]
    indices: ext.Operand[Tensor]
    axis: ir.IntegerAttr
    result: ext.Result[Tensor]

    @staticmethod
    def infer(x: ir.Type, indices: ir.Type, axis: int) -> ir.Type:
        _element_indices(x, indices, axis)
        return tensor(shape(indices), element(x))


@register
class GatherNd(Op, dialect=Lumir, name="gather_nd", traits=[ext.Pure]):
    """Slices at index tuples (the last dimension of `indices`), after `batch_dims` shared leading dimensions."""

    input: ext.Operand[Tensor]
    indices: ext.Operand[Tensor]
    batch_dims: ir.IntegerAttr
    result: ext.Result[Tensor]

    @staticmethod
    def infer(x: ir.Type, indices: ir.Type, batch_dims: int) -> ir.Type:
        _indices(indices)
        require(len(shape(indices)) > batch_dims >= 0, "indices must have a rank above batch_dims", indices=indices)
        dims, (*outer, depth) = shape(x), shape(indices)
        require(batch_dims + depth <= len(dims), "index tuples must fit the input's rank", depth=depth, input=x)
        require(
            equal_shapes(outer[:batch_dims], dims[:batch_dims]), "batch dimensions must agree", input=x, indices=indices
        )
        return tensor([*outer, *dims[batch_dims + depth :]], element(x))


SCATTER_KINDS = ("set", "add", "mul", "max", "min")
ScatterKind = one_of(*SCATTER_KINDS)


@register
class ScatterElements(Op, dialect=Lumir, name="scatter_elements", traits=[ext.Pure]):
    """A copy of the input with `updates` written (or combined by `kind`) at `indices` along `axis`, in order."""

    input: ext.Operand[SameType]
    indices: ext.Operand[Tensor]
    updates: ext.Operand[Tensor]
    axis: ir.IntegerAttr
    kind: ScatterKind
    result: ext.Result[SameType]

    @staticmethod
    def infer(x: ir.Type, indices: ir.Type, updates: ir.Type, axis: int, kind: str) -> ir.Type:
        _element_indices(x, indices, axis)
        require(element(updates) == element(x), "updates must have the input's element type", updates=updates, input=x)
        require(kind in SCATTER_KINDS, f"kind must be one of {', '.join(SCATTER_KINDS)}", kind=kind)
        require(
            equal_shapes(shape(indices), shape(updates)),
            "indices and updates must have one shape",
            indices=indices,
            updates=updates,
        )
        return x


@register
class ScatterNd(Op, dialect=Lumir, name="scatter_nd", traits=[ext.Pure]):
    """A copy of the input with slices `updates` written (or combined by `kind`) at index tuples, in order."""

    input: ext.Operand[SameType]
    indices: ext.Operand[Tensor]
    updates: ext.Operand[Tensor]
    kind: ScatterKind
    result: ext.Result[SameType]

    @staticmethod
    def infer(x: ir.Type, indices: ir.Type, updates: ir.Type, kind: str) -> ir.Type:
        _indices(indices)
        require(len(shape(indices)) >= 1, "indices must have at least one dimension", indices=indices)
        require(element(updates) == element(x), "updates must have the input's element type", updates=updates, input=x)
        *outer, depth = shape(indices)
        require(depth <= len(shape(x)), "index tuples must fit the input's rank", depth=depth, input=x)
        require(kind in SCATTER_KINDS, f"kind must be one of {', '.join(SCATTER_KINDS)}", kind=kind)
        require(
            equal_shapes(shape(updates), (*outer, *shape(x)[depth:])),
            "updates must have the shape of the slices",
            input=x,
            indices=indices,
            updates=updates,
        )
        return x
