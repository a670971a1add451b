"""The body of a multiply-add: what is done to each input before it is multiplied, and what it is added to."""

from lumir.kernels.loop_nest import LoopNest
from lumir.mlir import ir

Value = ir.Value
_WIDENINGS = ("arith.extf", "arith.extsi", "arith.extui", "arith.sitofp", "arith.uitofp")


def starts_at_zero(start: Value) -> bool:
    if isinstance(start.owner, ir.Block) or start.owner.name != "linalg.fill":
        return False
    scalar = start.owner.operands[0].owner
    return (
        not isinstance(scalar, ir.Block) and scalar.name == "arith.constant" and scalar.attributes["value"].value == 0
    )


def multiplies_and_adds(nest: LoopNest) -> bool:
    """yield(total + widened(x) * widened(y)), and nothing else."""
    add = _defining(list(nest.block.operations)[-1].operands[0])
    if add is None or add.name not in ("arith.addf", "arith.addi"):
        return False
    total, product = add.operands
    multiply = _defining(product)
    if nest.argument_number(total) != 2 or multiply is None or multiply.name not in ("arith.mulf", "arith.muli"):
        return False
    return all(_argument_behind(nest, factor) == number for number, factor in enumerate(multiply.operands))


def widening(nest: LoopNest, number: int) -> list[ir.Operation]:
    """The operations between input `number` and the multiplication, in order."""
    add = _defining(list(nest.block.operations)[-1].operands[0])
    value = _defining(add.operands[1]).operands[number]  # pyright: ignore[reportOptionalMemberAccess]
    chain: list[ir.Operation] = []
    while (op := _defining(value)) is not None:
        chain.append(op)
        value = op.operands[0]
    return chain[::-1]


def _argument_behind(nest: LoopNest, value: Value) -> int | None:
    while (op := _defining(value)) is not None and op.name in _WIDENINGS:
        value = op.operands[0]
    return nest.argument_number(value)


def _defining(value: Value) -> ir.Operation | None:
    return None if isinstance(value.owner, ir.Block) else value.owner
