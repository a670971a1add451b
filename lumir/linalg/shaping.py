"""Ops that move elements: views where linalg and tensor have one, index arithmetic where they do not."""

from collections.abc import Sequence

from lumir.dialects import tensor_type
from lumir.linalg.generic import (
    broadcast_map,
    constant,
    dim_map,
    dims_of,
    dynamic,
    element_of,
    empty,
    filled,
    fold,
    generic,
    index,
    reshaped,
)
from lumir.linalg.rules import Source, rule
from lumir.linalg.scalar import BINARY, compare, compute_type, convert
from lumir.mlir import arith, ir, linalg, tensor
from lumir.sizes import Dim, is_static, maximum

Value = ir.Value


def computed(shape: Sequence[int], element: ir.Type, body) -> Value:
    """A tensor whose element at a place is `body(*place)`, the place as `index` values."""

    def at(_: Value) -> Value:
        return body(*(linalg.IndexOp(i).result for i in range(len(shape))))

    return generic([], [], [empty(shape, element)], 0, at)[0]


def extract(x: Value, place: Sequence[Value]) -> Value:
    return tensor.ExtractOp(x, list(place)).result


def padded(x: Value, low: Sequence[int], high: Sequence[int], value: Value) -> Value:
    """`tensor.pad` with a scalar; negative sizes crop."""
    dims = dims_of(x)
    starts, ends = [maximum(-p, 0) for p in low], [maximum(-p, 0) for p in high]
    left = [d - s - e for d, s, e in zip(dims, starts, ends, strict=True)]
    if any(is_static(size) and size <= 0 for size in left):
        return filled([lo + d + hi for d, lo, hi in zip(dims, low, high, strict=True)], value)
    if any(starts) or any(ends):
        x = _window(x, starts, left, [1] * len(dims))
    low, high = [maximum(p, 0) for p in low], [maximum(p, 0) for p in high]
    if not any(low) and not any(high):
        return x
    result = tensor_type([lo + d + hi for d, lo, hi in zip(dims_of(x), low, high, strict=True)], element_of(x))
    (low_values, low), (high_values, high) = dynamic(low), dynamic(high)
    op = tensor.PadOp(result, x, low_values, high_values, low, high)
    block = op.regions[0].blocks.append(*[ir.IndexType.get()] * len(dims), arg_locs=[ir.Location.current] * len(dims))
    with ir.InsertionPoint(block):
        tensor.YieldOp(value)
    return op.result


def _window(x: Value, starts: Sequence[int], sizes: Sequence[int], steps: Sequence[int]) -> Value:
    """A slice by positive steps. An empty one may start at the end of x, where MLIR allows no slice."""
    if 0 in sizes:
        return filled(sizes, constant(0, element_of(x)))
    (start_values, starts), (size_values, static) = dynamic(starts), dynamic(sizes)
    result = tensor_type(sizes, element_of(x))
    return tensor.ExtractSliceOp(result, x, start_values, size_values, [], starts, static, list(steps)).result


@rule("reshape")
def lower_reshape(source: Source, x: Value) -> Value:
    return reshaped(x, source.shape)


@rule("transpose")
def lower_transpose(source: Source, x: Value) -> Value:
    order = list(source.permutation)
    read = dim_map(len(order), [order.index(i) for i in range(len(order))])
    return generic([x], [read], [empty(source.shape, source.element)], 0, lambda v, _: v)[0]


@rule("broadcast")
def lower_broadcast(source: Source, x: Value) -> Value:
    read = broadcast_map(dims_of(x), source.shape)
    return generic([x], [read], [empty(source.shape, source.element)], 0, lambda v, _: v)[0]


@rule("slice")
def lower_slice(source: Source, x: Value) -> Value:
    if all(step > 0 for step in source.steps):
        return _window(x, source.starts, source.sizes, source.steps)

    def at(*place: Value) -> Value:
        return extract(
            x, [_affine(i, step, start) for i, step, start in zip(place, source.steps, source.starts, strict=True)]
        )

    return computed(source.shape, source.element, at)


def _affine(i: Value, step: int, start: int) -> Value:
    return arith.AddIOp(arith.MulIOp(i, index(step)).result, index(start)).result


