"""What is not compared, by name, and why. Each entry is counted when it is drawn, and listed in the run's totals."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from tests.fuzz.values import Value

Inputs = Sequence[Value | None]


@dataclass(frozen=True)
class Exclusion:
    """Nodes of these operators are left out when `when(node, inputs, opset)` holds."""

    ops: tuple[str, ...]
    reason: str
    when: Callable[[onnx.NodeProto, Inputs, int], bool] = lambda node, inputs, opset: True


def _has(index: int) -> Callable[[onnx.NodeProto, Inputs, int], bool]:
    return lambda node, inputs, opset: index < len(inputs) and inputs[index] is not None


def _dilated_same(node: onnx.NodeProto, inputs: Inputs, opset: int) -> bool:
    given = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    return given.get("auto_pad", b"").startswith(b"SAME") and any(d > 1 for d in given.get("dilations", []))


def _interpolates_integers(node: onnx.NodeProto, inputs: Inputs, opset: int) -> bool:
    mode = next((onnx.helper.get_attribute_value(a) for a in node.attribute if a.name == "mode"), b"nearest")
    return mode != b"nearest" and inputs[0] is not None and inputs[0].array.dtype.kind != "f"


def _large_integer_product(node: onnx.NodeProto, inputs: Inputs, opset: int) -> bool:
    x = inputs[0].array if inputs[0] is not None else np.zeros(0)
    bits = np.log2(np.maximum(np.abs(x.astype(np.float64)), 1)).sum()
    return x.dtype.kind != "f" and bool(bits > x.dtype.itemsize * 8 - 2)


EXCLUSIONS = [
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
