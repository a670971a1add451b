"""ONNX's nine light models (image classifiers without their weights), filled with seeded random weights.

As shipped, every weight is 0.02 and every output is uniform: that tests coverage, not numbers.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnx.backend.test
from onnx import GraphProto, ModelProto, NodeProto, helper, numpy_helper

FOLDER = Path(onnx.backend.test.__file__).parent / "data" / "light"
NAMES = tuple(sorted(path.stem.removeprefix("light_") for path in FOLDER.glob("*.onnx")))


def filled_model(name: str, seed: int = 0) -> ModelProto:
    """The model with a random weight in place of each ConstantOfShape; what its last Softmax reads is an output too."""
    model, rng = onnx.load(FOLDER / f"light_{name}.onnx"), np.random.default_rng(seed)
    graph = model.graph
    shapes = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    readers = {value: (node, number) for node in graph.node for number, value in enumerate(node.input)}
    weights = [node for node in graph.node if node.op_type == "ConstantOfShape"]
    for node in weights:
        shape = tuple(map(int, shapes[node.input[0]]))
        values = _random(rng, shape, *_role(readers, node.output[0]))
        graph.initializer.append(numpy_helper.from_array(values.astype(np.float32), node.output[0]))
        graph.node.remove(node)
    _drop(graph, {node.input[0] for node in weights})
    for node in graph.node:
        if node.op_type == "Softmax":
            graph.output.append(helper.make_tensor_value_info(node.input[0], onnx.TensorProto.FLOAT, None))
    return model


def _drop(graph: GraphProto, names: set[str]) -> None:
    """Leave out the initializers, and the inputs, of these names."""
    for initializer in [item for item in graph.initializer if item.name in names]:
        graph.initializer.remove(initializer)
    for declared in [item for item in graph.input if item.name in names]:
        graph.input.remove(declared)


def image(model: ModelProto, seed: int = 1) -> dict[str, np.ndarray]:
    """Standard normal values for the model's one image [1, 3, 224, 224]."""
    ((name, shape),) = _images(model)
    return {name: np.random.default_rng(seed).standard_normal(shape).astype(np.float32)}


def _images(model: ModelProto) -> Iterator[tuple[str, tuple[int, ...]]]:
    weights = {item.name for item in model.graph.initializer}
    for item in model.graph.input:
        if item.name not in weights:
            yield item.name, tuple(dim.dim_value for dim in item.type.tensor_type.shape.dim)


def _role(readers: dict[str, tuple[NodeProto, int]], value: str) -> tuple[str, int]:
    """The operator that reads a weight, behind views of it, and as which input."""
    node, number = readers[value]
    while node.op_type in ("Unsqueeze", "Reshape"):
        node, number = readers[node.output[0]]
    return node.op_type, number


def _random(rng: np.random.Generator, shape: tuple[int, ...], reader: str, number: int) -> np.ndarray:
    """Filters that keep the variance (He et al., 2015), factors and variances about 1, small shifts and means."""
    if reader in ("Conv", "Gemm") and number == 1:
        fan_in = np.prod(shape[1:]) if reader == "Conv" else max(shape)
        return rng.standard_normal(shape) * np.sqrt(2 / fan_in)
    if reader == "Mul" or (reader == "BatchNormalization" and number in (1, 4)):
        return rng.uniform(0.5, 1.5, shape)
    return rng.standard_normal(shape) * 0.1
