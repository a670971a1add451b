"""Buffers of a kernel: dense row-major memory behind a pointer, read and written a lane group at a time."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lumir.dtypes import bit_size, byte_size
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
        element: its element type; signedness does not matter here.
        alignment: what the pointer is known to be aligned to, in bytes.
        streamed: a GPU reads each element once, and nothing writes it meanwhile: loads leave the caches to others.
    """

    pointer: Value
    shape: tuple[int, ...]
    element: ir.Type
    alignment: int = 64
    streamed: bool = False

    @property
    def stored(self) -> ir.Type:
        """The type that memory holds: of an element, or of two where they are packed."""
        return stored_type(self.element)

    @property
    def packed(self) -> bool:
        """Two elements share a byte, the first in the low nibble."""
        return is_packed_type(self.element)


def held_type(element: ir.Type) -> ir.Type:
    """The type of an element in a register: integers are signless."""
    if isinstance(element, ir.IntegerType) and not element.is_signless:
        return ir.IntegerType.get_signless(element.width)
    return element


def stored_type(element: ir.Type) -> ir.Type:
    """The type that loads and stores of an element have: a byte for shorter integers and for 8-bit floats."""
    held = held_type(element)
    if isinstance(held, ir.IntegerType):
        return ir.IntegerType.get_signless(max(held.width, 8))
    return ir.IntegerType.get_signless(8) if byte_size(held) == 1 else held


def pattern_type(element: ir.Type) -> ir.Type:
    """The signless integer of an element's bits where those are at most 8; other types themselves."""
    held = held_type(element)
    if isinstance(held, ir.IntegerType) or bit_size(held) > 8:
        return held
    return ir.IntegerType.get_signless(bit_size(held))


