"""Canonical forms of contractions: labels say what a transpose would do."""

from lumir.dialects import build
from lumir.dialects.contraction import parse_equation
from lumir.graph.rewrite import PatternTable
from lumir.graph.values import attribute, definition
from lumir.mlir import ir

CONTRACTION = PatternTable()


@CONTRACTION.on("contract")
def absorb_transposes(op: ir.Operation) -> ir.Value | None:
    """contract(transpose(x), y) reads x itself under permuted labels."""
    *labels, out = parse_equation(attribute(op, "equation"))
    sources = [definition(operand, "transpose") for operand in op.operands]
    if not any(sources):
        return None
    operands = list(op.operands)
    for i, source in enumerate(sources):
        if source is not None:
            operands[i] = source.operands[0]
            labels[i] = inverse_permuted(labels[i], attribute(source, "permutation"))
    return build("contract", *operands, equation=f"{labels[0]},{labels[1]}->{out}", to=attribute(op, "to"))


def inverse_permuted(labels: str, permutation: tuple[int, ...]) -> str:
    """The labels of x, where those of transpose(x, permutation) are given."""
    before = [""] * len(labels)
    for label, axis in zip(labels, permutation, strict=True):
        before[axis] = label
    return "".join(before)
