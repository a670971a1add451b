"""What both kinds of attention kernel share: the block's rows, the pipeline of keys and values, scores, the end."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from lumir.kernels.index import Index
from lumir.kernels.nvidia.attention_softmax import RowSoftmax, RowState, f32
from lumir.kernels.nvidia.contraction_store import ResultTile
from lumir.kernels.nvidia.function import NvidiaKernel
from lumir.kernels.nvidia.mma import byte_offset, joined, separated
from lumir.kernels.nvidia.tiles_fill import OperandTile
from lumir.kernels.nvidia.tiles_pipeline import Feed, Pipeline
from lumir.kernels.nvidia.valid_keys import ValidKeys
from lumir.mlir import arith, ir
from lumir.sizes import Dim

if TYPE_CHECKING:
    from lumir.kernels.nvidia.attention import AttentionProblem

Value = ir.Value
Rows = list[list[Value]]
"""Values of this thread, by row."""


class AttentionBlock(ABC):
    """Writes the code of one block: a tile of rows against all keys that count for them.

    A subclass says how a thread holds rows and columns, and multiplies.
    """

    softmax: RowSoftmax

    def __init__(self, problem: "AttentionProblem", kernel: NvidiaKernel):
        self.problem, self.kernel = problem, kernel
        self.index = index = kernel.index()
        s, space = problem.schedule, problem.space
        i8 = ir.IntegerType.get_signless(8)
        self.shared = kernel.shared([problem.shared_bytes], i8, alignment=128).pointer
        query, key, value = problem.plans
        self.query = OperandTile(kernel, space.first, query, (s.m, problem.depth), problem.stored)
        self.key = OperandTile(kernel, space.first, key, (s.n, problem.depth), problem.stored)
        self.batch, tile = index.divmod(kernel.workgroup(), problem.row_tiles)
        self.first_row = index.scale(self._late_first(tile), s.m)
        self.valid = None if space.band.length is None else ValidKeys(space, kernel, self.batch, index)
        counts = None if self.valid is None else self.valid.holds  # what no one has written weighs zero times that
        self.value = OperandTile(kernel, space.second, value, (problem.columns, s.n), problem.stored, counts)
        self.first_step = self._first_step()

    # -- what a subclass says --------------------------------------------------------------------------------------

    @abstractmethod
    def rows(self) -> list[Index]:
        """This thread's rows, from the tile's first."""

    @abstractmethod
    def runs(self) -> list[tuple[Index, int]]:
        """First key and length of each run of neighbouring keys that this thread holds of a row."""

    @abstractmethod
    def products(self, keys: Value) -> Rows:
        """Query times key by row, and in the order of `runs` by key; `keys` is their tile."""

    @abstractmethod
    def accumulate(self, weights: Rows, values: Value, totals: Rows) -> Rows:
        """totals + weights times values, whose tile is `values`."""

    @abstractmethod
    def result_columns(self) -> int:
        """Columns of the result that this thread holds of a row."""

    @abstractmethod
    def stage(self, part: int, shared: Value, totals: Rows) -> None:
        """Write a part of the result to shared memory, as `ResultTile.store` wants it."""

    # -- what is common --------------------------------------------------------------------------------------------

    def write(self) -> None:
        fetched = self.query.start(self.shared, self.batch, self.first_row, Index(0))
        self.query.finish(self.shared, fetched)
        rows, width = len(self.rows()), self.result_columns()
        state = RowState.initial(rows)
        start = [f32(0.0)] * (rows * width) + state.maxima + state.sums
        totals, state = self._unpacked(self._pipeline().run(self._steps(), start, self._step))
        inverses = self.softmax.inverse_sums(state)
        totals = [[arith.MulFOp(v, by).result for v in row] for row, by in zip(totals, inverses, strict=True)]
        s, problem = self.problem.schedule, self.problem
        tile = ResultTile(
            self.kernel, problem.space.second, self.batch, self.first_row, Index(0), s.m, problem.columns, problem.lanes
        )
        tile.store(self.shared, problem.staging, lambda part, shared: self.stage(part, shared, totals))

    def _pipeline(self) -> Pipeline:
        feeds = (
            Feed(self.key, lambda step: (self._first_key(step), Index(0))),
            Feed(self.value, lambda step: (Index(0), self._first_key(step))),
        )
        base = byte_offset(self.shared, self.query.size)
        return Pipeline(self.kernel, base, self.batch, feeds, self.problem.schedule.stages)

    def _step(self, step: Index, tiles: list[Value], carried: list[Value]) -> list[Value]:
        totals, state = self._unpacked(carried)
        scores = self._scores(self.products(tiles[0]), self._first_key(step))
        weights, state, scales = self.softmax.update(scores, state)
        totals = [[arith.MulFOp(v, by).result for v in row] for row, by in zip(totals, scales, strict=True)]
        totals = self.accumulate(weights, tiles[1], totals)
        return [v for row in totals for v in row] + state.maxima + state.sums

    def _unpacked(self, carried: list[Value]) -> tuple[Rows, RowState]:
        rows, width = len(self.rows()), self.result_columns()
        totals = [carried[i * width : (i + 1) * width] for i in range(rows)]
        return totals, RowState(carried[rows * width : rows * (width + 1)], carried[rows * (width + 1) :])

    def _scores(self, products: Rows, first_key: Index) -> Rows:
        """What the dispatch makes of the products (scale, mask, ...); keys past the last one never count."""
        lanes = self.problem.score_lanes
        evaluator = self.kernel.evaluator(lanes)
        index, space = evaluator.index, self.problem.space
        _, row_count, key_count, _, _ = space.shape
        scores = []
        for row, values in zip(self.rows(), products, strict=True):
            here = index.add(self.first_row, row)
            here = index.minimum(here, row_count - 1) if row_count % self.problem.schedule.m != 0 else here
            changed: list[Value] = []
            for key in self._lane_groups(first_key):
                total = joined(values[len(changed) : len(changed) + lanes])
                if self.valid is not None:
                    self.valid.bind(evaluator)
                evaluator.bind(space.first.result, lambda _, total=total: total)
                inside = key_count % self.problem.schedule.n == 0
                kept = key if inside else index.minimum(key, key_count - lanes)
                place = space.score_place(index, self.batch, here, Index(kept.base, int(lanes > 1), kept.multiple))
                value = evaluator.at(space.scores, place)
                if not inside:
                    value = arith.SelectOp(index.below(key, key_count), value, minus_infinity(value.type)).result
                changed += separated(value)
            scores.append(changed)
        return scores

    def _lane_groups(self, first_key: Index) -> list[Index]:
        lanes = self.problem.score_lanes
        starts = [self.index.offset(first, i) for first, count in self.runs() for i in range(0, count, lanes)]
        return [Index((at := self.index.add(first_key, start)).base, 0, max(at.multiple, lanes)) for start in starts]

    def _late_first(self, tile: Index) -> Index:
        """Under a causal mask late rows have most to do: they start first."""
        if self.problem.space.band.last is None:
            return tile
        return self.index.add(self.index.scale(tile, -1), Index(self.problem.row_tiles - 1))

    def _first_key(self, step: Index) -> Index:
        return self.index.scale(self.index.add(self.first_step, step), self.problem.schedule.n)

    def _queries(self) -> tuple[Index, Index]:
        """The first and the last query position among the block's rows."""
        index, space = self.index, self.problem.space
        last = index.minimum(index.offset(self.first_row, self.problem.schedule.m - 1), space.shape[1] - 1)
        (first_head, first), (head, query) = (index.divmod(row, space.queries) for row in (self.first_row, last))
        one_head = arith.CmpIOp(arith.CmpIPredicate.eq, index.scalar(head.base), index.scalar(first_head.base)).result
        earliest = arith.SelectOp(one_head, index.scalar(first.base), index.constant(0)).result
        latest = arith.SelectOp(one_head, index.scalar(query.base), index.constant(space.queries - 1)).result
        return Index(earliest), Index(latest)

    def _first_step(self) -> Index:
        """The first tile of keys that any of the block's rows needs."""
        index, space = self.index, self.problem.space
        if space.band.first is None:
            return Index(0)
        earliest = self._queries()[0]
        if self.valid is not None:
            needed = self.valid.first_of(earliest)
        else:
            needed = index.minimum(index.maximum(index.offset(earliest, space.band.first), 0), space.shape[2])
        return index.divmod(needed, self.problem.schedule.n)[0]

    def _steps(self) -> Dim | Value:
        """Tiles of keys from there to the last that any of the block's rows needs."""
        index, space, n = self.index, self.problem.space, self.problem.schedule.n
        needed = self._stop()
        stop = Index(-(-space.shape[2] // n)) if needed is None else index.divmod(index.offset(needed, n - 1), n)[0]
        if space.band.first is None:
            return stop.base
        steps = index.add(stop, index.scale(self.first_step, -1))
        return index.scalar(index.maximum(steps, 0).base)

    def _stop(self) -> Index | None:
        """The first key that none of the block's rows needs, where there may be one."""
        index, space = self.index, self.problem.space
        if self.valid is not None:
            return self.valid.stop_of(self._queries()[1])
        if space.band.last is None:
            return None
        return index.minimum(index.maximum(index.offset(self._queries()[1], space.band.last + 1), 0), space.shape[2])


def minus_infinity(type_: ir.Type) -> Value:
    infinity = ir.FloatAttr.get(ir.F32Type.get(), float("-inf"))
    wide = ir.DenseElementsAttr.get_splat(type_, infinity) if isinstance(type_, ir.VectorType) else infinity
    return arith.ConstantOp(type_, wide).result
