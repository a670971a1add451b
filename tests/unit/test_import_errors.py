"""What the importer says about models it cannot import: every message names what, where and what to do."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from import_helpers import model, node, text, value
from onnx import TensorProto, helper

from lumir.diagnostics import LumirError, UnsupportedError, UserError

X = {"x": np.zeros((2, 3), np.float32)}


def error_of(source, kind: type[LumirError] = UserError, **options) -> LumirError:
    with pytest.raises(kind) as caught:
        text(source, **options)
    return caught.value


def external(tmp_path: Path, location: str = "w.bin", **entries: str) -> Path:
    """A model file whose weight w: float32[2, 3] is external data."""
    proto = model([node("Add", "x w")], X, ["y"], {"w": np.zeros((2, 3), np.float32)})
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, entry in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=entry)
    path = tmp_path / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


# --- files


def test_missing_file_and_directory(tmp_path):
    assert "does not exist" in error_of(tmp_path / "none.onnx").message
    assert "is a directory" in error_of(tmp_path).message


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        (b"", "model-truncated", "is empty"),
        (b"PK\x03\x04rest", "model-not-onnx", "PyTorch checkpoint"),
        (b"version https://git-lfs.github.com/spec/v1\n", "model-not-onnx", "git lfs pull"),
        (b"<html>404</html>", "model-not-onnx", "fetch the file again"),
        (b"plain text, and not a model at all", "model-not-onnx", "is not an ONNX model"),
    ],
)
def test_not_an_onnx_file(tmp_path, content, code, words):
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    error = error_of(path)
    assert error.code == code
    assert words in str(error)


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.95])
def test_truncated_file(tmp_path, kept):
    weights = {"w": np.zeros((2, 3), np.float32), "big": np.zeros(5000, np.float32)}
    data = model([node("Add", "x w")], X, ["y"], weights).SerializeToString()
    path = tmp_path / "m.onnx"
    path.write_bytes(data[: int(len(data) * kept)])
    error = error_of(path)
    assert error.code == "model-truncated"
    assert "ends too early or is damaged" in error.message


def test_model_without_graph_or_opset():
    assert "no graph" in error_of(onnx.ModelProto(ir_version=10)).message
    proto = model([node("Relu", "x")], X, ["y"])
    del proto.opset_import[:]
    assert error_of(proto).code == "opset-missing"


def test_future_opset():
    proto = model([node("Relu", "x")], X, ["y"], opset=20)
    proto.opset_import[0].version = 999
    error = error_of(proto, UnsupportedError)
    assert "opset 999" in error.message
    assert "version_converter" in str(error)


# --- the graph


def test_cycle_is_named():
    nodes = [node("Add", "x b", "a", name="first"), node("Relu", "a", "b", name="second")]
    error = error_of(model(nodes, X, ["b"]))
    assert error.code == "graph-cyclic"
    assert "first" in str(error.values["cycle"])
    assert "second" in str(error.values["cycle"])


def test_node_that_feeds_itself():
    assert error_of(model([node("Add", "x y", "y", name="loop")], X, ["y"])).values["cycle"] == "loop -> loop"


def test_unordered_nodes_name_the_node_and_the_value():
    nodes = [node("Relu", "a", "y", name="user"), node("Exp", "x", "a", name="maker")]
    error = error_of(model(nodes, X, ["y"]))
    assert error.code == "graph-unordered"
    assert error.message == "value 'a' is used before it is produced"
    assert error.values == {"used by": "user", "produced by": "maker"}


def test_value_without_producer():
    error = error_of(model([node("Add", "x ghost", name="sum")], X, ["y"]))
    assert error.message == "value 'ghost' is used and never produced"
    assert error.node == "sum"
    assert "'z' is not produced" in error_of(model([node("Relu", "x")], X, ["z"])).message


def test_duplicate_names():
    nodes = [node("Relu", "x", "y", name="one"), node("Exp", "x", "y", name="two")]
    error = error_of(model(nodes, X, ["y"]))
    assert error.message == "value 'y' is produced twice"
    assert error.values == {"first producer": "one", "second producer": "two"}
    assert error_of(model([node("Relu", "x", "x")], X, ["x"])).code == "value-duplicate"
    proto = model([node("Add", "x w")], X, ["y"], {"w": np.zeros((2, 3), np.float32)})
    proto.graph.initializer.append(proto.graph.initializer[0])
    assert error_of(proto).message == "initializer 'w' is declared twice"


def test_recursive_function():
    function = helper.make_function("my", "F", ["a"], ["b"], [node("F", "a", "b", "my")], [])
    proto = model([node("F", "x", domain="my", name="call")], X, ["y"], functions=[function])
    error = error_of(proto)
    assert error.code == "function-recursive"
    assert "calls itself" in error.message


# --- dimensions and inputs


def test_missing_dimensions_are_all_listed_with_their_inputs_and_the_flag():
    inputs = [value("ids", np.int64, ["batch", "seq"]), value("mask", np.int64, ["batch", "seq", None])]
    error = error_of(model([node("Add", "ids ids")], inputs, ["y"]))
    assert error.values == {"batch": "in ids, mask", "seq": "in ids, mask", "mask.2": "in mask"}
    assert "--dim batch=128 --dim seq=128 --dim mask.2=128" in str(error)


def test_unknown_dimension_suggests_the_right_one():
    proto = model([node("Relu", "x")], [value("x", np.float32, ["batch", 3])], ["y"])
    error = error_of(proto, dims={"batc": 2})
    assert error.message == "the model has no dimension 'batc'"
    assert "did you mean --dim batch=2?" in str(error)


def test_dimension_expressions_are_computed_and_must_not_be_negative():
    proto = model([node("Relu", "x")], [value("x", np.float32, ["past + 1", "2*(n-3)"])], ["y"])
    assert "tensor<6x4xf32>" in text(proto, dims={"past": 5, "n": 5})
    assert error_of(proto, dims={"past": 5, "n": 1}).message == "dimension '2*(n-3)' of input 'x' would have size -4"


def test_input_that_is_no_tensor_or_has_no_shape():
    mapping = onnx.ValueInfoProto(name="x")
    mapping.type.map_type.key_type = TensorProto.INT64
    error = error_of(model([node("Identity", "x")], [mapping], ["y"]), UnsupportedError)
    assert "'x' is not a tensor" in error.message
    error = error_of(model([node("Relu", "x")], [value("x", np.float32, None)], ["y"]))
    assert "must be given: x.rank" in error.message
    string = helper.make_tensor_value_info("x", TensorProto.STRING, [2])
    error = error_of(model([node("Identity", "x")], [string], ["y"]), UnsupportedError)
    assert "element type string" in error.message


# --- nodes


def test_every_unsupported_node_is_listed_at_once():
    nodes = [
        node("RandomNormalLike", "x", "a", name="first"),
        node("Relu", "a", "b", name="hidden by the first"),
        node("StringNormalizer", "b", "c", name="second"),
        node("Frob", "x", "d", "com.example", name="third"),
        node("Relu", "x", "y", name="fine"),
    ]
    error = error_of(model(nodes, X, ["y"]), UnsupportedError)
    assert isinstance(error, UnsupportedError)
    assert error.message.startswith("3 nodes of the model's 5 cannot be compiled")
    assert [problem.split('"')[1] for problem in error.problems] == ["first", "second", "third"]
    assert error.problems[0] == (
        'RandomNormalLike at "first" (ai.onnx opset 20; float32[2, 3]): random numbers are not supported'
    )
    assert "(ai.onnx opset 20; ?)" in error.problems[1]
    assert "domain 'com.example' is not known" in error.problems[2]


def test_unknown_operator_suggests_a_known_one():
    error = error_of(model([node("MatMull", "x x")], X, ["y"]), UnsupportedError)
    assert "ai.onnx has no operator of this name: did you mean MatMul?" in str(error)


def test_operator_that_is_newer_than_the_opset():
    error = error_of(model([node("Gelu", "x")], X, ["y"], opset=17))
    assert "the operator exists from opset 20 on, and the model imports opset 17" in str(error)


def test_problems_inside_functions_name_the_path():
    function = helper.make_function(
        "my", "F", ["a"], ["b"], [node("RandomNormalLike", "a", "b", name="inner")], [helper.make_opsetid("", 20)]
    )
    proto = model([node("F", "x", domain="my", name="outer")], X, ["y"], functions=[function])
    assert error_of(proto, UnsupportedError).node == "outer/inner"


def test_value_that_is_needed_at_compile_time_names_the_graph_input():
    inputs = {**X, "target": np.zeros(2, np.int64)}
    proto = model([node("Abs", "target", "shape"), node("Reshape", "x shape", name="r")], inputs, ["y"])
    error = error_of(proto, UnsupportedError)
    assert "needs the value of input 'shape' at compile time" in str(error)
    assert "computed from graph input 'target'" in str(error)
    fixed = text(proto, constants={"target": np.array([3, 2])})
    assert "tensor<3x2xf32>" in fixed
    assert "target" not in fixed


def test_constants_must_be_inputs_of_the_right_type():
    proto = model([node("Relu", "x")], X, ["y"])
    assert "did you mean 'x'?" in str(error_of(proto, constants={"xx": np.zeros((2, 3), np.float32)}))
    assert error_of(proto, constants={"x": np.zeros((2, 3), np.float64)}).code == "input-mistyped"


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ([node("MatMul", "x x", name="n")], "inner dimensions of [2, 3] and [2, 3] must agree"),
        ([node("Transpose", "x", name="n", perm=[0, 0])], "permutation must name each dimension once"),
        ([node("Softmax", "x", name="n", axis=5)], "axis must be in -rank..rank-1"),
        ([node("Relu", "x", name="n", alpha=1.0)], "Unrecognized attribute: alpha"),
        ([node("Add", "x", name="n")], "input size 1 not in range"),
        ([node("Concat", "x x", name="n")], "Required attribute 'axis' is missing"),
        ([node("Cast", "x", "i", to=TensorProto.INT64), node("Add", "x i", name="n")], "share one element type"),
    ],
)
def test_nodes_that_break_a_rule(nodes, words):
    error = error_of(model(nodes, X, ["y"]))
    assert error.code == "invalid-node"
    assert error.node == "n"
    assert words in str(error)


def test_declared_output_type_must_be_right():
    error = error_of(model([node("Relu", "x")], X, [value("y", np.int64, [2, 3])]))
    assert error.values["declared"] == "int64"


# --- weights


def test_external_weight_in_a_missing_file(tmp_path):
    error = error_of(external(tmp_path))
    assert error.code == "weight-missing"
    assert "'w'" in error.message


def test_external_weight_ends_outside_its_file(tmp_path):
    (tmp_path / "w.bin").write_bytes(b"\0" * 30)
    error = error_of(external(tmp_path, offset="8"))
    assert error.values["bytes needed"] == 32
    assert error.values["bytes found"] == 30


@pytest.mark.parametrize("location", ["../w.bin", "/etc/passwd", "a/../../w.bin", ""])
def test_external_weight_outside_the_folder(tmp_path, location):
    assert error_of(external(tmp_path, location)).code == "weight-path"


def test_external_weight_behind_a_link_that_leaves_the_folder(tmp_path):
    (tmp_path / "outside.bin").write_bytes(b"\0" * 24)
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "w.bin").symlink_to(tmp_path / "outside.bin")
    assert "leaves the model's folder" in error_of(external(folder)).message


@pytest.mark.parametrize(("key", "entry"), [("offset", "-4"), ("offset", "1e3"), ("length", "many")])
def test_external_weight_with_senseless_numbers(tmp_path, key, entry):
    (tmp_path / "w.bin").write_bytes(b"\0" * 24)
    assert f"no valid {key}" in error_of(external(tmp_path, **{key: entry})).message


def test_external_weight_whose_length_is_not_its_type(tmp_path):
    (tmp_path / "w.bin").write_bytes(b"\0" * 24)
    error = error_of(external(tmp_path, length="20"))
    assert error.code == "weight-mistyped"
    assert error.values["bytes needed"] == 24


def test_inline_weight_whose_data_is_short():
    proto = model([node("Add", "x w")], X, ["y"], {"w": np.zeros((2, 3), np.float32)})
    proto.graph.initializer[0].raw_data = b"\0" * 20
    assert error_of(proto).code == "weight-mistyped"


def test_inline_weight_in_a_file_whose_data_is_short(tmp_path):
    proto = model([node("Add", "x w")], X, ["y"], {"w": np.zeros((2, 3), np.float32)})
    proto.graph.initializer[0].raw_data = b"\0" * 2000
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    assert error_of(tmp_path / "m.onnx").values["bytes found"] == 2000


def test_typed_weight_with_too_few_elements():
    proto = model([node("Add", "x w")], X, ["y"], {"w": np.zeros((2, 3), np.float32)})
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.float_data.extend([1.0, 2.0])
    error = error_of(proto)
    assert error.code == "weight-invalid"
    assert "'w'" in error.message


def test_string_weight():
    proto = model([node("Identity", "x")], X, ["y"])
    proto.graph.initializer.append(TensorProto(name="s", data_type=TensorProto.STRING, dims=[1], string_data=[b"a"]))
    assert "initializer 's' has element type string" in error_of(proto, UnsupportedError).message
