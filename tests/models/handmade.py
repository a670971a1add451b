"""Hand-made ONNX models of a few nodes, each for one part of the format, written into a folder of the test's choice.

`GOOD` maps a name to a function `(folder) -> path of the .onnx file`. All are valid and run in onnxruntime; what an
importer must refuse is in `broken.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

Maker = Callable[[Path], Path]
GOOD: dict[str, Maker] = {}

WEIGHT = np.random.default_rng(0).standard_normal((12, 5)).astype(np.float32)
BIAS = np.random.default_rng(1).standard_normal(5).astype(np.float32)


def good(maker: Maker) -> Maker:
    GOOD[maker.__name__] = maker
    return maker


def build(
    nodes: Sequence[NodeProto],
    inputs: Mapping[str, Sequence[int | str]],
    outputs: Mapping[str, Sequence[int | str]],
    *,
    weights: dict[str, np.ndarray] | None = None,
    opset: int = 20,
    domains: Sequence[str] = (),
    **fields: Any,
) -> onnx.ModelProto:
    """A model of float32 inputs and outputs; nothing is checked."""
    graph = helper.make_graph(
        nodes,
        "hand_made",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in (weights or {}).items()],
    )
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    version = helper.find_min_ir_version_for([helper.make_opsetid("", min(opset, onnx.defs.onnx_opset_version()))])
    return helper.make_model(graph, opset_imports=opsets, ir_version=version, **fields)


def write(folder: Path, name: str, model: onnx.ModelProto) -> Path:
    path = folder / f"{name}.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def node(op: str, inputs: str, outputs: str, **attributes: Any) -> NodeProto:
    """`node("Add", "x b", "y")`; `_` stands for an input that is left out."""
    names = ["" if name == "_" else name for name in inputs.split()]
    results = outputs.split()
    return helper.make_node(op, names, results, name=f"/{results[0]}/{op}", **attributes)


def linear(**fields: Any) -> onnx.ModelProto:
    """y = x W + b, [batch, 12] -> [batch, 5]."""
    nodes = [node("MatMul", "x w", "xw"), node("Add", "xw b", "y")]
    weights = {"w": WEIGHT, "b": BIAS}
    return build(nodes, {"x": ["batch", 12]}, {"y": ["batch", 5]}, weights=weights, **fields)


def make_external(model: onnx.ModelProto, location: str, offsets: Sequence[int]) -> None:
    """Turns each initialiser into a reference to `location`; the file itself is not written."""
    for tensor, offset in zip(model.graph.initializer, offsets, strict=True):
        length = len(tensor.raw_data)
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in {"location": location, "offset": offset, "length": length}.items():
            tensor.external_data.add(key=key, value=str(value))


@good
def external_data(folder: Path) -> Path:
    """Two weights in one side file, at offsets that are not page-aligned, with unrelated bytes between them."""
    (folder / "weights.bin").write_bytes(b"\x7f" * 16 + WEIGHT.tobytes() + b"\x7f" * 48 + BIAS.tobytes())
    model = linear()
    make_external(model, "weights.bin", [16, 16 + WEIGHT.nbytes + 48])
    return write(folder, "external_data", model)


@good
def function_body(folder: Path) -> Path:
    """A model-local function with an attribute, called twice, once with the attribute's default."""
    scale = onnx.AttributeProto(name="value_float", ref_attr_name="scale", type=onnx.AttributeProto.FLOAT)
    constant = helper.make_node("Constant", [], ["s"])
    constant.attribute.append(scale)
    body = [constant, helper.make_node("Mul", ["a", "s"], ["as"]), helper.make_node("Tanh", ["as"], ["r"])]
    function = helper.make_function(
        "local.math", "ScaledTanh", ["a"], ["r"], body, [helper.make_opsetid("", 20)],
        attribute_protos=[helper.make_attribute("scale", 0.5)],
    )  # fmt: skip
    calls = [
        node("ScaledTanh", "x", "h", domain="local.math", scale=2.0),
        node("ScaledTanh", "h", "y", domain="local.math"),
    ]
    shape = {"x": ["batch", 7]}
    model = build(calls, shape, {"y": ["batch", 7]}, domains=["local.math"], functions=[function])
    return write(folder, "function_body", model)


@good
def constant_nodes(folder: Path) -> Path:
    """Constants in every form a node can hold them, and ConstantOfShape."""
    tensor = numpy_helper.from_array(np.arange(3, dtype=np.float32), "t")
    nodes = [
        node("Constant", "", "tensor", value=tensor),
        node("Constant", "", "scalar", value_float=1.5),
        node("Constant", "", "vector", value_floats=[0.25, -1.0, 3.0]),
        node("Constant", "", "extent", value_ints=[3]),
        node("Constant", "", "axis", value_int=1),
        node("ConstantOfShape", "extent", "filled", value=numpy_helper.from_array(np.array([2], np.float32))),
        node("Mul", "x scalar", "a"),
        node("Add", "a vector", "b"),
        node("Add", "b filled", "c"),
        node("Sub", "c tensor", "d"),
        node("CumSum", "d axis", "y"),
    ]
    return write(folder, "constant_nodes", build(nodes, {"x": ["batch", 3]}, {"y": ["batch", 3]}))


