"""What is not compared, by name, and why. Each entry is counted when it is drawn, and listed in the run's totals."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from tests.fuzz.values import INTEGERS, Value

Inputs = Sequence[Value | None]
When = Callable[[onnx.NodeProto, Inputs, int], bool]


@dataclass(frozen=True)
class Exclusion:
    """Nodes of these operators are left out when `when(node, inputs, opset)` holds."""

    ops: tuple[str, ...]
    reason: str
    when: When = lambda node, inputs, opset: True


def _attribute(node: onnx.NodeProto, name: str, default: Any = None) -> Any:
    return next((onnx.helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)


def _has(index: int) -> When:
    return lambda node, inputs, opset: index < len(inputs) and inputs[index] is not None


def _dilated_same(node: onnx.NodeProto, inputs: Inputs, opset: int) -> bool:
    return _attribute(node, "auto_pad", b"").startswith(b"SAME") and any(
        d > 1 for d in _attribute(node, "dilations", [])
    )


def _interpolates_integers(node: onnx.NodeProto, inputs: Inputs, opset: int) -> bool:
    return (
        _attribute(node, "mode", b"nearest") != b"nearest"
        and inputs[0] is not None
        and inputs[0].array.dtype.kind != "f"
    )


def _large_integer_product(node: onnx.NodeProto, inputs: Inputs, opset: int) -> bool:
    x = inputs[0].array if inputs[0] is not None else np.zeros(0)
    bits = np.log2(np.maximum(np.abs(x.astype(np.float64)), 1)).sum()
    return x.dtype.kind != "f" and bool(bits > x.dtype.itemsize * 8 - 2)


def _is(*dtypes: str) -> When:
    return lambda node, inputs, opset: inputs[0] is not None and inputs[0].dtype in dtypes


def _fractional_corners(node: onnx.NodeProto, inputs: Inputs, opset: int) -> bool:
    x, scales = inputs[0], inputs[2] if len(inputs) > 2 else None
    if _attribute(node, "coordinate_transformation_mode") != b"align_corners" or x is None or scales is None:
        return False
    return any(d * s != int(d * s) for d, s in zip(x.shape, scales.array.tolist(), strict=True))


def _open_clip_of_infinities(node: onnx.NodeProto, inputs: Inputs, opset: int) -> bool:
    is_open = len(inputs) < 3 or inputs[1] is None or inputs[2] is None
    return (
        is_open
        and inputs[0] is not None
        and inputs[0].array.dtype.kind == "f"
        and bool(np.isinf(inputs[0].array).any())
    )


def _flat_instances(node: onnx.NodeProto, inputs: Inputs, opset: int) -> bool:
    x = inputs[0]
    return x is not None and bool((x.array.astype(np.float64).var(axis=tuple(range(2, x.rank))) < 1e-2).any())


EXCLUSIONS = [
    Exclusion(("Shrink",), "onnxruntime computes float64 in float32", _is("float64")),
    Exclusion(
        ("ReduceLogSumExp", "ReduceLogSum"),
        "how the logarithm of integers is rounded is not specified",
        _is(*INTEGERS),
    ),
    Exclusion(
        ("Clip",),
        "a bound that is left out: onnxruntime clips infinities to the largest number, as ONNX says, lumir keeps them",
        _open_clip_of_infinities,
    ),
    Exclusion(
        ("MatMulInteger", "MatMulIntegerToFloat"),
        "a sum of no elements: onnxruntime leaves the result uninitialised",
        lambda node, inputs, opset: inputs[0] is not None and 0 in inputs[0].shape,
    ),
    Exclusion(
        ("OneHot",),
        "an index that is no integer: onnxruntime compares it before ONNX's cast to int64",
        lambda node, inputs, opset: inputs[0] is not None and bool((inputs[0].array % 1 != 0).any()),
    ),
    Exclusion(
        ("Gemm",),
        "a sum of no elements: onnxruntime leaves out beta",
        lambda node, inputs, opset: inputs[0] is not None and 0 in inputs[0].shape,
    ),
    Exclusion(
        ("DFT",),
        "the inverse in float64: onnxruntime scales by 1 / n in float32",
        lambda node, inputs, opset: _attribute(node, "inverse", 0) == 1 and _is("float64")(node, inputs, opset),
    ),
    Exclusion(
        ("Gelu",),
        "the tanh form in float64: onnx's function body holds its constants in float32",
        lambda node, inputs, opset: _attribute(node, "approximate") == b"tanh" and _is("float64")(node, inputs, opset),
    ),
    Exclusion(
        ("Resize",),
        "align_corners with a scale that gives no whole size: onnxruntime takes the rounded size, ONNX the product",
        _fractional_corners,
    ),
    Exclusion(
        ("InstanceNormalization",),
        "onnxruntime takes the mean out after scaling, which loses all digits of an instance without variance",
        _flat_instances,
    ),
    Exclusion(
        ("Resize",),
        "how an interpolated integer is rounded is not specified: onnxruntime truncates, and rounds with antialias",
        _interpolates_integers,
    ),
    Exclusion(
        ("ReduceProd",),
        "onnxruntime multiplies integers as floats: not the product modulo 2^n where that overflows",
        _large_integer_product,
    ),
    Exclusion(
        ("MaxPool", "AveragePool", "LpPool"),
        "onnxruntime leaves dilations out of auto_pad=SAME_*, against its own shape inference",
        _dilated_same,
    ),
    Exclusion(
        ("MaxUnpool",),
        "onnxruntime counts the indices in output_shape, onnx's own tests in the shape that the window gives",
        _has(2),
    ),
]


def excluded(node: onnx.NodeProto, inputs: Inputs, opset: int) -> str | None:
    """Why a node is left out; None where it is compared."""
    for item in EXCLUSIONS:
        if node.op_type in item.ops and item.when(node, inputs, opset):
            return f"{node.op_type}: {item.reason}"
    return None
