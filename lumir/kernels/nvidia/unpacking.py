"""Words of 4- or 8-bit integers as pairs of 16-bit floats, by arithmetic on bits.

A thread reads 16 bytes of them at once. Integers become floats by arithmetic on bits: 0x6400 as f16 is 1024, and with
an integer of up to 10 bits or-ed in it is 1024 plus that. Two of them share a register, so a mask and an `or` make two
weights that are too large by a known base. The products take that along, and the sums lose it again: what it adds to
them is the same for all rows of the weight. Only where a scale must be applied first is the base subtracted at once.
Which two integers share a register follows from where they lie in the word; the activations, which are few, are put
into the same order.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from lumir.kernels.nvidia.dequantise import defining, widened_from
from lumir.linalg.generic import constant
from lumir.mlir import arith, ir, llvm, vector

Value = ir.Value


@dataclass(frozen=True)
class Unpacking:
    """How words of integers become pairs of floats.

    Args:
        bits: of an integer.
        element: f16 or bf16.
        signed: whether integers are two's complement.
        held: registers (i32) with some of the `masks`.
    """

    bits: int
    element: ir.Type
    signed: bool
    held: Mapping[int, Value] = field(default_factory=dict)

    def masks(self) -> list[int]:
        """What `biased` masks words with."""
        return [] if self.through_float32 else sorted({self._mask(place) for _, place, _, _ in self._steps()})

    def _mask(self, place: int) -> int:
        return (((1 << self.bits) - 1) << place) * 0x10001

    @property
    def through_float32(self) -> bool:
        """bf16 has 8 significant bits: no room to or an integer of 8 bits in."""
        return self.bits == 8 and isinstance(self.element, ir.BF16Type)

    def order(self) -> list[tuple[int, int]]:
        """The integers of a word, by number, that each pair holds."""
        if self.through_float32:
            return [(0, 1), (2, 3)]
        half = 16 // self.bits
        return [(i, i + half) for i in range(half)]

    def bases(self) -> list[float]:
        """What each pair of `biased` is too large by; 0 where the integers are in it as they are."""
        if self.through_float32:
            return [0.0, 0.0]
        return [base + self.offset for _, _, _, base in self._steps()]

    @property
    def offset(self) -> float:
        """What integers are counted up by before they are unpacked: none is negative then."""
        return float(1 << (self.bits - 1)) if self.signed else 0.0

    def biased(self, word: Value) -> list[Value]:
        """The pairs of a word as `vector<2xelement>`, in `order`, each element too large by the pair's base."""
        if self.signed:
            word = arith.XOrIOp(word, _i32(sum(1 << i for i in range(self.bits - 1, 32, self.bits)))).result
        if self.through_float32:
            return self._pairs_of_bytes(word)
        pairs = []
        for shift, place, magic, _ in self._steps():
            moved = arith.ShRUIOp(word, _i32(shift)).result if shift else word
            mask = self._mask(place)
            bits = _masked_or(moved, self.held[mask] if mask in self.held else _i32(mask), _i32(magic * 0x10001))
            pairs.append(llvm.BitcastOp(self._pair_type, bits).result)
        return pairs

    def pairs(self, word: Value, zero: Value | None) -> list[Value]:
        """The pairs of a word less `zero`, a scalar float or integer."""
        bases = self.bases()
        less = {base: self._less(zero, base) for base in dict.fromkeys(bases)}
        return [less[base](pair) for base, pair in zip(bases, self.biased(word), strict=True)]

    @property
    def _pair_type(self) -> ir.VectorType:
        return ir.VectorType.get([2], self.element)

    def _steps(self) -> list[tuple[int, int, int, float]]:
        """(shift, place of the integer, bits of the float that it is or-ed into, that float's value) of each pair."""
        if isinstance(self.element, ir.BF16Type):
            return [(4 * i, 0, 0x4300, 128.0) for i in range(4)]
        if self.bits == 8:
            return [(8 * i, 0, 0x6400, 1024.0) for i in range(2)]
        # An f16 of 64 counts in sixteenths: four places further up an integer needs no shift.
        return [(0, 0, 0x6400, 1024.0), (0, 4, 0x5400, 64.0), (8, 0, 0x6400, 1024.0), (8, 4, 0x5400, 64.0)]

    def _less(self, zero: Value | None, base: float) -> Callable[[Value], Value]:
        """Subtract base + zero, at once where that is exact: where zero is an integer."""
        if zero is None:
            amounts = [constant(base, self.element)] if base else []
        elif _is_whole(zero):
            amounts = [self._rounded(arith.AddFOp(as_float32(zero), constant(base, ir.F32Type.get())).result)]
        else:
            amounts = [*([constant(base, self.element)] if base else []), self._rounded(as_float32(zero))]
        wide = [vector.BroadcastOp(self._pair_type, amount).result for amount in amounts]

        def less(pair: Value) -> Value:
            for amount in wide:
                pair = arith.SubFOp(pair, amount).result
            return pair

        return less

    def _rounded(self, value: Value) -> Value:
        return arith.TruncFOp(self.element, value).result

    def _pairs_of_bytes(self, word: Value) -> list[Value]:
        f32, values = ir.F32Type.get(), []
        total = constant(float(1 << 23) + self.offset, f32)
        for i in range(4):
            moved = arith.ShRUIOp(word, _i32(8 * i)).result if i else word
            bits = arith.OrIOp(arith.AndIOp(moved, _i32(0xFF)).result, _i32(0x4B000000)).result
            values.append(arith.SubFOp(arith.BitcastOp(f32, bits).result, total).result)
        pairs = [vector.FromElementsOp(ir.VectorType.get([2], f32), values[i : i + 2]).result for i in (0, 2)]
        return [arith.TruncFOp(self._pair_type, pair).result for pair in pairs]


def _masked_or(value: Value, mask: Value, more: Value) -> Value:
    """value & mask | more, as one instruction."""
    text = f"lop3.b32 $0, $1, $2, $3, {0xF0 & 0xCC | 0xAA};"
    return llvm.inline_asm(value.type, [value, mask, more], text, "=r,r,r,n")


def _is_whole(zero: Value) -> bool:
    """Whether the value is known to be an integer."""
    op = defining(widened_from(zero))
    if isinstance(zero.type, ir.IntegerType) or op is None:
        return isinstance(zero.type, ir.IntegerType)
    if op.name == "arith.constant":
        return float(op.attributes["value"].value).is_integer()
    return op.name in ("arith.sitofp", "arith.uitofp")


def as_float32(value: Value) -> Value:
    """A scalar of an integer (signed, of 32 bits) or float type as f32."""
    f32 = ir.F32Type.get()
    if value.type == f32:
        return value
    if isinstance(value.type, ir.IntegerType):
        return arith.SIToFPOp(f32, value).result
    return arith.ExtFOp(f32, value).result


def _i32(value: int) -> Value:
    i32 = ir.IntegerType.get_signless(32)
    return arith.ConstantOp(i32, ir.IntegerAttr.get(i32, value - (1 << 32) if value >> 31 else value)).result
