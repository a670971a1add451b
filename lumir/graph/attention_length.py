"""How many keys a batch has, read off a mask that holds the places of keys against a number: key < length."""

from lumir.dialects import build
from lumir.dialects.composite import is_length
from lumir.graph.attention_band import MIRRORED, NEGATED, Linear, linear_of
from lumir.graph.simplify_arithmetic import scalar
from lumir.graph.values import Shape, definition, element, shape, short_name
from lumir.mlir import ir
from lumir.sizes import Dim, is_static


def length_of(condition: ir.Value, negated: bool, batch: Dim) -> ir.Value | None:
    """[b or 1, 1, 1, 1], from 0 to n: the keys that a bool [b or 1, 1, 1, n], or [n] with ones before it, keeps.

    Returns:
        None where it says something else; nothing is built then.
    """
    own = (1,) * (4 - len(shape(condition))) + shape(condition)
    if own[1:3] != (1, 1) or own[0] not in (1, batch):
        return None
    bound = _bound(condition, negated)
    if bound is None:
        return None
    value, more = bound
    least, most = (_number(size - more, value) for size in (0, own[3]))
    within = build("max", build("min", value, most), least)  # first, as what was added to any number might wrap
    return build("reshape", build("add", within, _number(more, value)), shape=[own[0], 1, 1, 1])


def _number(size: Dim, like: ir.Value) -> ir.Value:
    if is_static(size):
        return scalar(size, element(like))
    return build("size", value=size, to=ir.RankedTensorType.get([], element(like)))


def _bound(condition: ir.Value, negated: bool) -> tuple[ir.Value, Dim] | None:
    """A tensor of one number for each batch, and what added to it is the first key that is not kept."""
    op = definition(condition, "not", "reshape", "lt", "le", "gt", "ge")
    if op is None:
        return None
    name = short_name(op)
    if name == "not":
        return _bound(op.operands[0], not negated)
    if name == "reshape":
        source = op.operands[0]
        return _bound(source, negated) if _varies(source) == _varies(condition) else None
    name = NEGATED[name] if negated else name
    for key, value, kind in ((*op.operands, name), (*reversed(op.operands), MIRRORED[name])):
        place = linear_of(key)
        if kind in ("lt", "le") and place is not None and _is_key(place) and _is_number(value, shape(condition)):
            return value, (1 if kind == "le" else 0) - place.constant
    return None


def _varies(value: ir.Value) -> tuple[Shape, Dim]:
    """The sizes that are not 1, and that of the last dimension, which is the keys'."""
    return tuple(n for n in shape(value) if n != 1), (1, *shape(value))[-1]


def _is_key(place: Linear) -> bool:
    *outer, last = (0, *place.factors)
    return last == 1 and not any(outer)


def _is_number(value: ir.Value, dims: Shape) -> bool:
    """One for each batch, where keys are the last dimension of a condition: its others are batches and ones."""
    own = (1,) * (len(dims) - len(shape(value))) + shape(value)
    return is_length(element(value)) and own == (*dims[:-1], 1)
