"""The number of keys that count where the data says it, as the kernels of attention use it: a bound of their loops."""

from lumir.kernels.attention_space import AttentionSpace
from lumir.kernels.dispatch import Dispatch
from lumir.kernels.evaluate import Evaluator
from lumir.kernels.index import Index, IndexMath
from lumir.kernels.nvidia.function import NvidiaKernel
from lumir.mlir import arith, ir

Value = ir.Value


class ValidKeys:
    """How many keys count for one batch; the code that asks the data for it stands where this is made.

    Args:
        batch: of the key head, in the kernel's index type.
        index: arithmetic of the width that is wanted.

    Attributes:
        length: 0 to the number of keys, whatever the data says.
    """

    def __init__(self, space: AttentionSpace, kernel: NvidiaKernel, batch: Index, index: IndexMath):
        assert space.band.length is not None
        self.space, self.index, self._of = space, index, space.band.length
        evaluator = kernel.evaluator()
        self._said = self._of.at(evaluator, space.score_place(evaluator.index, batch, Index(0), Index(0)))
        self._place = Index(_as(self._said, index.type))
        self.length = self._inside(self._place)

    def bind(self, evaluator: Evaluator) -> None:
        """Have scores use what was read here."""
        evaluator.bind(self._of.tensor, lambda _: self._said)

    def holds(self, key: Index) -> Value:
        """Whether a key is among them, i1."""
        return arith.CmpIOp(arith.CmpIPredicate.slt, self.index.scalar(key.base), self._end).result

    def first_of(self, row: Index) -> Index:
        """The first key that counts for a query position and those behind it."""
        first = self.space.band.first
        return Index(0) if first is None else self._inside(self.index.offset(self.index.add(row, self._place), first))

    def stop_of(self, row: Index) -> Index:
        """The first key that counts neither for a query position nor for those ahead of it."""
        last = self.space.band.last
        if last is None:
            return self.length
        stop = self._inside(self.index.offset(self.index.add(row, self._place), last + 1))
        return Index(arith.MinSIOp(self.index.scalar(stop.base), self._end).result)

    @property
    def _end(self) -> Value:
        return self.index.scalar(self.length.base)

    def _inside(self, at: Index) -> Index:
        return self.index.minimum(self.index.maximum(at, 0), self.space.shape[2])


def _as(value: Value, type_: ir.Type) -> Value:
    """An integer in another width; what does not fit is cut off, as `index_cast` does."""
    have, want = ir.IntegerType(value.type).width, ir.IntegerType(type_).width
    if have == want:
        return value
    return (arith.TruncIOp if want < have else arith.ExtSIOp)(type_, value).result


def length_is_unwritten(dispatch: Dispatch, space: AttentionSpace) -> bool:
    """Whether no kernel writes what the number of keys is computed from."""
    assert space.band.length is not None
    return _is_unwritten(space.band.length.tensor, dispatch.unwritten)


def _is_unwritten(value: Value, unwritten: list[Value]) -> bool:
    """Whether a value is computed from nothing else; bodies may read tensors that are no operands."""
    if isinstance(value.owner, ir.Block):
        return value in unwritten
    bodies = [op for region in value.owner.regions for block in region.blocks for op in block.operations]
    if any(op.operation.name == "tensor.extract" for op in bodies):
        return False
    return all(_is_unwritten(operand, unwritten) for operand in value.owner.operands)
