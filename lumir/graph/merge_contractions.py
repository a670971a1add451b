"""Projections of one value by several weights, as one contraction."""

from dataclasses import dataclass
from typing import ClassVar

from lumir.dialects import build
from lumir.dialects.contraction import parse_equation
from lumir.graph.derived_weights import Outliner
from lumir.graph.rewrite import erase_with_producers, functions
from lumir.graph.values import attribute, definition, shape, short_name
from lumir.mlir import ir
from lumir.passes.registry import register_pass


@register_pass
@dataclass(frozen=True)
class MergeContractions:
    """Merge contractions of one value with weights of equal labels: query, key and value; gate and up.

    Requires: canonical form; weights as plain loads (`lumir-fold-constants`).
    Guarantees: no two contractions read one left operand under one equation with weights that differ only in the size
    of one dimension of the result, unless the merged result would be wider than `max_width`.

        %1 = lumir.contract(%x, load @q)  "mk,kn->mn"         %0 = lumir.contract(%x, load @q.concat)  "mk,kn->mn"
        %2 = lumir.contract(%x, load @k)  "mk,kn->mn"   ->    %1, %2 = lumir.slice(%0) ...
    """

    name: ClassVar[str] = "lumir-merge-contractions"
    max_width: int = 1 << 16

    def run(self, module: ir.Module) -> None:
        outliner = Outliner(module)
        for block in functions(module):
            groups: dict[tuple, list[ir.Operation]] = {}
            for view in block.operations:
                if (key := _key(view.operation)) is not None:
                    groups.setdefault(key, []).append(view.operation)
            for group in groups.values():
                if len(group) > 1 and sum(_width(op) for op in group) <= self.max_width:
                    _merge(group, outliner)


def _free_label(op: ir.Operation) -> str | None:
    """The only label that the right operand alone has."""
    left, right, _ = parse_equation(attribute(op, "equation"))
    free = [label for label in right if label not in left]
    return free[0] if len(free) == 1 else None


def _width(op: ir.Operation) -> int:
    _, right, _ = parse_equation(attribute(op, "equation"))
    return shape(op.operands[1])[right.index(_free_label(op) or right[0])]


def _key(op: ir.Operation) -> tuple | None:
    """Equal for contractions that can be merged."""
    if short_name(op) != "contract" or definition(op.operands[1], "load") is None:
        return None
    label = _free_label(op)
    if label is None:
        return None
    _, right, _ = parse_equation(attribute(op, "equation"))
    dims = list(shape(op.operands[1]))
    dims[right.index(label)] = -1
    type_ = str(ir.RankedTensorType(op.operands[1].type).element_type)
    return op.operands[0], attribute(op, "equation"), str(attribute(op, "to")), tuple(dims), type_


def _merge(group: list[ir.Operation], outliner: Outliner) -> None:
    first, label = group[0], _free_label(group[0])
    _, right, out = parse_equation(attribute(first, "equation"))
    axis = right.index(label or "")
    with ir.InsertionPoint(first), ir.Location.fused([op.location for op in group]):
        weights = [_load_again(op) for op in group]
        total = weights[0]
        for weight in weights[1:]:
            total = build("concat", total, weight, axis=axis)
        merged = build(
            "contract",
            first.operands[0],
            outliner.outline(total),
            equation=attribute(first, "equation"),
            to=attribute(first, "to"),
        )
    erase_with_producers(total.owner.operation)
    start, place = 0, out.index(label or "")
    for op in group:
        sizes = shape(op.results[0])
        starts = [start if i == place else 0 for i in range(len(sizes))]
        with ir.InsertionPoint(op), op.location:
            part = build("slice", merged, starts=starts, sizes=sizes, steps=[1] * len(sizes))
        start += sizes[place]
        op.results[0].replace_all_uses_with(part)
        erase_with_producers(op)


def _load_again(op: ir.Operation) -> ir.Value:
    """The op's weight, loaded at the insertion point, which may come before the load that the op uses."""
    weight = op.operands[1]
    return build("load", results=[weight.type], weight=weight.owner.operation.attributes["weight"])
