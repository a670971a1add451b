"""The shape of a running reduction: what step 4 writes for `lumir.scan`, found again by its structure."""

from dataclasses import dataclass

from lumir.kernels.dispatch import Dispatch
from lumir.kernels.index import Index, IndexMath
from lumir.kernels.loop_nest import LoopNest
from lumir.kernels.reduction import COMBINERS
from lumir.mlir import arith, ir

Value = ir.Value
_BEFORE, _BEHIND = arith.CmpIPredicate.slt, arith.CmpIPredicate.sgt
_UP_TO, _FROM = arith.CmpIPredicate.sle, arith.CmpIPredicate.sge


@dataclass(frozen=True)
class ScanSpace:
    """result[i] joins the elements that stand before i along `axis`, itself included unless `exclusive`.

    Args:
        nest: the operation; its one reduction runs over the source's places along `axis`.
        reverse: the elements that stand behind i.
    """

    nest: LoopNest
    axis: int
    exclusive: bool
    reverse: bool

    @staticmethod
    def of(dispatch: Dispatch) -> "ScanSpace | None":
        """The space of the dispatch's only reduction, if it is `select(source <= place, joined, total)`."""
        if len(dispatch.reductions) != 1:
            return None
        (nest,) = dispatch.reductions
        if len(nest.reductions) != 1 or len(nest.inputs) != 1 or len(nest.outputs) != 1:
            return None
        chosen = _defining(list(nest.block.operations)[-1].operands[0], "arith.select")
        if chosen is None or nest.argument_number(chosen.operands[2]) != 1:
            return None
        taken = _defining(chosen.operands[0], "arith.cmpi")
        if taken is None:
            return None
        places = [op for op in (_defining(side, "linalg.index") for side in taken.operands) if op is not None]
        if len(places) != 2:
            return None
        source, axis = (place.attributes["dim"].value for place in places)
        predicate = taken.attributes["predicate"].value
        if source != nest.reductions[0] or predicate not in (_BEFORE, _BEHIND, _UP_TO, _FROM):
            return None
        return ScanSpace(nest, axis, predicate in (_BEFORE, _BEHIND), predicate in (_BEHIND, _FROM))

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.nest.sizes[: self.nest.rank - 1])

    @property
    def combiner(self) -> str | None:
        """The operation that joins an element into the total, if that is all that the body does with the total."""
        total = self.nest.block.arguments[1]
        joined = list(self.nest.block.operations)[-1].operands[0].owner.operands[1]
        owner = joined.owner
        plain = not isinstance(owner, ir.Block) and owner.name in COMBINERS and total in list(owner.operands)
        return owner.name if plain else None

    def dims(self, index: IndexMath, place: tuple[Index, ...]) -> list[Index]:
        """The iteration dimensions at which the body joins the element at `place`: a result that takes it in."""
        step = (-1 if self.reverse else 1) if self.exclusive else 0
        dims = [*place, place[self.axis]]
        dims[self.axis] = index.offset(place[self.axis], step)
        return dims


def _defining(value: Value, name: str) -> ir.Operation | None:
    return None if isinstance(value.owner, ir.Block) or value.owner.name != name else value.owner
