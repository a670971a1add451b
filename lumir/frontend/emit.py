"""Short forms of the dialect's builders, for handlers: ops that would change nothing are left out.

Wherever a second operand `y` may be a Python number, it stands for a scalar of the first operand's element type.
"""

import functools
import math
from collections.abc import Sequence

import numpy as np

from lumir.dialects import build, shape_of_type, tensor_type
from lumir.dialects.base import broadcast as broadcast_shapes
from lumir.dialects.base import is_float
from lumir.dtypes import bit_size, dense_attribute, mlir_type, numpy_dtype
from lumir.mlir import ir
from lumir.sizes import Dim, Size
from lumir.sizes import maximum as maximum_size

Number = int | float | bool | Size
Operand = ir.Value | Number


def shape(x: ir.Value) -> list[int]:
    return list(shape_of_type(x.type))


def rank(x: ir.Value) -> int:
    return len(ir.RankedTensorType(x.type).shape)


def element(x: ir.Value) -> ir.Type:
    return ir.RankedTensorType(x.type).element_type


def dtype(x: ir.Value) -> np.dtype:
    return numpy_dtype(element(x))


def type_(name: str) -> ir.Type:
    """The element type of a numpy or ml_dtypes name."""
    return mlir_type(name)


def constant(array: np.ndarray | np.generic) -> ir.Value:
    """A small constant; larger ones go through `NodeContext.constant`, which keeps them out of the IR."""
    return build("constant", value=dense_attribute(np.asarray(array)))


def size_value(size: Dim) -> ir.Value:
    """A size as an int64 of rank 0."""
    return build("size", value=size, to=ir.RankedTensorType.get([], type_("int64")))


def sizes_value(sizes: np.ndarray) -> ir.Value:
    """An array of sizes as an int64 tensor."""
    parts = [reshape(scalar(size, type_("int64")), [1]) for size in sizes.flat]
    return reshape(concat(parts, 0), sizes.shape)


def scalar(value: Number, element_type: ir.Type) -> ir.Value:
    """A rank-0 constant, or a size."""
    if isinstance(value, Size):
        return cast(size_value(value), element_type)
    return constant(np.asarray(value).astype(numpy_dtype(element_type)))


def unary(name: str, x: ir.Value) -> ir.Value:
    return build(name, x)


def binary(name: str, x: ir.Value, y: Operand) -> ir.Value:
    return build(name, x, y if isinstance(y, ir.Value) else scalar(y, element(x)))


def add(x: ir.Value, y: Operand) -> ir.Value:
    return binary("add", x, y)


def sub(x: ir.Value, y: Operand) -> ir.Value:
    return binary("sub", x, y)


def mul(x: ir.Value, y: Operand) -> ir.Value:
    return binary("mul", x, y)


def div(x: ir.Value, y: Operand) -> ir.Value:
    return binary("div", x, y)


def mod(x: ir.Value, y: Operand) -> ir.Value:
    return binary("mod", x, y)


def maximum(x: ir.Value, y: Operand) -> ir.Value:
    return binary("max", x, y)


def minimum(x: ir.Value, y: Operand) -> ir.Value:
    return binary("min", x, y)


def neg(x: ir.Value) -> ir.Value:
    return build("neg", x)


def exp(x: ir.Value) -> ir.Value:
    return build("exp", x)


def subtract_from(value: Number, x: ir.Value) -> ir.Value:
    """value - x."""
    return build("sub", scalar(value, element(x)), x)


def reciprocal(x: ir.Value) -> ir.Value:
    return build("div", scalar(1, element(x)), x)


def select(condition: ir.Value, x: Operand, y: Operand) -> ir.Value:
    """condition ? x : y; at least one of x and y is a value."""
    like = element(x if isinstance(x, ir.Value) else y)  # pyright: ignore[reportArgumentType]
    x, y = (v if isinstance(v, ir.Value) else scalar(v, like) for v in (x, y))
    return build("select", condition, x, y)


def cast(x: ir.Value, to: ir.Type, saturate: bool = True) -> ir.Value:
    return x if element(x) == to else build("cast", x, to=to, saturate=saturate)


def widen(x: ir.Value) -> ir.Value:
    """Floats narrower than 32 bits as float32; everything else as it is."""
    narrow = is_float(element(x)) and bit_size(element(x)) < 32
    return cast(x, type_("float32")) if narrow else x


def reshape(x: ir.Value, dims: Sequence[int]) -> ir.Value:
    return x if shape(x) == list(dims) else build("reshape", x, shape=list(dims))


def transpose(x: ir.Value, permutation: Sequence[int]) -> ir.Value:
    identity = list(permutation) == list(range(rank(x)))
    return x if identity else build("transpose", x, permutation=list(permutation))


def broadcast(x: ir.Value, dims: Sequence[int]) -> ir.Value:
    return x if shape(x) == list(dims) else build("broadcast", x, shape=list(dims))


def flatten(x: ir.Value, axis: int) -> ir.Value:
    """The dimensions before `axis` as one, those from it on as another."""
    dims = shape(x)
    return reshape(x, [math.prod(dims[:axis]), math.prod(dims[axis:])])


def unsqueeze(x: ir.Value, axes: Sequence[int]) -> ir.Value:
    """New dimensions of size 1 at places `axes` of the result."""
    dims = shape(x)
    for axis in sorted(a % (len(dims) + len(axes)) for a in axes):
        dims.insert(axis, 1)
    return reshape(x, dims)


