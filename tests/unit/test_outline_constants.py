"""Constants that become weights."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import lumir.api


def test_a_name_that_the_model_uses_is_left_alone():
    """A weight of the model may be called as the compiler would call its own."""
    size = 50_000  # too large to be a constant
    x, own = np.ones((2, size), np.float32), np.arange(size, dtype=np.float32)
    other = np.array([[3], [1]], np.float32)
    nodes = [
        helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(other)),
        helper.make_node("Add", ["x", "constant.0"], ["a"]),
        helper.make_node("Mul", ["a", "c"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, size])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, size])],
        [numpy_helper.from_array(own, "constant.0")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    onnx.checker.check_model(model)
    np.testing.assert_allclose(lumir.api.compile(model, threads=1).run({"x": x})["y"], (x + own) * other, rtol=1e-6)
