"""The two forms of a weight that tensor cores multiply: 16-bit floats as they lie, and packed integers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from lumir.dtypes import bit_size
from lumir.kernels.dispatch import element_of, shape_of
from lumir.kernels.evaluate import Evaluator
from lumir.kernels.index import Index
from lumir.kernels.nvidia.dequantise import PackedReader, defining, widened_from
from lumir.kernels.nvidia.function import NvidiaKernel
from lumir.kernels.nvidia.mma import constant_i32, i32, shuffle_xor
from lumir.kernels.nvidia.skinny_plan import SkinnyProblem
from lumir.kernels.nvidia.unpacking import Unpacking, as_float32
from lumir.mlir import arith, gpu, ir, llvm, vector

Value = ir.Value


@dataclass(frozen=True)
class Fetched:
    """A thread's part of one row as it lies in memory: 16 bytes as i32, and the scalars of its formula."""

    words: list[Value]
    scale: Value | None = None
    zero: Value | None = None

    @property
    def values(self) -> list[Value]:
        """What has to be kept until it is used."""
        return [*self.words, *(v for v in (self.scale, self.zero) if _is_variable(v))]

    def with_values(self, values: Sequence[Value]) -> "Fetched":
        """The same, with others in the place of its `values`."""
        left = iter(values)
        words = [next(left) for _ in self.words]
        scale, zero = (next(left) if _is_variable(v) else v for v in (self.scale, self.zero))
        return Fetched(words, scale, zero)


def _is_variable(value: Value | None) -> bool:
    op = None if value is None else defining(widened_from(value))
    return value is not None and (op is None or op.name != "arith.constant")


@dataclass(frozen=True)
class Line:
    """A thread's part of one row.

    Args:
        pairs: two 16-bit floats each, as i32.
        scale: an f32 that their products are still to be multiplied with, if any.
        zero: where there is a scale, an f32 that the pairs are too large by besides the reader's bases; None for 0.
    """

    pairs: list[Value]
    scale: Value | None = None
    zero: Value | None = None


class WeightReader(Protocol):
    """Reads lines of the weight.

    Attributes:
        evaluator: that the places are computed in; its lanes are the elements of a line.
        order: the elements of a line, by number, that each pair holds.
        bases: what each pair is too large by, where lines have a scale.
    """

    evaluator: Evaluator
    order: list[tuple[int, int]]
    bases: list[float]

    def fetch(self, row: Index, k: Index, shared: Value | None = None) -> Fetched:
        """Read the line at a row and k.

        Args:
            shared: where its 16 bytes are in shared memory, if not in the weight itself.
        """
        ...

    def line(self, fetched: Fetched, inside: Value | None) -> Line:
        """What was read as pairs.

        Args:
            inside: an i1; where it is false the line has no effect on the sums, if the activations are 0.
        """
        ...


def weight_reader(problem: SkinnyProblem, kernel: NvidiaKernel, batch: Index) -> WeightReader:
    return (PlainWeight if problem.facts.packed is None else PackedWeight)(problem, kernel, batch)


def place_of(problem: SkinnyProblem, evaluator: Evaluator, number: int, batch: Index, row: Index, k: Index):
    """The place of lanes along k of an input."""
    space, index = problem.space, evaluator.index
    k = Index(k.base, int(index.lanes > 1), k.multiple)
    view = space.operand_view(index, number, batch, row, k)
    return view.place_in(index, shape_of(space.operand(number)))


class PlainWeight:
    def __init__(self, problem: SkinnyProblem, kernel: NvidiaKernel, batch: Index):
        self.problem, self.batch = problem, batch
        self.evaluator = kernel.evaluator(problem.lanes)
        self.order = [(i, i + 1) for i in range(0, problem.lanes, 2)]
        self.bases = []

    def fetch(self, row: Index, k: Index, shared: Value | None = None) -> Fetched:
        return Fetched(words_of(self._lanes(row, k)) if shared is None else load_words(shared))

    def line(self, fetched: Fetched, inside: Value | None) -> Line:
        pairs = fetched.words
        if inside is not None:
            pairs = [arith.SelectOp(inside, pair, constant_i32(0)).result for pair in pairs]
        return Line(pairs)

    def _lanes(self, row: Index, k: Index) -> Value:
        place = place_of(self.problem, self.evaluator, self.problem.space.rhs, self.batch, row, k)
        return self.evaluator.widened(self.evaluator.at(self.problem.facts.weight, place))


