"""The ops of one dispatch, while dispatches are formed."""

from dataclasses import dataclass, field

from lumir.dispatch.fusion import short_name
from lumir.mlir import ir

Value = ir.Value


@dataclass(eq=False)
class Group:
    """The ops of one dispatch: a root with what runs before it and after it.

    Args:
        root: the op that decides the loop nest.
        tail: the last op, whose results the dispatch returns.
        ops: all ops, by their position in the function.
        returned: other results that it returns besides.
    """

    root: ir.OpView
    tail: ir.OpView
    ops: dict[int, ir.OpView] = field(default_factory=dict)
    returned: list[Value] = field(default_factory=list)

    @property
    def ends(self) -> list[ir.OpView | ir.Operation]:
        """The ops whose results it returns."""
        return [self.tail, *(value.owner for value in self.returned)]

    def ordered(self) -> list[ir.OpView]:
        """The ops in program order, with each constant before its first reader: equal groups get equal texts."""
        result: list[ir.OpView] = []
        constants = {op.operation: op for op in self.ops.values() if short_name(op) == "constant"}
        for op in (self.ops[i] for i in sorted(self.ops)):
            if op.operation in constants or short_name(op) == "constant":
                continue
            for operand in op.operands:
                if constant := constants.pop(operand.owner, None):
                    result.append(constant)
            result.append(op)
        return result
