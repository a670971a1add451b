"""Evaluating nodes whose inputs are known: the shape arithmetic that exporters leave behind."""

import functools
import math
from collections.abc import Callable, Sequence

import numpy as np
import onnx

FOLD_LIMIT = 64 * 1024

_BROADCASTING = (
    *("Add", "Sub", "Mul", "Div", "Mod", "Pow", "Max", "Min", "Sum", "Where", "Equal", "Less", "LessOrEqual"),
    *("Greater", "GreaterOrEqual", "And", "Or", "Xor", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitShift"),
)
_NEVER_GROWING = (
    *("Abs", "Neg", "Sign", "Floor", "Ceil", "Round", "Sqrt", "Exp", "Log", "Reciprocal", "Cos", "Sin", "Not", "IsNaN"),
    *("Relu", "CastLike"),
    *("Cast", "Identity", "Clip", "Squeeze", "Unsqueeze", "Reshape", "Flatten", "Transpose", "Slice", "Split", "Trilu"),
    *("ReduceSum", "ReduceProd", "ReduceMax", "ReduceMin", "ReduceMean", "ArgMax", "ArgMin", "CumSum"),
    *("GatherElements", "ScatterElements", "ScatterND", "Compress"),
)
_SIZES: dict[str, Callable[[Sequence[np.ndarray]], int]] = {
    "Concat": lambda inputs: sum(x.size for x in inputs),
    "Expand": lambda inputs: math.prod(np.broadcast_shapes(inputs[0].shape, tuple(int(d) for d in inputs[1]))),
    "Tile": lambda inputs: inputs[0].size * math.prod(int(r) for r in inputs[1]),
    **dict.fromkeys(_BROADCASTING, lambda inputs: math.prod(np.broadcast_shapes(*(x.shape for x in inputs)))),
    **dict.fromkeys(_NEVER_GROWING, lambda inputs: max(x.size for x in inputs)),
    "NonZero": lambda inputs: inputs[0].size * max(inputs[0].ndim, 1),
    "Gather": lambda inputs: inputs[1].size * max(inputs[0].size, 1),
    "GatherND": lambda inputs: inputs[1].size * max(inputs[0].size, 1),
}


def is_foldable(op: str) -> bool:
    """Whether the importer evaluates this operator of ai.onnx on known inputs."""
    return op in _SIZES


def fold(node: onnx.NodeProto, inputs: Sequence[np.ndarray | None], opset: int) -> list[np.ndarray] | None:
    """The node's outputs, evaluated by onnx's reference implementation, or None where it should be compiled instead.

    A node is not evaluated when its result would have more than `FOLD_LIMIT` elements.
    """
    present = [x for x in inputs if x is not None]
    try:
        if not present or _SIZES[node.op_type](present) > FOLD_LIMIT or _differs_from_numpy(node.op_type, present):
            return None
        with np.errstate(all="ignore"):
            results = _implementation(node.op_type, opset)(node, _RUN_PARAMETERS).run(*inputs)
    except Exception:  # an invalid node is reported by its handler, which knows the rule
        return None
    if not all(isinstance(r, np.ndarray) for r in results):
        return None
    return [np.asarray(r) for r in results]


def _differs_from_numpy(op: str, inputs: Sequence[np.ndarray]) -> bool:
    """Whether onnx's reference implementation, which follows numpy, leaves the operator's definition.

    A slice by a negative step from before the first element begins at that element, where numpy's is empty.
    """
    if op != "Slice" or len(inputs) < 5:
        return False
    x, starts, _, axes, steps = inputs
    return any(step < 0 and start < -x.shape[axis] for start, axis, step in zip(starts, axes, steps, strict=True))


_RUN_PARAMETERS = {"log": lambda *_: None, "opsets": {}, "verbose": 0, "new_ops": None, "existing_functions": {}}


@functools.cache
def _implementation(op: str, opset: int) -> type:
    from onnx.reference.ops import load_op

    return load_op("", op, opset)
