"""From an ONNX graph to a module: the function's signature, its body, its results."""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx

from lumir.diagnostics import UserError
from lumir.dialects import tensor_type
from lumir.frontend.importer import Frame, Importer
from lumir.frontend.initializers import element_type
from lumir.frontend.model import Model
from lumir.frontend.problems import error_from
from lumir.frontend.ragged import extent_value
from lumir.frontend.signature import Layout, Signature, assembled, layout_of, record_lists, record_shapes
from lumir.frontend.sparse import dense
from lumir.frontend.symbols import check_constants, input_shapes
from lumir.frontend.values import Operand, Ragged, Tensor, TensorSequence
from lumir.frontend.weight_table import WeightTable
from lumir.mlir import func, ir
from lumir.symbols import Symbol
from lumir.weights import WeightStore


def import_graph(
    model: Model, symbols: Mapping[str, Symbol], constants: Mapping[str, np.ndarray]
) -> tuple[ir.Module, WeightStore]:
    """The module of a model's graph, whose dimensions are sizes over `symbols`, and the store of its weights."""
    graph = model.proto.graph
    defaults = {item.name for item in graph.initializer} | {item.values.name for item in graph.sparse_initializer}
    check_constants(graph.input, constants)
    signature = Signature(
        [item for item in graph.input if item.name not in defaults and item.name not in constants], symbols
    )
    inputs = signature.tensors
    types = _input_types(inputs, signature.symbols)
    module = ir.Module.create()
    with ir.InsertionPoint(module.body), ir.Location.name(graph.name or "main"):
        function = func.FuncOp("main", (types, []))
        block = function.add_entry_block()
        weights = WeightTable(model, function)
        importer = Importer(model, weights, [item.name for item in inputs])
        scope = _scope(graph, signature, block.arguments, weights)
        scope |= {name: weights.known(np.asarray(array), name) for name, array in constants.items()}
        with ir.InsertionPoint(block):
            importer.nodes(graph.node, Frame(scope, model.opsets))
            if importer.problems:
                raise error_from(importer.problems, len(graph.node))
            outputs = {output.name: layout_of(output.name, scope[output.name]) for output in graph.output}
            shapes = {name: f"{name}.shape" for name in outputs if isinstance(scope[name], Ragged)}
            results = [x for output in graph.output for x in _results(scope[output.name], output)]
            func.ReturnOp(results)
    names = [name for layout in outputs.values() for name in _names(layout, shapes)]
    _set_signature(function, types, [item.name for item in inputs], results, names)
    record_lists(module, inputs=signature.layouts, outputs=outputs)
    record_shapes(module, shapes)
    return module, weights.store


def _input_types(inputs: Sequence[onnx.ValueInfoProto], symbols: Mapping[str, Symbol]) -> list[ir.RankedTensorType]:
    shapes = input_shapes(inputs, symbols)
    return [
        tensor_type(shapes[item.name], element_type(item.type.tensor_type.elem_type, f"input '{item.name}'"))
        for item in inputs
    ]


def _scope(
    graph: onnx.GraphProto, signature: Signature, arguments: Sequence[ir.Value], weights: WeightTable
) -> dict[str, Operand]:
    scope: dict[str, Operand] = {proto.name: weights.initializer(proto) for proto in graph.initializer}
    scope |= {proto.values.name: weights.known(dense(proto), proto.values.name) for proto in graph.sparse_initializer}
    tensors: dict[str, Operand] = {
        item.name: Tensor(ir.RankedTensorType(argument.type), value=argument)
        for item, argument in zip(signature.tensors, arguments, strict=True)
    }
    return scope | {name: assembled(layout, tensors) for name, layout in signature.layouts.items()}


def _names(layout: Layout, shapes: Mapping[str, str]) -> list[str]:
    if isinstance(layout, str):
        return [layout, shapes[layout]] if layout in shapes else [layout]
    return layout or []


def _results(operand: Operand, output: onnx.ValueInfoProto) -> list[ir.Value]:
    """The tensors of one output of the graph."""
    match operand:
        case Tensor():
            return [_result(operand, output)]
        case TensorSequence():
            return [_result(item, output) for item in operand.items]
        case Ragged():
            return [_result(operand.tensor, output), extent_value(operand.extent)]
        case None if output.type.HasField("optional_type"):
            return []
    raise UserError(
        f"graph output '{output.name}' is an optional output that its node does not produce",
        code="value-missing",
        hint="drop this output from the graph",
    )


def _declared_element(type_: onnx.TypeProto) -> int:
    """The number of the element type that an output's tensors are declared to have; 0 where none is."""
    match type_.WhichOneof("value"):
        case "sequence_type":
            return _declared_element(type_.sequence_type.elem_type)
        case "optional_type":
            return _declared_element(type_.optional_type.elem_type)
    return type_.tensor_type.elem_type


def _result(operand: Tensor, output: onnx.ValueInfoProto) -> ir.Value:
    declared = _declared_element(output.type)
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
    inputs: Sequence[str],
    results: Sequence[ir.Value],
    outputs: Sequence[str],
) -> None:
    signature = ir.FunctionType.get(list(types), [result.type for result in results])
    function.attributes["function_type"] = ir.TypeAttr.get(signature)
    for key, names in (("arg_attrs", inputs), ("res_attrs", outputs)):
        named = [ir.DictAttr.get({"lumir.name": ir.StringAttr.get(name)}) for name in names]
        function.attributes[key] = ir.ArrayAttr.get(named)
