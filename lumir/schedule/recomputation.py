"""Which tensors of a dispatch are better written to memory, where a kernel computes every result element by itself.

Such a kernel writes out what an element depends on each time it needs it. An element that many others read, and that is
itself the end of a loop, is then computed over and over: the maximum of a row for every element of the row.
"""

import math

from lumir.kernels.dispatch import Dispatch, shape_of
from lumir.kernels.evaluate import LoopNest
from lumir.mlir import ir

Value = ir.Value
Operation = ir.Operation | ir.OpView

_TRANSCENDENTAL = 12  # operations of arith that a function of math stands for, about
_ROUND_TRIP = 4  # what writing an element and reading it again costs, in operations
_WORTH = 4
"""A tensor is cut off where that saves at least this factor of the work on its elements."""


def recomputed(dispatch: Dispatch) -> list[Value]:
    """The results of `linalg.generic` operations that are worth a buffer of their own, in program order."""
    costs = _costs(dispatch)
    evaluations: dict[Value, float] = {}
    for result in dispatch.results:
        evaluations[result] = math.prod(shape_of(result))
    cut: list[Value] = []
    for op in reversed(dispatch.operations):
        asked = max((evaluations.get(result, 0.0) for result in op.results), default=0.0)
        if not asked:
            continue
        elements = math.prod(shape_of(op.results[0]))
        cost = costs[op.results[0]]
        if op.operation.name == "linalg.generic" and asked * cost > _WORTH * elements * (cost + _ROUND_TRIP):
            cut += [result for result in op.results if evaluations.get(result)]
            asked = elements
        for operand, times in reads(op):
            evaluations[operand] = evaluations.get(operand, 0.0) + asked * times
    return [value for value in reversed(cut) if value not in dispatch.results]


def reads(op: Operation) -> list[tuple[Value, int]]:
    """The tensors that one element of an operation's result is computed from, and how many elements of each."""
    name = op.operation.name
    if name == "linalg.generic":
        nest = LoopNest.of(op)
        times = math.prod(nest.sizes[i] for i in nest.reductions)
        inner = [(value, times) for value in captured(op)]
        return [*((v, times) for v in nest.inputs), *((v, 1) for v in nest.outputs), *inner]
    return [(value, 1) for value in [*op.operands, *captured(op)] if isinstance(value.type, ir.RankedTensorType)]


def captured(op: Operation) -> list[Value]:
    """Tensors that the operation's body reads by `tensor.extract`."""
    bodies = [block for region in op.regions for block in region.blocks]
    inner = [op for body in bodies for op in body.operations]
    return [op.operands[0] for op in inner if op.operation.name == "tensor.extract"]


def _costs(dispatch: Dispatch) -> dict[Value, float]:
    """The operations that one element of each tensor takes, everything it depends on included."""
    costs: dict[Value, float] = dict.fromkeys(dispatch.arguments, 1.0)
    for op in dispatch.operations:
        cost = sum(costs.get(value, 0.0) * times for value, times in reads(op)) + _own_cost(op)
        costs.update(dict.fromkeys(op.results, cost))
    return costs


def _own_cost(op: Operation) -> float:
    if op.operation.name != "linalg.generic":
        return 0.0
    nest = LoopNest.of(op)
    names = [inner.operation.name for inner in nest.block.operations]
    body = sum(_TRANSCENDENTAL if name.startswith("math.") else 1 for name in names[:-1])
    return body * math.prod(nest.sizes[i] for i in nest.reductions)
