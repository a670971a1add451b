"""The shape of a selection of the first k elements in some order: what step 4 writes for `lumir.top_k`."""

from dataclasses import dataclass

from lumir.kernels.dispatch import Dispatch, shape_of
from lumir.kernels.loop_nest import LoopNest
from lumir.mlir import ir

Value = ir.Value


@dataclass(frozen=True)
class TopKSpace:
    """Two reductions over the last dimension: one counts the elements ahead of each, the other picks by that count.

    Args:
        count: counts, for every element, the elements that come before it.
        pick: gives, for every place up to k, the element with so many before it, and its index.
        ahead: the scalar of `count`'s body that says whether the second input's element comes before the first's.
    """

    count: LoopNest
    pick: LoopNest
    ahead: Value

    @staticmethod
    def of(dispatch: Dispatch) -> "TopKSpace | None":
        """The space of a dispatch that returns what `pick` gives, or a part of it."""
        if len(dispatch.reductions) != 2:
            return None
        count, pick = dispatch.reductions
        if len(count.inputs) != 2 or count.inputs[0] != count.inputs[1] or len(pick.outputs) != 2:
            return None
        if list(pick.inputs) != [count.inputs[0], count.op.results[0]] or len(count.outputs) != 1:
            return None
        added = _defining(list(count.block.operations)[-1].operands[0], "arith.addi")
        widened = None if added is None else _defining(added.operands[1], "arith.extui")
        if widened is None or any(result not in list(pick.op.results) for result in dispatch.results):
            return None
        return TopKSpace(count, pick, widened.operands[0])

    @property
    def source(self) -> Value:
        """The tensor that is selected from."""
        return self.count.inputs[0]

    @property
    def outer(self) -> tuple[int, ...]:
        return shape_of(self.source)[:-1]

    @property
    def size(self) -> int:
        """Elements to select from."""
        return shape_of(self.source)[-1]

    @property
    def k(self) -> int:
        return shape_of(self.pick.op.results[0])[-1]

    def comes_before(self, x: Value, x_index: Value, y: Value, y_index: Value) -> Value:
        """Write out whether element x comes before element y; of equal ones, the one with the lower index.

        Args:
            x, y: elements.
            x_index, y_index: their places in the last dimension, as integers.
        """
        block, rank = self.count.block, self.count.rank
        known: dict[Value, Value] = {block.arguments[0]: y, block.arguments[1]: x}
        for op in block.operations:
            name = op.operation.name
            if name == "linalg.index":
                known[op.results[0]] = x_index if op.attributes["dim"].value == rank - 1 else y_index
                continue
            if name == "linalg.yield" or block.arguments[2] in list(op.operands):
                continue
            operands = [known.get(v, v) for v in op.operands]
            types, attributes = [r.type for r in op.results], dict(op.operation.attributes.items())
            made = ir.Operation.create(name, results=types, operands=operands, attributes=attributes)
            known.update(zip(op.results, made.results, strict=True))
        return known[self.ahead]


def _defining(value: Value, name: str) -> ir.Operation | None:
    return None if isinstance(value.owner, ir.Block) or value.owner.name != name else value.owner.operation
