"""Skinny products on tensor cores: the weight's rows are the 16 of mma.sync, the activations' rows its 8 columns.

Which k an instruction's place along k stands for is free, as long as both operands agree. So a thread loads 16 bytes of
a row, neighbours along k, and these are, pair by pair, what it must hold for two instructions: nothing is moved.
"""

from collections.abc import Sequence

from lumir.kernels.dispatch import element_of
from lumir.kernels.index import Index
from lumir.kernels.nvidia.function import NvidiaKernel, nvidia_kernel
from lumir.kernels.nvidia.guard import only_if
from lumir.kernels.nvidia.mma import constant_i32, multiply_16x8x16, use_all_registers
from lumir.kernels.nvidia.skinny_block import SkinnyBlock
from lumir.kernels.nvidia.skinny_facts import ACTIVATION_LANES, QUAD, TILE_COLUMNS, TILE_ROWS
from lumir.kernels.nvidia.skinny_plan import SkinnyProblem
from lumir.kernels.nvidia.skinny_weight import Line, pairs_of, weight_reader
from lumir.mlir import arith, ir, llvm, math

Value = ir.Value
HALF = 8
"""Rows of a tile between the two that a thread holds."""
BLOCKS = 16
"""Workgroups that a multiprocessor of any architecture holds at once."""
_SUMS = 4  # accumulators of a thread for one 16x8 tile


