"""The form of imported modules: signature, locations, weights by reference, constants, folding, functions."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from import_helpers import assert_matches_onnxruntime, model, node, run, text, value
from onnx import TensorProto, helper, numpy_helper

from lumir.context import make_context
from lumir.frontend import import_onnx
from lumir.frontend.wire import strip_weights
from lumir.mlir import ir

X = {"x": np.arange(6, dtype=np.float32).reshape(2, 3)}
BIG = np.arange(3 * 200, dtype=np.float32).reshape(3, 200)


def ops(module_text: str) -> list[str]:
    """The names of the lumir ops of `main`, in order."""
    body = module_text.partition("func.func")[2]
    return [line.partition('"lumir.')[2].partition('"')[0] for line in body.splitlines() if '"lumir.' in line]


def imported_weights(source: Path | onnx.ModelProto, **options) -> dict[str, tuple[str, np.ndarray]]:
    """Path and elements of each weight."""
    with make_context(), ir.Location.unknown():
        module, store = import_onnx(source, **options)
        weights = [op for op in module.body.operations if op.operation.name == "lumir.weight"]
        return {
            op.attributes["sym_name"].value: (op.attributes["path"].value, store.array(op).copy()) for op in weights
        }


def test_signature_carries_names_and_static_shapes():
    proto = model([node("Relu", "input_ids", "logits")], [value("input_ids", np.float32, ["n", 3])], ["logits"])
    assert (
        'func.func @main(%arg0: tensor<2x3xf32> {lumir.name = "input_ids"}) -> '
        '(tensor<2x3xf32> {lumir.name = "logits"})'
    ) in text(proto, dims={"n": 2})


def test_every_op_is_located_at_its_node():
    function = helper.make_function(
        "my", "F", ["a"], ["b"], [node("Exp", "a", "c", name="e"), node("Abs", "c", "b")], [helper.make_opsetid("", 20)]
    )
    nodes = [node("Relu", "x", "r", name="/block/relu"), node("Neg", "r", "n"), node("F", "n", "y", "my", name="call")]
    printed = text(model(nodes, X, ["y"], functions=[function]), locations=True)
    for name in ("/block/relu", "Neg_1", "call/e", "call/Abs_1"):
        assert f'loc("{name}")' in printed


def test_graph_output_may_be_an_input_or_a_weight():
    proto = model([], X, ["x", "w"], {"w": BIG})
    np.testing.assert_array_equal(run(proto, X)["w"], BIG)


def test_large_inline_weight_of_a_file_points_into_the_file(tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(model([node("MatMul", "x w")], X, ["y"], {"w": BIG}).SerializeToString())
    (place, array) = imported_weights(path)["w"]
    assert place == "m.onnx"
    np.testing.assert_array_equal(array, BIG)


def test_stripped_model_has_the_same_content_but_for_large_weights(tmp_path):
    proto = model([node("MatMul", "x w")], X, ["y"], {"w": BIG, "small": np.ones(3, np.float32)})
    data = proto.SerializeToString()
    stripped = strip_weights(data)
    offset, length = stripped.inline["w"]
    assert data[offset : offset + length] == BIG.tobytes()
    proto.graph.initializer[0].ClearField("raw_data")
    assert onnx.ModelProto.FromString(stripped.model) == proto


def test_external_weight_is_mapped_at_its_offset(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "w.bin").write_bytes(b"\7" * 16 + BIG.tobytes())
    proto = model([node("MatMul", "x w")], X, ["y"], {"w": BIG})
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="data/w.bin")
    tensor.external_data.add(key="offset", value="16")
    (place, array) = imported_weights(proto, folder=tmp_path)["w"]
    assert place == "data/w.bin"
    np.testing.assert_array_equal(array, BIG)


@pytest.mark.parametrize(
    ("field", "array"),
    [
        ("float_data", BIG),
        ("int64_data", np.arange(900, dtype=np.int64)),
        ("int32_data", np.arange(900).astype(np.float16)),
        ("double_data", np.arange(900, dtype=np.float64)),
    ],
)
def test_typed_weights_are_kept_in_memory(field, array):
    values = array.view(np.uint16).astype(np.int32) if field == "int32_data" else array
    tensor = TensorProto(name="w", data_type=helper.np_dtype_to_tensor_dtype(array.dtype), dims=array.shape)
    getattr(tensor, field).extend(values.reshape(-1).tolist())
    proto = model([], {"x": array}, ["w"])
    proto.graph.initializer.append(tensor)
    (place, found) = imported_weights(proto)["w"]
    assert place == ":memory:"
    np.testing.assert_array_equal(found, array)


def test_four_bit_weights_are_unpacked():
    values = np.arange(-8, 8).repeat(90)
    tensor = helper.make_tensor("w", TensorProto.INT4, [len(values)], values)
    proto = model([node("Cast", "w", "y", to=TensorProto.INT8)], X, ["y"], opset=21)
    proto.graph.initializer.append(tensor)
    np.testing.assert_array_equal(run(proto, X)["y"], values)


def test_small_and_uniform_constants_are_written_out():
    weights = {"a": np.array([1, 2, 3], np.float32), "b": np.ones((500, 3), np.float32)}
    nodes = [node("Constant", "", "c", value=numpy_helper.from_array(weights["b"])), node("Add", "x a", "d")]
    printed = text(model(nodes, X, ["c", "d"], weights))
    assert "lumir.weight" not in printed
    assert "dense<1.000000e+00> : tensor<500x3xf32>" in printed


def test_unused_weights_leave_no_trace():
    assert "lumir.weight" not in text(model([node("Relu", "x")], X, ["y"], {"w": BIG}))


def test_weight_names_stay_and_cannot_clash_with_main():
    weights = {"encoder.0/w:1": BIG, "main": BIG + 1}
    printed = text(
        model([node("MatMul", "x encoder.0/w:1", "a"), node("MatMul", "x main", "y")], X, ["a", "y"], weights)
    )
    assert 'sym_name = "encoder.0/w:1"' in printed
    assert 'sym_name = "main.1"' in printed


def test_default_inputs_are_weights():
    proto = model([node("Add", "x w")], X, ["y"], {"w": np.ones(3, np.float32)})
    proto.graph.input.append(value("w", np.float32, [3]))
    assert "%arg1" not in text(proto)


def test_shape_arithmetic_of_exporters_folds():
    nodes = [
        node("Shape", "x", "shape"),
        node("Gather", "shape zero", "n", axis=0),
        node("Unsqueeze", "n zeros", "n1"),
        node("Concat", "n1 minus", "target", axis=0),
        node("Reshape", "x target", "flat"),
        node("ConstantOfShape", "target1", "ones", value=helper.make_tensor("v", TensorProto.FLOAT, [1], [1.0])),
        node("Where", "flag ones flat", "y"),
    ]
    weights = {
        "zero": np.array(0),
        "zeros": np.array([0]),
        "minus": np.array([-1]),
        "target1": np.array([1, 1]),
        "flag": np.array([True, False, True]),
    }
    assert ops(text(model(nodes, X, ["y"], weights))) == ["constant", "constant", "select"]
    assert_matches_onnxruntime(model(nodes, X, ["y"], weights), X)


def test_large_results_are_not_folded():
    nodes = [node("Expand", "one shape", "y")]
    proto = model(nodes, X, ["y"], {"one": np.ones((1, 1), np.float32), "shape": np.array([1000, 1000])})
    assert ops(text(proto)) == ["constant", "broadcast"]


def test_function_attributes_reach_the_body():
    inner = node("LeakyRelu", "a", "b")
    inner.attribute.append(onnx.AttributeProto(name="alpha", ref_attr_name="slope", type=onnx.AttributeProto.FLOAT))
    function = helper.make_function("my", "F", ["a"], ["b"], [inner], [helper.make_opsetid("", 20)], ["slope"])
    proto = model([node("F", "x", domain="my", slope=0.5)], {"x": -X["x"]}, ["y"], functions=[function])
    np.testing.assert_array_equal(run(proto, {"x": -X["x"]})["y"], -X["x"] / 2)


def test_local_function_comes_before_an_operator_of_its_name():
    function = helper.make_function("", "Relu", ["a"], ["b"], [node("Neg", "a", "b")], [helper.make_opsetid("", 20)])
    proto = model([node("Relu", "x")], X, ["y"], functions=[function])
    assert ops(text(proto)) == ["neg"]


def test_operator_without_handler_is_expanded_by_its_own_body():
    inputs = {"x": np.array([3.0, 1.0, 2.0], np.float32)}
    proto = model([node("DynamicQuantizeLinear", "x", "y s z")], inputs, ["y", "s", "z"])
    assert_matches_onnxruntime(proto, inputs)


def test_branch_of_a_known_condition_is_taken():
    def branch(op: str) -> onnx.GraphProto:
        return helper.make_graph([node(op, "x", "r")], op, [], [onnx.ValueInfoProto(name="r")])

    nodes = [node("Size", "x", "n"), node("Equal", "n six", "c")]
    nodes.append(helper.make_node("If", ["c"], ["y"], then_branch=branch("Neg"), else_branch=branch("Exp")))
    assert ops(text(model(nodes, X, ["y"], {"six": np.array(6)}))) == ["neg"]
    assert ops(text(model(nodes, X, ["y"], {"six": np.array(7)}))) == ["exp"]
