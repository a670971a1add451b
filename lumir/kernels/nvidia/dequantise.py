"""Weights of 4 or 8 bits as operands of tensor cores: what a dispatch makes of them is `(q - zero) * scale`.

A thread reads 16 bytes of them at once. Integers become floats by arithmetic on bits: 0x6400 as f16 is 1024, and with
an integer of up to 10 bits or-ed in it is 1024 plus that. Two of them share a register, so a mask and an `or` make two
weights that are too large by a known base. The products take that along, and the sums lose it again: what it adds to
them is the same for all rows of the weight. Only where a scale must be applied first is the base subtracted at once.
Which two integers share a register follows from where they lie in the word; the activations, which are few, are put
into the same order.

The formula is not looked for among tensors: the operand's element is written out where it is needed, as for any other
kernel, with a stand-in for the integer, and the code that came out is read.
"""

from collections.abc import Callable
from dataclasses import dataclass

from lumir.kernels.dispatch import Dispatch, element_of, shape_of
from lumir.kernels.evaluate import Evaluator, LoopNest
from lumir.kernels.index import Index, Place
from lumir.kernels.memory import Buffer, advance, held_type
from lumir.linalg.generic import constant
from lumir.mlir import arith, ir, llvm, vector

Value = ir.Value
WORD = 32
LOAD_BITS = 128


@dataclass(frozen=True)
class Formula:
    """What one element of an operand is made of.

    Args:
        signed: whether q counts from -2**(bits - 1).
        zero: a scalar of an integer or float type, or None for 0.
        scale: a scalar of a float type, or None for 1.
    """

    signed: bool
    zero: Value | None
    scale: Value | None


def packed_argument(dispatch: Dispatch, operand: Value) -> Value | None:
    """The one argument of 4- or 8-bit integers that an operand has its elements from, one each; None without one."""
    found, count = set(), _elements(operand)
    waiting, seen = [operand], set()
    while waiting:
        value = waiting.pop()
        if value in seen or not isinstance(value.type, ir.RankedTensorType):
            continue
        seen.add(value)
        if value in dispatch.arguments:
            kind = element_of(value)
            if isinstance(kind, ir.IntegerType) and kind.width in (4, 8) and _elements(value) >= count:
                found.add(value)
        elif not isinstance(value.owner, ir.Block):
            waiting += list(value.owner.operands)
    return found.pop() if len(found) == 1 else None


def keeps_rows(operand: Value, argument: Value, size: int) -> bool:
    """Whether each run of `size` elements of an operand is one of the argument that it has its elements from."""
    value = operand
    while value != argument:
        op = _defining(value)
        if op is None:
            return False
        if op.name == "linalg.generic":
            nest = LoopNest.of(op)
            identity = ir.AffineMap.get_identity(nest.rank)
            sources = [v for v, m in zip(nest.inputs, nest.maps) if m == identity and depends_on(v, argument)]
            if nest.reductions or nest.output_maps[0] != identity or len(sources) != 1:
                return False
            value = sources[0]
        elif op.name in _SAME_ORDER or (op.name == "tensor.extract_slice" and _cuts_rows(op, size)):
            value = op.operands[0]
        else:
            return False
    return True


_SAME_ORDER = ("tensor.collapse_shape", "tensor.expand_shape", "builtin.unrealized_conversion_cast")


def depends_on(value: Value, argument: Value) -> bool:
    """Whether a tensor depends on the argument."""
    if value == argument:
        return True
    op = _defining(value)
    return op is not None and any(depends_on(operand, argument) for operand in op.operands)


def _cuts_rows(op: ir.Operation, size: int) -> bool:
    """A slice of [rows, columns] that leaves `size` neighbouring columns."""
    sizes, steps = tuple(op.attributes["static_sizes"]), tuple(op.attributes["static_strides"])
    return len(sizes) == 2 and sizes[1] == size and steps == (1, 1)


def _elements(value: Value) -> int:
    total = 1
    for size in shape_of(value):
        total *= size
    return total