def emit_mma(problem: SkinnyProblem, name: str) -> NvidiaKernel:
    """Write the kernel at the insertion point."""
    with nvidia_kernel(problem.dispatch, name, problem.schedule.block) as kernel:
        if problem.facts.packed is not None:
            threads = 1024 if problem.sizes[1] <= TILE_COLUMNS else 512
            use_all_registers(max(1, min(BLOCKS, threads // problem.schedule.block)))
        MmaBlock(problem, kernel).write()
    return kernel


def _zero() -> Value:
    return arith.ConstantOp(ir.F32Type.get(), ir.FloatAttr.get_f32(0.0)).result


class MmaBlock(SkinnyBlock):
    def __init__(self, problem: SkinnyProblem, kernel: NvidiaKernel):
        super().__init__(problem, kernel)
        self.weight = weight_reader(problem, kernel, self.batch)
        self.narrow = kernel.evaluator(ACTIVATION_LANES)
        self.element = element_of(problem.facts.weight)
        self.row_in_tile, self.quarter = self.index.divmod(self.lane, QUAD)
        self.tiles = range(problem.schedule.rows // TILE_ROWS)
        self.columns = range(-(-problem.sizes[1] // TILE_COLUMNS))

    def start(self) -> list[Value]:
        return [_zero()] * (len(self.tiles) * len(self.columns) * _SUMS)

    def add(self, chunks: Sequence[Index], totals: Sequence[Value], ragged: bool) -> list[Value]:
        with self.weight.evaluator.scope(), self.narrow.scope():
            places = [self.lanes_at(chunk, ragged) for chunk in chunks]
            weights = [[self._tile(tile, k, inside) for tile in self.tiles] for k, inside in places]
            activations = [[self.activations(column, k, inside) for column in self.columns] for k, inside in places]
        for rows, columns in zip(weights, activations, strict=True):
            totals = self.multiplied(rows, columns, totals)
        return list(totals)

    def multiplied(
        self, rows: Sequence[tuple[Line, Line]], columns: Sequence[list[Value]], totals: Sequence[Value]
    ) -> list[Value]:
        """The accumulators with one chunk of k: lines of each tile, pairs of each column of activations."""
        result = list(totals)
        for column, pairs in enumerate(columns):
            surplus = self._surplus(pairs) if rows[0][0].scale is not None else []
            for tile, (lower, upper) in enumerate(rows):
                at = (tile * len(columns) + column) * _SUMS
                result[at : at + _SUMS] = self._tile_multiplied(lower, upper, pairs, surplus, result[at : at + _SUMS])
        return result

    def lanes_at(self, chunk: Index, ragged: bool) -> tuple[Index, Value | None]:
        """Where this thread's lanes begin, kept inside k, and whether they were inside, if that is in doubt."""
        index, lanes, inside = self.index, self.problem.lanes, None
        group, groups = index.add(index.scale(chunk, QUAD), self.quarter), self.problem.sizes[3] // lanes
        if ragged:
            inside = index.below(group, groups)
            group = index.minimum(group, groups - 1)
        return index.scale(group, lanes), inside

    def _tile(self, tile: int, k: Index, inside: Value | None) -> tuple[Line, Line]:
        """The two rows that this thread holds of a tile."""
        first = self.index.add(self.index.scale(self.group, self.problem.schedule.rows), self.row_in_tile)
        rows = [self.row(self.index.offset(first, tile * TILE_ROWS + half)) for half in (0, HALF)]
        lower, upper = (self.weight.line(row, k, inside) for row in rows)
        return lower, upper

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

    def _tile_multiplied(
        self, lower: Line, upper: Line, pairs: Sequence[Value], surplus: list[Value], totals: list[Value]
    ) -> list[Value]:
        """The sums of a tile with this chunk's products."""
        left = [words for i in range(0, len(pairs), 2) for words in (lower.pairs[i], upper.pairs[i])]
        more = [words for i in range(1, len(pairs), 2) for words in (lower.pairs[i], upper.pairs[i])]
        operands = [(*left[i : i + 2], *more[i : i + 2]) for i in range(0, len(pairs), 2)]
        if lower.scale is None or upper.scale is None:
            return self._chain(operands, pairs, totals)
        sums = self._chain(operands, pairs, [_zero()] * _SUMS)
        result = []
        for i, (sum_, total) in enumerate(zip(sums, totals, strict=True)):
            line = lower if i < 2 else upper
            real = arith.SubFOp(sum_, surplus[i % 2]).result
            if line.zero is not None:
                real = math.FmaOp(arith.NegFOp(line.zero).result, surplus[2 + i % 2], real).result
            assert line.scale is not None
            result.append(math.FmaOp(real, line.scale, total).result)
        return result

    def _surplus(self, pairs: Sequence[Value]) -> list[Value]:
        """For this thread's two rows of activations: the sums of base times activation, and of the activations."""
        words = [self._twice(base) for base in self.weight.bases]
        one = self._twice(1.0)
        operands = [(words[i], one, words[i + 1], one) for i in range(0, len(pairs), 2)]
        return self._chain(operands, pairs, [_zero()] * _SUMS)

    def _chain(self, operands: Sequence[Sequence[Value]], pairs: Sequence[Value], sums: list[Value]) -> list[Value]:
        for i, left in enumerate(operands):
            sums = multiply_16x8x16(left, pairs[2 * i : 2 * i + 2], sums, self.element)
        return sums

    def _twice(self, value: float) -> Value:
        """A pair of one number, as i32."""
        pair = ir.VectorType.get([2], self.element)
        splat = ir.DenseElementsAttr.get_splat(pair, ir.FloatAttr.get(self.element, value))
        return llvm.BitcastOp(ir.IntegerType.get_signless(32), arith.ConstantOp(pair, splat).result).result

    def put(self, totals: Sequence[Value]) -> None:
        """Thread 4 l + q holds rows l and l + 8 of a tile, and rows 2 q and 2 q + 1 of the activations."""
        index, rows = self.index, self.problem.sizes[1]
        first = index.add(index.scale(self.group, self.problem.schedule.rows), self.row_in_tile)
        for column in self.columns:
            for odd in (0, 1):
                row = index.offset(index.scale(self.quarter, 2), column * TILE_COLUMNS + odd)
                with only_if(index.below(row, rows), self.plain):
                    for tile in self.tiles:
                        at = (tile * len(self.columns) + column) * _SUMS + odd
                        for half in (0, 1):
                            place = index.offset(first, tile * TILE_ROWS + half * HALF)
                            self.plain.memory.store(self.partial, (self.warp, row, place), totals[at + 2 * half])
