"""Buffers of a kernel: dense row-major memory behind a pointer, read and written a lane group at a time."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lumir.dtypes import byte_size
from lumir.kernels.index import Index, IndexMath
from lumir.mlir import arith, ir, llvm, vector

Value = ir.Value
ANY_INDEX = -(2**31)  # llvm.getelementptr's marker for an index given as a value


@dataclass(frozen=True)
class Buffer:
    """A tensor in memory.

    Args:
        pointer: `!llvm.ptr` to its first element.
        shape: its dimensions.
        element: its signless element type; an i1 takes one byte.
        alignment: what the pointer is known to be aligned to, in bytes.
    """

    pointer: Value
    shape: tuple[int, ...]
    element: ir.Type
    alignment: int = 64

    @property
    def stored(self) -> ir.Type:
        """The element type as memory holds it."""
        return ir.IntegerType.get_signless(8) if _is_bool(self.element) else self.element


def _is_bool(type_: ir.Type) -> bool:
    return isinstance(type_, ir.IntegerType) and type_.width == 1


def pointer_type(space: int | None = None) -> ir.Type:
    return ir.Type.parse(f"!llvm.ptr<{space}>" if space else "!llvm.ptr")


def advance(pointer: Value, element: ir.Type, by: Value | int) -> Value:
    """The pointer `by` elements further on."""
    if isinstance(by, int):
        return llvm.GEPOp(pointer.type, pointer, [], [by], element, None).result if by else pointer
    return llvm.GEPOp(pointer.type, pointer, [by], [ANY_INDEX], element, None).result


class Memory:
    """Loads and stores at places, with the widest access that the index arithmetic proves."""

    def __init__(self, index: IndexMath):
        self.index = index
        self.scattered = 0  # accesses that were split into lanes

    def load(self, buffer: Buffer, place: Sequence[Index]) -> Value:
        """The element at a uniform place as a scalar, else a vector with one element a lane."""
        at = self.index.linearize(place, buffer.shape)
        if at.uniform or at.step == 1:
            lanes = 1 if at.uniform else self.index.lanes
            return self._from_stored(self._read(buffer, at, lanes), buffer.element)
        self.scattered += 1
        return self._from_stored(self._gather(buffer, at), buffer.element)

    def store(self, buffer: Buffer, place: Sequence[Index], value: Value) -> None:
        """Write a scalar at a uniform place, or a vector with one element a lane."""
        at = self.index.linearize(place, buffer.shape)
        value = self._to_stored(value, buffer)
        if not at.uniform and not isinstance(value.type, ir.VectorType):
            value = self.index.splat(value)
        if at.uniform or at.step == 1:
            pointer = advance(buffer.pointer, buffer.stored, self.index.scalar(at.base))
            lanes = 1 if at.uniform else self.index.lanes
            llvm.StoreOp(value, pointer, alignment=self._alignment(buffer, at, lanes))
            return
        self.scattered += 1
        for lane, pointer in enumerate(self._lane_pointers(buffer, at)):
            element = vector.ExtractOp(value, [], [lane]).result
            llvm.StoreOp(element, pointer, alignment=byte_size(buffer.stored))

    def _read(self, buffer: Buffer, at: Index, lanes: int) -> Value:
        type_ = buffer.stored if lanes == 1 and at.uniform else ir.VectorType.get([lanes], buffer.stored)
        pointer = advance(buffer.pointer, buffer.stored, self.index.scalar(at.base))
        return llvm.LoadOp(type_, pointer, alignment=self._alignment(buffer, at, lanes)).result

    def _alignment(self, buffer: Buffer, at: Index, lanes: int) -> int:
        """The alignment of the access that is known, at least the element's and at most the access's size."""
        size = byte_size(buffer.stored)
        known = math.gcd(math.gcd(at.known * size, buffer.alignment), lanes * size * 64)
        return max(size, min(known, lanes * size))

    def _gather(self, buffer: Buffer, at: Index) -> Value:
        type_ = ir.VectorType.get([self.index.lanes], buffer.stored)
        result = llvm.PoisonOp(type_).result
        for lane, pointer in enumerate(self._lane_pointers(buffer, at)):
            element = llvm.LoadOp(buffer.stored, pointer, alignment=byte_size(buffer.stored)).result
            result = vector.InsertOp(element, result, [], [lane]).result
        return result

    def _lane_pointers(self, buffer: Buffer, at: Index) -> list[Value]:
        if at.step is not None:
            first = advance(buffer.pointer, buffer.stored, self.index.scalar(at.base))
            return [advance(first, buffer.stored, lane * at.step) for lane in range(self.index.lanes)]
        places = [vector.ExtractOp(at.base, [], [lane]).result for lane in range(self.index.lanes)]
        return [advance(buffer.pointer, buffer.stored, place) for place in places]

    def _from_stored(self, value: Value, element: ir.Type) -> Value:
        if not _is_bool(element):
            return value
        return arith.TruncIOp(like(value.type, element), value).result

    def _to_stored(self, value: Value, buffer: Buffer) -> Value:
        if not _is_bool(buffer.element):
            return value
        return arith.ExtUIOp(like(value.type, buffer.stored), value).result


def like(type_: ir.Type, element: ir.Type) -> ir.Type:
    """`element`, or a vector of it where `type_` is a vector."""
    return ir.VectorType.get(type_.shape, element) if isinstance(type_, ir.VectorType) else element
