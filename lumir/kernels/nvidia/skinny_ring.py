"""Skinny products on tensor cores whose weight goes through shared memory, so that many more bytes are under way.

Each warp has a ring of places of its own. Its threads start copies of a few rows (the copy engine takes a line of one
row each) into a place, and read the places in the order in which they were started; a barrier in shared memory counts
the bytes. A workgroup goes on to its next tile while copies for it are under way already, and when the kernel starts,
the first copies of a weight do not wait for the kernels ahead.
"""

from collections.abc import Sequence

from lumir.kernels.index import Index
from lumir.kernels.memory import Buffer
from lumir.kernels.nvidia import mbarrier
from lumir.kernels.nvidia.function import NvidiaKernel, nvidia_kernel
from lumir.kernels.nvidia.guard import only_if
from lumir.kernels.nvidia.mma import CHUNK_BYTES, WARP, byte_offset, constant_i32, use_all_registers
from lumir.kernels.nvidia.programmatic import copy_line
from lumir.kernels.nvidia.skinny_facts import QUAD, TILE_ROWS
from lumir.kernels.nvidia.skinny_mma import HALF, MmaBlock
from lumir.kernels.nvidia.skinny_plan import SkinnyProblem
from lumir.kernels.nvidia.skinny_weight import Line
from lumir.kernels.nvidia.warps import (
    launch_dependents,
    sync_warp,
    wait_for_dependencies,
)
from lumir.mlir import arith, ir

Value = ir.Value


def emit_ring(problem: SkinnyProblem, name: str) -> NvidiaKernel:
    """Write the kernel at the insertion point."""
    with nvidia_kernel(problem.dispatch, name, problem.schedule.block) as kernel:
        use_all_registers(problem.schedule.resident)
        RingBlock(problem, kernel).write()
    return kernel


