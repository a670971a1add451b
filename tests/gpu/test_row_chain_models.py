"""Models whose rows one launch reduces and goes on with, on a GPU, against numpy."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import lumir

pytestmark = pytest.mark.gpu
ROWS, COLUMNS = 37, 1032


def _model(nodes, inputs, outputs, constants) -> onnx.ModelProto:
    def infos(items):
        return [helper.make_tensor_value_info(name, type_, shape) for name, type_, shape in items]

    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "rows", infos(inputs), infos(outputs), tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=10)


def _launches(executable: lumir.Executable) -> int:
    return len(executable.artifact.plans[0].launches)


def test_residual_norm_and_quantisation_by_rows():
    rng, node = np.random.default_rng(0), helper.make_node
    weight = rng.normal(1, 0.1, COLUMNS).astype(np.float32)
    nodes = [
        node("Add", ["x", "r"], ["y"]),
        node("RMSNormalization", ["y", "w"], ["n"], axis=-1, epsilon=1e-5),
        node("Abs", ["n"], ["a"]),
        node("ReduceMax", ["a", "axes"], ["peak"], keepdims=1),
        node("Div", ["peak", "most"], ["s"]),
        node("Div", ["n", "s"], ["real"]),
        node("Round", ["real"], ["whole"]),
        node("Cast", ["whole"], ["q"], to=TensorProto.INT8),
    ]
    shape, float32 = [ROWS, COLUMNS], TensorProto.FLOAT
    outputs = [("y", float32, shape), ("q", TensorProto.INT8, shape), ("s", float32, [ROWS, 1])]
    constants = {"w": weight, "axes": np.array([-1], np.int64), "most": np.float32(127)}
    model = _model(nodes, [("x", float32, shape), ("r", float32, shape)], outputs, constants)
    executable = lumir.compile(model, target="cuda")
    assert _launches(executable) == 1
    x, r = (rng.standard_normal(shape).astype(np.float32) for _ in range(2))
    found = executable.run({"x": x, "r": r})
    total = (x + r).astype(np.float64)
    norm = total / np.sqrt((total**2).mean(-1, keepdims=True) + 1e-5) * weight
    scale = np.abs(norm).max(-1, keepdims=True) / 127
    np.testing.assert_array_equal(found["y"], x + r)
    np.testing.assert_allclose(found["s"], scale, rtol=1e-5)
    off = np.abs(found["q"].astype(int) - np.round(norm / scale))
    assert off.max() <= 1 and (off > 0).mean() < 5e-3


def test_softmax_in_five_ops_and_a_dynamic_quantisation():
    node, shape, float32 = helper.make_node, [ROWS, COLUMNS], TensorProto.FLOAT
    nodes = [
        node("ReduceMax", ["x", "axes"], ["m"], keepdims=1),
        node("Sub", ["x", "m"], ["d"]),
        node("Exp", ["d"], ["e"]),
        node("ReduceSum", ["e", "axes"], ["t"], keepdims=1),
        node("Div", ["e", "t"], ["p"]),
        node("DynamicQuantizeLinear", ["p"], ["q", "s", "z"]),
    ]
    outputs = [("p", float32, shape), ("q", TensorProto.UINT8, shape), ("s", float32, []), ("z", TensorProto.UINT8, [])]
    model = _model(nodes, [("x", float32, shape)], outputs, {"axes": np.array([-1], np.int64)})
    executable = lumir.compile(model, target="cuda")
    x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    found = executable.run({"x": x})
    wide = np.exp(x.astype(np.float64) - x.max(-1, keepdims=True))
    wide /= wide.sum(-1, keepdims=True)
    np.testing.assert_allclose(found["p"], wide, rtol=2e-5)
    step = wide.max() / 255
    np.testing.assert_allclose(found["s"], step, rtol=1e-5)
    assert found["z"] == 0 and np.abs(found["q"].astype(int) - np.round(wide / step)).max() <= 1
