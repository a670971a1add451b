"""Skinny products by wgmma of packed weights: unpacked in registers, which are the instruction's left operand.

The copy engine brings packed lines to a ring in shared memory. Which k an instruction's place along k stands for is
free, as long as both operands agree: a thread reads 16 bytes of a row, and these are, pair by pair, what it must hold.
The activations are put into the same order, once for all of a workgroup's part of k, where wgmma reads them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lumir.kernels.dispatch import element_of
from lumir.kernels.index import Index
from lumir.kernels.nvidia import mbarrier, tma, warps, wgmma
from lumir.kernels.nvidia.function import NvidiaKernel
from lumir.kernels.nvidia.guard import only_if
from lumir.kernels.nvidia.mma import CHUNK_BYTES, WARP, byte_offset, constant_i32
from lumir.kernels.nvidia.skinny_cluster import ClusterBlock, cluster_kernel, equal
from lumir.kernels.nvidia.skinny_facts import ACTIVATION_LANES, QUAD
from lumir.kernels.nvidia.skinny_packed_stream import LINE, MATRIX, PAIRS, PackedStream
from lumir.kernels.nvidia.skinny_plan import SkinnyProblem
from lumir.kernels.nvidia.skinny_products import zero
from lumir.kernels.nvidia.skinny_weight import Fetched, Line, PackedWeight, load_words, pairs_of
from lumir.kernels.nvidia.wgmma_block import Ring
from lumir.kernels.nvidia.wgmma_registers import Chain, waited
from lumir.mlir import arith, ir, llvm, math, scf

Value = ir.Value
HALF = 8
"""Rows between the two that a thread holds."""
AT_ONCE = 2
"""Lines of activations that a thread reads before it stores them."""
_MULTIPLYING = 1
"""The named barrier of the threads that multiply."""


def emit_unpacked(problem: SkinnyProblem, name: str) -> NvidiaKernel:
    """Write the kernel at the insertion point."""
    with cluster_kernel(problem, name) as kernel:
        UnpackedBlock(problem, kernel).write()
    return kernel


@dataclass(frozen=True)
class _Started:
    """Products of a chunk that are under way: sums, the registers that they read, the scales of a thread's rows."""

    sums: list[Value]
    left: list[Value]
    scales: list[Value | None]


