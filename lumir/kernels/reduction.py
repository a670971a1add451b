"""How the partial results of a reduction's lanes or threads are joined."""

from lumir.kernels.loop_nest import LoopNest
from lumir.mlir import ir, vector

COMBINERS = {
    "arith.addf": "add",
    "arith.mulf": "mul",
    "arith.maximumf": "maximumf",
    "arith.minimumf": "minimumf",
    "arith.addi": "add",
    "arith.muli": "mul",
    "arith.maxsi": "maxsi",
    "arith.minsi": "minsi",
    "arith.maxui": "maxui",
    "arith.minui": "minui",
    "arith.ori": "or",
    "arith.andi": "and",
}
"""The operation that joins a value into an accumulator -> its name as a `vector.reduction` kind."""


def combiner_of(nest: LoopNest) -> str | None:
    """The name of the operation that the body joins its accumulator with, if that is all it does with it.

    The accumulator must start at the operation's neutral element (lumir's lowering starts it there), since every lane
    and every thread starts from it.
    """
    if len(nest.outputs) != 1 or nest.outputs[0].owner.name != "linalg.fill":
        return None
    accumulator = nest.block.arguments[len(nest.inputs)]
    yielded = list(nest.block.operations)[-1].operands[0]
    uses = list(accumulator.uses)
    joined = yielded.owner
    if isinstance(joined, ir.Block) or len(uses) != 1 or uses[0].owner.operation != joined.operation:
        return None
    return joined.operation.name if joined.operation.name in COMBINERS else None


def combine_lanes(nest: LoopNest, value: ir.Value) -> ir.Value:
    """One scalar out of a vector accumulator."""
    if not isinstance(value.type, ir.VectorType):
        return value
    kind = COMBINERS[combiner_of(nest) or ""]
    return vector.ReductionOp(
        ir.VectorType(value.type).element_type, ir.Attribute.parse(f"#vector.kind<{kind}>"), value
    ).result
