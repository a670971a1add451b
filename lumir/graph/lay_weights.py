"""Weights in the layout that a product with a few rows reads: the elements that one result sums side by side."""

import math
from dataclasses import dataclass
from typing import ClassVar

from lumir.dialects import build
from lumir.dialects.contraction import parse_equation
from lumir.graph.rewrite import PatternTable, rewrite
from lumir.graph.values import attribute, definition, shape
from lumir.mlir import ir
from lumir.passes.registry import register_pass

LAYOUT = PatternTable()
FEW_ROWS = 16
"""Rows of activations for which reading the weight is what takes the time."""
SMALL = 1 << 16
"""Elements of a weight that is in the caches anyway."""


@register_pass
@dataclass(frozen=True)
class LayWeights:
    """Transpose the weights of contractions with a few rows, so that what is summed lies side by side.

    Requires: before `lumir-fold-constants`, which makes a derived weight of each transposed one.
    Guarantees: a contraction of at most 16 rows with a large matrix that only weights reach reads that along k.

        %0 = lumir.contract(%x, %w) "mk,kn->mn"   ->   %1 = lumir.transpose(%w) [1, 0]
                                                       %0 = lumir.contract(%x, %1) "mk,nk->mn"
    """

    name: ClassVar[str] = "lumir-lay-weights"

    def run(self, module: ir.Module) -> None:
        rewrite(module, LAYOUT)


@LAYOUT.on("contract")
def lay_along_k(op: ir.Operation) -> ir.Value | None:
    lhs, rhs, out = parse_equation(attribute(op, "equation"))
    labels, operands = [lhs, rhs], list(op.operands)
    for i, value in enumerate(operands):
        if len(labels[i]) == 2 and _is_wide(labels[i], labels[1 - i], value) and _is_fixed(value):
            others = [size for label, size in zip(labels[1 - i], shape(operands[1 - i])) if label in out]
            if min(others, default=1) > 0 and math.prod(others) <= FEW_ROWS:
                operands[i] = build("transpose", value, permutation=[1, 0])
                labels[i] = labels[i][::-1]
                return build("contract", *operands, equation=f"{labels[0]},{labels[1]}->{out}", to=attribute(op, "to"))
    return None


def _is_wide(labels: str, other: str, value: ir.Value) -> bool:
    """A large matrix [k, n]: the first dimension is summed with the other operand, the last is not."""
    return labels[0] in other and labels[1] not in other and math.prod(shape(value)) > SMALL


def _is_fixed(value: ir.Value) -> bool:
    """Whether only weights and constants reach the value, and a weight does."""
    op = definition(value)
    if op is None:
        return False
    if not op.operands:
        return op.name == "lumir.load"
    return any(_is_fixed(v) for v in op.operands) and all(
        _is_fixed(v) or definition(v, "constant") is not None for v in op.operands
    )