class PackedWeight:
    def __init__(self, problem: SkinnyProblem, kernel: NvidiaKernel, batch: Index):
        assert problem.facts.packed is not None
        self.problem, self.kernel, self.batch = problem, kernel, batch
        self.evaluator = kernel.evaluator(problem.lanes)
        self.reader = PackedReader(self.evaluator, problem.facts.packed)
        bits = bit_size(element_of(problem.facts.packed))
        unpacking = Unpacking(bits, element_of(problem.facts.weight), problem.facts.signed)
        self.unpacking = replace(unpacking, held={mask: held(mask) for mask in unpacking.masks()})
        per_word = 32 // bits
        self.order = [(i + a, i + b) for i in range(0, problem.lanes, per_word) for a, b in self.unpacking.order()]
        self.bases = self.unpacking.bases() * (problem.lanes // per_word)

    def fetch(self, row: Index, k: Index, shared: Value | None = None) -> Fetched:
        formula = self.formula(row, k)
        words = self.reader.words(self.kernel.inputs[self.reader.argument]) if shared is None else load_words(shared)
        return replace(formula, words=words)

    def formula(self, row: Index, k: Index) -> Fetched:
        """The line at a row and k without its 16 bytes."""
        place = place_of(self.problem, self.evaluator, self.problem.space.rhs, self.batch, row, k)
        formula = self.reader.formula(self.problem.facts.weight, place)
        assert formula is not None
        return Fetched([], formula.scale, formula.zero)

    def line(self, fetched: Fetched, inside: Value | None) -> Line:
        if fetched.scale is None or not self.problem.facts.grouped:
            return self.exact(fetched)
        pairs = [pair for word in fetched.words for pair in self.unpacking.biased(word)]
        zero = None if fetched.zero is None else as_float32(fetched.zero)
        return Line(_as_words(pairs), as_float32(fetched.scale), zero)

    def exact(self, fetched: Fetched) -> Line:
        """What was read as pairs that are too large by nothing."""
        scale = None if fetched.scale is None else as_float32(fetched.scale)
        pairs = [pair for word in fetched.words for pair in self.unpacking.pairs(word, fetched.zero)]
        if scale is not None and self.problem.facts.grouped:
            return Line(_as_words(pairs), scale)
        if scale is not None:
            narrow = arith.TruncFOp(self.unpacking.element, scale).result
            wide = vector.BroadcastOp(ir.VectorType(pairs[0].type), narrow).result
            pairs = [arith.MulFOp(pair, wide).result for pair in pairs]
        return Line(_as_words(pairs))


def held(number: int) -> Value:
    """A number (i32) that the assembler does not know, so that it stays in a register.

    An instruction takes one constant: to and with one and or with another at once costs a move each time otherwise.
    """
    zero = arith.IndexCastOp(i32(), gpu.BlockIdOp(gpu.Dimension.z).result).result
    return shuffle_xor(arith.OrIOp(zero, constant_i32(number)).result, 1)


def _as_words(pairs: Sequence[Value]) -> list[Value]:
    return [llvm.BitcastOp(ir.IntegerType.get_signless(32), pair).result for pair in pairs]


def load_words(pointer: Value) -> list[Value]:
    """16 bytes as i32."""
    i32 = ir.IntegerType.get_signless(32)
    loaded = llvm.LoadOp(ir.VectorType.get([4], i32), pointer, alignment=16).result
    return [llvm.ExtractElementOp(loaded, constant_i32(i)).result for i in range(4)]


def words_of(value: Value) -> list[Value]:
    """A vector's bits as i32."""
    type_ = ir.VectorType(value.type)
    count, i32 = type_.shape[0] * bit_size(type_.element_type) // 32, ir.IntegerType.get_signless(32)
    words = llvm.BitcastOp(ir.VectorType.get([count], i32), value).result
    return [llvm.ExtractElementOp(words, constant_i32(i)).result for i in range(count)]


def pairs_of(values: Sequence[Value], order: Sequence[tuple[int, int]]) -> list[Value]:
    """Two elements each of neighbouring vectors, as i32.

    Args:
        order: by number, counted through all vectors.
    """
    lanes = ir.VectorType(values[0].type).shape[0]
    if all(b == a + 1 and a % 2 == 0 for a, b in order):
        return [word for value in values for word in words_of(value)]

    def element(number: int) -> Value:
        return vector.ExtractOp(values[number // lanes], [], [number % lanes]).result

    pair = ir.VectorType.get([2], ir.VectorType(values[0].type).element_type)
    joined = [vector.FromElementsOp(pair, [element(a), element(b)]).result for a, b in order]
    return [llvm.BitcastOp(ir.IntegerType.get_signless(32), two).result for two in joined]
