"""Skinny products on tensor cores: the weight's rows are the 16 of mma.sync, the activations' rows its 8 columns.

Which k an instruction's place along k stands for is free, as long as both operands agree. So a thread loads 16 bytes of
a row, neighbours along k, and these are, pair by pair, what it must hold for two instructions: nothing is moved.
"""

from collections.abc import Sequence

from lumir.kernels.dispatch import element_of
from lumir.kernels.index import Index
from lumir.kernels.nvidia.function import NvidiaKernel, nvidia_kernel
from lumir.kernels.nvidia.guard import only_if
from lumir.kernels.nvidia.mma import WARP, constant_i32, use_all_registers
from lumir.kernels.nvidia.programmatic import only_from_here
from lumir.kernels.nvidia.skinny_block import SkinnyBlock
from lumir.kernels.nvidia.skinny_facts import ACTIVATION_LANES, QUAD, TILE_COLUMNS, TILE_ROWS
from lumir.kernels.nvidia.skinny_plan import SkinnyProblem
from lumir.kernels.nvidia.skinny_products import SUMS, Products, zero
from lumir.kernels.nvidia.skinny_weight import Fetched, Line, pairs_of, weight_reader, words_of
from lumir.mlir import arith, ir

Value = ir.Value
HALF = 8
"""Rows of a tile between the two that a thread holds."""


def emit_mma(problem: SkinnyProblem, name: str) -> NvidiaKernel:
    """Write the kernel at the insertion point."""
    with nvidia_kernel(problem.dispatch, name, problem.schedule.block) as kernel:
        if problem.facts.packed is not None:
            use_all_registers(problem.schedule.resident)
        MmaBlock(problem, kernel).write()
    return kernel


def _renewed(fetched: Sequence[Fetched], values: Sequence[Value]) -> list[Fetched]:
    """The same lines, with these `values`."""
    result, at = [], 0
    for each in fetched:
        count = len(each.values)
        result.append(each.with_values(values[at : at + count]))
        at += count
    return result


