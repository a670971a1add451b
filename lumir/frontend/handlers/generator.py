"""Operators whose result is known, or nearly so, once shapes are: constants, shapes, ranges, masks."""

import math

import numpy as np
from onnx import numpy_helper

from lumir.dialects import build
from lumir.dialects.base import is_float, normalize_axis
from lumir.dtypes import numpy_dtype
from lumir.frontend import emit
from lumir.frontend.context import NodeContext
from lumir.frontend.folding import FOLD_LIMIT
from lumir.frontend.problems import Malformed
from lumir.frontend.registry import Result, handler
from lumir.frontend.sparse import dense
from lumir.frontend.values import dims_array
from lumir.sizes import Dim, Size, high, maximum


@handler("Constant")
def constant(ctx: NodeContext) -> Result:
    attribute = ctx.node.attribute[0] if len(ctx.node.attribute) == 1 else None
    match attribute.name if attribute is not None else "":
        case "value":
            return _tensor(ctx)
        case "sparse_value":
            return dense(ctx.attribute("sparse_value"))
        case "value_float" | "value_floats" as name:
            return np.asarray(ctx.attribute(name), np.float32)
        case "value_int" | "value_ints" as name:
            return np.asarray(ctx.attribute(name), np.int64)
        case "value_string" | "value_strings":
            ctx.refuse("strings are not supported")
    raise Malformed("needs exactly one of the attributes value, sparse_value, value_float(s), value_int(s)")


def _tensor(ctx: NodeContext) -> np.ndarray:
    proto = ctx.attribute("value")
    if proto.data_type in (proto.STRING, proto.COMPLEX64, proto.COMPLEX128):
        ctx.refuse("its element type is not supported")
    if proto.external_data:
        ctx.refuse("external data in a Constant node is not supported: make it an initializer")
    try:
        return numpy_helper.to_array(proto)
    except ValueError as error:
        ctx.malformed(f"the attribute 'value' cannot be read: {error}")


@handler("Shape")
def shape(ctx: NodeContext) -> Result:
    dims = ctx.tensor(0).shape
    end = ctx.attribute("end")
    return dims_array(dims[slice(ctx.attribute("start", 0), end)])


@handler("Size")
def size(ctx: NodeContext) -> Result:
    return dims_array(ctx.tensor(0).size)


@handler("ConstantOfShape", since=9)
def constant_of_shape(ctx: NodeContext) -> Result:
    dims = ctx.sizes(0, "input")
    value = ctx.attribute("value")
    element = numpy_helper.to_array(value).reshape(()) if value is not None else np.float32(0)
    if high(math.prod(dims)) <= FOLD_LIMIT and not any(isinstance(d, Size) for d in dims):
        return np.full(dims, element)
    return emit.broadcast(emit.constant(element), dims)


@handler("Range", since=11)
def range_(ctx: NodeContext) -> Result:
    names = ("start", "limit", "delta")
    if any(ctx.tensor(i).is_symbolic for i in range(3)):
        return _symbolic_range(ctx, *(ctx.sizes(i, name)[0] for i, name in enumerate(names)))
    start, limit, delta = (ctx.static(i, name).reshape(()) for i, name in enumerate(names))
    if float(delta) == 0:
        ctx.malformed("delta must not be 0")
    integers = np.issubdtype(start.dtype, np.integer)
    convert = int if integers else float
    count = max(math.ceil((convert(limit) - convert(start)) / convert(delta)), 0)
    if count > FOLD_LIMIT:
        index = emit.iota([count], 0, emit.type_(start.dtype.name))
        return emit.add(emit.mul(index, convert(delta)), convert(start))
    wide = np.int64 if integers else np.float64
    return (wide(start) + np.arange(count, dtype=wide) * wide(delta)).astype(start.dtype)


def _symbolic_range(ctx: NodeContext, start: Dim, limit: Dim, delta: Dim) -> Result:
    """start, start + delta, ... before limit, where a symbol stands in one of them."""
    count = maximum(-((start - limit) // delta) if delta > 0 else -((limit - start) // -delta), 0)
    index = emit.iota([count], 0, ctx.tensor(0).type.element_type)
    return emit.add(index if delta == 1 else emit.mul(index, delta), start) if start != 0 or delta != 1 else index


@handler("EyeLike", since=9)
def eye_like(ctx: NodeContext) -> Result:
    rows, columns = ctx.tensor(0).shape
    to = numpy_dtype(ctx.element("dtype", ctx.tensor(0).type.element_type))
    return np.eye(rows, columns, ctx.attribute("k", 0)).astype(to)


@handler("Trilu", since=14)
def trilu(ctx: NodeContext) -> Result:
    """Keep elements on one side of diagonal k: upper where column >= row + k, lower where column <= row + k."""
    x = ctx.value(0)
    computed = ctx.has(1) and not ctx.tensor(1).is_known
    offset = emit.reshape(ctx.value(1), []) if computed else ctx.sizes(1, "k", [0])[0]
    rows, columns = emit.shape(x)[-2:]
    index = emit.type_("int64")
    row = emit.add(emit.iota([rows, 1], 0, index), offset)
    keep = build("ge" if ctx.attribute("upper", 1) else "le", emit.iota([1, columns], 1, index), row)
    return emit.select(keep, x, 0)


@handler("OneHot", since=9)
def one_hot(ctx: NodeContext) -> Result:
    """on where the index (negative ones count from the end) equals the place along the new axis, else off."""
    indices, depth, values = ctx.value(0), ctx.sizes(1, "depth")[0], ctx.value(2)
    if is_float(emit.element(indices)):
        indices = emit.cast(indices, emit.type_("int64"))
    rank = emit.rank(indices) + 1
    axis = normalize_axis(ctx.attribute("axis", -1), rank)
    signed = not str(emit.element(indices)).startswith("ui")
    if signed:
        wrapped = emit.add(indices, depth)
        indices = emit.select(emit.binary("lt", indices, 0), wrapped, indices)
    place = emit.iota([depth if i == axis else 1 for i in range(rank)], axis, emit.element(indices))
    off, on = (emit.reshape(emit.slice_(values, 0, i, 1), []) for i in (0, 1))
    return emit.select(build("eq", emit.unsqueeze(indices, [axis]), place), on, off)


@handler("MelWeightMatrix", since=17)
def mel_weight_matrix(ctx: NodeContext) -> Result:
    """Triangular filters over `n_fft // 2 + 1` bins, evenly spaced on the mel scale 2595 log10(1 + f / 700)."""
    names = ("num_mel_bins", "dft_length", "sample_rate", "lower_edge_hertz", "upper_edge_hertz")
    bins, length, rate, low, high = (ctx.static(i, name).reshape(()).item() for i, name in enumerate(names))
    mel_low, mel_high = (2595 * math.log10(1 + f / 700) for f in (low, high))
    mels = mel_low + np.arange(bins + 2) * (mel_high - mel_low) / (bins + 2)
    edges = ((length + 1) * (700 * (10 ** (mels / 2595) - 1)) // rate).astype(np.int64)
    matrix = np.zeros((length // 2 + 1, bins), np.float64)
    for i in range(bins):
        left, centre, right = edges[i : i + 3]
        rising = np.arange(left, centre + 1)
        matrix[rising, i] = (rising - left) / (centre - left) if centre > left else 1
        falling = np.arange(centre, right)
        matrix[falling, i] = (right - falling) / (right - centre) if right > centre else 0
    return matrix.astype(numpy_dtype(ctx.element("output_datatype", emit.type_("float32"))))
