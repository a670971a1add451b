"""The kernel of the family `decode`: what a lane fetches goes to the tensor cores as it is, with no exchange of lanes.

Both products are computed transposed, sixteen keys times eight rows and sixteen columns times eight rows, with
`mma.sync` m16n8k16. Which depth a lane multiplies is free as long as queries and keys agree, and so is which column it
holds: each lane takes the 16 bytes that one load brings.

Of a warp, lane 4 * g + t holds: keys g and g + 8 of sixteen, and rows 2t and 2t + 1 of eight, of the scores; rows 2t
and 2t + 1, and chunk g of every eight chunks of columns, of the result.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lumir.kernels.index import Index
from lumir.kernels.nvidia import warps
from lumir.kernels.nvidia.attention_block import Rows, minus_infinity
from lumir.kernels.nvidia.attention_softmax import RowSoftmax, RowState, f32
from lumir.kernels.nvidia.decode_end import DecodeEnd
from lumir.kernels.nvidia.decode_fetch import Chunk, Compute, Direct, Fetch, Tiled
from lumir.kernels.nvidia.decode_keys import part_of
from lumir.kernels.nvidia.decode_schedule import ROWS
from lumir.kernels.nvidia.function import NvidiaKernel
from lumir.kernels.nvidia.guard import only_if
from lumir.kernels.nvidia.mma import WARP, i32, joined, multiply_16x8x16, packed_pair, separated, transposed_8x8
from lumir.kernels.nvidia.valid_keys import length_is_unwritten
from lumir.mlir import arith, ir, llvm

if TYPE_CHECKING:
    from lumir.kernels.nvidia.decode_schedule import DecodeProblem

Value = ir.Value
_GROUP = 32
"""Depth that four lanes load at once, 8 elements each: two steps of the product."""


class DecodeBlock:
    """Writes the code of one block: one part of the keys of one batch and key head."""

    def __init__(self, problem: "DecodeProblem", kernel: NvidiaKernel):
        self.problem, self.kernel = problem, kernel
        self.index = index = kernel.index()
        self.group, self.split = index.divmod(kernel.workgroup(), problem.schedule.splits)
        self.batch, rows = index.divmod(self.group, problem.row_groups)
        self.first_row = index.scale(rows, ROWS)
        self.warp, lane = index.divmod(kernel.thread(), WARP)
        self.g, self.t = index.divmod(lane, 4)
        self.softmax = RowSoftmax((4, 8, 16))
        _, _, _, self.depth, self.columns = problem.space.shape
        i8 = ir.IntegerType.get_signless(8)
        self.shared = kernel.shared([problem.shared_bytes], i8, alignment=128).pointer

    def write(self) -> None:
        problem = self.problem
        if problem.overlaps:
            warps.launch_dependents()
            if problem.space.band.length is not None and not length_is_unwritten(problem.dispatch, problem.space):
                self._wait()
        self.part = part_of(problem, self.kernel, self.batch, self.split)
        blocks = self.part.blocks
        with only_if(None if isinstance(blocks, int) else self._is_below(blocks)):
            self._write_part()

    def _is_below(self, blocks: Value) -> Value:
        """Whether the block is one of those that have a part."""
        return arith.CmpIOp(arith.CmpIPredicate.ult, self.index.scalar(self.split.base), blocks).result

    def _write_part(self) -> None:
        problem = self.problem
        direct = Direct(problem, self.kernel, self.batch, self.warp, self.part)
        fetch: Fetch = direct
        if problem.schedule.stages:
            fetch = Tiled(problem, self.kernel, self.batch, self.warp, self.part, self.shared)
        state = RowState.initial(2 * problem.row_tiles)
        start = [f32(0.0)] * (len(state.maxima) * (self.columns // 8)) + state.maxima + state.sums

        def begin() -> Compute:
            self._wait()
            queries = self._queries(direct)

            def compute(first_key: Index, vectors: list[Value], now: list[Value]) -> list[Value]:
                totals, state = self._step(first_key, vectors, queries, *self._unpacked(now))
                return [v for row in totals for v in row] + state.maxima + state.sums

            return compute

        with self.kernel.buffers_apart():
            totals, state = self._unpacked(fetch.run(self._chunks, start, begin))
        if problem.overlaps:
            self.kernel.take_buffers()
        state = RowState(state.maxima, [self.softmax.across([total], arith.AddFOp) for total in state.sums])
        end = DecodeEnd(problem, self.kernel, self.shared, self.group, self.split, self.part.blocks)
        end.write(self.warp, self.g, self.t, totals, state)

    def _wait(self) -> None:
        if self.problem.overlaps:
            warps.wait_for_dependencies()
            self.kernel.take_buffers()

    def _unpacked(self, carried: list[Value]) -> tuple[Rows, RowState]:
        rows, width = 2 * self.problem.row_tiles, self.columns // 8
        totals = [carried[i * width : (i + 1) * width] for i in range(rows)]
        return totals, RowState(carried[rows * width : rows * (width + 1)], carried[rows * (width + 1) :])

    # -- one step ------------------------------------------------------------------------------------------------------

    def _step(
        self, first_key: Index, vectors: list[Value], queries: list[Rows], totals: Rows, state: RowState
    ) -> tuple[Rows, RowState]:
        """Args:
        vectors: what `_chunks` asked for, in its order.
        """
        tiles = self._tiles(first_key)
        rest = iter(vectors)
        keys = [self._keys([next(rest) for _ in range(2 * self.depth // _GROUP)]) for _ in tiles]
        products = [[self._product(key, query) for query in queries] for key in keys]
        scores = self._scores(products, tiles)
        weights, state, scales = self.softmax.update(scores, state)
        totals = [[arith.MulFOp(v, by).result for v in row] for row, by in zip(totals, scales, strict=True)]
        groups = range(self.columns // (8 * self.problem.chunk))
        for number in range(len(tiles)):
            columns = [self._values([next(rest) for _ in range(4)]) for _ in groups]
            for tile in range(self.problem.row_tiles):
                rows = [weights[2 * tile + i][2 * number : 2 * number + 2] for i in (0, 1)]
                totals[2 * tile : 2 * tile + 2] = self._accumulated(rows, columns, totals[2 * tile : 2 * tile + 2])
        return totals, state

    def _tiles(self, first_key: Index) -> list[Index]:
        return [self.index.offset(first_key, i) for i in range(0, self.problem.schedule.keys, 16)]

    # -- what a step reads ---------------------------------------------------------------------------------------------

    def _chunks(self, first_key: Index) -> list[Chunk]:
        """Of each sixteen keys, keys g and g + 8 along their depth; then of each, columns of four keys' values."""
        tiles = self._tiles(first_key)
        return [c for tile in tiles for c in self._key_chunks(tile)] + [c for t in tiles for c in self._value_chunks(t)]

    def _key_chunks(self, tile: Index) -> list[Chunk]:
        rows = [self.index.add(self.index.offset(tile, i), self.g) for i in (0, 8)]
        return [chunk for row in rows for chunk in self._along_depth(self.problem.space.first.rhs, row)]

    def _along_depth(self, number: int, row: Index) -> list[Chunk]:
        """8 elements of each `_GROUP` of a row's depth."""
        first, at = self.problem.space.first, self.index.scale(self.t, 8)
        return [
            Chunk(first, number, row, self.index.offset(at, k), 8, along_k=True) for k in range(0, self.depth, _GROUP)
        ]

    def _value_chunks(self, tile: Index) -> list[Chunk]:
        """Keys 2t, 2t + 1, 2t + 8 and 2t + 9, for each eight chunks of columns."""
        index, lanes, second = self.index, self.problem.chunk, self.problem.space.second
        first, column = index.add(tile, index.scale(self.t, 2)), index.scale(self.g, lanes)
        return [
            Chunk(second, second.rhs, index.offset(first, i), index.offset(column, start), lanes, along_k=False)
            for start in range(0, self.columns, 8 * lanes)
            for i in (0, 1, 8, 9)
        ]

    # -- operands of the products --------------------------------------------------------------------------------------

    def _queries(self, direct: Direct) -> list[Rows]:
        """Of each tile of eight rows: for each step of the product, the right operand's two registers."""
        space, index = self.problem.space, self.index
        first = index.add(self.first_row, self.g)
        rows = [index.offset(first, 8 * i) for i in range(self.problem.row_tiles)]
        words = [[_words(direct.load(chunk)) for chunk in self._along_depth(space.first.lhs, row)] for row in rows]
        return [[chunk[i : i + 2] for chunk in row for i in (0, 2)] for row in words]

    def _keys(self, vectors: Sequence[Value]) -> Rows:
        """For each step of the product, the left operand's four registers: keys g and g + 8."""
        words = [_words(vector) for vector in vectors]
        low, high = words[: len(words) // 2], words[len(words) // 2 :]
        return [[x[i], y[i], x[i + 1], y[i + 1]] for x, y in zip(low, high, strict=True) for i in (0, 2)]

    def _values(self, vectors: Sequence[Value]) -> Rows:
        """Of each pair of columns that a product takes, the left operand's registers: two keys side by side in each."""
        rows, half = [separated(vector) for vector in vectors], self.problem.chunk // 2
        return [_interleaved(rows, i, i + half) for i in range(half)]

    def _product(self, keys: Rows, query: Rows) -> list[Value]:
        total = [f32(0.0)] * 4
        for left, right in zip(keys, query, strict=True):
            total = multiply_16x8x16(left, right, total, self.problem.element)
        return total

    def _accumulated(self, weights: Rows, values: list[Rows], totals: Rows) -> Rows:
        """The sums of rows 2t and 2t + 1 with sixteen keys' products added.

        Args:
            weights: of the two rows, for keys g and g + 8.
        """
        element, half = self.problem.element, self.problem.chunk // 2
        right = [transposed_8x8(packed_pair(x, y, element)) for x, y in zip(*weights, strict=True)]
        low, high = (list(row) for row in totals)
        for group, products in enumerate(values):
            for i, left in enumerate(products):
                at = 2 * half * group + i
                sums = [low[at], high[at], low[at + half], high[at + half]]
                low[at], high[at], low[at + half], high[at + half] = multiply_16x8x16(left, right, sums, element)
        return [low, high]

    # -- scores --------------------------------------------------------------------------------------------------------

    def _scores(self, products: list[Rows], tiles: Sequence[Index]) -> Rows:
        """By row of this thread, the scores of keys g and g + 8 of every sixteen."""
        index, pair = self.index, self.index.add(self.first_row, self.index.scale(self.t, 2))
        rows = [index.offset(pair, 8 * tile + i) for tile in range(self.problem.row_tiles) for i in (0, 1)]
        return [
            [
                self._score(
                    row, self.index.add(index.offset(tile, 8 * half), self.g), product[i // 2][2 * half + i % 2]
                )
                for tile, product in zip(tiles, products, strict=True)
                for half in (0, 1)
            ]
            for i, row in enumerate(rows)
        ]

    def _score(self, row: Index, key: Index, product: Value) -> Value:
        """What the dispatch makes of a product (scale, mask, ...); keys past the last one never count."""
        evaluator, space = self.kernel.evaluator(), self.problem.space
        _, row_count, key_count, _, _ = space.shape
        row = evaluator.index.minimum(row, row_count - 1) if row_count % (8 * self.problem.row_tiles) else row
        evaluator.bind(space.first.result, lambda _: product)
        if self.part.valid is not None:
            self.part.valid.bind(evaluator)
        ragged = self.problem.is_ragged
        kept = evaluator.index.minimum(key, key_count - 1) if ragged else key
        score = evaluator.at(space.scores, space.score_place(evaluator.index, self.batch, row, kept))
        if not ragged:
            return score
        return arith.SelectOp(evaluator.index.below(key, key_count), score, minus_infinity(score.type)).result


def _words(value: Value) -> list[Value]:
    """A vector of 16-bit elements as i32, two elements each."""
    count = ir.VectorType(value.type).shape[0] // 2
    return separated(llvm.BitcastOp(ir.VectorType.get([count], i32()), value).result)


def _interleaved(rows: list[list[Value]], low: int, high: int) -> list[Value]:
    """The left operand 16x16 of two columns of four rows: rows 0 and 1 of low and of high, then rows 2 and 3."""
    return [
        llvm.BitcastOp(i32(), joined([rows[i][column], rows[i + 1][column]])).result
        for i in (0, 2)
        for column in (low, high)
    ]
