"""Which arguments of a dispatch no kernel writes: one may fetch those before the kernels ahead of it are done.

Weights are in place when an artifact is loaded, and inputs are before the first kernel of a run starts.
"""

from dataclasses import dataclass
from typing import ClassVar

from lumir.kernels.dispatch import UNWRITTEN
from lumir.mlir import ir
from lumir.module import callers, dispatches, name_of

Value = ir.Value


@dataclass(frozen=True)
class MarkUnwritten:
    """Mark the arguments of each dispatch that every call passes a weight, or an argument of @main, for.

    Requires: dispatch functions and the calls of them.
    Guarantees: such an argument carries `lumir.unwritten`.

        func.func private @dispatch_0(%x: tensor<1x8xf32>, %w: tensor<8x8xf32>)
    ->  func.func private @dispatch_0(%x: tensor<1x8xf32>, %w: tensor<8x8xf32> {lumir.unwritten})
    """

    name: ClassVar[str] = "lumir-mark-unwritten"

    def run(self, module: ir.Module) -> None:
        called = callers(module)
        for function in dispatches(module):
            calls = called.get(name_of(function), [])
            count = len(ir.FunctionType(function.attributes["function_type"].value).inputs)
            found = [bool(calls) and all(_is_unwritten(call.operands[i]) for call in calls) for i in range(count)]
            if any(found):
                marks = [ir.DictAttr.get({UNWRITTEN: ir.UnitAttr.get()} if mark else {}) for mark in found]
                function.attributes["arg_attrs"] = ir.ArrayAttr.get(marks)


def _is_unwritten(value: Value) -> bool:
    while not isinstance(value.owner, ir.Block) and value.owner.name == "lumir.reshape":
        value = value.owner.operands[0]
    return isinstance(value.owner, ir.Block) or value.owner.name == "lumir.load"
