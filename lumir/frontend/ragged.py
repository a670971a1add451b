"""Tensors of which a part counts, how much of them being computed: what operators do with them.

A result whose size depends on the data lies at the start of a tensor of the largest size it can have; what is behind it
is some valid value. An operator is applied to the whole tensor, and the sizes that count follow the dimensions.
"""

from collections.abc import Callable, Sequence

import numpy as np

from lumir.dialects.base import is_float, normalize_axis
from lumir.frontend import emit
from lumir.frontend.context import NodeContext
from lumir.frontend.handlers.reduction import REDUCTIONS
from lumir.frontend.problems import Refused
from lumir.frontend.values import Extent, Operand, Ragged, Tensor, dims_array
from lumir.mlir import ir

Rule = Callable[[NodeContext, Sequence[Extent]], Extent]

_POINTWISE = (
    *(
        "Abs",
        "Neg",
        "Sign",
        "Floor",
        "Ceil",
        "Round",
        "Sqrt",
        "Exp",
        "Log",
        "Reciprocal",
        "Sigmoid",
        "Tanh",
        "Relu",
        "Erf",
    ),
    *("Cast", "Identity", "Clip", "Not", "IsNaN", "IsInf", "Sin", "Cos", "Softplus", "LeakyRelu", "Elu"),
    *(
        "Add",
        "Sub",
        "Mul",
        "Div",
        "Mod",
        "Pow",
        "Max",
        "Min",
        "Sum",
        "Where",
        "Equal",
        "Less",
        "LessOrEqual",
        "Greater",
    ),
    *("GreaterOrEqual", "And", "Or", "Xor"),
)


def extent_of(value: Operand) -> Extent:
    """The sizes of a tensor that count."""
    if isinstance(value, Ragged):
        return value.extent
    return value.shape if isinstance(value, Tensor) else ()


def extent_value(extent: Extent) -> ir.Value:
    """Sizes as an int64 vector."""
    int64 = emit.type_("int64")
    if not extent:
        return emit.constant(np.zeros(0, np.int64))
    parts = [
        emit.reshape(emit.cast(size, int64), [1])
        if isinstance(size, ir.Value)
        else emit.sizes_value(dims_array([size]))
        for size in extent
    ]
    return emit.concat(parts, 0)


def rule_of(context: NodeContext) -> Rule:
    """What counts of an operator's result, from what counts of its inputs.

    Raises:
        Refused: the operator is not among those that are applied to the whole tensor.
    """
    rule = RULES.get(context.op) if context.node.domain in ("", "ai.onnx") else None
    if rule is None:
        raise Refused("how large its input is depends on the data, and this operator does not take such an input")
    return rule


def follow(rule: Rule, context: NodeContext, inputs: Sequence[Operand], result: Tensor) -> Operand:
    """A result together with what counts of it.

    Raises:
        Refused: the operator works along a dimension whose size depends on the data.
    """
    assert isinstance(result, Tensor), "an operator with a rule has one tensor as its result"
    extent = rule(context, [extent_of(x) for x in inputs if x is not None])
    return Ragged(result, extent) if any(isinstance(size, ir.Value) for size in extent) else result


def _pointwise(context: NodeContext, extents: Sequence[Extent]) -> Extent:
    if context.op in ("Div", "Mod") and not is_float(context.tensor(0).type.element_type):
        raise Refused("how large its input is depends on the data, and an integer behind it may be 0")
    rank = max(map(len, extents))
    columns = [[1] * (rank - len(extent)) + list(extent) for extent in extents]
    return tuple(_joined(sizes) for sizes in zip(*columns, strict=True))


def _joined(sizes: Sequence[int | ir.Value]) -> int | ir.Value:
    """The size of dimensions that are broadcast against each other."""
    wide = [size for size in sizes if isinstance(size, ir.Value) or size != 1]
    if any(isinstance(size, ir.Value) for size in wide) and any(size != wide[0] for size in wide[1:]):
        raise Refused("the sizes of its inputs depend on the data, and may differ")
    return wide[0] if wide else 1


def _fixed(extent: Extent, axes: Sequence[int]) -> list[int]:
    """Axes, as non-negative numbers, whose size must be known."""
    axes = [normalize_axis(axis, len(extent), "axis") for axis in axes]
    if any(isinstance(extent[axis], ir.Value) for axis in axes):
        raise Refused("how large its input is along an axis that it works on depends on the data")
    return axes


