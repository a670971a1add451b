"""Canonical forms of ops that move elements: what moves nothing goes away, chains become one op."""

import math
from collections.abc import Sequence

import numpy as np

from lumir.dialects import build
from lumir.graph.known import known_array
from lumir.graph.rewrite import PatternTable
from lumir.graph.values import Shape, attribute, definition, shape
from lumir.mlir import ir
from lumir.sizes import at_least, is_static

SHAPING = PatternTable()


@SHAPING.on("reshape", "broadcast")
def drop_same_shape(op: ir.Operation) -> ir.Value | None:
    return op.operands[0] if op.operands[0].type == op.results[0].type else None


@SHAPING.on("reshape")
def merge_reshapes(op: ir.Operation) -> ir.Value | None:
    inner = definition(op.operands[0], "reshape")
    return build("reshape", inner.operands[0], shape=attribute(op, "shape")) if inner else None


@SHAPING.on("reshape")
def split_before_transpose(op: ir.Operation) -> ir.Value | None:
    """A reshape that only splits dimensions of a transpose: split first, then transpose.

    So reshape(transpose(reshape(x))) that merges dimensions, permutes, and splits them again is one transpose of x.
    """
    inner = definition(op.operands[0], "transpose")
    if inner is None or 0 in shape(op.results[0]):
        return None
    dims, permutation = shape(op.results[0]), attribute(inner, "permutation")
    groups = merged_groups(dims, shape(inner.results[0]))
    if groups is None or all(sum(dims[place] != 1 for place in group) <= 1 for group in groups):
        return None
    places = [groups[permutation.index(axis)] for axis in range(len(permutation))]
    order = [place for group in places for place in group]
    split = build("reshape", inner.operands[0], shape=[dims[place] for place in order])
    return build("transpose", split, permutation=[order.index(place) for place in range(len(dims))])


def merged_groups(fine: Shape, coarse: Shape) -> list[list[int]] | None:
    """For each dimension of `coarse`, the consecutive dimensions of `fine` whose product it is; None if it is not so.

    A dimension of size 1 in `fine` joins the group of a neighbour, so that each of them is in one group.
    """
    groups: list[list[int]] = []
    axis = 0
    for size in coarse:
        group: list[int] = []
        while axis < len(fine) and (math.prod(fine[a] for a in group) != size or (not group and fine[axis] == size)):
            group.append(axis)
            axis += 1
        if math.prod(fine[a] for a in group) != size:
            return None
        groups.append(group)
    while axis < len(fine) and fine[axis] == 1 and groups:
        groups[-1].append(axis)
        axis += 1
    return groups if axis == len(fine) else None


@SHAPING.on("transpose")
def merge_transposes(op: ir.Operation) -> ir.Value | None:
    permutation = attribute(op, "permutation")
    if permutation == tuple(range(len(permutation))):
        return op.operands[0]
    inner = definition(op.operands[0], "transpose")
    if inner is None:
        return None
    first = attribute(inner, "permutation")
    return build("transpose", inner.operands[0], permutation=[first[i] for i in permutation])


@SHAPING.on("transpose")
def transpose_of_units(op: ir.Operation) -> ir.Value | None:
    """A transpose that only moves dimensions of size 1 is a reshape."""
    dims = shape(op.operands[0])
    moved = [axis for axis in attribute(op, "permutation") if dims[axis] != 1]
    return build("reshape", op.operands[0], shape=shape(op.results[0])) if moved == sorted(moved) else None


@SHAPING.on("broadcast")
def merge_broadcasts(op: ir.Operation) -> ir.Value | None:
    inner = definition(op.operands[0], "broadcast")
    if inner is not None:
        return build("broadcast", inner.operands[0], shape=attribute(op, "shape"))
    same = math.prod(shape(op.operands[0])) == math.prod(shape(op.results[0]))
    return build("reshape", op.operands[0], shape=attribute(op, "shape")) if same else None


@SHAPING.on("slice")
def simplify_slice(op: ir.Operation) -> ir.Value | None:
    x, (starts, sizes, steps) = op.operands[0], slice_of(op)
    if x.type == op.results[0].type and all(
        step == 1 or size in (0, 1) for size, step in zip(sizes, steps, strict=True)
    ):
        return x
    inner = definition(x, "slice", "concat")
    if inner is None or 0 in sizes:
        return None
    if inner.name == "lumir.concat":
        return _slice_of_concat(inner, starts, sizes, steps)
    first_starts, _, first_steps = slice_of(inner)
    return build(
        "slice",
        inner.operands[0],
        starts=[a + s * b for a, b, s in zip(first_starts, starts, first_steps, strict=True)],
        sizes=sizes,
        steps=[a * b for a, b in zip(first_steps, steps, strict=True)],
    )