@rule("pad")
def lower_pad(source: Source, x: Value, value: Value) -> Value:
    if source.mode != "constant":
        return _pad_by_reading(source, x)
    scalar = extract(value, [])
    if any(source.interior):
        x = _spread(source, x, scalar)
    return padded(x, source.low, source.high, scalar)


def _spread(source: Source, x: Value, scalar: Value) -> Value:
    """Put `interior` copies of the scalar between elements: place i holds element i / (interior + 1), or the scalar."""
    dims, strides = dims_of(x), [gap + 1 for gap in source.interior]
    shape = [maximum((d - 1) * s + 1, 0) for d, s in zip(dims, strides, strict=True)]

    def at(*place: Value) -> Value:
        hits = [compare("eq", arith.RemUIOp(i, index(s)).result, index(0)) for i, s in zip(place, strides, strict=True)]
        read = extract(x, [arith.DivUIOp(i, index(s)).result for i, s in zip(place, strides, strict=True)])
        return arith.SelectOp(fold(lambda a, b: arith.AndIOp(a, b).result, hits), read, scalar).result

    return computed(shape, element_of(x), at)


def _pad_by_reading(source: Source, x: Value) -> Value:
    dims = dims_of(x)

    def place_in(i: Value, size: int, low: int) -> Value:
        i = arith.SubIOp(i, index(low)).result
        if source.mode == "wrap":
            return BINARY["mod"](i, index(maximum(size, 1)), False)
        if source.mode == "edge":
            return arith.MinSIOp(arith.MaxSIOp(i, index(0)).result, index(size - 1)).result
        if size == 1:
            return index(0)
        period = maximum(2 * (size - 1), 1)
        i = BINARY["mod"](i, index(period), False)
        return arith.MinSIOp(i, arith.SubIOp(index(period), i).result).result

    def at(*place: Value) -> Value:
        return extract(x, [place_in(i, d, lo) for i, d, lo in zip(place, dims, source.low, strict=True)])

    return computed(source.shape, source.element, at)


@rule("concat")
def lower_concat(source: Source, *inputs: Value) -> Value:
    kept = [v for v in inputs if dims_of(v)[source.axis]] or [inputs[0]]
    if len(kept) == 1:
        return kept[0]
    result = tensor_type(source.shape, source.element)
    return tensor.ConcatOp(result, source.axis % len(source.shape), kept).result


@rule("iota")
def lower_iota(source: Source) -> Value:
    element, wide = source.element, ir.IntegerType.get_signless(64)

    def at(*place: Value) -> Value:
        return convert(arith.IndexCastOp(wide, place[source.axis]).result, element)

    return computed(source.shape, element, at)


@rule("size")
def lower_size(source: Source) -> Value:
    wide = ir.IntegerType.get_signless(64)
    return filled([], arith.IndexCastOp(wide, index(source.value)).result)


def wrapped_index(value: Value, size: Dim, unsigned: bool = False) -> Value:
    """An integer element as an index into a dimension of `size`: negative counts from the end; kept inside."""
    wide = arith.IndexCastUIOp if unsigned else arith.IndexCastOp
    i = wide(ir.IndexType.get(), value).result
    i = arith.SelectOp(compare("lt", i, index(0)), arith.AddIOp(i, index(size)).result, i).result
    return arith.MinSIOp(arith.MaxSIOp(i, index(0)).result, index(maximum(size - 1, 0))).result


def _indices_unsigned(source: Source) -> bool:
    kind = source.operand_types[1].element_type
    return isinstance(kind, ir.IntegerType) and kind.is_unsigned


@rule("gather")
def lower_gather(source: Source, x: Value, indices: Value) -> Value:
    dims, depth = dims_of(x), len(dims_of(indices))
    axis, rank = source.axis % len(dims), len(source.shape)
    unsigned = _indices_unsigned(source)

    def body(chosen: Value, _: Value) -> Value:
        place = [linalg.IndexOp(i).result for i in range(rank)]
        i = wrapped_index(chosen, dims[axis], unsigned)
        return extract(x, [*place[:axis], i, *place[axis + depth :]])

    read = dim_map(rank, range(axis, axis + depth))
    return generic([indices], [read], [empty(source.shape, source.element)], 0, body)[0]


