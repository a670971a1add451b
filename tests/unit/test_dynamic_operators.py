"""Single operators on dimensions of a range: compiled once, against onnxruntime at the ends and between."""

from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

import lumir
from lumir.diagnostics import UnsupportedError

IMAGES = {"n": "1..3", "h": "8..33", "w": "8..40"}
IMAGE_SIZES = [{"n": 1, "h": 8, "w": 8}, {"n": 2, "h": 13, "w": 9}, {"n": 3, "h": 33, "w": 40}]
ROWS = {"b": "1..4", "s": "1..50"}
ROW_SIZES = [{"b": 1, "s": 1}, {"b": 2, "s": 13}, {"b": 4, "s": 50}]
RNG = np.random.default_rng(11)
INT64_RESULTS = ("ArgMax", "Reshape of NonZero")


def op(name: str, inputs: str = "x", outputs: str = "y", **attributes: Any) -> NodeProto:
    """A node; `_` is an input that is left out."""
    names = ["" if key == "_" else key for key in inputs.split()]
    return helper.make_node(name, names, outputs.split(), **attributes)


def model(
    shape: list, nodes: list[NodeProto], constants: dict[str, Any], result: int = TensorProto.FLOAT
) -> ModelProto:
    values = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
    graph = helper.make_graph(nodes, "g", inputs, [helper.make_tensor_value_info("y", result, None)], values)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def f32(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


FILTER = {"f": f32(6, 4, 3, 3)}
IMAGE = ["n", 4, "h", "w"]
CASES: dict[str, tuple[list, list[NodeProto], dict[str, Any]]] = {
    "Conv": (IMAGE, [op("Conv", "x f", pads=[1, 1, 1, 1])], FILTER),
    "Conv by strides": (IMAGE, [op("Conv", "x f", pads=[1, 1, 1, 1], strides=[2, 2])], FILTER),
    "MaxPool": (IMAGE, [op("MaxPool", kernel_shape=[3, 3], strides=[2, 2])], {}),
    "GlobalAveragePool": (IMAGE, [op("GlobalAveragePool")], {}),
    "InstanceNormalization": (
        IMAGE,
        [op("InstanceNormalization", "x scale bias")],
        {"scale": f32(4), "bias": f32(4)},
    ),
    "Pad by reflection": (IMAGE, [op("Pad", "x p", mode="reflect")], {"p": [0, 0, 1, 2, 0, 0, 3, 1]}),
    "CumSum": (["b", "s"], [op("CumSum", "x axis")], {"axis": 1}),
    "ArgMax": (["b", "s"], [op("ArgMax", axis=1)], {}),
    "Softmax": (["b", "s"], [op("Softmax", axis=1)], {}),
    "Softmax across": (["b", "s"], [op("Softmax", axis=0)], {}),
    "ReduceMean": (["b", "s"], [op("ReduceMean", "x a", "m"), op("Sub", "x m")], {"a": [1]}),
    "TopK": (["b", "s"], [op("TopK", "x k", "y i")], {"k": [1]}),
    "MatMul of open columns": (
        ["b", "s", 8],
        [op("Transpose", "x", "t", perm=[0, 2, 1]), op("MatMul", "x t")],
        {},
    ),
    "MatMul of open sums": (["b", "s", 8], [op("Transpose", "x", "t", perm=[0, 2, 1]), op("MatMul", "t x")], {}),
    "Slice backwards": (
        ["b", "s"],
        [op("Slice", "x first last axis step")],
        {"first": [-1], "last": [-1000], "axis": [1], "step": [-1]},
    ),
    "Slice by two": (
        ["b", "s"],
        [op("Slice", "x first last axis step")],
        {"first": [0], "last": [1000], "axis": [1], "step": [2]},
    ),
    "Gather from the end": (["b", "s", 4], [op("Gather", "x i", axis=1)], {"i": -1}),
    "Concat": (["b", "s"], [op("Concat", "x x", "c", axis=1), op("Reshape", "c r")], {"r": [-1]}),
    "Tile": (["b", "s"], [op("Tile", "x r")], {"r": [2, 3]}),
    "Einsum": (["b", "s", 8], [op("Einsum", "x x", equation="bsd,btd->bst")], {}),
    "GroupNormalization": (
        ["b", 8, "s"],
        [op("GroupNormalization", "x scale bias", num_groups=2)],
        {"scale": f32(2), "bias": f32(2)},
    ),
    "DepthToSpace": (["b", 8, "s", 3], [op("DepthToSpace", blocksize=2)], {}),
    "Trilu": (["b", "s", "s"], [op("Trilu", upper=0)], {}),
    "Range": (
        ["b", "s"],
        [
            op("Shape", "x", "shape"),
            op("Gather", "shape one", "count"),
            op("Range", "zero count one", "range"),
            op("Cast", "range", "places", to=TensorProto.FLOAT),
            op("Mul", "x places"),
        ],
        {"zero": 0, "one": 1},
    ),
    "Reshape of NonZero": (["b", "s"], [op("NonZero", "x", "i"), op("Reshape", "i r")], {"r": [-1]}),
}


@pytest.mark.parametrize("name", CASES)
def test_equals_onnxruntime_at_every_size(name: str):
    shape, nodes, constants = CASES[name]
    proto = model(shape, nodes, constants, TensorProto.INT64 if name in INT64_RESULTS else TensorProto.FLOAT)
    ranges, sizes = (IMAGES, IMAGE_SIZES) if shape == IMAGE else (ROWS, ROW_SIZES)
    executable = lumir.compile(proto, dims=ranges)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    for binding in sizes:
        x = f32(*(binding[dim] if isinstance(dim, str) else dim for dim in shape))
        (expected,) = session.run(["y"], {"x": x})
        np.testing.assert_allclose(executable.run({"x": x})["y"], np.asarray(expected), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize(
    ("node", "constants", "shape"),
    [
        (op("EyeLike"), {}, ["b", "s"]),
        (op("LSTM", "x w r", hidden_size=3), {"w": f32(1, 12, 4), "r": f32(1, 12, 3)}, ["s", "b", 4]),
        (op("Resize", "x _ z"), {"z": np.array([1, 1, 2, 2], np.float32)}, ["b", 4, "s", "s"]),
    ],
    ids=["EyeLike", "LSTM", "Resize"],
)
def test_what_needs_fixed_sizes_is_refused_by_name(node: NodeProto, constants: dict[str, Any], shape: list):
    with pytest.raises(UnsupportedError) as caught:
        lumir.compile(model(shape, [node], constants), dims=ROWS)
    assert f"{node.op_type}_0" in str(caught.value)
