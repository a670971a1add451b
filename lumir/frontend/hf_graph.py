"""Builds an ONNX graph whose initialisers are the tensors of a Hugging Face directory, by reference."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from lumir.diagnostics import UserError
from lumir.frontend.hf_safetensors import ONNX_TYPES, StoredTensor

OPSET = 23  # the first with Attention
FLOATS = ("F32", "F16", "BF16")


class GraphBuilder:
    """Collects nodes, weights and constants; every value is named after the node that makes it.

    Arithmetic is float32 whatever the weights are stored in: what is read from a weight of another dtype is cast.

    Args:
        tensors: what the checkpoint holds.
        prefix: put before each tensor name, e.g. `bert.` in the checkpoint of a model with a head.
    """

    def __init__(self, tensors: dict[str, StoredTensor], prefix: str = ""):
        self.tensors, self.prefix = tensors, prefix
        self.nodes: list[NodeProto] = []
        self.initializers: dict[str, TensorProto] = {}
        self.declared: list[ValueInfoProto] = []
        self.folders: set[Path] = set()

    def node(self, op: str, inputs: Sequence[str], scope: str, name: str = "", **attributes: Any) -> str:
        """Adds a node `<scope>/<name or op>` and returns its one output."""
        path = f"{scope}/{name or op}"
        self.nodes.append(helper.make_node(op, list(inputs), [f"{path}_output"], name=path, **attributes))
        return f"{path}_output"

    def constant(self, value: Any, name: str, dtype: type = np.int64) -> str:
        """Adds a small inline initialiser; equal names mean equal values."""
        if name not in self.initializers:
            self.initializers[name] = numpy_helper.from_array(np.asarray(value, dtype), name)
        return name

    def declare(self, value: str, dtype: int, shape: Sequence[int | str]) -> None:
        """States a value's type where shape inference cannot find it."""
        self.declared.append(helper.make_tensor_value_info(value, dtype, shape))

    def has(self, name: str) -> bool:
        return self.prefix + name in self.tensors

    def weight(self, name: str, shape: tuple[int, ...], scope: str) -> str:
        """A weight as float32; see `stored_weight` for its errors."""
        stored = self.stored_weight(name, shape)
        return self.float32(stored, stored, f"{scope}/{name.rpartition('.')[2]}")

    def float32(self, value: str, weight: str, scope: str) -> str:
        """Casts `value`, a stored weight or rows of it, to float32 unless `weight` is stored so."""
        if self.initializers[weight].data_type == TensorProto.FLOAT:
            return value
        return self.node("Cast", [value], scope, to=TensorProto.FLOAT)

    def stored_weight(self, name: str, shape: tuple[int, ...]) -> str:
        """Adds an initialiser that points at the checkpoint's bytes.

        Raises:
            UserError: the tensor is missing, has another shape, or is not F32, F16 or BF16.
        """
        name = self.prefix + name
        tensor = self.tensors.get(name)
        if tensor is None:
            raise UserError(
                f"the checkpoint has no tensor {name!r}", code="hf-missing-weight",
                values={"expected shape": list(shape), "tensors found": len(self.tensors)},
                hint="config.json and the weights must come from the same model",
            )  # fmt: skip
        if tensor.shape != shape:
            raise UserError(
                f"tensor {name!r} does not have the shape that config.json asks for", code="hf-weight-shape",
                values={"expected shape": list(shape), "found shape": list(tensor.shape), "file": tensor.file},
            )  # fmt: skip
        if tensor.dtype not in FLOATS:
            raise UserError(
                f"tensor {name!r} is stored as {tensor.dtype}, and {', '.join(FLOATS)} can be read",
                code="hf-weight-dtype", values={"file": tensor.file},
            )  # fmt: skip
        self.initializers[name] = self._external(name, tensor)
        return name

    def _external(self, name: str, tensor: StoredTensor) -> TensorProto:
        self.folders.add(tensor.file.parent)
        proto = TensorProto(name=name, dims=tensor.shape, data_type=ONNX_TYPES[tensor.dtype])
        proto.data_location = TensorProto.EXTERNAL
        entries = {"location": tensor.file.name, "offset": tensor.offset, "length": tensor.length}
        for key, value in entries.items():
            proto.external_data.add(key=key, value=str(value))
        return proto

    def linear(self, value: str, sizes: tuple[int, int], module: str) -> str:
        """y = x W^T + b for a PyTorch Linear, `sizes` = (in, out), whose weight is stored [out, in]."""
        scope = scope_of(module)
        weight = self.weight(f"{module}.weight", sizes[::-1], scope)
        bias = self.weight(f"{module}.bias", sizes[1:], scope)
        transposed = self.node("Transpose", [weight], scope, perm=[1, 0])
        return self.node("Add", [self.node("MatMul", [value, transposed], scope), bias], scope)

    def base_directory(self) -> Path:
        """The folder that every external location is relative to.

        Raises:
            UserError: the shards lie, behind symbolic links, in more than one folder.
        """
        if len(self.folders) != 1:
            folders = ", ".join(sorted(map(str, self.folders)))
            raise UserError(f"the shards of one checkpoint must lie in one folder, not in {folders}", code="hf-shards")
        return next(iter(self.folders))

    def rename(self, names: dict[str, str]) -> None:
        """Gives values other names, e.g. those of the model's outputs."""
        for node in self.nodes:
            for values in (node.input, node.output):
                values[:] = [names.get(value, value) for value in values]

    def model(self, name: str, inputs: Sequence[Any], outputs: Sequence[Any]) -> ModelProto:
        """The finished model; `inputs` and `outputs` are ValueInfoProtos."""
        weights = list(self.initializers.values())
        graph = helper.make_graph(self.nodes, name, inputs, outputs, weights, value_info=self.declared)
        opsets = [helper.make_opsetid("", OPSET)]
        version = helper.find_min_ir_version_for(opsets)
        return helper.make_model(graph, opset_imports=opsets, ir_version=version, producer_name="lumir")


def scope_of(module: str) -> str:
    """`encoder.layer.0.output.dense` -> `/encoder/layer.0/output/dense`: a layer's number stays with its list."""
    parts: list[str] = []
    for part in module.split("."):
        if part.isdigit() and parts:
            parts[-1] += f".{part}"
        else:
            parts.append(part)
    return "/" + "/".join(parts)