def _transposed(context: NodeContext, extents: Sequence[Extent]) -> Extent:
    order = context.ints_attribute("perm", list(reversed(range(len(extents[0])))))
    return tuple(extents[0][axis] for axis in order)


def _given_axes(context: NodeContext, since: int) -> list[int]:
    return context.ints(1, "axes") if context.opset >= since and context.has(1) else context.attribute("axes") or []


def _squeezed(context: NodeContext, extents: Sequence[Extent]) -> Extent:
    axes = _fixed(extents[0], _given_axes(context, 13) or [i for i, d in enumerate(extents[0]) if d == 1])
    return tuple(size for axis, size in enumerate(extents[0]) if axis not in axes)


def _unsqueezed(context: NodeContext, extents: Sequence[Extent]) -> Extent:
    axes, sizes = _given_axes(context, 13), list(extents[0])
    for axis in sorted(axis % (len(sizes) + len(axes)) for axis in axes):
        sizes.insert(axis, 1)
    return tuple(sizes)


def _gathered(context: NodeContext, extents: Sequence[Extent]) -> Extent:
    data, indices = extents[:2]
    (axis,) = _fixed(data, [context.attribute("axis", 0)])
    return (*data[:axis], *indices, *data[axis + 1 :])


def _gathered_tuples(context: NodeContext, extents: Sequence[Extent]) -> Extent:
    data, indices = extents[:2]
    if context.attribute("batch_dims", 0):
        raise Refused("batch dimensions are not supported where the number of indices depends on the data")
    _fixed(data, range(len(data)))
    _fixed(indices, [-1])
    return (*indices[:-1], *data[int(indices[-1]) :])  # pyright: ignore[reportArgumentType]


def _concatenated(context: NodeContext, extents: Sequence[Extent]) -> Extent:
    axis = context.attribute("axis") % len(extents[0])
    for extent in extents:
        _fixed(extent, [axis])
    others = [_joined([extent[i] for extent in extents]) for i in range(len(extents[0]))]
    total = sum(int(extent[axis]) for extent in extents)  # pyright: ignore[reportArgumentType]
    return tuple(total if i == axis else size for i, size in enumerate(others))


def _reduced(context: NodeContext, extents: Sequence[Extent]) -> Extent:
    given = _given_axes(context, 13 if context.op == "ReduceSum" else 18) or list(range(len(extents[0])))
    axes = _fixed(extents[0], given)
    if context.attribute("keepdims", 1):
        return tuple(1 if axis in axes else size for axis, size in enumerate(extents[0]))
    return tuple(size for axis, size in enumerate(extents[0]) if axis not in axes)


def _along_one(context: NodeContext, extents: Sequence[Extent]) -> Extent:
    """One axis is worked on, and keeps its size, or is reduced to an index."""
    default = 0 if context.op.startswith("Arg") else -1
    if default == -1 and context.opset < 13:
        raise Refused("how large its input is depends on the data, and before opset 13 it flattens its input")
    (axis,) = _fixed(extents[0], [context.attribute("axis", default)])
    if not context.op.startswith("Arg"):
        return extents[0]
    kept = [1] if context.attribute("keepdims", 1) else []
    return (*extents[0][:axis], *kept, *extents[0][axis + 1 :])


STRUCTURAL = frozenset({"If", "Loop", "OptionalHasElement", "OptionalGetElement", "Optional"})
"""Operators that pass values on, or leave it to others to look at them."""


def extent_shape(context: NodeContext, value: Operand) -> ir.Value:
    """The result of Shape."""
    extent = extent_of(value)
    return extent_value(extent[slice(context.attribute("start", 0), context.attribute("end"))])


RULES: dict[str, Rule] = {
    **dict.fromkeys(_POINTWISE, _pointwise),
    **dict.fromkeys((*REDUCTIONS, "ReduceLogSumExp"), _reduced),
    **dict.fromkeys(("ArgMax", "ArgMin", "Softmax", "LogSoftmax"), _along_one),
    "CastLike": lambda context, extents: extents[0],
    "Transpose": _transposed,
    "Squeeze": _squeezed,
    "Unsqueeze": _unsqueezed,
    "Gather": _gathered,
    "GatherND": _gathered_tuples,
    "Concat": _concatenated,
}
