"""What a contraction of an attention reads: looked at through transposes, scales and repeated heads."""

import math
from dataclasses import dataclass

from lumir.dialects import build
from lumir.graph.simplify_arithmetic import holds
from lumir.graph.simplify_contraction import inverse_permuted
from lumir.graph.simplify_shaping import merged_groups
from lumir.graph.values import Shape, attribute, definition, element, shape, short_name, split_scalar
from lumir.mlir import ir


@dataclass(frozen=True)
class Repeat:
    """`source` holds each element along dimension `axis` once, which comes `count` times in a row."""

    source: ir.Value
    axis: int
    count: int


@dataclass(frozen=True)
class Side:
    """An operand: `source` seen as shape `dims`, times `factor`.

    Attributes:
        labels: one a dimension of `dims`.
        repeat: how `source` comes from a smaller value, if it does.
    """

    source: ir.Value
    labels: str
    dims: Shape
    factor: float
    repeat: Repeat | None = None

    def sizes(self) -> dict[str, int]:
        return dict(zip(self.labels, self.dims, strict=True))

    def repeated(self, label: str) -> int:
        """How often each element along the label comes in a row, as far as it is known."""
        return self.repeat.count if self.repeat and self.labels[self.repeat.axis] == label else 1

    def arranged(self, groups: list[str], dims: Shape, once: bool = False) -> ir.Value:
        """Build the value without its factor, its labels in the order of `groups`, as shape `dims`.

        With `once` its repetition is left out, and `dims` is the shape without it.
        """
        source, seen = self.source, list(self.dims)
        if once and self.repeat:
            source = self.repeat.source
            seen[self.repeat.axis] //= self.repeat.count
        order = [self.labels.index(label) for group in groups for label in group]
        turned = build("transpose", build("reshape", source, shape=seen), permutation=order)
        return build("reshape", turned, shape=dims)


def look_through(value: ir.Value, labels: str, like: ir.Type) -> Side:
    """The side behind transposes, products with a number, and exact casts up from the element type `like`."""
    factor = 1.0
    while (op := definition(value, "transpose", "mul", "div", "cast")) is not None:
        if short_name(op) == "transpose":
            labels = inverse_permuted(labels, attribute(op, "permutation"))
            value = op.operands[0]
        elif short_name(op) == "cast":
            if element(op.operands[0]) != like or not holds(element(value), like):
                break
            value = op.operands[0]
        else:
            scaled = _unscaled(op)
            if scaled is None:
                break
            value, factor = scaled[0], factor * scaled[1]
    return _behind_reshape(value, labels, factor)


def _unscaled(op: ir.Operation) -> tuple[ir.Value, float] | None:
    split = split_scalar(op)
    if split is None or split[1] == 0 or not math.isfinite(split[1]):
        return None
    return split[0], split[1] if short_name(op) == "mul" else 1 / split[1]


def _behind_reshape(value: ir.Value, labels: str, factor: float) -> Side:
    """Go on behind a reshape, where a scale or the repetition of heads may be."""
    dims = shape(value)
    reshaped = definition(value, "reshape")
    source = reshaped.operands[0] if reshaped else value
    while (op := definition(source, "mul", "div")) is not None and (scaled := _unscaled(op)) is not None:
        source, factor = scaled[0], factor * scaled[1]
    return Side(source, labels, dims, factor, _repetition(source, dims))


def _repetition(value: ir.Value, dims: Shape) -> Repeat | None:
    """A broadcast along one dimension, which a reshape to `dims` then merges into those before it."""
    op = definition(value, "broadcast")
    if op is None:
        return None
    wide, narrow = shape(value), shape(op.operands[0])
    narrow = (1,) * (len(wide) - len(narrow)) + narrow
    grown = [axis for axis in range(len(wide)) if narrow[axis] != wide[axis]]
    groups = merged_groups(wide, dims)
    if len(grown) != 1 or groups is None:
        return None
    target = next(i for i, group in enumerate(groups) if grown[0] in group)
    behind = [wide[axis] for axis in groups[target] if axis > grown[0]]
    return Repeat(op.operands[0], target, wide[grown[0]]) if math.prod(behind) == 1 else None
