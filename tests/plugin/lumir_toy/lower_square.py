"""`toy.square` to `arith.mulf`: the rule, and a pass that applies it."""

from dataclasses import dataclass
from typing import Any, ClassVar

from lumir.mlir import arith, ir
from lumir.passes import register_pass


def lower_square(source: Any, operand: ir.Value) -> ir.Value:
    """The rule that lumir's linalg step uses; it needs nothing of the op but its operand."""
    return arith.mulf(operand, operand)


@register_pass
@dataclass(frozen=True)
class LowerSquare:
    """Replace every `toy.square` by a multiplication.

    Requires: operands of floats. Guarantees: no `toy.square` is left, except those of a rank above `max_rank`.

        toy.square %x    ->    arith.mulf %x, %x
    """

    name: ClassVar[str] = "toy-lower-square"
    max_rank: int = 8

    def run(self, module: ir.Module) -> None:
        squares: list[ir.Operation] = []

        def visit(op: ir.Operation) -> ir.WalkResult:
            if op.name == "toy.square":
                squares.append(op)
            return ir.WalkResult.ADVANCE

        module.operation.walk(visit)
        for op in squares:
            if ir.RankedTensorType(op.operands[0].type).rank > self.max_rank:
                op.location.emit_error(f"'toy.square' op has a rank above {self.max_rank}")
                continue
            with ir.InsertionPoint(op), op.location:
                op.results[0].replace_all_uses_with(lower_square(op, op.operands[0]))
            op.erase()
