"""Which tensors of a dispatch are better written to memory, where a kernel computes every result element by itself.

Such a kernel writes out what an element depends on each time it needs it. An element that many others read, and that is
itself the end of a loop, is then computed over and over: the maximum of a row for every element of the row.
"""

import math

from lumir.kernels.dispatch import Dispatch, shape_of
from lumir.kernels.loop_nest import LoopNest
from lumir.mlir import ir
from lumir.sizes import typical

Value = ir.Value
Operation = ir.Operation | ir.OpView

_TRANSCENDENTAL = 12  # operations of arith that a function of math stands for, about
_ROUND_TRIP = 4  # what writing an element and reading it again costs, in operations
_WORTH = 4
"""A tensor is cut off where that saves at least this factor of the work on its elements."""


def recomputed(dispatch: Dispatch) -> list[Value]:
    """The results of `linalg.generic` operations that are worth a buffer of their own, in program order."""
    costs, asked = _costs(dispatch), Asked(dispatch)
    cut: list[Value] = []
    for op in reversed(dispatch.operations):
        evaluations = asked.of(op)
        if not evaluations:
            continue
        elements, cost = _elements(op.results[0]), costs[op.results[0]]
        repeats = evaluations * cost > _WORTH * elements * (cost + _ROUND_TRIP)
        if op.operation.name == "linalg.generic" and (repeats or asked.is_inner_loop(op)):
            cut += [result for result in op.results if asked.wants(result)]
            asked.read_by(op, elements)
        else:
            asked.read_by(op, evaluations)
    return [value for value in reversed(cut) if value not in dispatch.results]


class Asked:
    """How often a kernel that computes every result element by itself evaluates the elements of each tensor."""

    def __init__(self, dispatch: Dispatch):
        self._evaluations: dict[Value, float] = {v: _elements(v) for v in dispatch.results}
        self._in_loops: set[Value] = set()

    def wants(self, tensor: Value) -> bool:
        return self._evaluations.get(tensor, 0) > 0

    def of(self, op: Operation) -> float:
        return max((self._evaluations.get(result, 0.0) for result in op.results), default=0.0)

    def is_inner_loop(self, op: Operation) -> bool:
        """A reduction whose result another reduction reads."""
        return bool(LoopNest.of(op).reductions) and any(result in self._in_loops for result in op.results)

    def read_by(self, op: Operation, evaluations: float) -> None:
        """Note what so many evaluations of an operation read. Later operations come first."""
        in_loop = any(result in self._in_loops for result in op.results)
        in_loop |= op.operation.name == "linalg.generic" and bool(LoopNest.of(op).reductions)
        for operand, times in reads(op):
            self._evaluations[operand] = self._evaluations.get(operand, 0.0) + evaluations * times
            if in_loop:
                self._in_loops.add(operand)


def reads(op: Operation) -> list[tuple[Value, int]]:
    """The tensors that one element of an operation's result is computed from, and how many elements of each."""
    name = op.operation.name
    if name == "linalg.generic":
        nest = LoopNest.of(op)
        times = typical(math.prod(nest.sizes[i] for i in nest.reductions))
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
    return body * typical(math.prod(nest.sizes[i] for i in nest.reductions))


def _elements(value: Value) -> int:
    return typical(math.prod(shape_of(value)))
