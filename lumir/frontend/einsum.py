"""Einsum through the dialect's two-operand contraction: diagonals, sums and broadcasts are taken care of beforehand."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from lumir.dialects import build
from lumir.frontend import emit
from lumir.frontend.problems import Malformed
from lumir.mlir import ir

_ELLIPSIS_LABELS = "0123456789"


@dataclass(frozen=True)
class Term:
    """An operand and the label of each of its dimensions; no label appears twice."""

    value: ir.Value
    labels: str


def einsum(equation: str, operands: Sequence[ir.Value]) -> ir.Value:
    """numpy's einsum, with ellipses.

    Raises:
        Malformed: the equation does not fit the operands.
    """
    inputs, result = _parse(equation, operands)
    terms = [_diagonal(value, labels) for value, labels in zip(operands, inputs, strict=True)]
    wide = {label for term in terms for label, d in zip(term.labels, emit.shape(term.value), strict=True) if d != 1}
    terms = [_without_ones(term, wide) for term in terms]
    while len(terms) > 1:
        rest = "".join(term.labels for term in terms[2:]) + result
        terms = [_contract(terms[0], terms[1], rest), *terms[2:]]
    return _finish(terms[0], result)


def _parse(equation: str, operands: Sequence[ir.Value]) -> tuple[list[str], str]:
    left, arrow, right = equation.partition("->")
    inputs = left.split(",")
    if len(inputs) != len(operands):
        raise Malformed(f"equation '{equation}' must have one term for each of the {len(operands)} inputs")
    inputs = [_expand(labels, emit.rank(value), equation) for labels, value in zip(inputs, operands, strict=True)]
    ellipsis = max((_ellipsis(labels) for labels in inputs), key=len)
    if arrow:
        result = right.replace("...", ellipsis)
    else:
        once = Counter("".join(inputs))
        result = ellipsis + "".join(sorted(c for c, n in once.items() if n == 1 and c not in _ELLIPSIS_LABELS))
    if not set(result) <= set("".join(inputs)) or len(set(result)) != len(result):
        raise Malformed(f"the result labels of equation '{equation}' must come from its inputs, each once")
    return inputs, result


def _expand(labels: str, rank: int, equation: str) -> str:
    named = labels.replace("...", "")
    count = rank - len(named) if "..." in labels else 0
    if count < 0 or len(named) + count != rank:
        raise Malformed(f"term '{labels}' of equation '{equation}' must label the {rank} dimensions of its input")
    return labels.replace("...", _ELLIPSIS_LABELS[len(_ELLIPSIS_LABELS) - count :])


def _ellipsis(labels: str) -> str:
    return "".join(c for c in labels if c in _ELLIPSIS_LABELS)


def _diagonal(value: ir.Value, labels: str) -> Term:
    """Take the diagonal along dimensions that share a label: pick where their indices agree, and sum."""
    repeated = next((c for c in labels if labels.count(c) > 1), None)
    if repeated is None:
        return Term(value, labels)
    first, second = _two(labels, repeated)
    size = emit.shape(value)[first]
    flat = emit.transpose(value, [*[i for i in range(len(labels)) if i not in (first, second)], first, second])
    dims = emit.shape(flat)[:-2]
    flat = emit.reshape(flat, [*dims, size * size])
    diagonal = build(
        "slice", flat, starts=[0] * (len(dims) + 1), sizes=[*dims, size], steps=[1] * len(dims) + [size + 1]
    )
    rest = "".join(c for i, c in enumerate(labels) if i not in (first, second))
    return _diagonal(diagonal, rest + repeated)


def _two(labels: str, label: str) -> tuple[int, int]:
    first = labels.index(label)
    return first, labels.index(label, first + 1)


def _without_ones(term: Term, wide: set[str]) -> Term:
    """Drop dimensions of size 1 that another operand has wide: they broadcast."""
    dims = emit.shape(term.value)
    kept = [i for i, c in enumerate(term.labels) if dims[i] != 1 or c not in wide]
    return Term(emit.reshape(term.value, [dims[i] for i in kept]), "".join(term.labels[i] for i in kept))


def _contract(x: Term, y: Term, needed: str) -> Term:
    """Contract two terms, keeping the labels that are needed later."""
    x, y = _sum_own(x, y.labels + needed), _sum_own(y, x.labels + needed)
    kept = "".join(dict.fromkeys(c for c in x.labels + y.labels if c in needed))
    batch = [c for c in kept if c in x.labels and c in y.labels]
    order = "".join([*batch, *(c for c in kept if c not in batch)])
    return Term(emit.contract(x.value, y.value, f"{x.labels},{y.labels}->{order}"), order)


def _sum_own(term: Term, needed: str) -> Term:
    """Sum over labels that nothing else needs."""
    axes = [i for i, c in enumerate(term.labels) if c not in needed]
    value = (
        emit.cast(emit.reduce(emit.widen(term.value), "sum", axes), emit.element(term.value)) if axes else term.value
    )
    return Term(value, "".join(c for c in term.labels if c in needed))


def _finish(term: Term, result: str) -> ir.Value:
    term = _sum_own(term, result)
    missing = [c for c in result if c not in term.labels]
    labels = "".join(missing) + term.labels
    value = emit.reshape(term.value, [1] * len(missing) + emit.shape(term.value))
    return emit.transpose(value, [labels.index(c) for c in result])
