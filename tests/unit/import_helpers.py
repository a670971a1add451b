"""Small ONNX models for tests of the importer, and the comparison with onnxruntime."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from lumir.context import make_context
from lumir.frontend import import_onnx
from lumir.mlir import ir
from lumir.reference import evaluate

Arrays = Mapping[str, np.ndarray]
RNG = np.random.default_rng(11)


def value(name: str, dtype: Any, shape: Sequence[int | str | None] | None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)


def unknown(name: str) -> onnx.ValueInfoProto:
    """An output whose type is left to inference."""
    return onnx.ValueInfoProto(name=name)


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Arrays | Sequence[onnx.ValueInfoProto],
    outputs: Sequence[str | onnx.ValueInfoProto],
    weights: Arrays | None = None,
    *,
    opset: int = 20,
    functions: Sequence[onnx.FunctionProto] = (),
    domains: Mapping[str, int] | None = None,
) -> onnx.ModelProto:
    """A model of the given nodes; inputs may be given by sample arrays."""
    infos = [value(n, a.dtype, a.shape) for n, a in inputs.items()] if isinstance(inputs, Mapping) else list(inputs)
    results = [unknown(o) if isinstance(o, str) else o for o in outputs]
    initializers = [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()]
    imports = {"": opset, **{node.domain: 1 for node in nodes if node.domain}, **(domains or {})}
    return helper.make_model(
        helper.make_graph(list(nodes), "graph", infos, results, initializers),
        opset_imports=[helper.make_opsetid(domain, version) for domain, version in imports.items()],
        functions=list(functions),
        ir_version=10,
    )


def run(proto: onnx.ModelProto, inputs: Arrays, dims: Mapping[str, int] | None = None) -> dict[str, np.ndarray]:
    """Import, verify and evaluate with the reference interpreter."""
    with make_context(), ir.Location.unknown():
        module, store = import_onnx(proto, dims=dims)
        assert module.operation.verify()
        return evaluate(module, store, dict(inputs))


def text(proto: onnx.ModelProto, locations: bool = False, **options: Any) -> str:
    """The imported module's text."""
    with make_context(), ir.Location.unknown():
        module, _ = import_onnx(proto, **options)
        return module.operation.get_asm(enable_debug_info=locations)


def session(proto: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])


def assert_matches_onnxruntime(proto: onnx.ModelProto, inputs: Arrays, rtol: float = 1e-5, atol: float = 1e-5) -> None:
    """Every output equals onnxruntime's in dtype and shape, and in value within the tolerances."""
    runner = session(proto)
    expected = runner.run(None, dict(inputs))
    found = run(proto, inputs)
    for info, array in zip(runner.get_outputs(), expected, strict=True):
        array, result = np.asarray(array), found[info.name]
        assert (result.dtype, result.shape) == (array.dtype, array.shape), info.name
        if array.dtype.kind in "biu":
            np.testing.assert_array_equal(result, array)
        else:
            np.testing.assert_allclose(result, array, rtol=rtol, atol=atol, err_msg=info.name)


def node(op: str, inputs: str, outputs: str = "y", domain: str = "", **attributes: Any) -> onnx.NodeProto:
    """A node whose inputs and outputs are given as words; `-` leaves an optional input out."""
    names = ["" if name == "-" else name for name in inputs.split()]
    return helper.make_node(op, names, outputs.split(), domain=domain, **attributes)


def f32(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def check_node(op: str, inputs: list[Any], outputs: int = 1, *, static: int = 99, opset: int = 20, rtol=1e-5, **attrs):
    """Compare one node. Inputs from number `static` on are initializers; None leaves an optional input out."""
    inputs = [x if x is None else np.asarray(x) for x in inputs]
    names = ["-" if x is None else f"i{n}" for n, x in enumerate(inputs)]
    given = {f"i{n}": x for n, x in enumerate(inputs) if x is not None and n < static}
    weights = {f"i{n}": x for n, x in enumerate(inputs) if x is not None and n >= static}
    results = [f"o{n}" for n in range(outputs)]
    proto = model([node(op, " ".join(names), " ".join(results), **attrs)], given, results, weights, opset=opset)
    assert_matches_onnxruntime(proto, given, rtol=rtol, atol=rtol)
