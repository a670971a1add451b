"""Evaluating nodes on sizes that symbols stand in: the shape arithmetic of a model whose dimensions are not fixed.

The arrays hold Python ints and Sizes as objects. What numpy does by moving elements it does on objects too; arithmetic
and comparisons are the Sizes' own.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx

from lumir.dialects.base import normalize_axis
from lumir.frontend.folding import fold
from lumir.frontend.values import Tensor
from lumir.sizes import Dim, Size, equal, maximum, minimum

Arrays = list[np.ndarray]
Rule = Callable[[dict[str, Any], Sequence[Any]], np.ndarray]
"""(attributes, input arrays, None where one is left out) -> the output; booleans are bool arrays, sizes objects."""


def fold_sizes(
    node: onnx.NodeProto, inputs: Sequence[Tensor | None], opset: int
) -> list[tuple[np.ndarray, np.dtype]] | None:
    """The node's outputs with the integer type of each, or None where there is no rule for it.

    Raises:
        Undecided: a comparison holds for some values of the symbols only.
    """
    arrays = [None if x is None else x.array() for x in inputs]
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    typed = [x for x in inputs if x is not None]
    if node.op_type in MOVES:
        moved = fold(node, [_as_objects(x) if i in MOVES[node.op_type] else x for i, x in enumerate(arrays)], opset)
        return None if moved is None else [(_settled(array), typed[0].dtype) for array in moved]
    if node.op_type == "Cast":
        to = onnx.helper.tensor_dtype_to_np_dtype(attributes["to"])
        return [(typed[0].array(), to)] if to in (np.int32, np.int64) else None
    if node.op_type not in RULES or not all(_is_integer(x) for x in typed):
        return None
    like = typed[0] if node.op_type == "Gather" else typed[-1]
    return [(_settled(RULES[node.op_type](attributes, arrays)), like.dtype)]


MOVES: dict[str, Sequence[int]] = {
    **dict.fromkeys(("Slice", "Squeeze", "Unsqueeze", "Reshape", "Flatten", "Transpose", "Split"), (0,)),
    **dict.fromkeys(("Tile", "Expand"), (0,)),
    "Concat": range(1024),
}
"""Operators that move the elements of these inputs, and need plain numbers in all others."""


def _is_integer(x: Tensor) -> bool:
    return x.dtype in (np.int32, np.int64, np.bool_)


def _as_objects(array: np.ndarray | None) -> np.ndarray | None:
    return None if array is None else array.astype(object)


def _settled(array: Any) -> np.ndarray:
    """Plain numbers where no symbol is left."""
    array = np.asarray(array)
    if array.dtype != object or any(isinstance(x, Size) for x in array.flat):
        return array
    return array.astype(np.bool_ if any(isinstance(x, bool) for x in array.flat) else np.int64)


def _each(function: Callable[..., Any]) -> Callable[..., np.ndarray]:
    """The function on every element, with broadcasting; numbers become Python's."""

    def apply(*arrays: np.ndarray) -> np.ndarray:
        objects = [np.asarray(array).astype(object) for array in arrays]
        return np.asarray(np.frompyfunc(function, len(arrays), 1)(*objects), object)

    return apply


def _elementwise(function: Callable[..., Any]) -> Rule:
    return lambda attributes, inputs: functools.reduce(_each(function), inputs)


def _unary(function: Callable[[Any], Any]) -> Rule:
    return lambda attributes, inputs: _each(function)(inputs[0])


def _divided(x: Dim, y: Dim) -> Dim:
    """x / y toward zero; sizes are rarely negative."""
    if x >= 0 and y > 0:
        return x // y
    return -(-x // y) if y > 0 else -_divided(x, -y)


def _where(attributes: dict[str, Any], inputs: Sequence[np.ndarray]) -> np.ndarray:
    return _each(lambda condition, x, y: x if condition else y)(*inputs)


def _reduction(function: Callable[[Any, Any], Any]) -> Rule:
    def reduce(attributes: dict[str, Any], inputs: Sequence[Any]) -> np.ndarray:
        array = inputs[0].astype(object)
        given = inputs[1].tolist() if len(inputs) > 1 and inputs[1] is not None else attributes.get("axes")
        axes = range(array.ndim) if not given else {normalize_axis(int(axis), array.ndim) for axis in given}
        for axis in sorted(axes, reverse=True):
            parts = [np.take(array, [i], axis) for i in range(array.shape[axis])]
            array = functools.reduce(_each(function), parts)
            if not attributes.get("keepdims", 1):
                array = np.squeeze(array, axis)
        return array

    return reduce


def _gathered(attributes: dict[str, Any], inputs: Sequence[np.ndarray]) -> np.ndarray:
    taken = np.take(inputs[0].astype(object), inputs[1].astype(np.int64), attributes.get("axis", 0))
    return np.asarray(taken, object)


RULES: dict[str, Rule] = {
    "Gather": _gathered,
    "Add": _elementwise(lambda x, y: x + y),
    "Sub": _elementwise(lambda x, y: x - y),
    "Mul": _elementwise(lambda x, y: x * y),
    "Div": _elementwise(_divided),
    "Mod": _elementwise(lambda x, y: x % y),
    "Max": _elementwise(maximum),
    "Min": _elementwise(minimum),
    "Neg": _unary(lambda x: -x),
    "Abs": _unary(lambda x: maximum(x, -x)),
    "Equal": _elementwise(equal),
    "Less": _elementwise(lambda x, y: bool(x < y)),
    "LessOrEqual": _elementwise(lambda x, y: bool(x <= y)),
    "Greater": _elementwise(lambda x, y: bool(x > y)),
    "GreaterOrEqual": _elementwise(lambda x, y: bool(x >= y)),
    "And": _elementwise(lambda x, y: bool(x and y)),
    "Or": _elementwise(lambda x, y: bool(x or y)),
    "Not": _unary(lambda x: not x),
    "Where": _where,
    "ReduceProd": _reduction(lambda x, y: x * y),
    "ReduceSum": _reduction(lambda x, y: x + y),
    "ReduceMax": _reduction(maximum),
    "ReduceMin": _reduction(minimum),
}
