"""What the right answer is: onnxruntime without graph optimisations, and two that decide where it is in doubt."""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from tests.fuzz.values import Array, Value

IR_VERSION = 10
MICROSOFT = "com.microsoft"


class NoKernel(Exception):
    """onnxruntime has no kernel for this operator and these types."""


class InvalidNode(Exception):
    """onnxruntime rejects the node."""


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """A session of one thread that runs the nodes as they are.

    Raises:
        NoKernel, InvalidNode: it cannot be made.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        message = " ".join(str(error).split())
        raise (NoKernel if _lacks_kernel(message) else InvalidNode)(message) from error


def _lacks_kernel(message: str) -> bool:
    signs = ("NOT_IMPLEMENTED", "Could not find an implementation", "is invalid.", "is not a registered function/op")
    return any(sign in message for sign in signs)


class NodeRunner:
    """One node in a session of its own; parameters (`Value.fixed`) are initializers of it, the others are inputs."""

    def __init__(self, node: onnx.NodeProto, inputs: Sequence[Value | None], opset: int):
        present = {value.name: value for value in inputs if value is not None}
        self.fed = [value for value in present.values() if not value.fixed]
        graph = helper.make_graph(
            [node],
            "node",
            [value_info(value) for value in self.fed],
            [onnx.ValueInfoProto(name=name) for name in node.output],
            [numpy_helper.from_array(value.array, value.name) for value in present.values() if value.fixed],
        )
        self.session = session(make_model(graph, opset))

    def run(self, arrays: Mapping[str, Array] | None = None) -> list[Array]:
        """The node's outputs; `arrays` take the place of the inputs' own.

        Raises:
            InvalidNode: the inputs do not fit each other.
        """
        try:
            feeds = {value.name: value.array for value in self.fed} | dict(arrays or {})
            return [np.asarray(array) for array in self.session.run(None, feeds)]
        except Exception as error:
            message = " ".join(str(error).split())
            raise (NoKernel if _lacks_kernel(message) else InvalidNode)(message) from error


def make_model(graph: onnx.GraphProto, opset: int) -> onnx.ModelProto:
    """A model of a graph, which may hold operators of ai.onnx and of com.microsoft."""
    imports = [helper.make_opsetid("", opset)]
    if any(node.domain == MICROSOFT for node in graph.node):
        imports.append(helper.make_opsetid(MICROSOFT, 1))
    return helper.make_model(graph, opset_imports=imports, ir_version=IR_VERSION)


def value_info(value: Value, dims: Sequence[int | str] | None = None) -> onnx.ValueInfoProto:
    element = helper.np_dtype_to_tensor_dtype(value.array.dtype)
    return helper.make_tensor_value_info(value.name, element, value.shape if dims is None else dims)


def reference_float64(model: onnx.ModelProto, inputs: Mapping[str, Array], dims: Mapping[str, int]) -> dict[str, Array]:
    """The imported module through lumir's interpreter, every float in float64: right unless the import is wrong."""
    from lumir.context import make_context
    from lumir.frontend import import_onnx
    from lumir.mlir import ir
    from lumir.reference import evaluate

    with make_context(), ir.Location.unknown():
        module, store = import_onnx(model, dims=dict(dims))
        return evaluate(module, store, dict(inputs), precision="float64")


def onnx_reference(model: onnx.ModelProto, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """onnx's own evaluator, which shares nothing with lumir or onnxruntime."""
    from onnx.reference import ReferenceEvaluator

    names = [output.name for output in model.graph.output]
    with np.errstate(all="ignore"):
        results = ReferenceEvaluator(model).run(None, dict(inputs))
    return dict(zip(names, (np.asarray(array) for array in results), strict=True))
