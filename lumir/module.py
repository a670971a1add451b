"""Finding things in a module: @main, the dispatches, the calls that run them."""

from collections.abc import Iterable, Mapping

from lumir.diagnostics import UserError
from lumir.dialects import from_attribute, to_attribute
from lumir.dims import Symbols, as_symbols, as_texts
from lumir.mlir import ir
from lumir.symbols import Symbol

DIMS = "lumir.dims"
"""The module's attribute that holds the model's symbols: a size, or the text of a range, for each."""


def record_symbols(module: ir.Module, symbols: Mapping[str, Symbol]) -> None:
    """Note the model's symbols in the module."""
    values = {name: to_attribute(value) for name, value in as_texts(symbols).items()}
    module.operation.attributes[DIMS] = ir.DictAttr.get(values)


def symbols_in(module: ir.Module) -> Symbols:
    """The model's symbols, as the module notes them."""
    attributes = module.operation.attributes
    return as_symbols(from_attribute(attributes[DIMS])) if DIMS in attributes else {}


SHAPES = "lumir.shapes"
"""A module's attribute: for an output whose shape depends on the data, the name of the output that is this shape."""

LISTS = "lumir.lists"
"""A module's attribute: the length of each sequence among its `inputs` and `outputs`; -1 of an absent optional."""


def name_of(op: ir.OpView | ir.Operation) -> str:
    """The op's symbol."""
    return op.attributes["sym_name"].value


def symbols(module: ir.Module) -> dict[str, ir.OpView]:
    """The module's symbols by name."""
    return {name_of(op): op for op in module.body.operations if "sym_name" in op.attributes}


def main_of(module: ir.Module) -> ir.OpView:
    """The function @main.

    Raises:
        UserError: `no-main`.
    """
    found = symbols(module).get("main")
    if found is None or not found.regions[0].blocks:
        raise UserError(
            "the module has no function @main with a body",
            code="no-main",
            hint="a model is a func.func @main of lumir ops; lumir-compile MODEL --to import shows one",
        )
    return found


def body_of(function: ir.OpView) -> ir.Block:
    return function.regions[0].blocks[0]


def dispatches(module: ir.Module) -> list[ir.OpView]:
    """The functions marked `lumir.dispatch`, in order."""
    return [op for op in module.body.operations if "lumir.dispatch" in op.attributes]


def calls(module: ir.Module) -> list[ir.OpView]:
    """The calls in @main, in order."""
    return [op for op in body_of(main_of(module)).operations if op.operation.name == "func.call"]


def callers(module: ir.Module) -> dict[str, list[ir.OpView]]:
    """The calls of each function, by its name."""
    found: dict[str, list[ir.OpView]] = {}
    for call in calls(module):
        found.setdefault(call.attributes["callee"].value, []).append(call)
    return found


def prefix_dispatches(module: ir.Module, prefix: str) -> None:
    """Put `prefix` before the name of every dispatch, so that the kernels of several modules can stand side by side."""
    renamed = {name_of(function) for function in dispatches(module)}
    for function in dispatches(module):
        function.attributes["sym_name"] = ir.StringAttr.get(prefix + name_of(function))
    for call in calls(module):
        if call.attributes["callee"].value in renamed:
            call.attributes["callee"] = ir.FlatSymbolRefAttr.get(prefix + call.attributes["callee"].value)


def node_names(location: ir.Location) -> list[str]:
    """The ONNX nodes that a location names."""
    if isinstance(location, ir.NameLoc):
        return [location.name_str]
    if isinstance(location, ir.FusedLoc):
        return [name for inner in location.locations for name in node_names(inner)]
    return []


def fused_location(ops: Iterable[ir.OpView | ir.Operation]) -> ir.Location:
    """One location that names the nodes of all the ops, each once."""
    names = dict.fromkeys(name for op in ops for name in node_names(op.location))
    located = [ir.Location.name(name) for name in names]
    return located[0] if len(located) == 1 else ir.Location.fused(located) if located else ir.Location.unknown()