class RingBlock(MmaBlock):
    def __init__(self, problem: SkinnyProblem, kernel: NvidiaKernel):
        super().__init__(problem, kernel)
        self.ring, self.stages = problem.ring, problem.schedule.stages
        i8, i64 = (ir.IntegerType.get_signless(bits) for bits in (8, 64))
        places = kernel.shared((self.ring.places * self.ring.place,), i8, 128).pointer
        barriers = kernel.shared((self.ring.places,), i64).pointer
        first = self.index.scale(self.warp, self.stages)
        self.places = byte_offset(places, self._number(self.index.scale(first, self.ring.place)))
        self.barriers = mbarrier.Barriers(byte_offset(barriers, self._number(self.index.scale(first, mbarrier.BYTES))))
        shape = (problem.schedule.warps, problem.sizes[1], problem.pitch)
        self.sums = [kernel.shared(shape, problem.space.accumulator) for _ in range(2)]

    def write(self) -> None:
        launch_dependents()
        self._initialize()
        if self.problem.facts.stored in self.problem.dispatch.unwritten:
            self._fill()
            wait_for_dependencies()
            self.take_buffers()
        else:
            wait_for_dependencies()
            self.take_buffers()
            self._fill()
        self._run()

    def _initialize(self) -> None:
        with only_if(self._is_first_lane(), self.plain):
            for stage in range(self.stages):
                mbarrier.initialize(self.barriers.at(stage), 1)
            mbarrier.fence_initialization()
        sync_warp()

    def _is_first_lane(self) -> Value:
        return arith.CmpIOp(arith.CmpIPredicate.eq, self.index.value(self.lane), self.index.constant(0)).result

    # -- copies --------------------------------------------------------------------------------------------------------

    def _units(self) -> Value:
        """Places that each warp of this workgroup reads in all."""
        last, staying = self.index.constant(self.problem.tiles - 1), self.index.constant(self.problem.staying)
        left = arith.SubIOp(last, self._number(self.tile)).result
        tiles = arith.AddIOp(arith.DivUIOp(left, staying).result, self.index.constant(1)).result
        return arith.MulIOp(tiles, self.index.constant(self.ring.turns)).result

    def _fill(self) -> None:
        units = self._units()
        for stage in range(self.stages):
            few = arith.CmpIOp(arith.CmpIPredicate.ult, self.index.constant(stage), units).result
            with only_if(few if stage else None, self.plain):
                self._copy(Index(stage), constant_i32(stage))

    def _copy(self, unit: Index, stage: Value) -> None:
        """Start the copies of the warp's unit, counted from the workgroup's first, into a place."""
        index, ring, schedule = self.index, self.ring, self.problem.schedule
        number, turn = index.divmod(unit, ring.turns)
        self._go_to(number)
        start, size = self._line_of(turn)
        barrier, place = self._barrier(stage), self._place(stage)
        with only_if(self._is_first_lane(), self.plain):
            total = constant_i32(schedule.tile)
            mbarrier.arrive_expecting(barrier, arith.MulIOp(size, total).result)
        sync_warp()
        for first in range(0, schedule.tile, WARP):
            offset = index.offset(self.lane, first)
            few = index.below(offset, schedule.tile) if schedule.tile - first < WARP else None
            with only_if(few, self.plain):
                line = byte_offset(self.start_of(self.row(offset)), self._number(start))
                target = byte_offset(place, self._number(index.scale(offset, ring.pitch)))
                copy_line(target, line, barrier, size)

    def _go_to(self, number: Index) -> None:
        """Take the workgroup's tile of this number."""
        tile = self.index.add(self.tile, self.index.scale(number, self.problem.staying))
        self.first = self.index.scale(tile, self.problem.columns)

    def _line_of(self, turn: Index) -> tuple[Index, Value]:
        """Where in a row this warp's line of a turn begins, and its size (i32), in bytes; always inside the row."""
        index, ring, problem = self.index, self.ring, self.problem
        row_bytes = problem.sizes[3] * problem.weight_bits // 8
        lines = -(-row_bytes // ring.line)
        number = index.add(index.scale(turn, problem.schedule.warps), self.warp)
        if ring.ragged:
            number = index.minimum(number, lines - 1)
        start = index.scale(number, ring.line)
        if row_bytes % ring.line == 0:
            return start, constant_i32(ring.line)
        left = arith.SubIOp(index.constant(row_bytes), self._number(start)).result
        return start, arith.MinSIOp(left, index.constant(ring.line)).result

    def _place(self, stage: Value) -> Value:
        return byte_offset(self.places, arith.MulIOp(stage, constant_i32(self.ring.place)).result)

    def _barrier(self, stage: Value) -> Value:
        return self.barriers.at(stage)

    # -- products ------------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        """For each tile of this workgroup: sum, join the warps' sums, store."""
        units, zero = self._units(), constant_i32(0)
        count = arith.DivUIOp(units, self.index.constant(self.ring.turns)).result
        start = [zero, zero, zero, *self._ask(Index(0))]
        with self.plain.loop(0, count, 1, start) as (number, (stage, parity, half, *asked), done):
            self._go_to(number)
            base = self.index.scale(number, self.ring.turns)
            totals, stage, parity, asked = self._sum_tile(base, stage, parity, asked, units)
            self._go_to(number)
            self.partial = self.half_of(self.sums, half)
            self.put(totals)
            self.kernel.barrier()
            self.store()
            done([stage, parity, arith.XOrIOp(half, constant_i32(1)).result, *asked])

    def half_of(self, halves: Sequence[Buffer], half: Value) -> Buffer:
        """The memory that the tile before this one did not use: it may still be read."""
        first, second = halves
        even = arith.CmpIOp(arith.CmpIPredicate.eq, half, constant_i32(0)).result
        pointer = arith.SelectOp(even, first.pointer, second.pointer).result
        return Buffer(pointer, first.shape, first.element, first.alignment)

    def _sum_tile(
        self, base: Index, stage: Value, parity: Value, asked: list[Value], units: Value
    ) -> tuple[list[Value], Value, Value, list[Value]]:
        """The accumulators of a tile, and the stage, the parity and the activations that are on their way after it."""
        first = self.start()
        with self.plain.loop(0, self.ring.turns, 1, [stage, parity, *first, *asked]) as (turn, carried, done):
            stage, parity, *rest = carried
            totals, asked = rest[: len(first)], rest[len(first) :]
            following = self._ask(self.index.divmod(self.index.offset(turn, 1), self.ring.turns)[1])
            totals = self._add_place(turn, totals, stage, parity, asked)
            sync_warp()
            self._copy_later(self.index.offset(self.index.add(base, turn), self.stages), stage, units)
            done([*self._next(stage, parity), *totals, *following])
        stage, parity, *rest = done.results
        return rest[: len(first)], stage, parity, rest[len(first) :]

    def _copy_later(self, unit: Index, stage: Value, units: Value) -> None:
        more = arith.CmpIOp(arith.CmpIPredicate.ult, self._number(unit), units).result
        with only_if(more, self.plain):
            self._copy(unit, stage)

    def _next(self, stage: Value, parity: Value) -> tuple[Value, Value]:
        following = arith.AddIOp(stage, constant_i32(1)).result
        wraps = arith.CmpIOp(arith.CmpIPredicate.eq, following, constant_i32(self.stages)).result
        turned = arith.XOrIOp(parity, constant_i32(1)).result
        stage = arith.SelectOp(wraps, constant_i32(0), following).result
        return stage, arith.SelectOp(wraps, turned, parity).result

    def _places_along_k(self, turn: Index) -> list[tuple[Index, Value | None]]:
        """Where this thread's lanes of each chunk of a turn begin, and whether that is inside k."""
        number = self.index.add(self.index.scale(turn, self.problem.schedule.warps), self.warp)
        first = self.index.scale(number, self.problem.schedule.unroll)
        chunks = [self.index.offset(first, i) for i in range(self.problem.schedule.unroll)]
        return [self.lanes_at(chunk, self.ring.ragged) for chunk in chunks]

    def _ask(self, turn: Index) -> list[Value]:
        """Activations of a turn, read a turn ahead of their use."""
        with self.narrow.scope():
            places = self._places_along_k(turn)
            found = [self.activations(column, k, inside) for k, inside in places for column in self.columns]
        return [pair for pairs in found for pair in pairs]

    def _activations(self, asked: list[Value]) -> list[list[list[Value]]]:
        """Pairs by chunk and column."""
        width = self.problem.lanes // 2
        lists = [asked[i : i + width] for i in range(0, len(asked), width)]
        return [lists[i : i + len(self.columns)] for i in range(0, len(lists), len(self.columns))]

    def _add_place(
        self, turn: Index, totals: list[Value], stage: Value, parity: Value, asked: list[Value]
    ) -> list[Value]:
        """The accumulators with what a place holds, once it has arrived."""
        with self.weight.evaluator.scope():
            activations, places = self._activations(asked), self._places_along_k(turn)
            mbarrier.wait(self._barrier(stage), parity)
            place = self._place(stage)
            for i, ((k, inside), columns) in enumerate(zip(places, activations, strict=True)):
                rows = [self._tile_at(place, tile, i, k, inside) for tile in self.tiles]
                totals = self.multiplied(rows, columns, totals)
        return totals

    def _tile_at(self, place: Value, tile: int, chunk: int, k: Index, inside: Value | None) -> tuple[Line, Line]:
        index, lines = self.index, []
        for half in (0, HALF):
            offset = index.offset(self.row_in_tile, tile * TILE_ROWS + half)
            start = index.add(index.scale(offset, self.ring.pitch), index.scale(self.quarter, CHUNK_BYTES))
            at = byte_offset(place, self._number(index.offset(start, chunk * QUAD * CHUNK_BYTES)))
            lines.append(self.weight.line(self.weight.fetch(self.row(offset), k, at), inside))
        lower, upper = lines
        return lower, upper

    def _number(self, x: Index) -> Value:
        return self.index.scalar(x.base)
