"""Which rows of a dispatch can be computed alone: a dimension of its results that every op carries through.

Row i of a matrix product needs row i of the left operand and all of the right one; so a large product is held against
a reference of a few rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lumir.dialects import attributes_of
from lumir.dialects.composite import is_length
from lumir.dialects.contraction import parse_equation
from lumir.dialects.elementwise import ELEMENTWISE
from lumir.mlir import ir
from lumir.reference.rules import Call

Value = ir.Value


@dataclass(frozen=True)
class Rows:
    """Sampled rows.

    Args:
        rows: the places of the sampled dimension, in order; the first and the last are among them.
        dims: that dimension of each value that has it; other values are computed whole.
    """

    rows: np.ndarray
    dims: dict[Value, int]

    def restricted(self, op: ir.Operation, call: Call) -> tuple[Call, list[np.ndarray]]:
        """The call of a rule on the sampled rows, and operands that it then needs besides."""
        shapes = [
            tuple(len(self.rows) if self.dims.get(v) == i else size for i, size in enumerate(shape))
            for v, shape in zip(op.results, call.shapes, strict=True)
        ]
        attributes, extra = dict(call.attributes), []
        if "shape" in attributes:
            attributes["shape"] = list(shapes[0])
        if op.name == "lumir.attention" and self.dims[op.results[0]] == 2:
            distance = np.arange(shape_of(op.operands[1])[2]) - self.rows[:, None] - attributes["offset"]
            extra = [distance <= 0] * attributes["causal"]
            extra += [distance > -attributes["window"]] * (attributes["window"] > 0)
            attributes |= {"causal": False, "window": 0}
        if op.name == "lumir.slice":
            attributes["sizes"] = list(shapes[0])
        return replace(call, attributes=attributes, shapes=shapes), extra


def parallel_rows(block: ir.Block, returned: Sequence[Value], count: int) -> Rows | None:
    """Rows along the longest dimension of the first result that can be sampled, or None."""
    sizes = shape_of(returned[0])
    for dim in sorted(range(len(sizes)), key=lambda d: -sizes[d]):
        if sizes[dim] <= count:
            continue
        dims = _carried(block, returned, dim, sizes[dim])
        if dims is not None:
            between = np.random.default_rng(0).choice(np.arange(1, sizes[dim] - 1), count - 2, replace=False)
            return Rows(np.sort(np.array([0, *between, sizes[dim] - 1])), dims)
    return None


def _carried(block: ir.Block, returned: Sequence[Value], dim: int, size: int) -> dict[Value, int] | None:
    """The dimension of every value that `dim` of the first result follows from alone."""
    dims: dict[Value, int] = {}
    whole: set[Value] = set()
    for value in returned:
        if shape_of(value)[dim : dim + 1] != (size,):
            return None
        dims[value] = dim
    for op in reversed(list(block.operations)):
        if op.operation.name == "func.return":
            continue
        at = {dims.get(result) for result in op.results}
        if len(at) != 1:
            return None
        (here,) = at
        wanted: Sequence[int | None] | None = (
            [None] * len(op.operands) if here is None else _operand_dims(op.operation, here)
        )
        if wanted is None:
            return None
        for operand, place in zip(op.operands, wanted, strict=True):
            if place is None:
                whole.add(operand)
            elif dims.setdefault(operand, place) != place:
                return None
    return None if whole & set(dims) else dims


def _operand_dims(op: ir.Operation, dim: int) -> Sequence[int | None] | None:
    """The dimension of each operand that dimension `dim` of the result follows; None where it depends on all of it."""
    name, attributes = op.name.removeprefix("lumir."), attributes_of(op)
    result, operands = shape_of(op.results[0]), [shape_of(v) for v in op.operands]
    if name in ELEMENTWISE or name in ("cast", "select", "broadcast"):
        return [_aligned(shape, result, dim) for shape in operands]
    if name == "contract":
        left, right, out = parse_equation(attributes["equation"])
        return [labels.index(out[dim]) if out[dim] in labels else None for labels in (left, right)]
    if name == "conv":
        channels = len(result) - 1 if attributes["channels_last"] else 1
        filters = [None, 0] if attributes["groups"] == 1 else None
        return [0, None] if dim == 0 else filters if dim == channels else None
    if name == "attention":
        bounded = len(operands) == 4 and is_length(ir.RankedTensorType(op.operands[3].type).element_type)
        if dim == 2 and bounded and (attributes["causal"] or attributes["window"]):
            return None  # the places of queries are not in the attributes alone
        return _attention_dims(operands, dim, attributes)
    if name == "transpose":
        return [attributes["permutation"][dim]]
    if name == "reshape":
        return _reshaped(operands[0], result, dim)
    if name in ("softmax", "scan"):
        return [dim] if dim != attributes["axis"] % len(result) else None
    if name == "normalize":
        return [dim] if dim < attributes["axis"] % len(result) else None
    if name in ("reduce", "arg_reduce"):
        axes = attributes["axes"] if name == "reduce" else [attributes["axis"]]
        kept = [d for d in range(len(operands[0])) if d not in [a % len(operands[0]) for a in axes]]
        return [kept[dim]]
    if name == "slice":
        all_of_it = operands[0][dim] == result[dim] and attributes["steps"][dim] == 1
        return [dim] if all_of_it else None
    if name == "concat":
        return [dim] * len(operands) if dim != attributes["axis"] % len(result) else None
    if name == "top_k":
        return [dim] if dim != len(result) - 1 else None
    return None


def _aligned(shape: tuple[int, ...], result: tuple[int, ...], dim: int) -> int | None:
    """The dimension of an operand that broadcasts to the result."""
    place = dim - (len(result) - len(shape))
    return place if place >= 0 and shape[place] == result[dim] else None


def _attention_dims(operands: list[tuple[int, ...]], dim: int, attributes: dict) -> Sequence[int | None] | None:
    query, keys, _, *masks = operands
    scores = (query[0], query[1], query[2], keys[2])
    mask = [_aligned(shape, scores, dim) for shape in masks]
    if dim == 0:
        return [0, 0, 0, *mask]
    if dim == 1:
        return [1, 1, 1, *mask] if query[1] == keys[1] else None
    return [2, None, None, *mask] if dim == 2 else None


def _reshaped(old: tuple[int, ...], new: tuple[int, ...], dim: int) -> Sequence[int | None] | None:
    """The dimension that a reshape leaves whole: as long, with as much before it."""
    before = int(np.prod(new[:dim]))
    places = [d for d, size in enumerate(old) if size == new[dim] and int(np.prod(old[:d])) == before]
    return [places[0]] if places else None


def shape_of(value: Value) -> tuple[int, ...]:
    return tuple(ir.RankedTensorType(value.type).shape)