@good
def shape_arithmetic(folder: Path) -> Path:
    """Splits heads the way TorchScript exports do: the target shape is computed from Shape, Gather and Concat."""
    nodes = [
        node("Shape", "x", "shape"),
        node("Gather", "shape zero", "batch_size", axis=0),
        node("Gather", "shape one", "length", axis=0),
        node("Unsqueeze", "batch_size axes", "batch_1d"),
        node("Unsqueeze", "length axes", "length_1d"),
        node("Concat", "batch_1d length_1d heads minus_one", "split_shape", axis=0),
        node("Reshape", "x split_shape", "split"),
        node("Transpose", "split", "y", perm=[0, 2, 1, 3]),
    ]
    constants = {"zero": 0, "one": 1, "axes": [0], "heads": [3], "minus_one": [-1]}
    weights = {name: np.array(value, np.int64) for name, value in constants.items()}
    outputs = {"y": ["batch", 3, "seq", 4]}
    return write(folder, "shape_arithmetic", build(nodes, {"x": ["batch", "seq", 12]}, outputs, weights=weights))


@good
def symbols(folder: Path) -> Path:
    """Two inputs that share `seq`, one symbol of their own each, and an output whose extent is a sum of symbols."""
    nodes = [node("MatMul", "p q", "pq"), node("Concat", "pq p", "y", axis=1)]
    return write(folder, "symbols", build(nodes, {"p": ["m", "seq"], "q": ["seq", "n"]}, {"y": ["m", "n + seq"]}))


@good
def optional_inputs(folder: Path) -> Path:
    """Inputs left out in the middle (Clip without a minimum) and at the end."""
    nodes = [node("Clip", "x _ top", "a"), node("Clip", "a bottom", "y")]
    weights = {"top": np.array(0.5, np.float32), "bottom": np.array(-0.25, np.float32)}
    return write(folder, "optional_inputs", build(nodes, {"x": ["batch", 9]}, {"y": ["batch", 9]}, weights=weights))


@good
def initializer_inputs(folder: Path) -> Path:
    """Weights listed among the graph's inputs as well, as exporters of before 2019 did."""
    model = linear()
    for name, value in (("w", WEIGHT), ("b", BIAS)):
        model.graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, value.shape))
    return write(folder, "initializer_inputs", model)


@good
def unnamed_nodes(folder: Path) -> Path:
    """Nodes without names, and an input handed out as an output too."""
    model = linear()
    for item in model.graph.node:
        item.name = ""
    model.graph.output.append(model.graph.input[0])
    return write(folder, "unnamed_nodes", model)


@good
def microsoft_ops(folder: Path) -> Path:
    """onnxruntime's own operators: com.microsoft SkipLayerNormalization and Gelu."""
    nodes = [
        node("SkipLayerNormalization", "x skip gamma beta", "n", domain="com.microsoft", epsilon=1e-5),
        node("Gelu", "n", "y", domain="com.microsoft"),
    ]
    weights = {"gamma": np.linspace(0.5, 1.5, 8, dtype=np.float32), "beta": np.linspace(-1, 1, 8, dtype=np.float32)}
    shape = ["batch", "seq", 8]
    model = build(nodes, {"x": shape, "skip": shape}, {"y": shape}, weights=weights, domains=["com.microsoft"])
    return write(folder, "microsoft_ops", model)


@good
def opset13(folder: Path) -> Path:
    """What opset 13 writes differently: reduction axes as an attribute, layer normalisation as primitives."""
    nodes = [
        node("ReduceMean", "x", "mean", axes=[-1], keepdims=1),
        node("Sub", "x mean", "centred"),
        node("Mul", "centred centred", "squared"),
        node("ReduceMean", "squared", "variance", axes=[-1], keepdims=1),
        node("Add", "variance epsilon", "safe"),
        node("Sqrt", "safe", "deviation"),
        node("Div", "centred deviation", "y"),
    ]
    weights = {"epsilon": np.array(1e-5, np.float32)}
    model = build(nodes, {"x": ["batch", 10]}, {"y": ["batch", 10]}, weights=weights, opset=13)
    return write(folder, "opset13", model)


@good
def newest_opset(folder: Path) -> Path:
    """The linear layer at the newest opset the onnx package knows, where nothing about it has changed."""
    return write(folder, "newest_opset", linear(opset=onnx.defs.onnx_opset_version()))
