"""Dispatches written in Python: what benchmarks and tests measure."""

from collections.abc import Callable, Sequence
from typing import Any

from lumir.context import make_context
from lumir.dialects import build, tensor_type
from lumir.dtypes import mlir_type
from lumir.kernels.dispatch import UNWRITTEN
from lumir.mlir import func, ir
from lumir.module import record_symbols
from lumir.size_text import declared_symbols
from lumir.sizes import Dim

Shape = Sequence[Dim]
Argument = tuple[Shape, str]


def dispatch(body: Callable[..., Any], *arguments: Argument, unwritten: Sequence[int] = ()) -> str:
    """`dispatch_here` in a context of its own."""
    with make_context(), ir.Location.unknown():
        return dispatch_here(body, *arguments, unwritten=unwritten)


def dispatch_here(body: Callable[..., Any], *arguments: Argument, unwritten: Sequence[int] = ()) -> str:
    """The text of a dispatch function, written in the current context; it says the symbols that are declared.

    Args:
        body: given one value an argument, returns the result or the results.
        arguments: shape and numpy dtype name of each.
        unwritten: the arguments that no kernel writes, which one may fetch before the kernels ahead of it are done.
    """
    module = ir.Module.create()
    if symbols := declared_symbols():
        record_symbols(module, symbols)
    types = [tensor_type(shape, mlir_type(dtype)) for shape, dtype in arguments]
    function = write_function(module, "dispatch", types, body, visibility="private")
    function.attributes["lumir.dispatch"] = ir.UnitAttr.get()
    if unwritten:
        marks = [{UNWRITTEN: ir.UnitAttr.get()} if i in unwritten else {} for i in range(len(arguments))]
        function.attributes["arg_attrs"] = ir.ArrayAttr.get([ir.DictAttr.get(mark) for mark in marks])
    return str(module)


def write_function(
    module: ir.Module, name: str, types: Sequence[ir.Type], body: Callable[..., Any], visibility: str | None = None
) -> func.FuncOp:
    """Add a function of tensors of these types, which returns what `body` makes of its arguments."""
    with ir.InsertionPoint(module.body):
        function = func.FuncOp(name, (types, []), visibility=visibility)
    with ir.InsertionPoint(function.add_entry_block()):
        results = body(*function.arguments)
        results = list(results) if isinstance(results, Sequence) else [results]
        func.ReturnOp(results)
    signature = ir.FunctionType.get(list(types), [r.type for r in results])
    function.attributes["function_type"] = ir.TypeAttr.get(signature)
    return function


def scalar(value: float, like: ir.Value) -> ir.Value:
    """A constant of rank 0 with the element type of a tensor."""
    element = ir.RankedTensorType(like.type).element_type
    type_ = ir.RankedTensorType.get([], element)
    return build("constant", value=ir.DenseElementsAttr.get_splat(type_, ir.FloatAttr.get(element, value)))


def gelu(x: ir.Value) -> ir.Value:
    """x / 2 * (1 + erf(x / sqrt(2)))"""
    erf = build("erf", build("mul", x, scalar(0.5**0.5, x)))
    return build("mul", build("mul", x, scalar(0.5, x)), build("add", erf, scalar(1.0, x)))


def silu(x: ir.Value) -> ir.Value:
    return build("mul", x, build("sigmoid", x))


def relu(x: ir.Value) -> ir.Value:
    return build("max", x, scalar(0.0, x))