class MmaBlock(SkinnyBlock):
    def __init__(self, problem: SkinnyProblem, kernel: NvidiaKernel):
        super().__init__(problem, kernel)
        self.weight = weight_reader(problem, kernel, self.batch)
        self.narrow = kernel.evaluator(ACTIVATION_LANES)
        self.products = Products(element_of(problem.facts.weight), self.weight.order, self.weight.bases)
        self.row_in_tile, self.quarter = self.index.divmod(self.lane, QUAD)
        self.tiles = range(problem.schedule.rows // TILE_ROWS)
        self.columns = range(-(-problem.sizes[1] // TILE_COLUMNS))
        self.asked: list[Fetched] = []

    def start(self) -> list[Value]:
        return [zero()] * (len(self.tiles) * len(self.columns) * SUMS)

    def begin(self) -> None:
        """Read the weight for the first turn, if nothing writes it: the kernels ahead may still run.

        As memory that something might write: ptxas moves other loads to where they are needed, behind the wait.
        """
        arguments, weights = self.problem.weight_arguments, self.problem.dispatch.unwritten
        if self.problem.steps and all(argument in weights for argument in arguments):
            for argument in arguments:
                self.kernel.inputs[argument] = only_from_here(self.kernel.inputs[argument])
            self.asked = self._fetch(self._turn(Index(0)), False)

    def sum_turns(self, totals: list[Value]) -> list[Value]:
        """The weight is read a turn ahead of its use."""
        last = self.problem.steps - 1
        asked = self.asked or self._fetch(self._turn(Index(0)), False)
        if last > 0:
            values = [value for fetched in asked for value in fetched.values]
            with self.plain.loop(0, last, 1, [*totals, *values]) as (turn, carried, done):
                now, values = carried[: len(totals)], carried[len(totals) :]
                following = self._fetch(self._turn(self.index.offset(turn, 1)), False)
                now = self._multiply(self._turn(turn), _renewed(asked, values), now, False)
                done([*now, *(value for fetched in following for value in fetched.values)])
            totals, values = done.results[: len(totals)], done.results[len(totals) :]
            asked = _renewed(asked, values)
        return self._multiply(self._turn(Index(last)), asked, totals, False)

    def add(self, chunks: Sequence[Index], totals: Sequence[Value], ragged: bool) -> list[Value]:
        return self._multiply(chunks, self._fetch(chunks, ragged), totals, ragged)

    def _fetch(self, chunks: Sequence[Index], ragged: bool) -> list[Fetched]:
        """This thread's lines, by chunk, tile and row in it."""
        with self.weight.evaluator.scope():
            places = [self.lanes_at(chunk, ragged)[0] for chunk in chunks]
            return [self.weight.fetch(row, k) for k in places for tile in self.tiles for row in self._rows(tile)]

    def _multiply(
        self, chunks: Sequence[Index], fetched: Sequence[Fetched], totals: Sequence[Value], ragged: bool
    ) -> list[Value]:
        """The accumulators with the chunks' products."""
        each = 2 * len(self.tiles)
        for number, chunk in enumerate(chunks):
            k, inside = self.lanes_at(chunk, ragged)
            with self.narrow.scope():
                columns = [self.activations(column, k, inside) for column in self.columns]
            lines = [self.weight.line(found, inside) for found in fetched[number * each : (number + 1) * each]]
            dealt = self._dealt(chunk, ragged) if self.problem.sizes[1] == 1 and lines[0].scale is not None else []
            totals = self.multiplied(list(zip(lines[::2], lines[1::2], strict=True)), columns, totals, dealt)
        return list(totals)

    def multiplied(
        self,
        rows: Sequence[tuple[Line, Line]],
        columns: Sequence[list[Value]],
        totals: Sequence[Value],
        dealt: Sequence[Value] = (),
    ) -> list[Value]:
        """The accumulators with one chunk of k.

        Args:
            rows: lines of each tile.
            columns: pairs of each column of activations.
            dealt: of the only row of activations, pairs that no other thread of the warp has; empty where not at hand.
        """
        result = list(totals)
        for column, pairs in enumerate(columns):
            places = [(tile * len(columns) + column) * SUMS for tile in self.tiles]
            now = self.products.add(rows, pairs, [result[at : at + SUMS] for at in places], dealt)
            for at, sums in zip(places, now, strict=True):
                result[at : at + SUMS] = sums
        return result

    def lanes_at(self, chunk: Index, ragged: bool) -> tuple[Index, Value | None]:
        """Where this thread's lanes begin, kept inside k, and whether they were inside, if that is in doubt."""
        index, lanes, inside = self.index, self.problem.lanes, None
        group, groups = index.add(index.scale(chunk, QUAD), self.quarter), self.problem.sizes[3] // lanes
        if ragged:
            inside = index.below(group, groups)
            group = index.minimum(group, groups - 1)
        return index.scale(group, lanes), inside

    def _rows(self, tile: int) -> list[Index]:
        """The two rows that this thread holds of a tile."""
        first = self.index.add(self.index.scale(self.group, self.problem.schedule.rows), self.row_in_tile)
        return [self.row(self.index.offset(first, tile * TILE_ROWS + half)) for half in (0, HALF)]

    def activation_row(self, column: int) -> Index:
        rows = self.problem.sizes[1]
        if rows == 1:
            return Index(0)
        row = self.index.offset(self.row_in_tile, column * TILE_COLUMNS)
        return self.index.minimum(row, rows - 1) if rows % TILE_COLUMNS else row

    def activations(self, column: int, k: Index, inside: Value | None) -> list[Value]:
        """Pairs along k of one row of the activations; rows past the last are it again, and their sums are dropped."""
        row = self.activation_row(column)
        starts = [self.index.offset(k, i) for i in range(0, self.problem.lanes, ACTIVATION_LANES)]
        values = [self.narrow.widened(self.read(self.narrow, self.problem.space.lhs, row, at)) for at in starts]
        pairs = pairs_of(values, self.weight.order)
        return pairs if inside is None else [arith.SelectOp(inside, p, constant_i32(0)).result for p in pairs]

    def _dealt(self, chunk: Index, ragged: bool) -> list[Value]:
        """This thread's pairs of a chunk of the only row of activations, where all threads have as many."""
        index, (_, _, _, k) = self.index, self.problem.sizes
        each = self.problem.chunk // WARP
        at, inside = index.add(index.scale(chunk, self.problem.chunk), index.scale(self.lane, each)), None
        if ragged:
            inside, at = index.below(at, k), index.minimum(at, k - each)
        few = self.kernel.evaluator(each)
        words = words_of(few.widened(self.read(few, self.problem.space.lhs, Index(0), at)))
        return words if inside is None else [arith.SelectOp(inside, w, constant_i32(0)).result for w in words]

    def put(self, totals: Sequence[Value]) -> None:
        """Thread 4 l + q holds rows l and l + 8 of a tile, and rows 2 q and 2 q + 1 of the activations."""
        index, rows = self.index, self.problem.sizes[1]
        first = index.add(index.scale(self.group, self.problem.schedule.rows), self.row_in_tile)
        for column in self.columns:
            for odd in (0, 1):
                row = index.offset(index.scale(self.quarter, 2), column * TILE_COLUMNS + odd)
                with only_if(index.below(row, rows), self.plain):
                    for tile in self.tiles:
                        at = (tile * len(self.columns) + column) * SUMS + odd
                        for half in (0, 1):
                            place = index.offset(first, tile * TILE_ROWS + half * HALF)
                            self.plain.memory.store(self.partial, (self.warp, row, place), totals[at + 2 * half])
