"""How the family `decode` gets a step's keys and values: from memory into registers, or tile by tile through TMA."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from lumir.dtypes import byte_size
from lumir.kernels.contraction_space import ContractionSpace
from lumir.kernels.dispatch import element_of, shape_of
from lumir.kernels.index import Index
from lumir.kernels.nvidia import mbarrier, tma, warps
from lumir.kernels.nvidia.decode_keys import Part
from lumir.kernels.nvidia.function import NvidiaKernel
from lumir.kernels.nvidia.guard import only_if
from lumir.kernels.nvidia.mma import CHUNK_BYTES, byte_offset, constant_i32
from lumir.kernels.nvidia.tiles import xor
from lumir.kernels.nvidia.tiles_fill import zero_of
from lumir.kernels.nvidia.tma_operand import Matrices
from lumir.kernels.nvidia.tma_pages import PagedMatrices
from lumir.kernels.nvidia.wgmma import LINE
from lumir.mlir import arith, ir, llvm, scf
from lumir.sizes import Dim

if TYPE_CHECKING:
    from lumir.kernels.nvidia.decode_schedule import DecodeProblem

Value = ir.Value


@dataclass(frozen=True)
class Chunk:
    """Neighbouring elements of an operand that a lane multiplies: along k of keys and queries, along columns of values.

    Args:
        number: the operand's, of the product's two.
        key: of a key or value; the row of a query.
        at: the first element.
    """

    product: ContractionSpace
    number: int
    key: Index
    at: Index
    lanes: int
    along_k: bool


Chunks = Callable[[Index], list[Chunk]]
"""First key of a step -> what this lane needs of it, in the order in which it is used."""
Compute = Callable[[Index, list[Value], list[Value]], list[Value]]
"""First key of a step, the vectors of its chunks, carried values -> carried values."""
Begin = Callable[[], Compute]
"""What a multiplying warp does before its first step: wait for the kernels ahead, and read the queries."""


class Fetch(Protocol):
    def run(self, chunks: Chunks, start: list[Value], begin: Begin) -> list[Value]:
        """What `begin` gives over this warp's share of the block's steps.

        Returns:
            what is carried last, in multiplying warps.
        """
        ...


class Direct:
    """Each warp has every `warps`-th step; a lane loads what it multiplies, wherever it comes from."""

    def __init__(self, problem: "DecodeProblem", kernel: NvidiaKernel, batch: Index, warp: Index, part: Part):
        self.problem, self.kernel, self.batch, self.warp, self.part = problem, kernel, batch, warp, part

    def run(self, chunks: Chunks, start: list[Value], begin: Begin) -> list[Value]:
        compute = begin()
        loops, s, part = self.kernel.evaluator(), self.problem.schedule, self.part
        own = loops.index.scalar(loops.index.add(part.first, self.warp).base)
        with loops.loop(own, loops.index.scalar(part.stop.base), s.warps, start) as (step, now, done):
            key = loops.index.add(loops.index.scale(step, s.keys), part.key)
            done(compute(key, [self.load(chunk) for chunk in chunks(key)], now))
        return done.results

    def load(self, chunk: Chunk) -> Value:
        """The elements as a vector; zeros of values past the last key."""
        evaluator = self.kernel.evaluator(chunk.lanes)
        index, extent = evaluator.index, self._extent(chunk)
        key, at = index.minimum(chunk.key, extent - 1), Index(chunk.at.base, 1, chunk.at.known)
        row, k = (key, at) if chunk.along_k else (at, key)
        view = chunk.product.operand_view(index, chunk.number, self.batch, row, k)
        operand = chunk.product.operand(chunk.number)
        value = evaluator.widened(evaluator.at(operand, view.place_in(index, shape_of(operand))))
        if chunk.along_k:
            return value
        value = only_valid(self.part, chunk.key, value)
        if not self.problem.is_ragged:
            return value
        return arith.SelectOp(index.below(chunk.key, extent), value, zero_of(value.type)).result

    def _extent(self, chunk: Chunk) -> Dim:
        space, product = self.problem.space, chunk.product
        is_query = product is space.first and chunk.number == product.lhs
        return space.shape[1] if is_query else space.shape[2]


class Tiled:
    """All warps share a step: a tile of keys and values that one more warp has TMA bring, some tiles ahead.

    Keys and values that no kernel writes are under way before the kernels ahead are done. A line of 128 bytes holds 64
    elements of a key or value, its 16-byte chunks permuted by the line's number.
    """

    def __init__(
        self, problem: "DecodeProblem", kernel: NvidiaKernel, batch: Index, warp: Index, part: Part, shared: Value
    ):
        self.problem, self.kernel, self.batch, self.warp, self.shared = problem, kernel, batch, warp, shared
        self.part = part
        self.index, self.stages = kernel.evaluator().index, problem.schedule.stages
        first = byte_offset(shared, self.stages * problem.tile_bytes)
        self.full = mbarrier.Barriers(first)
        self.empty = mbarrier.Barriers(byte_offset(first, mbarrier.BYTES * self.stages))

    def run(self, chunks: Chunks, start: list[Value], begin: Begin) -> list[Value]:
        index, loops, s = self.index, self.kernel.evaluator(), self.problem.schedule
        first, stop = self.part.first, self.part.stop
        self._initialize()
        count = index.scalar(index.add(stop, index.scale(first, -1)).base)
        branch = scf.IfOp(index.below(self.warp, s.warps), [v.type for v in start], has_else=True)
        with ir.InsertionPoint(branch.then_block), self.kernel.buffers_apart():
            compute = begin()
            with loops.loop(0, count, 1, start) as (turn, now, done):
                stage, parity = self._stage(turn)
                mbarrier.wait(self.full.at(stage), parity)
                tile = self._first_key(first, turn)
                key = index.add(tile, index.scale(self.warp, s.keys))
                memory = byte_offset(self.shared, self._bytes(stage))
                vectors = [self._read(memory, tile, chunk) for chunk in chunks(key)]
                now = compute(key, vectors, now)
                with only_if(warps.elected()):
                    mbarrier.arrive(self.empty.at(stage))
                done(now)
            scf.YieldOp(done.results)
        with ir.InsertionPoint(branch.else_block), self.kernel.buffers_apart():
            if self.problem.overlaps and not self.problem.reads_ahead:
                warps.wait_for_dependencies()
                self.kernel.take_buffers()
            with only_if(warps.elected()), loops.loop(0, count, 1) as (turn, _, _done):
                self._bring(turn, self._first_key(first, turn))
            if self.problem.overlaps and self.problem.reads_ahead:
                warps.wait_for_dependencies()
            scf.YieldOp(start)
        return list(branch.results)

    def _first_key(self, first: Index, turn: Index) -> Index:
        """Of the tile of step `first + turn`."""
        return self.index.add(self.index.scale(self.index.add(first, turn), self.problem.tile), self.part.key)

    def _initialize(self) -> None:
        is_first = arith.CmpIOp(arith.CmpIPredicate.eq, warps.thread_number(), constant_i32(0)).result
        with only_if(is_first):
            for stage in range(self.stages):
                mbarrier.initialize(self.full.at(stage), 1)
                mbarrier.initialize(self.empty.at(stage), self.problem.schedule.warps)
            mbarrier.fence_initialization()
        self.kernel.barrier()

    def _stage(self, turn: Index) -> tuple[Value, Value]:
        round_, stage = self.index.divmod(turn, self.stages)
        return _i32(self.index.scalar(stage.base)), _i32(self.index.scalar(self.index.divmod(round_, 2)[1].base))

    def _bytes(self, stage: Value) -> Value:
        return arith.MulIOp(stage, constant_i32(self.problem.tile_bytes)).result

    def _bring(self, turn: Index, key: Index) -> None:
        """Copy the tile whose first key this is, once its stage is free."""
        reading, problem = self.problem.reading, self.problem
        assert reading is not None
        boxes = [self._boxes(matrices, key) for matrices in (reading.key, reading.value)]  # tables are read here
        stage, parity = self._stage(turn)
        mbarrier.wait(self.empty.at(stage), arith.XOrIOp(parity, constant_i32(1)).result)
        barrier = self.full.at(stage)
        mbarrier.arrive_expecting(barrier, problem.tile_bytes)
        at = byte_offset(self.shared, self._bytes(stage))
        for number, lines in enumerate((problem.depth_lines, problem.column_lines)):
            for i in range(lines):
                for first, place in boxes[number]:
                    coordinates = [_i32(value) for value in place(Index(i * LINE // 2))]
                    to = byte_offset(at, first * LINE)
                    tma.load_box(to, self.kernel.tensor_maps[number], coordinates, barrier)
                at = byte_offset(at, problem.tile * LINE)

    def _boxes(
        self, matrices: Matrices | PagedMatrices, key: Index
    ) -> list[tuple[int, Callable[[Index], list[Value]]]]:
        """The boxes that make up a tile: the first line of each in it, and by column its coordinates."""
        evaluator, tile = self.kernel.evaluator(), self.problem.tile
        lines = matrices.box_lines(tile)
        starts = [(first, evaluator.index.offset(key, first)) for first in range(0, tile, lines)]
        return [(first, matrices.boxes(evaluator, self.batch, line, lines)) for first, line in starts]

    def _read(self, memory: Value, tile: Index, chunk: Chunk) -> Value:
        """A chunk out of the tile that starts with key `tile`."""
        index, problem = self.index, self.problem
        element = element_of(chunk.product.operand(chunk.number))
        size = byte_size(element)
        row = index.add(chunk.key, index.scale(tile, -1))
        line, inside = index.divmod(chunk.at, LINE // size)
        part, rest = index.divmod(inside, CHUNK_BYTES // size)
        moved = xor(index, part, index.divmod(row, 8)[1])
        first = 0 if chunk.along_k else problem.depth_lines * problem.tile * LINE
        at = index.add(index.scale(line, problem.tile * LINE), index.scale(row, LINE))
        at = index.add(index.add(at, index.scale(moved, CHUNK_BYTES)), index.scale(rest, size))
        pointer = byte_offset(byte_offset(memory, index.scalar(at.base)), first)
        value = llvm.LoadOp(ir.VectorType.get([chunk.lanes], element), pointer, alignment=chunk.lanes * size).result
        return value if chunk.along_k else only_valid(self.part, chunk.key, value)


def only_valid(part: Part, key: Index, value: Value) -> Value:
    """Zeros in place of a value that does not count: it may be what no one has written, and weighs zero times that."""
    if part.valid is None:
        return value
    return arith.SelectOp(part.valid.holds(key), value, zero_of(value.type)).result


def _i32(value: Value) -> Value:
    i32 = ir.IntegerType.get_signless(32)
    return value if value.type == i32 else arith.TruncIOp(i32, value).result