def along(x: ir.Value, axis: int, full_rank: int) -> ir.Value:
    """A vector as a tensor of `full_rank` dimensions whose `axis` it runs along."""
    return reshape(x, [math.prod(shape(x)) if i == axis else 1 for i in range(full_rank)])


def reduce(x: ir.Value, kind: str, axes: Sequence[int], keep: bool = False) -> ir.Value:
    """Reduce over `axes` (non-negative); `keep` leaves them with size 1."""
    if not axes:
        return x
    result = build("reduce", x, kind=kind, axes=list(axes))
    return reshape(result, [1 if i in axes else d for i, d in enumerate(shape(x))]) if keep else result


def mean(x: ir.Value, axes: Sequence[int], keep: bool = False) -> ir.Value:
    count = math.prod(shape(x)[a] for a in axes)
    return div(reduce(x, "sum", axes, keep), count)


def slice_(x: ir.Value, axis: int, start: int, size: int, step: int = 1) -> ir.Value:
    """`size` elements along `axis` from `start` on."""
    starts, sizes, steps = [0] * rank(x), shape(x), [1] * rank(x)
    if (start, size, step) == (0, sizes[axis], 1):
        return x
    starts[axis], sizes[axis], steps[axis] = start, size, step
    return build("slice", x, starts=starts, sizes=sizes, steps=steps)


def reverse(x: ir.Value, axes: Sequence[int]) -> ir.Value:
    """The elements in opposite order along `axes`."""
    dims = shape(x)
    starts = [maximum_size(d - 1, 0) if i in axes else 0 for i, d in enumerate(dims)]
    steps = [-1 if i in axes else 1 for i in range(len(dims))]
    return build("slice", x, starts=starts, sizes=dims, steps=steps) if axes else x


def split(x: ir.Value, axis: int, sizes: Sequence[int]) -> list[ir.Value]:
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    return [slice_(x, axis, start, size) for start, size in zip(starts, sizes, strict=True)]


def concat(values: Sequence[ir.Value], axis: int) -> ir.Value:
    return functools.reduce(lambda x, y: build("concat", x, y, axis=axis), values)


def pad(
    x: ir.Value,
    low: Sequence[int],
    high: Sequence[int],
    value: Operand = 0,
    *,
    interior: Sequence[int] | None = None,
    mode: str = "constant",
) -> ir.Value:
    interior = list(interior or [0] * rank(x))
    if not (any(low) or any(high) or any(interior)):
        return x
    value = value if isinstance(value, ir.Value) else scalar(value, element(x))
    return build("pad", x, value, low=list(low), high=list(high), interior=interior, mode=mode)


def iota(dims: Sequence[int], axis: int, element_type: ir.Type) -> ir.Value:
    """A tensor whose elements are their index along `axis`."""
    return build("iota", type=tensor_type(dims, element_type), axis=axis)


def gather(x: ir.Value, indices: ir.Value, axis: int) -> ir.Value:
    return build("gather", x, indices, axis=axis)


def contract(x: ir.Value, y: ir.Value, equation: str, to: ir.Type | None = None) -> ir.Value:
    return build("contract", x, y, equation=equation, to=to or element(x))


LABELS = "abcdefghijklmnopqrstuvwxyz"


def matmul(x: ir.Value, y: ir.Value, to: ir.Type | None = None) -> ir.Value:
    """numpy's matmul: vectors are allowed, leading dimensions broadcast."""
    left, right = shape(x), shape(y)
    x = reshape(x, [1, *left]) if len(left) == 1 else x
    y = reshape(y, [*right, 1]) if len(right) == 1 else y
    result = _batched_matmul(x, y, to or element(x))
    dims = shape(result)
    if len(right) == 1:
        dims = dims[:-1]
    if len(left) == 1:
        dims = dims[: len(dims) - (len(right) > 1) - 1] + dims[len(dims) - (len(right) > 1) :]
    return reshape(result, dims)


def _batched_matmul(x: ir.Value, y: ir.Value, to: ir.Type) -> ir.Value:
    """[..., m, k] x [..., k, n]: a leading dimension of size 1 that the other operand has wide is left out."""
    (*left, m, k), (*right, _, n) = shape(x), shape(y)
    batch = list(broadcast_shapes(tuple(left), tuple(right)))
    labels = LABELS[: len(batch)]
    left_labels, left_dims = _shared(left, batch, labels)
    right_labels, right_dims = _shared(right, batch, labels)
    missing = "".join(label for label in labels if label not in left_labels + right_labels)
    left_labels, left_dims = missing + left_labels, [1] * len(missing) + left_dims
    return contract(
        reshape(x, [*left_dims, m, k]),
        reshape(y, [*right_dims, k, n]),
        f"{left_labels}yz,{right_labels}zx->{labels}yx",
        to,
    )


def _shared(dims: Sequence[int], batch: Sequence[int], labels: str) -> tuple[str, list[int]]:
    """The labels and sizes of the leading dimensions that an operand really has."""
    offset = len(batch) - len(dims)
    kept = [i for i, d in enumerate(dims) if d == batch[offset + i] and d != 1]
    return "".join(labels[offset + i] for i in kept), [dims[i] for i in kept]
