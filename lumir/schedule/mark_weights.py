"""Which arguments of a dispatch are weights: a kernel may fetch those before the kernels ahead of it are done."""

from dataclasses import dataclass
from typing import ClassVar

from lumir.kernels.dispatch import WEIGHT
from lumir.mlir import ir
from lumir.module import callers, dispatches, name_of

Value = ir.Value


@dataclass(frozen=True)
class MarkWeights:
    """Mark the arguments of each dispatch that every call passes a weight for.

    Requires: dispatch functions and the calls of them.
    Guarantees: such an argument carries `lumir.weight`.

        func.func private @dispatch_0(%x: tensor<1x8xf32>, %w: tensor<8x8xf32>)
    ->  func.func private @dispatch_0(%x: tensor<1x8xf32>, %w: tensor<8x8xf32> {lumir.weight})
    """

    name: ClassVar[str] = "lumir-mark-weights"

    def run(self, module: ir.Module) -> None:
        called = callers(module)
        for function in dispatches(module):
            calls = called.get(name_of(function), [])
            count = len(ir.FunctionType(function.attributes["function_type"].value).inputs)
            found = [bool(calls) and all(_is_weight(call.operands[i]) for call in calls) for i in range(count)]
            if any(found):
                marks = [ir.DictAttr.get({WEIGHT: ir.UnitAttr.get()} if weight else {}) for weight in found]
                function.attributes["arg_attrs"] = ir.ArrayAttr.get(marks)


def _is_weight(value: Value) -> bool:
    while not isinstance(value.owner, ir.Block) and value.owner.name == "lumir.reshape":
        value = value.owner.operands[0]
    return not isinstance(value.owner, ir.Block) and value.owner.name == "lumir.load"
