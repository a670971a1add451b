"""What only weights and constants reach is computed at compile time."""

from dataclasses import dataclass
from typing import ClassVar

from lumir.graph.derived_weights import Outliner, byte_count, expression
from lumir.graph.rewrite import drop_dead, functions
from lumir.graph.values import short_name
from lumir.mlir import ir
from lumir.passes.registry import register_pass
from lumir.reference.rules import RULES

LEFT = frozenset(["load", "constant", "iota", "broadcast"])
CHEAP = LEFT.union(
    ["reshape", "transpose", "slice", "pad", "concat", "select", "cast", "not", "and", "or", "xor"],
    ["add", "sub", "mul", "div", "neg", "abs", "min", "max", "eq", "ne", "lt", "le", "gt", "ge"],
)

SMALL = 1 << 16
"""Bytes that may be added to a weight, however small it was."""


@register_pass
@dataclass(frozen=True)
class FoldConstants:
    """Outline subgraphs of weights and constants into derived weights, which the artifact's writer computes.

    Requires: the `lumir` and `func` dialects.
    Guarantees: an op that only weights and constants reach is left in a function only if its result would take much
    more memory than what it is computed from (`max_growth` bytes, or half as much again and 64 KiB: packed integers
    stay what they are), if it broadcasts or counts, or if no weight reaches it and it is cheap: what costs nothing
    inside a kernel is better there. Equal derived weights are one.

        %0 = lumir.load @w                        lumir.derived_weight @w.transpose { ... lumir.transpose(load @w) ... }
        %1 = lumir.transpose(%0) [1, 0]     ->    %1 = lumir.load @w.transpose
    """

    name: ClassVar[str] = "lumir-fold-constants"
    max_growth: int = 1 << 20

    def run(self, module: ir.Module) -> None:
        outliner = Outliner(module)
        for block in functions(module):
            ops = [view.operation for view in block.operations]
            for value in self._roots(ops):
                value.replace_all_uses_with(outliner.outline(value))
        drop_dead(module)

    def _roots(self, ops: list[ir.Operation]) -> list[ir.Value]:
        """The values to outline, later ones first: those that something left in the function needs, if worth it."""
        foldable: set[ir.Value] = set()
        for op in ops:
            if _is_foldable(op) and all(operand in foldable for operand in op.operands):
                foldable.add(op.results[0])
        needed: set[ir.Value] = set()
        roots = []
        for op in reversed(ops):
            known = len(op.results) == 1 and op.results[0] in foldable
            if known and op.results[0] not in needed:
                continue
            if known and self._is_worth_it(op):
                roots.append(op.results[0])
            else:
                needed.update(op.operands)
        return roots

    def _is_worth_it(self, op: ir.Operation) -> bool:
        if short_name(op) in LEFT:
            return False
        ops = expression(op.results[0])
        sources = [o for o in ops if short_name(o) in ("load", "constant")]
        if not any(short_name(o) == "load" for o in sources) and all(short_name(o) in CHEAP for o in ops):
            return False
        held = sum(byte_count(o.results[0]) for o in sources)
        growth = byte_count(op.results[0]) - held
        return growth <= min(self.max_growth, max(held // 2, SMALL))


def _is_foldable(op: ir.Operation) -> bool:
    if len(op.results) != 1 or not ir.RankedTensorType(op.results[0].type).has_static_shape:
        return False
    return (short_name(op) in RULES and short_name(op) != "size") or short_name(op) in ("load", "constant")
