"""The code of the CPU family `attention`."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from lumir.dtypes import lowest_finite
from lumir.kernels.cpu.attention_places import AttentionPlaces
from lumir.kernels.cpu.function import CpuKernel
from lumir.kernels.cpu.scratch import stack_buffer
from lumir.kernels.evaluate import Evaluator
from lumir.kernels.index import Index, Place, is_fixed
from lumir.kernels.push import result_paths
from lumir.mlir import arith, ir, math, vector
from lumir.sizes import Dim, high

if TYPE_CHECKING:
    from lumir.kernels.cpu.attention import AttentionSchedule

Value = ir.Value


def padded(n: int, lanes: int) -> int:
    """Whole vectors of keys."""
    return -(-n // lanes) * lanes


class AttentionWriter:
    """Writes one workgroup."""

    def __init__(self, kernel: CpuKernel, places: AttentionPlaces, schedule: "AttentionSchedule", blocks: int):
        self.kernel, self.places, self.schedule, self.blocks = kernel, places, schedule, blocks
        self.space = places.space
        self.narrow, self.wide = kernel.evaluator(), kernel.evaluator(schedule.lanes)
        self.over_keys, self.over_values = kernel.evaluator(schedule.key_lanes), kernel.evaluator(schedule.value_lanes)
        self.index = self.narrow.index
        *_, self.m, self.n, self.d, self.e = places.sizes
        self.padded, kind = padded(high(self.n), schedule.lanes), places.space.first.accumulator
        self.keys = stack_buffer((self.d, schedule.keys), kind)
        self.scores = stack_buffer((schedule.rows, self.padded), kind)
        self.tile = stack_buffer((schedule.rows, self.e), kind)
        self.paths = result_paths(kernel.dispatch, places.space.second.result) or []

    def write(self) -> None:
        index, sizes = self.index, self.places.sizes
        *outer, block = index.delinearize(Index(self.kernel.workgroup), (*sizes[:3], self.blocks))
        self.outer: Place = tuple(outer)
        self.used = self._used()
        if self.schedule.keys >= high(self.n):
            self._transpose_keys(Index(0), self.used)
        start = index.scale(block, self.schedule.block)
        stop = index.minimum(index.offset(start, self.schedule.block), self.m)
        bounds = index.scalar(start.base), index.scalar(stop.base)
        with (
            self.narrow.loop(*bounds, self.schedule.rows, multiple=self.schedule.rows) as (row, _, _done),
            self._scopes(),
        ):
            self._score(row)
            self._for_rows(self._softmax)
            self._weigh_values()
            self._finish(row)

    def _used(self) -> Index:
        """The keys that are looked at: all, or as many as the data says; of the last vector, a mask drops the rest."""
        length = self.space.band.length
        if length is None:
            return Index(self.n)
        said = length.at(self.narrow, self.places.score(self.index, self.outer, Index(0), Index(0)))
        wide = said if said.type == self.index.type else arith.ExtSIOp(self.index.type, said).result
        return self.index.minimum(self.index.maximum(Index(wide), 0), self.n)

    def _until(self, stop: Dim, step: int) -> "Dim | Value":
        """The end of a loop in such steps over keys that are used and before `stop`, a whole step."""
        if is_fixed(self.used.base):
            return stop
        steps = self.index.divmod(self.index.offset(self.used, step - 1), step)[0]
        return self.index.scalar(self.index.minimum(self.index.scale(steps, step), stop).base)

    def _scopes(self):
        from contextlib import ExitStack

        stack = ExitStack()
        for evaluator in (self.wide, self.over_keys, self.over_values):
            stack.enter_context(evaluator.scope())
        return stack

    def _row(self, row: Index, i: int) -> Index:
        """Query row i of the tile, kept inside."""
        here = self.index.offset(row, i)
        return self.index.minimum(here, self.m - 1) if self.m % self.schedule.rows != 0 else here

    def _transpose_keys(self, start: Index, stop: Index) -> None:
        evaluator, lanes = self.over_keys, self.schedule.key_lanes
        first, last = (self.index.scalar(bound.base) for bound in (start, stop))
        with evaluator.loop(first, last, 1) as (n, _, _done), evaluator.loop(0, self.d, lanes) as (d, _, _inner):
            d = Index(d.base, 1 if lanes > 1 else 0, lanes)
            value = evaluator.at(self.space.first.operand(1), self.places.key(evaluator.index, self.outer, n, d))
            value = self.space.first.widen(1, value)
            evaluator.memory.store(self.keys, (d, self._behind(n, start)), value)

    def _score(self, row: Index) -> None:
        """scores[i, n] for the tile's rows."""
        keys = self.schedule.keys
        if keys >= high(self.n):
            self._score_part(row, Index(0), self.n)
            return
        whole = self.n // keys * keys
        with self.narrow.loop(0, self._until(whole, keys), keys) as (start, _, _done), self._scopes():
            self._transpose_keys(start, self.index.offset(start, keys))
            self._score_part(row, start, keys)
        if whole != self.n:
            self._transpose_keys(Index(whole), Index(self.n))
            self._score_part(row, Index(whole), self.n - whole)

    def _score_part(self, row: Index, start: Index, count: Dim) -> None:
        """The scores of `count` transposed keys from `start` on: whole lane groups, then the keys left over."""
        lanes, bounded = self.schedule.lanes, start == Index(0) and count == self.n
        whole = count // lanes * lanes
        if whole:
            self._score_keys(self.wide, row, start, 0, self._until(whole, lanes) if bounded else whole, lanes)
        if whole != count:
            self._score_keys(self.narrow, row, start, whole, self._until(count, 1) if bounded else count, 1)

    def _behind(self, n: Index, start: Index) -> Index:
        """Where key n is among those transposed from `start` on."""
        return self.index.add(n, self.index.scale(start, -1)) if start != Index(0) else n

    def _score_keys(
        self, evaluator: Evaluator, row: Index, first: Index, start: Dim, stop: "Dim | Value", step: int
    ) -> None:
        rows, index = self.schedule.rows, evaluator.index
        with evaluator.loop(start, stop, step, multiple=step) as (column, _, _done):
            column = Index(column.base, 1 if step > 1 else 0, step)
            n = index.add(first, column)
            zero = self._constant(0.0, evaluator, step)
            with evaluator.loop(0, self.d, 1, [zero] * rows) as (d, totals, done):
                key = evaluator.memory.load(self.keys, (d, column))
                done(
                    [
                        self._fused(evaluator, self._query(evaluator, row, i, d), key, t, step)
                        for i, t in enumerate(totals)
                    ]
                )
            for i, score in enumerate(done.results):
                with evaluator.scope():
                    place = self.places.score(index, self.outer, self._row(row, i), n)
                    evaluator.bind(self.space.first.result, lambda _place, score=score: score)
                    evaluator.memory.store(self.scores, (Index(i), n), evaluator.at(self.space.scores, place))

    def _query(self, evaluator: Evaluator, row: Index, i: int, d: Index) -> Value:
        place = self.places.query(evaluator.index, self.outer, self._row(row, i), d)
        return self.space.first.widen(0, evaluator.at(self.space.first.operand(0), place))

    def _fused(self, evaluator: Evaluator, x: Value, y: Value, total: Value, lanes: int) -> Value:
        if lanes > 1:
            x, y = evaluator.widened(x), evaluator.widened(y)
        return math.FmaOp(x, y, total).result

    def _constant(self, value: float, evaluator: Evaluator, lanes: int) -> Value:
        kind = self.space.first.accumulator
        scalar = arith.ConstantOp(kind, ir.FloatAttr.get(kind, value)).result
        return evaluator.widened(scalar) if lanes > 1 else scalar

    def _for_rows(self, body: Callable[[Index], None]) -> None:
        with self.narrow.loop(0, self.schedule.rows, 1) as (i, _, _done), self.wide.scope():
            body(i)

    def _softmax(self, i: Index) -> None:
        """The row of scores becomes weights; a row of -inf becomes zeros."""
        lowest = lowest_finite(self.space.first.accumulator)
        highest = self._over_row(i, "maximumf", lowest, lambda ev, at: ev.memory.load(self.scores, at))
        total = self._over_row(i, "add", 0.0, lambda ev, at: self._exponential(ev, at, highest))
        one, zero = self._constant(1.0, self.narrow, 1), self._constant(0.0, self.narrow, 1)
        empty = arith.CmpFOp(arith.CmpFPredicate.OEQ, total, zero).result
        scale = arith.DivFOp(one, arith.SelectOp(empty, one, total).result).result
        self._over_row(i, "", 0.0, lambda ev, at: self._scaled(ev, at, scale))

    def _exponential(self, evaluator: Evaluator, at: Place, highest: Value) -> Value:
        value = evaluator.memory.load(self.scores, at)
        highest = evaluator.widened(highest) if isinstance(value.type, ir.VectorType) else highest
        value = math.ExpOp(arith.SubFOp(value, highest).result).result
        evaluator.memory.store(self.scores, at, value)
        return value

    def _scaled(self, evaluator: Evaluator, at: Place, scale: Value) -> Value:
        value = evaluator.memory.load(self.scores, at)
        scale = evaluator.widened(scale) if isinstance(value.type, ir.VectorType) else scale
        value = arith.MulFOp(value, scale).result
        evaluator.memory.store(self.scores, at, value)
        return value

    def _over_row(self, i: Index, kind: str, start: float, value: Callable[[Evaluator, Place], Value]) -> Value:
        """Run over one row of scores; with a kind, reduce what `value` gives."""
        lanes = self.schedule.lanes
        whole = self.n // lanes * lanes
        total = self._constant(start, self.narrow, 1)
        if whole:
            stop, zero = self._until(whole, lanes), self._constant(start, self.wide, lanes)
            wide = self._pass(self.wide, i, 0, stop, lanes, kind, zero, value)
            if kind:
                total = vector.ReductionOp(
                    self.space.first.accumulator, ir.Attribute.parse(f"#vector.kind<{kind}>"), wide
                ).result
        if whole != self.n:
            total = self._pass(self.narrow, i, whole, self._until(self.n, 1), 1, kind, total, value)
        return total

    def _pass(
        self, evaluator: Evaluator, i: Index, start: Dim, stop: "Dim | Value", step: int, kind: str, total: Value, value
    ) -> Value:
        with evaluator.loop(start, stop, step, [total], multiple=step) as (n, (carried,), done):
            found = value(evaluator, (i, Index(n.base, 1 if step > 1 else 0, step)))
            joined = {"maximumf": arith.MaximumFOp, "add": arith.AddFOp}.get(kind)
            done([joined(carried, found).result if joined else carried])
        return done.results[0]

    def _weigh_values(self) -> None:
        """tile[i, e] = sum over keys of weight * value."""
        evaluator, lanes, rows = self.over_values, self.schedule.value_lanes, self.schedule.rows
        vectors = 2 if self.e % (2 * lanes) == 0 else 1
        with evaluator.loop(0, self.e, lanes * vectors) as (e, _, _done):
            columns = [evaluator.index.offset(e, v * lanes) for v in range(vectors)]
            columns = [Index(c.base, 1 if lanes > 1 else 0, lanes) for c in columns]
            zero = self._constant(0.0, evaluator, lanes)
            with evaluator.loop(0, self._until(self.n, 1), 1, [zero] * (rows * vectors)) as (n, totals, done):
                values = [self._value(evaluator, n, c) for c in columns]
                weights = [evaluator.memory.load(self.scores, (Index(i), n)) for i in range(rows)]
                pairs = [(weight, value) for weight in weights for value in values]
                done([self._fused(evaluator, w, v, t, lanes) for (w, v), t in zip(pairs, totals, strict=True)])
            for number, total in enumerate(done.results):
                evaluator.memory.store(self.tile, (Index(number // vectors), columns[number % vectors]), total)

    def _value(self, evaluator: Evaluator, n: Index, e: Index) -> Value:
        place = self.places.value(evaluator.index, self.outer, n, e)
        return self.space.second.widen(1, evaluator.at(self.space.second.operand(1), place))

    def _finish(self, row: Index) -> None:
        index, evaluator, lanes = self.index, self.over_values, self.schedule.value_lanes
        left = index.minimum(index.add(Index(self.m), index.scale(row, -1)), self.schedule.rows)
        with (
            evaluator.loop(0, index.scalar(left.base), 1) as (i, _, _done),
            evaluator.loop(0, self.e, lanes) as (e, _, _inner),
        ):
            e = Index(e.base, 1 if lanes > 1 else 0, lanes)
            root = self.places.result(self.outer, index.add(row, i), e)
            total = evaluator.memory.load(self.tile, (i, e))
            evaluator.bind(self.space.second.result, lambda _place: total)
            for result, path, buffer in zip(self.kernel.dispatch.results, self.paths, self.kernel.outputs, strict=True):
                place = path.place(evaluator.index, root)
                evaluator.memory.store(buffer, place, evaluator.at(result, place))
