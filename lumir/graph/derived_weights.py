"""Outlining: a value that only weights and constants reach becomes a `lumir.derived_weight` that is loaded."""

import math
from collections.abc import Iterable

from lumir.dialects import build
from lumir.dtypes import bit_size
from lumir.graph.values import definition, short_name
from lumir.mlir import ir

Key = tuple[tuple[str, ...], ...]


def byte_count(value: ir.Value) -> int:
    type_ = ir.RankedTensorType(value.type)
    return -(-math.prod(type_.shape) * bit_size(type_.element_type) // 8)


class Outliner:
    """Makes derived weights of one module; equal ones are made once."""

    def __init__(self, module: ir.Module):
        self.module = module
        self._names: set[str] = set()
        self._made: dict[Key, str] = {}
        for view in module.body.operations:
            if "sym_name" in view.operation.attributes:
                self._names.add(view.operation.attributes["sym_name"].value)
            if view.operation.name == "lumir.derived_weight":
                *ops, _ = (inner.operation for inner in view.operation.regions[0].blocks[0].operations)
                self._made.setdefault(_key(ops), view.operation.attributes["sym_name"].value)

    def outline(self, value: ir.Value) -> ir.Value:
        """Build a load of the derived weight that holds `value`, right before the op that computes it."""
        root = value.owner.operation
        ops = expression(value)
        key = _key(ops)
        if key not in self._made:
            self._made[key] = self._name(ops)
            self._define(self._made[key], ops, value)
        with ir.InsertionPoint(root), root.location:
            return build("load", results=[value.type], weight=ir.FlatSymbolRefAttr.get(self._made[key]))

    def _define(self, name: str, ops: list[ir.Operation], value: ir.Value) -> None:
        function = value.owner.operation
        while function.parent.operation != self.module.operation:
            function = function.parent.operation
        attributes = {"sym_name": ir.StringAttr.get(name), "type": ir.TypeAttr.get(value.type)}
        with ir.InsertionPoint(function), ops[-1].location:
            weight = ir.Operation.create("lumir.derived_weight", attributes=attributes, regions=1)
        copies: dict[ir.Value, ir.Value] = {}
        with ir.InsertionPoint(weight.regions[0].blocks.append()):
            for op in ops:
                copy = op.clone().operation
                for i, operand in enumerate(op.operands):
                    copy.operands[i] = copies[operand]
                copies[op.results[0]] = copy.results[0]
            with ops[-1].location:
                build("yield", copies[value], results=[])

    def _name(self, ops: list[ir.Operation]) -> str:
        loads = [op for op in ops if short_name(op) == "load"]
        first = loads[0].attributes["weight"].value if loads else "constant"
        stem = f"{first}.{short_name(ops[-1])}"
        name, count = stem, 1
        while name in self._names:
            name, count = f"{stem}.{count}", count + 1
        self._names.add(name)
        return name


def expression(value: ir.Value) -> list[ir.Operation]:
    """The ops that compute `value`, operands first; each has one result."""
    order: list[ir.Operation] = []
    seen: set[ir.Operation] = set()

    def visit(current: ir.Value) -> None:
        op = definition(current)
        if op is None or op in seen:
            return
        seen.add(op)
        for operand in op.operands:
            visit(operand)
        order.append(op)

    visit(value)
    return order


def _key(ops: Iterable[ir.Operation]) -> Key:
    """Equal for expressions that compute the same."""
    places: dict[ir.Value, str] = {}
    key = []
    for op in ops:
        attributes = sorted(f"{name}={op.attributes[name]}" for name in op.attributes)
        key.append((op.name, *attributes, *(places[operand] for operand in op.operands), str(op.results[0].type)))
        places[op.results[0]] = f"%{len(places)}"
    return tuple(key)
