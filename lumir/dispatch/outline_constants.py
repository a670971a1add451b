"""Constants that a kernel must read from memory become weights."""

from dataclasses import dataclass
from typing import ClassVar

from lumir.mlir import ir
from lumir.module import main_of


@dataclass(frozen=True)
class OutlineConstants:
    """Turn each `lumir.constant` that is not one repeated value into a `lumir.derived_weight` that holds it.

    Guarantees: every `lumir.constant` of @main is a splat, which kernels fold.

        %0 = lumir.constant dense<[1, 2]>   ->   lumir.derived_weight @constant_0 { ... dense<[1, 2]> }
                                                 %0 = lumir.load @constant_0
    """

    name: ClassVar[str] = "lumir-outline-constants"

    def run(self, module: ir.Module) -> None:
        main = main_of(module)
        block = main.regions[0].blocks[0]
        names: dict[str, str] = {}
        for op in list(block.operations):
            if op.operation.name == "lumir.constant" and _needs_memory(op):
                with op.location, ir.InsertionPoint(op):
                    name = _outlined(main, op, names)
                    load = ir.Operation.create(
                        "lumir.load",
                        results=[op.results[0].type],
                        attributes={"weight": ir.FlatSymbolRefAttr.get(name)},
                    )
                op.results[0].replace_all_uses_with(load.results[0])
                op.operation.erase()


def _needs_memory(op: ir.OpView) -> bool:
    """Not a splat, or returned by @main as it is."""
    if not ir.DenseElementsAttr(op.attributes["value"]).is_splat:
        return True
    return any(not use.owner.operation.name.startswith("lumir.") for use in op.results[0].uses)


def _free_name(main: ir.OpView, number: int) -> str:
    """`constant.<number>`, or with underscores after it where the model has a weight of that name."""
    name = f"constant.{number}"
    taken = {op.attributes["sym_name"].value for op in main.operation.block.operations if "sym_name" in op.attributes}
    while name in taken:
        name += "_"
    return name


def _outlined(main: ir.OpView, op: ir.OpView, names: dict[str, str]) -> str:
    key = str(op.attributes["value"])
    if key not in names:
        names[key] = _free_name(main, len(names))
        with ir.InsertionPoint(main):
            weight = ir.Operation.create(
                "lumir.derived_weight",
                attributes={
                    "sym_name": ir.StringAttr.get(names[key]),
                    "type": ir.TypeAttr.get(op.results[0].type),
                },
                regions=1,
            )
        block = weight.regions[0].blocks.append()
        with ir.InsertionPoint(block):
            inner = op.operation.clone()
            ir.Operation.create("lumir.yield", operands=[inner.results[0]])
    return names[key]