class PackedReader:
    """Reads 16 bytes of a packed argument along with the formula that they stand in.

    Args:
        evaluator: of as many lanes as 16 bytes hold; the argument is bound in it.
    """

    def __init__(self, evaluator: Evaluator, argument: Value):
        self.evaluator, self.argument = evaluator, argument
        self.element = element_of(argument)
        self.place: Place = ()
        self.stand_in: Value | None = None
        evaluator.bind(argument, self._note)

    @property
    def bits(self) -> int:
        return ir.IntegerType(self.element).width

    def _note(self, place: Place) -> Value:
        """A vector that stands for the integers at a place."""
        self.place = place
        type_ = ir.VectorType.get([self.evaluator.index.lanes], held_type(self.element))
        self.stand_in = llvm.UndefOp(type_).result
        return self.stand_in

    def formula(self, operand: Value, place: Place) -> Formula | None:
        """The formula at these lanes; None where it is another, or not one for all lanes."""
        self.stand_in = None
        value = self.evaluator.at(operand, place)
        return None if self.stand_in is None else _read_formula(value, self.stand_in)

    def position(self) -> Index:
        """Where the integers of the last formula begin, in elements."""
        return self.evaluator.index.linearize(self.place, shape_of(self.argument))

    def words(self, buffer: Buffer) -> list[Value]:
        """The 16 bytes that the last formula speaks of."""
        streamed = True if buffer.streamed else None
        count = LOAD_BITS // WORD
        type_ = ir.VectorType.get([count], ir.IntegerType.get_signless(WORD))
        pointer = self.pointer(buffer)
        loaded = llvm.LoadOp(type_, pointer, alignment=LOAD_BITS // 8, nontemporal=streamed, invariant=streamed).result
        return [vector.ExtractOp(loaded, [], [i]).result for i in range(count)]

    def pointer(self, buffer: Buffer) -> Value:
        """Where the integers of the last formula begin: with a whole word."""
        index, at = self.evaluator.index, self.position()
        word, _ = index.divmod(Index(at.base, 0, at.multiple), WORD // self.bits)
        return advance(buffer.pointer, ir.IntegerType.get_signless(WORD), index.scalar(word.base))


def _read_formula(value: Value, stand_in: Value) -> Formula | None:
    """Read mul(sub(float(q), zero), scale), where each of the two may be missing."""
    scale = zero = None
    value = _widened_from(value)
    if (factors := _apart(value, "arith.mulf", stand_in)) is not None:
        value, scale = factors
    if (terms := _apart(value, "arith.subf", stand_in)) is not None:
        value, zero = terms
    op = _defining(_widened_from(value))
    if op is None or op.name not in ("arith.uitofp", "arith.sitofp"):
        return None
    value = op.operands[0]
    if zero is None and (terms := _apart(value, "arith.subi", stand_in)) is not None:
        value, zero = terms
    signed = op.name == "arith.sitofp"
    while (op := _defining(value)) is not None and op.name in ("arith.extsi", "arith.extui"):
        signed, value = op.name == "arith.extsi", op.operands[0]
    return Formula(signed, zero, scale) if value == stand_in else None


def _apart(value: Value, name: str, stand_in: Value) -> tuple[Value, Value] | None:
    """The operand that depends on the stand-in and the other one, a scalar, of an operation of this name."""
    op = _defining(_widened_from(value))
    if op is None or op.name != name:
        return None
    left, right = op.operands
    if name == "arith.mulf" and not _depends(left, stand_in):
        left, right = right, left
    scalar = _same_in_all_lanes(right)
    return None if scalar is None or not _depends(left, stand_in) else (left, scalar)


def _same_in_all_lanes(value: Value) -> Value | None:
    """The scalar whose value every lane has."""
    if not isinstance(value.type, ir.VectorType):
        return value
    op = _defining(value)
    if op is None:
        return None
    if op.name == "vector.broadcast":
        return op.operands[0]
    if op.name in _WIDENING:
        inner = _same_in_all_lanes(op.operands[0])
        if inner is None:
            return None
        element = ir.VectorType(value.type).element_type
        return ir.Operation.create(op.name, results=[element], operands=[inner]).results[0]
    return None


_WIDENING = ("arith.extf", "arith.truncf", "arith.extsi", "arith.extui", "arith.sitofp", "arith.uitofp")


def _depends(value: Value, stand_in: Value) -> bool:
    if value == stand_in:
        return True
    op = _defining(value)
    return op is not None and any(_depends(operand, stand_in) for operand in op.operands)


def _widened_from(value: Value) -> Value:
    """Behind changes of a float's precision: small integers have the same value in all of them."""
    while (op := _defining(value)) is not None and op.name in ("arith.extf", "arith.truncf"):
        value = op.operands[0]
    return value


def _defining(value: Value) -> ir.Operation | None:
    return None if isinstance(value.owner, ir.Block) else value.owner


@dataclass(frozen=True)
class Unpacking:
    """How words of integers become pairs of floats.

    Args:
        bits: of an integer.
        element: f16 or bf16.
        signed: whether integers are two's complement.
    """

    bits: int
    element: ir.Type
    signed: bool

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
        pairs, mask = [], (1 << self.bits) - 1
        for shift, place, magic, _ in self._steps():
            moved = arith.ShRUIOp(word, _i32(shift)).result if shift else word
            both = arith.AndIOp(moved, _i32((mask << place) * 0x10001)).result
            bits = arith.OrIOp(both, _i32(magic * 0x10001)).result
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


def _is_whole(zero: Value) -> bool:
    """Whether the value is known to be an integer."""
    op = _defining(_widened_from(zero))
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
