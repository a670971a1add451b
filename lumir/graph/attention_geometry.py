"""How the labels of an attention's two contractions make up [batch, heads, rows, depth]."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

from lumir.dialects.contraction import parse_equation
from lumir.graph.attention_operands import Side, look_through
from lumir.graph.values import Shape, attribute, element, shape
from lumir.mlir import ir

Heads = tuple[int, int]


@dataclass(frozen=True)
class Operand:
    """Query, key or value.

    Attributes:
        lead: the labels of batch and heads that it has, in the scores' order.
        rows, last: the labels of its third and fourth dimension.
        heads: (batch, heads) of the scores.
    """

    side: Side
    lead: str
    rows: str
    last: str
    heads: Heads

    def own_heads(self, once: bool) -> int:
        """Its number of heads, with or without its repetition."""
        sizes = self.side.sizes()
        total = math.prod(sizes[label] for label in self.lead) // self.heads[0]
        return total // self.side.repeated(self.lead[-1]) if once and self.lead else total

    def may_leave_out(self) -> bool:
        """Whether it is heads that are repeated, a whole number of times a batch entry."""
        count = self.side.repeated(self.lead[-1]) if self.lead else 1
        return count != 1 and self.own_heads(False) % count == 0

    def built(self, once: bool) -> ir.Value:
        """The value as [batch, heads, rows, last], without its factor."""
        sizes = self.side.sizes()
        count = math.prod(sizes[label] for label in self.last)
        dims = (self.heads[0], self.own_heads(once), sizes[self.rows], count)
        return self.side.arranged([self.lead, self.rows, self.last], dims, once)


def batch_and_heads(shapes: Sequence[Shape]) -> Heads:
    """Batch and heads of scores that had these shapes: the first with two leading dimensions tells them apart."""
    leads = [dims[:-2] for dims in shapes]
    for lead in leads:
        if len(lead) == 2:
            return lead[0], lead[1]
    lead = max(leads, key=len)
    return (lead[0], math.prod(lead[1:])) if lead else (1, 1)


def read_scores_equation(op: ir.Operation, type_: ir.Type, heads: Heads) -> tuple[Operand, Operand] | None:
    """Query and key of the contraction whose result ends with rows and columns; None if its labels say otherwise."""
    left, right, out = parse_equation(attribute(op, "equation"))
    lead, rows, columns = out[:-2], out[-2], out[-1]
    (q, q_labels), (k, k_labels) = (op.operands[0], left), (op.operands[1], right)
    if rows not in left:
        (q, q_labels), (k, k_labels) = (k, k_labels), (q, q_labels)
    depth = "".join(label for label in q_labels if label not in out)
    sizes = dict(zip(out, shape(op.results[0]), strict=True))
    q_lead, k_lead = _own_lead(lead, q_labels, sizes), _own_lead(lead, k_labels, sizes)
    if not depth or q_lead is None or k_lead is None:
        return None
    if set(q_labels) != {*q_lead, rows, *depth} or set(k_labels) != {*k_lead, columns, *depth}:
        return None
    query = Operand(look_through(q, q_labels, type_), q_lead, rows, depth, heads)
    key = Operand(look_through(k, k_labels, type_), k_lead, columns, depth, heads)
    complete = _has_whole_heads(query) and query.own_heads(False) == heads[1]
    return (query, key) if complete and _has_whole_heads(key) else None


def read_values_equation(
    value: ir.Value, labels: str, weights: tuple[str, Shape], out: str, heads: Heads
) -> Operand | None:
    """The values of the contraction with weights (labels and shape), which end with rows and columns."""
    names, dims = weights
    lead, rows, columns = names[:-2], names[-2], names[-1]
    own = _own_lead(lead, labels, dict(zip(names, dims, strict=True)))
    if own is None or columns not in labels or columns in out:
        return None
    width = "".join(label for label in labels if label not in own and label != columns)
    if not width or rows in labels or set(out) != {*lead, rows, *width}:
        return None
    operand = Operand(look_through(value, labels, element(value)), own, columns, width, heads)
    return operand if _has_whole_heads(operand) else None


def _own_lead(lead: str, labels: str, sizes: dict[str, int]) -> str | None:
    """The leading labels that an operand has, if those it lacks have size 1 or come last (heads that share it)."""
    own = "".join(label for label in lead if label in labels)
    needed = "".join(label for label in lead if label in labels or sizes[label] != 1)
    return own if needed.startswith(own) else None


def _has_whole_heads(operand: Operand) -> bool:
    """Whether its leading labels are the batch and a divisor of the heads."""
    batch, heads = operand.heads
    sizes = operand.side.sizes()
    total = math.prod(sizes[label] for label in operand.lead)
    return 0 not in (batch, heads, total) and total % batch == 0 and heads % (total // batch) == 0


def with_groups_as_heads(query: Operand, key: Operand, value: Operand) -> tuple[Operand, Operand, Operand]:
    """The operands of scores with one head, seen with the repetition of keys and values, if any, as heads."""
    count = key.side.repeated(key.lead[-1]) if key.lead else 1
    alike = query.lead and value.lead and value.side.repeated(value.lead[-1]) == count
    batch, heads = key.heads
    if heads != 1 or count == 1 or not alike or batch % count != 0:
        return query, key, value
    query, key, value = (dataclasses.replace(o, heads=(batch // count, count)) for o in (query, key, value))
    return query, key, value


def common_heads(key: Operand, value: Operand) -> tuple[bool, bool] | None:
    """Whether to leave out the repetition of key and of value so that both have the same, fewest heads."""
    choices = [
        (k, v)
        for k in (True, False)
        for v in (True, False)
        if (not k or key.may_leave_out()) and (not v or value.may_leave_out())
    ]
    equal = [(k, v) for k, v in choices if key.own_heads(k) == value.own_heads(v)]
    return min(equal, key=lambda choice: key.own_heads(choice[0]), default=None)
