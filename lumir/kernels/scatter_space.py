"""The shape of a scatter: what step 4 writes for `lumir.scatter_elements` and `lumir.scatter_nd`."""

from dataclasses import dataclass

from lumir.kernels.dispatch import Dispatch
from lumir.kernels.loop_nest import LoopNest
from lumir.mlir import arith, ir

Value = ir.Value


@dataclass(frozen=True)
class ScatterSpace:
    """Steps that each change the elements of the result at one place along some dimensions, and leave all others.

    Args:
        nest: the operation; its reduction runs over the steps, its output starts as the tensor that is scattered into.
        targets: dimension -> the scalar of the body that says at which place along it a step writes.
    """

    nest: LoopNest
    targets: dict[int, Value]

    @staticmethod
    def of(dispatch: Dispatch) -> "ScatterSpace | None":
        """The space of a dispatch that returns `select(target == place & ..., changed, old)` over all steps."""
        if len(dispatch.reductions) != 1:
            return None
        (nest,) = dispatch.reductions
        if len(nest.outputs) != 1 or dispatch.results != list(nest.op.results):
            return None
        chosen = _defining(list(nest.block.operations)[-1].operands[0], "arith.select")
        if chosen is None or nest.argument_number(chosen.operands[2]) != len(nest.inputs):
            return None
        targets: dict[int, Value] = {}
        for condition in _conjuncts(chosen.operands[0]):
            place = _target(condition)
            if place is not None and place[0] not in nest.reductions:
                targets[place[0]] = place[1]
        if not targets or any(_depends_on(value, set(targets)) for value in targets.values()):
            return None
        return ScatterSpace(nest, targets)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.nest.sizes[: self.nest.rank - len(self.nest.reductions)])

    @property
    def steps(self) -> tuple[int, ...]:
        return tuple(self.nest.sizes[i] for i in self.nest.reductions)

    @property
    def places(self) -> tuple[int, ...]:
        """The dimensions along which a step writes at one place, ascending."""
        return tuple(sorted(self.targets))


def _conjuncts(condition: Value) -> list[Value]:
    both = _defining(condition, "arith.andi")
    return [condition] if both is None else [part for side in both.operands for part in _conjuncts(side)]


def _target(condition: Value) -> tuple[int, Value] | None:
    """d and t of `t == index d`."""
    equal = _defining(condition, "arith.cmpi")
    if equal is None or equal.attributes["predicate"].value != arith.CmpIPredicate.eq:
        return None
    index = _defining(equal.operands[1], "linalg.index")
    return None if index is None else (index.attributes["dim"].value, equal.operands[0])


def _depends_on(value: Value, dims: set[int]) -> bool:
    if isinstance(value.owner, ir.Block):
        return False
    op = value.owner.operation
    if op.name == "linalg.index":
        return op.attributes["dim"].value in dims
    return any(_depends_on(operand, dims) for operand in op.operands if not isinstance(operand.type, ir.ShapedType))


def _defining(value: Value, name: str) -> ir.Operation | None:
    return None if isinstance(value.owner, ir.Block) or value.owner.name != name else value.owner.operation
