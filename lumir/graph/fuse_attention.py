"""Attention that an exporter scattered over a dozen ops, as one op again."""

import math
from dataclasses import dataclass
from typing import ClassVar

from lumir.dialects import build
from lumir.dialects.contraction import parse_equation
from lumir.graph.attention_mask import Mask, build_mask
from lumir.graph.attention_operands import Side, look_through
from lumir.graph.attention_scores import Scores, match_probabilities, match_scores, only_used_by
from lumir.graph.rewrite import rewrite
from lumir.graph.values import Shape, attribute, element, shape
from lumir.mlir import ir
from lumir.passes.registry import register_pass


@register_pass
@dataclass(frozen=True)
class FuseAttention:
    """Recognise softmax(scale * Q K^T [capped] + mask) V, and what an attention's own operands hide.

    Requires: canonical form (`lumir-canonicalize`), softmaxes as one op (`lumir-fuse-normalization`).
    Guarantees: such a chain is one `lumir.attention` if nothing else reads its scores. Scales before and after the
    contraction are its `scale`, tanh capping its `softcap`; repeated key/value heads are read once; conditions that
    drop keys (also as addends of 0 and a huge negative number) are a bool mask, and `causal` where they are known to be.

    A row without any key gives zeros, as the op says. Exporters that drop keys with a huge finite number give the mean
    of all values there instead; `keep_empty_rows` keeps that, at the price of a float mask and of causality.

        %0 = lumir.contract(%q, %k) "bhmd,bhnd->bhmn"
        %1 = lumir.mul(%0, 0.125)
        %2 = lumir.add(%1, %mask)                      ->    %4 = lumir.attention(%q, %k, %v, %mask) scale = 0.125, ...
        %3 = lumir.softmax(%2)
        %4 = lumir.contract(%3, %v) "bhmn,bhnd->bhmd"
    """

    name: ClassVar[str] = "lumir-fuse-attention"
    keep_empty_rows: bool = False

    def run(self, module: ir.Module) -> None:
        rewrite(
            module,
            {
                "contract": [lambda op: fuse(op, self.keep_empty_rows)],
                "attention": [lambda op: refine(op, self.keep_empty_rows)],
            },
        )


@dataclass(frozen=True)
class Geometry:
    """How labels make up [batch, heads, rows or columns, depth].

    Attributes:
        lead: labels of batch and heads, in order.
        heads: (batch, heads) sizes, whose product is that of the leading labels.
        query, key, value: the operands; labels of the query are `lead + rows + depth`, in some order.
        rows, columns, depth, width: m, n, d and e labels.
    """

    lead: str
    heads: tuple[int, int]
    query: Side
    key: Side
    value: Side
    rows: str
    columns: str
    depth: str
    width: str


def fuse(op: ir.Operation, keep_empty_rows: bool) -> ir.Value | None:
    """The attention that the contraction `op` with values ends, if it is one."""
    *labels, out = parse_equation(attribute(op, "equation"))
    for index in (0, 1):
        found = match_probabilities(op.operands[index])
        scores = match_scores(found.softmax.operands[0]) if found else None
        if found is None or scores is None or not only_used_by([*scores.chain, *found.chain], op):
            continue
        weights, value = labels[index], (op.operands[1 - index], labels[1 - index])
        geometry = _geometry(scores, shape(op.operands[index]), weights, value, out)
        if geometry is not None:
            return _build(op, scores, geometry, out, keep_empty_rows)
    return None


def _geometry(
    scores: Scores, dims: Shape, weights: str, value: tuple[ir.Value, str], out: str
) -> Geometry | None:
    """Read the labels of both contractions; None where they are not those of an attention."""
    type_ = element(value[0])
    (left, right, product), (lhs, rhs) = parse_equation(attribute(scores.contraction, "equation")), scores.contraction.operands
    rows, columns, lead = product[-2], product[-1], product[:-2]
    (q, q_labels), (k, k_labels) = ((lhs, left), (rhs, right)) if rows in left else ((rhs, right), (lhs, left))
    depth = "".join(label for label in q_labels if label in k_labels and label not in product)
    shares_lead = dims[:-2] == scores.shapes[0][:-2]
    query, key = look_through(q, q_labels, type_), look_through(k, k_labels, type_)
    if set(q_labels) != {*lead, rows, *depth} or not depth or rows in k_labels or columns not in k_labels:
        return None
    values, width = _value(value, weights, out, lead, shares_lead)
    return None
