"""What a multiplying warpgroup of the family `prefill` does."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lumir.kernels.index import Index
from lumir.kernels.nvidia import mbarrier, tma, warps
from lumir.kernels.nvidia.attention_softmax import RowState, f32, inverse_sum
from lumir.kernels.nvidia.contraction_store import store_results
from lumir.kernels.nvidia.guard import only_if
from lumir.kernels.nvidia.mma import CHUNK_BYTES, WARP, all_of, byte_offset, joined, shuffle_xor, store_vector
from lumir.kernels.nvidia.prefill_softmax import PrefillSoftmax
from lumir.kernels.nvidia.wgmma import (
    K_BYTES,
    LINE,
    ROWS,
    WARPGROUP,
    Operand,
    advanced,
    commit_products,
    fence_products,
)
from lumir.kernels.nvidia.wgmma_registers import Chain, waited
from lumir.mlir import arith, ir

if TYPE_CHECKING:
    from lumir.kernels.nvidia.prefill_block import PrefillBlock

Value = ir.Value
_ALONG = Operand(True)
_TURNS = 1
"""The first of the named barriers at which warpgroups wait for their turn, one each; then come their own, as many."""


@dataclass(frozen=True)
class Running:
    """What is carried from step to step.

    Args:
        sums: of weights times values, as wgmma holds them.
        weights: of the last step, as left operands of the product with its values.
        state: the rows' maxima and sums of weights.
    """

    sums: list[Value]
    weights: list[Value]
    state: RowState

    def values(self) -> list[Value]:
        return [*self.sums, *self.weights, *self.state.maxima, *self.state.sums]

    def like(self, values: Sequence[Value]) -> "Running":
        a, b = len(self.sums), len(self.sums) + len(self.weights)
        state = RowState(list(values[b : b + 2]), list(values[b + 2 :]))
        return Running(list(values[:a]), list(values[a:b]), state)


class PrefillConsumer:
    """Args:
    group: this warpgroup's number.
    """

    def __init__(self, block: "PrefillBlock", group: Index):
        self.block, self.group = block, group
        self.problem, self.kernel, self.index = block.problem, block.kernel, block.index
        p, index = self.problem, self.index
        warp, lanes = index.divmod(Index(warps.thread_number()), WARP)
        warp = index.divmod(warp, WARPGROUP // WARP)[1]
        self.quad, self.lane = index.divmod(lanes, 4)
        row = index.add(index.scale(group, ROWS), index.add(index.scale(warp, ROWS // 4), self.quad))
        self.first_row = index.add(block.first_row, row)
        pair = index.scale(self.lane, 2)
        rows = block.batch, block.head, self.first_row
        self.softmax = PrefillSoftmax(p, self.kernel, *rows, pair, block.valid)
        self.scores = Chain(p.element, p.schedule.n, right_along_k=True)
        self.weighted = Chain(p.element, p.columns, right_along_k=False)

    def write(self) -> None:
        loops, block = self.block.loops, self.block
        self._begin_turns()
        running = self._first()
        with loops.loop(1, block.steps, 1, running.values()) as (step, now, done):
            done(self._step(step, running.like(now)).values())
        self._end(running.like(done.results))

    # -- steps ---------------------------------------------------------------------------------------------------------

    def _first(self) -> Running:
        """Scores and weights of the first tile; nothing is summed yet."""
        step = Index(0)
        mbarrier.wait(self.block.barriers["query"].at(0), 0)
        self._wait("keys", step)
        fence_products()
        scores = waited(0, self._start_scores(step))
        self._release("keys", step)
        state = RowState([f32(self.softmax.lowest)] * 2, [f32(0.0)] * 2)
        rows = self.softmax.scores(scores, self.block.first_key(step), whole=not self.problem.is_masked)
        weights, state, _ = self.softmax.update(rows, state)
        sums = [f32(0.0)] * (self.problem.columns // 2)
        return Running(sums, self.softmax.operands(weights), state)

    def _step(self, step: Index, running: Running) -> Running:
        """This step's scores and the last step's product with its values are under way at once."""
        before = self.index.offset(step, -1)
        self._drop_values(before)
        self._wait("keys", step)
        self._take_turn()
        fence_products()
        scores = self._start_scores(step)
        self._wait("values", before)
        sums = self._start_weighted(before, running)
        self._give_turn()
        scores = waited(1, scores)
        self._release("keys", step)
        whole = self.block.is_whole(step) if self.problem.is_banded else True
        rows = self.softmax.scores(scores, self.block.first_key(step), whole)
        weights, state, scales = self.softmax.update(rows, running.state)
        count = len(sums)
        sums = waited(0, [*sums, *running.weights])[:count]
        self._release("values", before)
        sums = [arith.MulFOp(v, scales[i // 2 % 2]).result for i, v in enumerate(sums)]
        return Running(sums, self.softmax.operands(weights), state)

    def _start_scores(self, step: Index) -> list[Value]:
        p = self.problem
        stage, _ = self.block.stage(step)
        keys = byte_offset(self.block.keys, self.index.scalar(self.index.scale(Index(stage), p.key_bytes).base))
        rows = byte_offset(self.block.queries, self.index.scalar(self.index.scale(self.group, ROWS * LINE).base))
        places = [divmod(k, LINE) for k in range(0, 2 * p.space.shape[3], K_BYTES)]
        left, right = _ALONG.descriptor(rows), _ALONG.descriptor(keys)
        a = [advanced(left, line * p.schedule.m * LINE // 16 + _ALONG.step(0, k)) for line, k in places]
        b = [advanced(right, line * p.schedule.n * LINE // 16 + _ALONG.step(0, k)) for line, k in places]
        sums = self.scores.fresh(a, b)
        commit_products()
        return sums

    def _start_weighted(self, step: Index, running: Running) -> list[Value]:
        p, values_lie = self.problem, Operand(False, self.problem.schedule.n * LINE)
        stage, _ = self.block.stage(step)
        values = byte_offset(self.block.values, self.index.scalar(self.index.scale(Index(stage), p.value_bytes).base))
        first = values_lie.descriptor(values)
        right = [advanced(first, values_lie.step(0, k * K_BYTES)) for k in range(p.schedule.n // 16)]
        sums = self.weighted.added(running.sums, running.weights, right)
        commit_products()
        return sums

    def _drop_values(self, step: Index) -> None:
        """Zeros in place of values that do not count, in the first step's tile: they may be what no one has written."""
        block, index, tile = self.block, self.index, self.problem.schedule.n
        if block.valid is None:
            return
        with only_if(arith.CmpIOp(arith.CmpIPredicate.eq, index.scalar(step.base), index.constant(0)).result):
            self._wait("values", step)
            kept = index.add(block.valid.length, index.scale(block.first_key(Index(0)), -1))
            chunks = index.scale(index.minimum(index.maximum(kept, 0), tile), LINE // CHUNK_BYTES)
            thread = index.divmod(Index(warps.thread_number()), WARPGROUP)[1]
            start, stop = index.scalar(index.add(chunks, thread).base), tile * LINE // CHUNK_BYTES
            with block.loops.loop(start, stop, WARPGROUP) as (chunk, _, _done):
                at = byte_offset(block.values, index.scalar(index.scale(chunk, CHUNK_BYTES).base))
                for line in range(self.problem.column_lines):
                    store_vector(byte_offset(at, line * tile * LINE), [f32(0.0)] * (CHUNK_BYTES // 4))
            tma.fence_async_proxy()
            own = index.offset(self.group, _TURNS + self.problem.schedule.groups)
            warps.sync_threads(index.scalar(own.base), WARPGROUP)

    # -- the end -------------------------------------------------------------------------------------------------------

    def _end(self, running: Running) -> None:
        last = Index(arith.SubIOp(self.block.steps, self.index.constant(1)).result)
        self._drop_values(last)
        self._wait("values", last)
        fence_products()
        sums = self._start_weighted(last, running)
        sums = waited(0, [*sums, *running.weights])[: len(sums)]
        totals = [self.softmax.across([total], arith.AddFOp) for total in running.state.sums]
        inverses = [inverse_sum(total) for total in totals]
        for h in (0, 1):
            row = [arith.MulFOp(v, inverses[h]).result for i, v in enumerate(sums) if i // 2 % 2 == h]
            self._store(self.index.offset(self.first_row, 8 * h), row)

    def _store(self, row: Index, sums: list[Value]) -> None:
        """A row's sums in columns 8 j + 2 (lane % 4) and the next: stored so, or eight of one j by each lane."""
        p, index = self.problem, self.index
        together = p.lanes == 8
        if together:
            sums = [v for i in range(0, len(sums), 8) for v in self._exchanged(sums[i : i + 8])]
        first = index.scale(self.lane, 8 if together else 2)
        inside = [index.below(row, p.space.queries)] if p.space.queries % p.schedule.m != 0 else []
        place = index.add(index.scale(self.block.head, p.space.queries), row)
        with only_if(all_of(inside)):
            for i in range(0, len(sums), p.lanes):
                start = i // 8 * 32 if together else i // 2 * 8 + i % 2
                column = index.offset(first, start)
                ragged = p.columns != p.space.shape[4]
                with only_if(index.below(column, p.space.shape[4]) if ragged else None):
                    self._store_lanes(place, column, sums[i : i + p.lanes])

    def _store_lanes(self, row: Index, column: Index, sums: list[Value]) -> None:
        lanes, second = self.problem.lanes, self.problem.space.second
        evaluator = self.kernel.evaluator(lanes)
        batch, row, column = (self.kernel.index_of(at) for at in (self.block.batch, row, column))
        at = Index(column.base, int(lanes > 1), max(column.known, lanes))
        view = second.result_view(evaluator.index, batch, row, at)
        store_results(evaluator, second, self.kernel.dispatch, self.kernel.outputs, view, joined(sums))

    def _exchanged(self, sums: list[Value]) -> list[Value]:
        """Four lanes' pairs of columns of four times eight, so that each has all eight of one.

        A transpose of 4 x 4 pairs in two rounds: halves, then neighbours.
        """
        pairs = [sums[i : i + 2] for i in range(0, 8, 2)]
        for distance in (2, 1):
            high = arith.CmpIOp(
                arith.CmpIPredicate.ne,
                arith.AndIOp(self.index.scalar(self.lane.base), self.index.constant(distance)).result,
                self.index.constant(0),
            ).result
            for j in (0, 1, 2, 3):
                if j & distance:
                    continue
                low, up = pairs[j], pairs[j | distance]
                given = [arith.SelectOp(high, x, y).result for x, y in zip(low, up, strict=True)]
                got = [shuffle_xor(v, distance) for v in given]
                pairs[j] = [arith.SelectOp(high, g, x).result for g, x in zip(got, low, strict=True)]
                pairs[j | distance] = [arith.SelectOp(high, y, g).result for g, y in zip(got, up, strict=True)]
        return [v for pair in pairs for v in pair]

    # -- waiting -------------------------------------------------------------------------------------------------------

    def _wait(self, name: str, step: Index) -> None:
        stage, parity = self.block.stage(step)
        mbarrier.wait(self.block.barriers[f"{name}_full"].at(stage), parity)

    def _release(self, name: str, step: Index) -> None:
        """Tell the copying warp that this warp has read a step's keys or values."""
        stage, _ = self.block.stage(step)
        with only_if(warps.elected()):
            mbarrier.arrive(self.block.barriers[f"{name}_empty"].at(stage))

    def _begin_turns(self) -> None:
        """The first turn is the first warpgroup's: the last one gives it."""
        groups = self.problem.schedule.groups
        if self.problem.schedule.turns:
            last = arith.CmpIOp(
                arith.CmpIPredicate.eq, self.index.scalar(self.group.base), self.index.constant(groups - 1)
            ).result
            with only_if(last):
                warps.arrive_threads(_TURNS, 2 * WARPGROUP)

    def _take_turn(self) -> None:
        if self.problem.schedule.turns:
            number = self.index.scalar(self.index.offset(self.group, _TURNS).base)
            warps.sync_threads(number, 2 * WARPGROUP)

    def _give_turn(self) -> None:
        if self.problem.schedule.turns:
            groups = self.problem.schedule.groups
            next_one = self.index.divmod(self.index.offset(self.group, 1), groups)[1]
            warps.arrive_threads(self.index.scalar(self.index.offset(next_one, _TURNS).base), 2 * WARPGROUP)
