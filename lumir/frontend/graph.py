"""From an ONNX graph to a module: the function's signature, its body, its results."""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx

from lumir.diagnostics import UnsupportedError, UserError
from lumir.frontend.importer import Frame, Importer
from lumir.frontend.initializers import element_type
from lumir.frontend.model import Model
from lumir.frontend.problems import error_from
from lumir.frontend.sparse import dense
from lumir.frontend.symbols import check_constants, pin_dimensions
from lumir.frontend.values import Operand, Tensor
from lumir.frontend.weight_table import WeightTable
from lumir.mlir import func, ir
from lumir.weights import WeightStore


def import_graph(
    model: Model, dims: Mapping[str, int], constants: Mapping[str, np.ndarray]
) -> tuple[ir.Module, WeightStore]:
    """The module of a model's graph, and the store of its weights. Every dimension is static once `dims` are pinned."""
    graph = model.proto.graph
    defaults = {item.name for item in graph.initializer} | {item.values.name for item in graph.sparse_initializer}
    check_constants(graph.input, constants)
    inputs = [item for item in graph.input if item.name not in defaults and item.name not in constants]
    types = _input_types(inputs, dims)
    module = ir.Module.create()
    with ir.InsertionPoint(module.body), ir.Location.name(graph.name or "main"):
        function = func.FuncOp("main", (types, []))
        block = function.add_entry_block()
        weights = WeightTable(model, function)
        importer = Importer(model, weights, [item.name for item in inputs])
        scope = _scope(graph, inputs, block.arguments, weights)
        scope |= {name: weights.known(np.asarray(array), name) for name, array in constants.items()}
        with ir.InsertionPoint(block):
            importer.nodes(graph.node, Frame(scope, model.opsets))
            if importer.problems:
                raise error_from(importer.problems, len(graph.node))
            results = [_result(scope[output.name], output) for output in graph.output]
            func.ReturnOp(results)
    _set_signature(function, types, inputs, results, graph.output)
    return module, weights.store


def _input_types(inputs: Sequence[onnx.ValueInfoProto], dims: Mapping[str, int]) -> list[ir.RankedTensorType]:
    for item in inputs:
        kind = item.type.WhichOneof("value")
        if kind != "tensor_type":
            raise UnsupportedError(
                f"input '{item.name}' is not a tensor",
                code="unsupported-input",
                values={"found": (kind or "no type").removesuffix("_type").replace("_", " ")},
                hint="lumir compiles functions of tensors",
            )
        if not item.type.tensor_type.HasField("shape"):
            raise UserError(
                f"input '{item.name}' has no shape",
                code="input-shape-missing",
                hint="declare the input's rank and dimensions when the model is exported",
            )
    shapes = pin_dimensions(inputs, dims)
    return [
        ir.RankedTensorType.get(
            shapes[item.name], element_type(item.type.tensor_type.elem_type, f"input '{item.name}'")
        )
        for item in inputs
    ]


def _scope(
    graph: onnx.GraphProto, inputs: Sequence[onnx.ValueInfoProto], arguments: Sequence[ir.Value], weights: WeightTable
) -> dict[str, Operand]:
    scope: dict[str, Operand] = {proto.name: weights.initializer(proto) for proto in graph.initializer}
    scope |= {proto.values.name: weights.known(dense(proto), proto.values.name) for proto in graph.sparse_initializer}
    for item, argument in zip(inputs, arguments, strict=True):
        scope[item.name] = Tensor(ir.RankedTensorType(argument.type), value=argument)
    return scope


def _result(operand: Operand, output: onnx.ValueInfoProto) -> ir.Value:
    if not isinstance(operand, Tensor):
        raise UserError(
            f"graph output '{output.name}' is an optional output that its node does not produce",
            code="value-missing",
            hint="drop this output from the graph",
        )
    declared = output.type.tensor_type.elem_type
    if declared and element_type(declared, f"output '{output.name}'") != operand.type.element_type:
        raise UserError(
            f"graph output '{output.name}' is declared with another element type than it has",
            code="output-mistyped",
            values={"declared": onnx.TensorProto.DataType.Name(declared).lower(), "computed": operand},
            hint="correct the declaration, or add a Cast",
        )
    with ir.Location.name(output.name):
        return operand.value()


def _set_signature(
    function: func.FuncOp,
    types: Sequence[ir.Type],
    inputs: Sequence[onnx.ValueInfoProto],
    results: Sequence[ir.Value],
    outputs: Sequence[onnx.ValueInfoProto],
) -> None:
    signature = ir.FunctionType.get(list(types), [result.type for result in results])
    function.attributes["function_type"] = ir.TypeAttr.get(signature)
    for key, items in (("arg_attrs", inputs), ("res_attrs", outputs)):
        names = [ir.DictAttr.get({"lumir.name": ir.StringAttr.get(item.name)}) for item in items]
        function.attributes[key] = ir.ArrayAttr.get(names)
