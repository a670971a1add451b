"""Reductions that keep their dimensions, as exporters write them: reduce, reshape, and a division by the count."""

import math
from dataclasses import dataclass

from lumir.graph.values import attribute, definition, shape, short_name, split_scalar
from lumir.mlir import ir
from lumir.sizes import is_static


@dataclass(frozen=True)
class Mean:
    """A reduction of `source` over `axes`, whose result keeps them with size 1."""

    source: ir.Value
    axes: tuple[int, ...]


def match_reduction(value: ir.Value, kind: str) -> Mean | None:
    """`value` as a reduction that keeps its dimensions."""
    found = _match(value, kind)
    return found[0] if found and found[1] == 1 else None


def match_mean(value: ir.Value) -> Mean | None:
    """`value` as a mean that keeps its dimensions: the sum times 1 / n to a relative 1e-5."""
    found = _match(value, "sum")
    if found is None:
        return None
    mean, factor = found
    count = math.prod(shape(mean.source)[axis] for axis in mean.axes)
    return mean if is_static(count) and math.isclose(factor * count, 1, rel_tol=1e-5) else None


def _match(value: ir.Value, kind: str) -> tuple[Mean, float] | None:
    """The reduction behind reshapes and products with a number, and that number."""
    factor, current = 1.0, value
    while (op := definition(current, "reshape", "mul", "div")) is not None:
        if short_name(op) == "reshape":
            current = op.operands[0]
            continue
        split = split_scalar(op)
        if split is None or split[1] == 0:
            return None
        current = split[0]
        factor = factor * split[1] if short_name(op) == "mul" else factor / split[1]
    reduction = definition(current, "reduce")
    if reduction is None or attribute(reduction, "kind") != kind:
        return None
    source = reduction.operands[0]
    dims = shape(source)
    axes = tuple(sorted(axis % len(dims) for axis in attribute(reduction, "axes")))
    kept = tuple(1 if axis in axes else size for axis, size in enumerate(dims))
    return (Mean(source, axes), factor) if shape(value) == kept else None