class UnpackedBlock(ClusterBlock):
    def __init__(self, problem: SkinnyProblem, kernel: NvidiaKernel):
        super().__init__(problem, kernel)
        assert isinstance(self.stream, PackedStream)
        self.packed: PackedStream = self.stream
        self.weight = PackedWeight(problem, kernel, self.batch)
        self.narrow = kernel.evaluator(ACTIVATION_LANES)
        self.row_in_tile, self.quarter = self.index.divmod(self.lane, QUAD)
        i8 = ir.IntegerType.get_signless(8)
        self.threads = WARP * problem.schedule.warps * problem.schedule.across
        self.activations = kernel.shared((self.packed.activation_bytes,), i8, 128).pointer
        self.chain = Chain(element_of(problem.facts.weight), self.stream.columns, right_along_k=True)

    @property
    def readers(self) -> int:
        return 4 * self.problem.schedule.across

    def copy(self) -> None:
        if not self.known:
            warps.wait_for_dependencies()
        with only_if(warps.elected(), self.plain):
            if not self.known:
                self.copy_first(self.copy_weight)
            self.copy_further(self.copy_weight)

    # -- activations ---------------------------------------------------------------------------------------------------

    def _place_activations(self) -> None:
        """Put this workgroup's part of the activations where wgmma reads them."""
        warps.wait_for_dependencies()
        with self.kernel.buffers_apart():
            self.take_buffers()
            units = self.packed.chunks * self.stream.columns // HALF
            warps_, at_once = self.threads // WARP, min(AT_ONCE, -(-units * WARP // self.threads))
            with self.plain.loop(0, -(-units // (at_once * warps_)), 1) as (turn, _, _done), self.narrow.scope():
                first = self.index.add(self.index.scale(turn, at_once * warps_), self.warps_before)
                places = [self.index.offset(first, i * warps_) for i in range(at_once)]
                found = [self._read_unit(self._kept(unit, units, at_once * warps_)) for unit in places]
                for place, rows in found:
                    for row, pairs in enumerate(rows):
                        for number, pair in enumerate(pairs):
                            at = self.packed.pair_at(0, number) + row * self.packed.rows_at_once * CHUNK_BYTES
                            llvm.StoreOp(pair, byte_offset(place, at), alignment=4)
        tma.fence_async_proxy()
        warps.sync_threads(_MULTIPLYING, self.threads)

    def _kept(self, unit: Index, units: int, by: int) -> Index:
        """Past the last unit, the last one again."""
        return self.index.minimum(unit, units - 1) if units % by else unit

    def _read_unit(self, unit: Index) -> tuple[Value, list[list[Value]]]:
        """A thread's pieces of a chunk of eight rows, as pairs, and where the first one goes."""
        index, stream = self.index, self.packed
        groups, k = stream.columns // HALF, self.problem.sizes[3]
        chunk, group = index.divmod(unit, groups)
        line, piece = index.divmod(self.lane, QUAD * stream.pieces)
        first = index.add(index.scale(group, HALF), line)
        at = index.add(index.scale(self.first_step(self.rank), self.problem.schedule.unroll), chunk)
        at = index.add(index.scale(at, QUAD * stream.pieces), piece)
        inside = index.below(at, k // ACTIVATION_LANES) if self._ragged else None
        start = index.minimum(at, k // ACTIVATION_LANES - 1) if self._ragged else at
        start = index.scale(start, ACTIVATION_LANES)
        lines = [index.offset(first, row) for row in range(0, HALF, stream.rows_at_once)]
        rows = [self._read_piece(row, start, inside) for row in lines]
        quarter, piece = index.divmod(piece, stream.pieces)
        place = index.add(index.scale(chunk, stream.chunk_bytes), index.scale(group, MATRIX))
        place = index.add(place, index.add(index.scale(line, CHUNK_BYTES), index.scale(quarter, 4)))
        place = index.add(place, index.scale(piece, stream.pitch))
        return byte_offset(self.activations, index.scalar(place.base)), rows

    def _read_piece(self, row: Index, k: Index, inside: Value | None) -> list[Value]:
        """The pairs of a piece of a row; past the last row, of the last one again."""
        rows = self.problem.sizes[1]
        row = self.index.minimum(row, rows - 1) if rows % HALF else row
        value = self.narrow.widened(self.read(self.narrow, self.problem.space.lhs, row, k))
        pairs = pairs_of([value], self.weight.order[:PAIRS])
        return pairs if inside is None else [arith.SelectOp(inside, p, constant_i32(0)).result for p in pairs]

    @property
    def _ragged(self) -> bool:
        """Whether a workgroup has chunks beyond the end of k."""
        return self.problem.sizes[3] % self.stream.k > 0 or not self.stream.even

    # -- products ------------------------------------------------------------------------------------------------------

    def sum(self) -> list[Value]:
        self._place_activations()
        right = self.packed.activations_lie.descriptor(self.activations)
        (_, team, _), teams = self.stands(), self.stream.teams
        first = self.index.scalar(team.base)
        start = Ring(constant_i32(0), constant_i32(0), self.stream.stages)
        start = start.after(first) if teams > 1 else start
        sums = [zero()] * (self.stream.columns // 2)
        loop = scf.ForOp(first, self.steps, constant_i32(teams), [*start.values, *sums])
        with ir.InsertionPoint(loop.body), self.weight.evaluator.scope():
            stage, parity, *totals = loop.inner_iter_args
            ring = Ring(stage, parity, self.stream.stages)
            totals = self._add_stage(Index(loop.induction_variable), ring, right, totals)
            following = ring.after(teams) if teams > 1 else ring.next()
            scf.YieldOp([*following.values, *totals])
        return list(loop.results[2:])

    def _add_stage(self, step: Index, ring: Ring, right: Value, totals: Sequence[Value]) -> list[Value]:
        """The sums with a stage's products. A chunk is unpacked while the one before it is multiplied."""
        unroll, started = self.problem.schedule.unroll, None
        formulas = [self._formulas(step, number) for number in range(unroll)]
        mbarrier.wait(self.full.at(ring.stage), ring.parity)
        found = [self._words(ring.stage, number, formulas[number]) for number in range(unroll)]
        chunks = arith.MulIOp(self.index.scalar(step.base), constant_i32(unroll)).result
        for number, fetched in enumerate(found):
            lines = [self.weight.exact(each) for each in fetched]
            if started is not None:
                totals = _finished(started, totals)
            chunk = arith.AddIOp(chunks, constant_i32(number)).result
            started = self._start_products(lines, self._advanced(right, chunk))
        warps.sync_warp()
        with only_if(equal(self.index.scalar(self.lane.base), 0)):
            mbarrier.arrive(self.empty.at(ring.stage))
        assert started is not None
        return _finished(started, totals)

    def _formulas(self, step: Index, number: int) -> list[Fetched]:
        """Scales and zero points of a thread's two rows for a chunk of a stage."""
        index, schedule = self.index, self.problem.schedule
        at = index.add(self.first_step(self.rank), step)
        at = index.offset(index.scale(at, schedule.unroll), number)
        k = index.scale(index.add(index.scale(at, QUAD), self.quarter), self.problem.lanes)
        k = index.minimum(k, self.problem.sizes[3] - self.problem.lanes) if self._ragged else k
        first = index.add(self._first_row(), self.row_in_tile)
        return [self.weight.formula(self.row(index.offset(first, half)), k) for half in (0, HALF)]

    def _words(self, stage: Value, number: int, formulas: Sequence[Fetched]) -> list[Fetched]:
        """A thread's two rows of a chunk of a stage."""
        index = self.index
        at = index.add(index.scale(self._first_row(), LINE), index.scale(self.lane, CHUNK_BYTES))
        first = byte_offset(self.stage_at(stage), index.scalar(at.base))
        starts = [byte_offset(first, (number * self.stream.rows + half) * LINE) for half in (0, HALF)]
        return [replace(each, words=load_words(start)) for each, start in zip(formulas, starts, strict=True)]

    def _first_row(self) -> Index:
        """Of this warp's sixteen, in the tile."""
        group, _, warp = self.stands()
        return self.index.add(self.index.scale(group, self.problem.schedule.rows), self.index.scale(warp, 2 * HALF))

    def _advanced(self, right: Value, chunk: Value) -> list[Value]:
        """Descriptors of the activations that each instruction multiplies a chunk with."""
        i64 = ir.IntegerType.get_signless(64)
        by = arith.MulIOp(chunk, constant_i32(self.packed.chunk_bytes // CHUNK_BYTES)).result
        first = arith.AddIOp(right, arith.ExtUIOp(i64, by).result).result
        starts = [self.packed.pair_at(*divmod(pair, PAIRS)) for pair in range(0, self.packed.pairs, 2)]
        return [wgmma.advanced(first, start // CHUNK_BYTES) for start in starts]

    def _start_products(self, lines: Sequence[Line], right: Sequence[Value]) -> _Started:
        lower, upper = lines
        left = [
            register
            for i in range(0, self.packed.pairs, 2)
            for register in (lower.pairs[i], upper.pairs[i], lower.pairs[i + 1], upper.pairs[i + 1])
        ]
        wgmma.fence_products()
        sums = self.chain.product(left, right)
        wgmma.commit_products()
        return _Started(sums, left, [line.scale for line in lines])


def _finished(started: _Started, totals: Sequence[Value]) -> list[Value]:
    """The totals with the sums of a chunk, which are waited for."""
    sums = waited(0, [*started.sums, *started.left])[: len(started.sums)]
    scales = [started.scales[i // 2 % 2] for i in range(len(sums))]
    return [_scaled(*each) for each in zip(scales, sums, totals, strict=True)]


def _scaled(scale: Value | None, x: Value, total: Value) -> Value:
    return arith.AddFOp(total, x).result if scale is None else math.FmaOp(x, scale, total).result
