"""From a softmax back to the contraction of queries and keys, and what happened to the scores between them."""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass

import ml_dtypes

from lumir.dialects.constants import splat_value
from lumir.dtypes import numpy_dtype
from lumir.graph.values import Shape, attribute, definition, element, is_splat, shape, short_name, split_scalar, users
from lumir.mlir import ir

DROPPED = -1e30


@dataclass(frozen=True)
class Condition:
    """Keys are kept where `value` is true (false if `negated`); a dropped score becomes `fill`."""

    value: ir.Value
    negated: bool
    fill: float


@dataclass(frozen=True)
class Scores:
    """softcap * tanh(scale * QK / softcap) + masks, or without the tanh where softcap is 0.

    Attributes:
        contraction: multiplies queries and keys.
        capping: the last op was the tanh, whose factor may follow.
        conditions, masks: with the shape of the scores they apply to.
        shapes: those that the scores had, in order.
        chain: the ops from the contraction on.
    """

    contraction: ir.Operation
    shapes: tuple[Shape, ...]
    chain: tuple[ir.Operation, ...]
    scale: float = 1.0
    softcap: float = 0.0
    capping: bool = False
    conditions: tuple[tuple[Condition, Shape], ...] = ()
    masks: tuple[tuple[ir.Value, Shape], ...] = ()

    @property
    def is_masked(self) -> bool:
        return bool(self.conditions or self.masks)

    def then(self, op: ir.Operation, **changes) -> "Scores":
        return dataclasses.replace(self, chain=(*self.chain, op), **({"capping": False} | changes))


def drops(number: float | None, type_: ir.Type) -> bool:
    """Whether adding the number to a score drops its key: -inf, at most -1e30, or the type's lowest."""
    if number is None or number is False:
        return False
    return number <= DROPPED or number == float(ml_dtypes.finfo(numpy_dtype(type_)).min)


def match_scores(value: ir.Value) -> Scores | None:
    """The scores that `value` holds, its last two dimensions being queries and keys."""
    op = definition(value)
    rule = _RULES.get(short_name(op)) if op is not None else None
    return rule(op) if rule and op else None


def _contract(op: ir.Operation) -> Scores | None:
    dims = shape(op.results[0])
    return Scores(op, (dims,), (op,)) if len(dims) >= 2 else None


def _cast(op: ir.Operation) -> Scores | None:
    found = match_scores(op.operands[0])
    return found.then(op) if found and isinstance(attribute(op, "to"), ir.FloatType) else None


def _reshape(op: ir.Operation) -> Scores | None:
    found, dims = match_scores(op.operands[0]), shape(op.results[0])
    if found is None or dims[-2:] != shape(op.operands[0])[-2:]:
        return None
    return found.then(op, shapes=(*found.shapes, dims))


def _scale(op: ir.Operation) -> Scores | None:
    split = split_scalar(op)
    found = match_scores(split[0]) if split and split[1] != 0 and math.isfinite(split[1]) else None
    if split is None or found is None or found.is_masked:
        return None
    factor = split[1] if short_name(op) == "mul" else 1 / split[1]
    if found.capping and factor > 0:
        return found.then(op, softcap=factor, scale=found.scale * factor)
    return found.then(op, scale=found.scale * factor) if not found.softcap else None


def _tanh(op: ir.Operation) -> Scores | None:
    found = match_scores(op.operands[0])
    return found.then(op, softcap=1.0, capping=True) if found and not found.is_masked and not found.softcap else None


def _add(op: ir.Operation) -> Scores | None:
    for inner, mask in (tuple(op.operands), tuple(op.operands)[::-1]):
        found = match_scores(inner) if inner.type == op.results[0].type else None
        if found is not None:
            return found.then(op, masks=(*found.masks, (mask, shape(inner))))
    return None


def _select(op: ir.Operation) -> Scores | None:
    condition, lhs, rhs = op.operands
    for inner, other, negated in ((lhs, rhs, False), (rhs, lhs, True)):
        fill = splat_value(other)
        if not drops(fill, element(inner)) or inner.type != op.results[0].type:
            continue
        found = match_scores(inner)
        if found is not None and fill is not None:
            kept = (Condition(condition, negated, fill), shape(inner))
            return found.then(op, conditions=(*found.conditions, kept))
    return None


def _max(op: ir.Operation) -> Scores | None:
    """max(scores, lowest) changes nothing that softmax would see."""
    split = split_scalar(op)
    found = match_scores(split[0]) if split and drops(split[1], element(split[0])) else None
    return found.then(op) if found else None


_RULES: dict[str, Callable[[ir.Operation], Scores | None]] = {
    "contract": _contract,
    "cast": _cast,
    "reshape": _reshape,
    "mul": _scale,
    "div": _scale,
    "tanh": _tanh,
    "add": _add,
    "select": _select,
    "max": _max,
}


@dataclass(frozen=True)
class Probabilities:
    """A softmax over the last dimension and the ops behind it that only guard or reshape its result."""

    softmax: ir.Operation
    chain: tuple[ir.Operation, ...]


def match_probabilities(value: ir.Value) -> Probabilities | None:
    """The softmax behind casts, reshapes that keep the last two dimensions, and `select(isnan(p), 0, p)`."""
    chain: list[ir.Operation] = []
    while (op := definition(value, "cast", "reshape", "select", "softmax")) is not None:
        chain.append(op)
        match short_name(op):
            case "softmax":
                last = attribute(op, "axis") % len(shape(value)) == len(shape(value)) - 1
                return Probabilities(op, tuple(chain)) if last and not attribute(op, "log") else None
            case "select":
                guard = definition(op.operands[0], "isnan")
                if guard is None or guard.operands[0] != op.operands[2] or not is_splat(op.operands[1], 0):
                    return None
                chain.append(guard)
                value = op.operands[2]
            case "cast":
                if not isinstance(attribute(op, "to"), ir.FloatType):
                    return None
                value = op.operands[0]
            case _:
                if shape(op.operands[0])[-2:] != shape(value)[-2:]:
                    return None
                value = op.operands[0]
    return None


def only_used_by(chain: list[ir.Operation], last: ir.Operation) -> bool:
    """Whether nothing but the chain and the op `last` uses what the chain computes."""
    allowed = {*chain, last}
    return all(user in allowed for op in chain for user in users(op.results[0]))
