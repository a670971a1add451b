"""Weights of 4 or 8 bits as operands of tensor cores: what a dispatch makes of them is `(q - zero) * scale`.

The formula is not looked for among tensors: the operand's element is written out where it is needed, as for any other
kernel, with a stand-in for the integer, and the code that came out is read.
"""

from dataclasses import dataclass

from lumir.kernels.dispatch import Dispatch, element_of, shape_of
from lumir.kernels.evaluate import Evaluator
from lumir.kernels.index import Index, Place
from lumir.kernels.loop_nest import LoopNest
from lumir.kernels.memory import Buffer, advance, held_type
from lumir.mlir import ir, llvm, vector

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
        op = defining(value)
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
    op = defining(value)
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
    value = widened_from(value)
    if (factors := _apart(value, "arith.mulf", stand_in)) is not None:
        value, scale = factors
    if (terms := _apart(value, "arith.subf", stand_in)) is not None:
        value, zero = terms
    op = defining(widened_from(value))
    if op is None or op.name not in ("arith.uitofp", "arith.sitofp"):
        return None
    value = op.operands[0]
    if zero is None and (terms := _apart(value, "arith.subi", stand_in)) is not None:
        value, zero = terms
    signed = op.name == "arith.sitofp"
    while (op := defining(value)) is not None and op.name in ("arith.extsi", "arith.extui"):
        signed, value = op.name == "arith.extsi", op.operands[0]
    return Formula(signed, zero, scale) if value == stand_in else None


def _apart(value: Value, name: str, stand_in: Value) -> tuple[Value, Value] | None:
    """The operand that depends on the stand-in and the other one, a scalar, of an operation of this name."""
    op = defining(widened_from(value))
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
    op = defining(value)
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
    op = defining(value)
    return op is not None and any(_depends(operand, stand_in) for operand in op.operands)


def widened_from(value: Value) -> Value:
    """Behind changes of a float's precision: small integers have the same value in all of them."""
    while (op := defining(value)) is not None and op.name in ("arith.extf", "arith.truncf"):
        value = op.operands[0]
    return value


def defining(value: Value) -> ir.Operation | None:
    return None if isinstance(value.owner, ir.Block) else value.owner