@rule("gather_elements")
def lower_gather_elements(source: Source, x: Value, indices: Value) -> Value:
    dims = dims_of(x)
    axis, rank = source.axis % len(dims), len(dims)
    unsigned = _indices_unsigned(source)

    def body(chosen: Value, _: Value) -> Value:
        place = [linalg.IndexOp(i).result for i in range(rank)]
        place[axis] = wrapped_index(chosen, dims[axis], unsigned)
        return extract(x, place)

    return generic([indices], [dim_map(rank, range(rank))], [empty(source.shape, source.element)], 0, body)[0]


@rule("gather_nd")
def lower_gather_nd(source: Source, x: Value, indices: Value) -> Value:
    dims, (*outer, depth), batch = dims_of(x), dims_of(indices), source.batch_dims
    unsigned = _indices_unsigned(source)

    def at(*place: Value) -> Value:
        tuple_place, rest = place[: len(outer)], place[len(outer) :]
        chosen = [extract(indices, [*tuple_place, index(j)]) for j in range(depth)]
        inner = [wrapped_index(v, dims[batch + j], unsigned) for j, v in enumerate(chosen)]
        return extract(x, [*place[:batch], *inner, *rest])

    return computed(source.shape, source.element, at)


def _combined(kind: str, update: Value, old: Value, unsigned: bool) -> Value:
    if kind == "set":
        return update
    wide = compute_type(old.type)
    return convert(BINARY[kind](convert(old, wide), convert(update, wide), unsigned), old.type)


@rule("scatter_elements")
def lower_scatter_elements(source: Source, x: Value, indices: Value, updates: Value) -> Value:
    """Each result element looks through the updates along `axis` in order: deterministic, parallel over the result."""
    dims, span = dims_of(x), dims_of(indices)
    axis, rank, unsigned = source.axis % len(dims), len(dims), _indices_unsigned(source)
    inside_dims = [i for i in range(rank) if i != axis and span[i] != dims[i]]
    steps = empty([span[axis]], element_of(x))

    def body(_: Value, old: Value) -> Value:
        place = [linalg.IndexOp(i).result for i in range(rank)]
        read = [
            arith.MinSIOp(p, index(maximum(s - 1, 0))).result if i in inside_dims else p
            for i, (p, s) in enumerate(zip(place, span, strict=True))
        ]
        read[axis] = linalg.IndexOp(rank).result
        hit = compare("eq", wrapped_index(extract(indices, read), dims[axis], unsigned), place[axis])
        for i in inside_dims:
            hit = arith.AndIOp(hit, compare("lt", place[i], index(span[i]))).result
        return arith.SelectOp(hit, _combined(source.kind, extract(updates, read), old, source.unsigned), old).result

    if 0 in span:
        return x
    return generic([steps], [dim_map(rank + 1, [rank])], [x], 1, body)[0]


@rule("scatter_nd")
def lower_scatter_nd(source: Source, x: Value, indices: Value, updates: Value) -> Value:
    """Each result element looks through all index tuples in order."""
    dims, (*outer, depth) = dims_of(x), dims_of(indices)
    rank, unsigned = len(dims), _indices_unsigned(source)
    if 0 in outer:
        return x
    steps = empty(outer, element_of(x))

    def body(_: Value, old: Value) -> Value:
        place = [linalg.IndexOp(i).result for i in range(rank)]
        turn = [linalg.IndexOp(rank + i).result for i in range(len(outer))]
        hit = constant(1, ir.IntegerType.get_signless(1))
        for j in range(depth):
            chosen = wrapped_index(extract(indices, [*turn, index(j)]), dims[j], unsigned)
            hit = arith.AndIOp(hit, compare("eq", chosen, place[j])).result
        update = extract(updates, [*turn, *place[depth:]])
        return arith.SelectOp(hit, _combined(source.kind, update, old, source.unsigned), old).result

    order = dim_map(rank + len(outer), range(rank, rank + len(outer)))
    return generic([steps], [order], [x], len(outer), body)[0]