def slice_of(op: ir.Operation) -> tuple[Shape, Shape, Shape]:
    """Starts, sizes and steps of a slice."""
    return attribute(op, "starts"), attribute(op, "sizes"), attribute(op, "steps")


def _slice_of_concat(concat: ir.Operation, starts: Shape, sizes: Shape, steps: Shape) -> ir.Value | None:
    """A slice that stays inside one operand of a concatenation."""
    axis = attribute(concat, "axis") % len(starts)
    boundary = shape(concat.operands[0])[axis]
    ends = (starts[axis], starts[axis] + (sizes[axis] - 1) * steps[axis])
    if all(at_least(boundary - 1, end) for end in ends):
        return build("slice", concat.operands[0], starts=starts, sizes=sizes, steps=steps)
    if not all(at_least(end, boundary) for end in ends):
        return None
    moved = [start - boundary * (i == axis) for i, start in enumerate(starts)]
    return build("slice", concat.operands[1], starts=moved, sizes=sizes, steps=steps)


@SHAPING.on("pad")
def drop_empty_pad(op: ir.Operation) -> ir.Value | None:
    amounts = (*attribute(op, "low"), *attribute(op, "high"))
    single = all(size in (0, 1) for size in shape(op.operands[0]))
    return op.operands[0] if not any(amounts) and (single or not any(attribute(op, "interior"))) else None


@SHAPING.on("concat")
def simplify_concat(op: ir.Operation) -> ir.Value | None:
    """Drop an empty operand; join two slices that lie beside each other."""
    axis = attribute(op, "axis") % len(shape(op.results[0]))
    for kept, other in ((0, 1), (1, 0)):
        if shape(op.operands[other])[axis] == 0:
            return op.operands[kept]
    lhs, rhs = (definition(operand, "slice") for operand in op.operands)
    if lhs is None or rhs is None or lhs.operands[0] != rhs.operands[0]:
        return None
    (starts, sizes, steps), (next_starts, next_sizes, next_steps) = slice_of(lhs), slice_of(rhs)
    follows = _replaced(starts, axis, starts[axis] + sizes[axis] * steps[axis])
    if steps != next_steps or follows != list(next_starts):
        return None
    total = [size + next_sizes[axis] * (i == axis) for i, size in enumerate(sizes)]
    return build("slice", lhs.operands[0], starts=starts, sizes=total, steps=steps)


@SHAPING.on("gather")
def gather_of_range(op: ir.Operation) -> ir.Value | None:
    """Known indices in arithmetic progression are a slice."""
    x, dims = op.operands[0], shape(op.operands[0])
    indices = known_array(op.operands[1])
    axis = attribute(op, "axis") % len(dims)
    if indices is None or not is_static(dims[axis]):
        return None
    places = indices.astype(np.int64).ravel()
    places = np.where(places < 0, places + dims[axis], places)
    steps = np.diff(places)
    inside = len(places) > 0 and ((places >= 0) & (places < dims[axis])).all()
    if not inside or (len(steps) and (steps[0] == 0 or (steps != steps[0]).any())):
        return None
    step = int(steps[0]) if len(steps) else 1
    sliced = build(
        "slice",
        x,
        starts=_replaced([0] * len(dims), axis, int(places[0])),
        sizes=_replaced(dims, axis, len(places)),
        steps=_replaced([1] * len(dims), axis, step),
    )
    return build("reshape", sliced, shape=shape(op.results[0]))


def _replaced(values: Sequence[int], axis: int, value: int) -> list[int]:
    return [value if i == axis else v for i, v in enumerate(values)]


@SHAPING.on("gather_nd")
def gather_of_everything(op: ir.Operation) -> ir.Value | None:
    """Known index tuples that name every slice of the input in order: the input itself."""
    x, indices = op.operands[0], known_array(op.operands[1])
    if indices is None or attribute(op, "batch_dims") != 0:
        return None
    places = indices.astype(np.int64)
    outer = shape(x)[: places.shape[-1]]
    if math.prod(places.shape[:-1]) != math.prod(outer) or 0 in outer or not outer:
        return None
    places = np.where(places < 0, places + np.array(outer), places)
    if (places < 0).any() or (places >= np.array(outer)).any():
        return None
    linear = np.ravel_multi_index(tuple(np.moveaxis(places, -1, 0)), outer).ravel()
    in_order = (linear == np.arange(linear.size)).all()
    return build("reshape", x, shape=shape(op.results[0])) if in_order else None


@SHAPING.on("reduce")
def reduce_of_units(op: ir.Operation) -> ir.Value | None:
    """A reduction over dimensions of size 1 only drops them."""
    dims = shape(op.operands[0])
    if any(dims[axis] != 1 for axis in attribute(op, "axes")):
        return None
    return build("reshape", op.operands[0], shape=shape(op.results[0]))


__all__ = ["SHAPING", "merged_groups", "slice_of"]