def is_packed_type(element: ir.Type) -> bool:
    """The 4-bit types. Only a kernel that owns both elements of a byte may write one."""
    return bit_size(element) == 4


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
        if buffer.packed:
            return self._load_packed(buffer, at)
        if at.uniform or at.step == 1:
            lanes = 1 if at.uniform else self.index.lanes
            return self._from_stored(self._read(buffer, at, lanes), buffer.element)
        self.scattered += 1
        return self._from_stored(self._gather(buffer, at), buffer.element)

    def store(self, buffer: Buffer, place: Sequence[Index], value: Value) -> None:
        """Write a scalar at a uniform place, or a vector with one element a lane."""
        at = self.index.linearize(place, buffer.shape)
        if not at.uniform and not isinstance(value.type, ir.VectorType):
            value = self.index.splat(value)
        if buffer.packed:
            self._store_packed(buffer, at, value)
            return
        value = self._to_stored(value, buffer)
        if at.uniform or at.step == 1:
            self._write(buffer, at, value)
            return
        self.scattered += 1
        for lane, pointer in enumerate(self._lane_pointers(buffer, at)):
            element = vector.ExtractOp(value, [], [lane]).result
            llvm.StoreOp(element, pointer, alignment=byte_size(buffer.stored))

    def _read(self, buffer: Buffer, at: Index, lanes: int) -> Value:
        type_ = buffer.stored if lanes == 1 and at.uniform else ir.VectorType.get([lanes], buffer.stored)
        pointer = advance(buffer.pointer, buffer.stored, self.index.scalar(at.base))
        streamed = True if buffer.streamed else None
        alignment = self._alignment(buffer, at, lanes)
        return llvm.LoadOp(type_, pointer, alignment=alignment, nontemporal=streamed, invariant=streamed).result

    def _write(self, buffer: Buffer, at: Index, value: Value) -> None:
        pointer = advance(buffer.pointer, buffer.stored, self.index.scalar(at.base))
        lanes = 1 if at.uniform else self.index.lanes
        llvm.StoreOp(value, pointer, alignment=self._alignment(buffer, at, lanes))

    def _alignment(self, buffer: Buffer, at: Index, lanes: int) -> int:
        """The alignment of the access that is known, at least the element's and at most the access's size."""
        size = byte_size(buffer.stored)
        known = math.gcd(math.gcd(at.known * size, buffer.alignment), lanes * size * 64)
        return max(size, min(known, lanes * size))

    def _gather(self, buffer: Buffer, at: Index) -> Value:
        elements = [
            llvm.LoadOp(buffer.stored, pointer, alignment=byte_size(buffer.stored)).result
            for pointer in self._lane_pointers(buffer, at)
        ]
        return self._joined(elements)

    def _joined(self, elements: Sequence[Value]) -> Value:
        """The vector of these lanes."""
        result = llvm.PoisonOp(ir.VectorType.get([self.index.lanes], elements[0].type)).result
        for lane, element in enumerate(elements):
            result = vector.InsertOp(element, result, [], [lane]).result
        return result

    def _lane_pointers(self, buffer: Buffer, at: Index) -> list[Value]:
        if at.step is not None:
            first = advance(buffer.pointer, buffer.stored, self.index.scalar(at.base))
            steps = [lane * at.step for lane in range(self.index.lanes)]
            return [advance(first, buffer.stored, s if isinstance(s, int) else self.index.scalar(s)) for s in steps]
        places = [vector.ExtractOp(at.base, [], [lane]).result for lane in range(self.index.lanes)]
        return [advance(buffer.pointer, buffer.stored, place) for place in places]

    def _from_stored(self, value: Value, element: ir.Type) -> Value:
        """What was read as the element's own type: one of less than 8 bits is the byte's low bits."""
        held, pattern = like(value.type, held_type(element)), like(value.type, pattern_type(element))
        if isinstance(pattern_type(element), ir.IntegerType) and value.type != pattern:
            value = arith.TruncIOp(pattern, value).result
        return value if held == value.type else arith.BitcastOp(held, value).result

    def _to_stored(self, value: Value, buffer: Buffer) -> Value:
        stored = like(value.type, buffer.stored)
        if stored == value.type:
            return value
        if not isinstance(buffer.element, ir.IntegerType):
            pattern = arith.BitcastOp(like(value.type, pattern_type(buffer.element)), value).result
            return pattern if pattern.type == stored else arith.ExtUIOp(stored, pattern).result
        signed = buffer.element.width > 1 and not buffer.element.is_unsigned
        return (arith.ExtSIOp if signed else arith.ExtUIOp)(stored, value).result

    # -- two elements in a byte ----------------------------------------------------------------------------------------

    def _load_packed(self, buffer: Buffer, at: Index) -> Value:
        if at.uniform:
            return self._to_element(self._nibble(buffer, self.index.scalar(at.base)), buffer)
        lanes = self.index.lanes
        if at.step == 1 and at.known % 2 == 0 and lanes % 2 == 0:
            pairs = ir.VectorType.get([lanes // 2], buffer.stored)
            both = llvm.LoadOp(pairs, self._byte_pointer(buffer, at), alignment=1).result
            high = arith.ShRUIOp(both, _splat(pairs, 4)).result
            low, high = (
                arith.TruncIOp(ir.VectorType.get([lanes // 2], _nibble_type()), v).result for v in (both, high)
            )
            vector_type = ir.VectorType.get([lanes], _nibble_type())
            joined = ir.Operation.create("vector.interleave", [vector_type], [low, high]).result
            return self._to_element(joined, buffer)
        self.scattered += 1
        places = [vector.ExtractOp(self.index.wide(at), [], [lane]).result for lane in range(lanes)]
        return self._to_element(self._joined([self._nibble(buffer, place) for place in places]), buffer)

    def _store_packed(self, buffer: Buffer, at: Index, value: Value) -> None:
        value = self._to_nibble(value, buffer)
        if at.uniform:
            self._put_nibble(buffer, self.index.scalar(at.base), value)
            return
        lanes = self.index.lanes
        if at.step == 1 and at.known % 2 == 0 and lanes % 2 == 0:
            half = ir.VectorType.get([lanes // 2], _nibble_type())
            low, high = ir.Operation.create("vector.deinterleave", [half, half], [value]).results
            pairs = ir.VectorType.get([lanes // 2], buffer.stored)
            low, high = (arith.ExtUIOp(pairs, v).result for v in (low, high))
            both = arith.OrIOp(low, arith.ShLIOp(high, _splat(pairs, 4)).result).result
            llvm.StoreOp(both, self._byte_pointer(buffer, at), alignment=1)
            return
        self.scattered += 1
        for lane in range(lanes):
            place = vector.ExtractOp(self.index.wide(at), [], [lane]).result
            self._put_nibble(buffer, place, vector.ExtractOp(value, [], [lane]).result)

    def _byte_pointer(self, buffer: Buffer, at: Index) -> Value:
        byte = arith.ShRUIOp(self.index.scalar(at.base), self.index.constant(1)).result
        return advance(buffer.pointer, buffer.stored, byte)

    def _byte_of(self, buffer: Buffer, place: Value) -> tuple[Value, Value]:
        """The pointer to the byte of an element, and how far up the element is in it, as an i8: 0 or 4."""
        one = self.index.constant(1)
        pointer = advance(buffer.pointer, buffer.stored, arith.ShRUIOp(place, one).result)
        odd = arith.TruncIOp(buffer.stored, arith.AndIOp(place, one).result).result
        return pointer, arith.ShLIOp(odd, _splat(buffer.stored, 2)).result

    def _nibble(self, buffer: Buffer, place: Value) -> Value:
        pointer, shift = self._byte_of(buffer, place)
        byte = llvm.LoadOp(buffer.stored, pointer, alignment=1).result
        return arith.TruncIOp(_nibble_type(), arith.ShRUIOp(byte, shift).result).result

    def _put_nibble(self, buffer: Buffer, place: Value, value: Value) -> None:
        """Write one element and keep the other one of its byte."""
        pointer, shift = self._byte_of(buffer, place)
        byte = llvm.LoadOp(buffer.stored, pointer, alignment=1).result
        mask = arith.ShLIOp(_splat(buffer.stored, 15), shift).result
        kept = arith.AndIOp(byte, arith.XOrIOp(mask, _splat(buffer.stored, -1)).result).result
        new = arith.ShLIOp(arith.ExtUIOp(buffer.stored, value).result, shift).result
        llvm.StoreOp(arith.OrIOp(kept, new).result, pointer, alignment=1)

    def _to_element(self, nibble: Value, buffer: Buffer) -> Value:
        held = like(nibble.type, held_type(buffer.element))
        return nibble if held == nibble.type else arith.BitcastOp(held, nibble).result

    def _to_nibble(self, value: Value, buffer: Buffer) -> Value:
        nibble = like(value.type, _nibble_type())
        return value if nibble == value.type else arith.BitcastOp(nibble, value).result


def _nibble_type() -> ir.Type:
    return ir.IntegerType.get_signless(4)


def _splat(type_: ir.Type, number: int) -> Value:
    """An integer constant, in every lane where `type_` is a vector."""
    if not isinstance(type_, ir.VectorType):
        return arith.ConstantOp(type_, ir.IntegerAttr.get(type_, number)).result
    scalar = ir.IntegerAttr.get(type_.element_type, number)
    return arith.ConstantOp(type_, ir.DenseElementsAttr.get_splat(type_, scalar)).result


def like(type_: ir.Type, element: ir.Type) -> ir.Type:
    """`element`, or a vector of it where `type_` is a vector."""
    return ir.VectorType.get(type_.shape, element) if isinstance(type_, ir.VectorType) else element
