"""The address of a linalg tensor's elements, where reading them is reading memory: what cp.async needs."""

import math
from dataclasses import dataclass

from lumir.dtypes import byte_size
from lumir.kernels.contraction_space import View
from lumir.kernels.dispatch import shape_of
from lumir.kernels.index import Index, IndexMath, Place
from lumir.kernels.loop_nest import LoopNest
from lumir.kernels.memory import Buffer, advance
from lumir.kernels.nvidia.mma import all_of
from lumir.kernels.tensor_ops import mixed_sizes
from lumir.kernels.windows import pads_with_zero
from lumir.mlir import ir
from lumir.sizes import maximum

Value = ir.Value


@dataclass(frozen=True)
class Address:
    """`lanes` consecutive elements of a buffer.

    Args:
        buffer: the memory.
        at: row-major position of lane 0.
        inside: an i1 that is false where zeros are to be read instead; None where that never happens.
    """

    buffer: Buffer
    at: Index
    inside: Value | None = None

    def pointer(self, index: IndexMath) -> Value:
        return advance(self.buffer.pointer, self.buffer.stored, index.scalar(self.at.base))

    @property
    def alignment(self) -> int:
        """What the address is known to be a multiple of, in bytes."""
        return math.gcd(self.at.known * byte_size(self.buffer.stored), self.buffer.alignment)


def address_of(index: IndexMath, buffers: dict[Value, Buffer], tensor: Value, view: View) -> Address | None:
    """Where the lanes at a place lie in memory, through views, transposes, slices and zero padding.

    None where an element is computed rather than read, or where the lanes are not consecutive.
    """
    inside: Value | None = None
    while tensor not in buffers:
        if isinstance(tensor.owner, ir.Block):
            return None
        op = tensor.owner.opview
        if op.operation.name in _SAME_ORDER:
            tensor = op.operands[0]
            continue
        found = _moved(index, op, view.place_in(index, shape_of(tensor)))
        if found is None:
            return None
        tensor, place, hit = found
        view = View(shape_of(tensor), place)
        inside = all_of([inside, hit])
    at = index.linearize(view.place, view.shape)
    return Address(buffers[tensor], at, inside) if at.step == int(index.lanes > 1) else None


_SAME_ORDER = ("tensor.collapse_shape", "tensor.expand_shape", "builtin.unrealized_conversion_cast")


def _moved(index: IndexMath, op: ir.OpView, place: Place) -> tuple[Value, Place, Value | None] | None:
    """The tensor and place that an operation copies from, and whether there is an element (else zero)."""
    name = op.operation.name
    if name == "tensor.extract_slice":
        starts, steps = mixed_sizes(op, "static_offsets", 1), tuple(op.attributes["static_strides"])
        moved = (index.offset(index.scale(i, k), s) for i, s, k in zip(place, starts, steps, strict=True))
        return op.operands[0], tuple(moved), None
    if name == "tensor.pad":
        return _padded(index, op, place)
    return _copied(index, LoopNest.of(op), place) if name == "linalg.generic" else None


def _copied(index: IndexMath, nest: LoopNest, place: Place) -> tuple[Value, Place, None] | None:
    """A generic that yields one of its inputs is a copy."""
    operations = list(nest.block.operations)
    if nest.reductions or len(operations) != 1 or len(operations[0].operands) != 1:
        return None
    number = nest.argument_number(operations[0].operands[0])
    if number is None or number >= len(nest.inputs):
        return None
    dims = nest.dims_at(place)
    return nest.inputs[number], tuple(index.evaluate(e, dims) for e in nest.maps[number].results), None


def _padded(index: IndexMath, op: ir.OpView, place: Place) -> tuple[Value, Place, Value | None] | None:
    """The source at a place kept inside it; None where lanes could fall on both sides."""
    if not pads_with_zero(op):
        return None
    moved, inside = [], None
    low, result = mixed_sizes(op, "static_low", 1), op.results[0]
    for at, lo, size, padded in zip(place, low, shape_of(op.operands[0]), shape_of(result), strict=True):
        if size == padded:
            moved.append(at)
            continue
        if not at.uniform:
            return None
        shifted = index.offset(at, -lo)
        inside = all_of([inside, index.below(shifted, size)])
        moved.append(index.minimum(index.maximum(shifted, 0), maximum(size - 1, 0)))
    return op.operands[0], tuple(moved), inside
