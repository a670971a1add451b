"""What one launch does with the rows of a tensor: reductions of each row, and what is computed from them for the row.

A norm and its quantisation by the largest element, a softmax written out in its five ops, a tensor over the sum of its
rows: the launch that reduces a row has it in registers, and goes on with it.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from lumir.dialects import attributes_of
from lumir.dispatch.fusion import ELEMENTWISE_OPS, ROW_ROOTS, dims, short_name
from lumir.kernels.memory import is_packed_type
from lumir.mlir import ir
from lumir.sizes import Shape, typical

Value = ir.Value
LONGEST_ROW = 1 << 16
"""Elements: workgroups have registers for that; of longer rows, the elements are better dealt out by themselves."""
MOST_OPS, MOST_OUTPUTS = 32, 4


@dataclass(frozen=True)
class Rows:
    """Rows along the last dimensions.

    Args:
        full: the shape of the tensor.
        kept: how many leading dimensions number the rows.
    """

    full: Shape
    kept: int

    @staticmethod
    def of(root: ir.OpView) -> "Rows | None":
        """The rows that an op reduces, if they lie along the last dimensions and are not too long."""
        if short_name(root) not in ROW_ROOTS:
            return None
        full, attributes = dims(root.operands[0]), attributes_of(root)
        axes = _axes(short_name(root), attributes, len(full))
        kept = len(full) - len(axes)
        size = typical(math.prod(full[kept:]))
        fits = axes == list(range(kept, len(full))) and 1 < size <= LONGEST_ROW
        return Rows(full, kept) if fits else None

    def has_one_each(self, shape: Shape) -> bool:
        """Whether it is the shape of one element for each row, reduced dimensions kept as 1 or left out."""
        return shape in (self.full[: self.kept], self.wide)

    @property
    def wide(self) -> Shape:
        """One element for each row, which broadcasts to the full shape."""
        return (*self.full[: self.kept], *(1 for _ in self.full[self.kept :]))

    def returns(self, op: ir.OpView) -> bool:
        """Whether a launch over the rows can return an element-wise op that it computes."""
        (result,) = op.results
        plain = short_name(op) in ELEMENTWISE_OPS and short_name(op) != "dequantize"
        return plain and dims(result) == self.full and not _is_packed(result)

    def takes(self, op: ir.OpView, inside: Callable[[Value], bool]) -> bool:
        """Whether an op that reads results of the chain belongs to it: each row's part follows from that row.

        Args:
            inside: whether a value is a result of the chain.
        """
        name, shape = short_name(op), dims(op.results[0])
        read = [dims(v) for v in op.operands if inside(v)]
        if _is_packed(op.results[0]):
            return False
        if name in ROW_ROOTS:
            return Rows.of(op) == self
        if name == "reshape":
            return self.has_one_each(shape) and self.has_one_each(read[0])
        if name not in ELEMENTWISE_OPS or name == "dequantize":
            return False
        allowed = (self.full, self.wide) if shape == self.full else (shape,)
        return (shape == self.full or self.has_one_each(shape)) and all(s in allowed for s in read)


def _is_packed(value: Value) -> bool:
    return is_packed_type(ir.RankedTensorType(value.type).element_type)


def _axes(name: str, attributes: dict, rank: int) -> list[int]:
    if name == "reduce":
        return sorted(axis % rank for axis in attributes["axes"])
    first = attributes["axis"] % rank
    return list(range(first, rank)) if name == "normalize" else [first]


@dataclass(frozen=True)
class RowChain:
    """The ops of one launch over rows.

    Args:
        ops: in program order.
        outputs: the results that others read.
    """

    ops: list[ir.OpView]
    outputs: list[Value]


def row_chain(
    start: Sequence[ir.OpView], following: Sequence[ir.OpView], free: Callable[[ir.OpView], bool]
) -> RowChain | None:
    """The chain that begins with a group around a row operation, if one launch is better than several.

    What reads a result of the chain through ops outside it stays outside too: a launch cannot wait for itself.

    Args:
        start: the group: the row operation, and element-wise ops on its result.
        following: the ops of the function after the row operation, in program order.
        free: whether an op is in no other launch.
    """
    rows = Rows.of(start[0])
    if rows is None:
        return None
    chain = {op.operation: op for op in start}
    beside: set[ir.Operation] = set()

    def inside(value: Value) -> bool:
        return not isinstance(value.owner, ir.Block) and value.owner in chain

    for op in following:
        if op.operation in chain:
            continue
        reads = any(inside(v) for v in op.operands)
        late = any(not isinstance(v.owner, ir.Block) and v.owner in beside for v in op.operands)
        wanted = (reads or _is_sibling(op, chain.values(), rows)) and not late
        if wanted and len(chain) < MOST_OPS and free(op) and rows.takes(op, inside):
            chain[op.operation] = op
        elif reads or late:
            beside.add(op.operation)
    ops = list(chain.values())
    outputs = [r for op in ops for r in op.results if any(use.owner.operation not in chain for use in r.uses)]
    return RowChain(ops, outputs) if _is_worth_it(ops, start, rows, outputs) else None


def _is_sibling(op: ir.OpView, chain: Iterable[ir.OpView], rows: Rows) -> bool:
    """Another reduction of a tensor that the chain reduces."""
    return Rows.of(op) == rows and any(Rows.of(other) and other.operands[0] == op.operands[0] for other in chain)


def _is_worth_it(chain: Sequence[ir.OpView], start: Sequence[ir.OpView], rows: Rows, outputs: Sequence[Value]) -> bool:
    """A row is read once for several reductions, or for a reduction and what its elements become by it."""
    if len(chain) == len(start) or len(outputs) > MOST_OUTPUTS:
        return False
    reductions = sum(short_name(op) in ROW_ROOTS for op in chain)
    shrinks = dims(start[0].results[0]) != rows.full
    return reductions > 1 or (shrinks and any(dims(op.results[0]) == rows.full for op in chain))
