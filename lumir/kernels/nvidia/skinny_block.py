"""What both kinds of skinny kernel share: where a warp stands, its way along k, and the end of the kernel."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import replace

from lumir.kernels.evaluate import Evaluator
from lumir.kernels.index import Index
from lumir.kernels.nvidia.contraction_store import store_results
from lumir.kernels.nvidia.dequantise import PackedReader
from lumir.kernels.nvidia.function import NvidiaKernel
from lumir.kernels.nvidia.guard import only_if
from lumir.kernels.nvidia.mma import WARP
from lumir.kernels.nvidia.programmatic import fetch_to_l2
from lumir.kernels.nvidia.skinny_plan import SkinnyProblem
from lumir.kernels.nvidia.skinny_weight import place_of
from lumir.kernels.nvidia.tiles_address import address_of
from lumir.kernels.nvidia.warps import launch_dependents, wait_for_dependencies
from lumir.mlir import ir, scf

Value = ir.Value


class SkinnyFrame:
    """Where a workgroup and its warps stand, and what all kinds of kernel read and store alike."""

    def __init__(self, problem: SkinnyProblem, kernel: NvidiaKernel):
        self.problem, self.kernel = problem, kernel
        self.plain = kernel.evaluator()
        index, schedule = self.plain.index, problem.schedule
        self.index = index
        self.warps_before, self.lane = index.divmod(kernel.thread(), WARP)
        self.group, self.warp = index.divmod(self.warps_before, schedule.warps)
        self.tile, self.rank = index.divmod(kernel.workgroup(), schedule.split)
        self.first = index.scale(self.tile, problem.columns)
        self.batch = kernel.workgroup("y") if problem.sizes[0] > 1 else Index(0)

    def ask_ahead(self) -> None:
        """Bring the first bytes of each row to the L2 cache while the kernels ahead still run.

        Only of a weight: nothing writes it, so that it does not matter when it is read.
        """
        problem = self.problem
        size = problem.bytes_ahead
        if not size:
            return
        with only_if(self.index.below(self.kernel.thread(), problem.schedule.tile), self.plain):
            fetch_to_l2(self.start_of(self.row(self.kernel.thread())), size)

    def start_of(self, row: Index) -> Value:
        """The pointer to the weight's row in memory."""
        problem, facts = self.problem, self.problem.facts
        if facts.packed is None:
            view = problem.space.operand_view(self.index, problem.space.rhs, self.batch, row, Index(0))
            address = address_of(self.index, self.kernel.inputs, facts.weight, view)
            assert address is not None
            return address.pointer(self.index)
        evaluator = self.kernel.evaluator(problem.lanes)
        reader = PackedReader(evaluator, facts.packed)
        reader.formula(facts.weight, place_of(problem, evaluator, problem.space.rhs, self.batch, row, Index(0)))
        return reader.pointer(self.kernel.inputs[facts.packed])

    def take_buffers(self) -> None:
        """From here on read what other kernels wrote."""
        self.kernel.take_buffers(apart=self.problem.dispatch.unwritten)

    def stream_weight(self) -> None:
        """Have the weight read past the caches."""
        if (only := self.problem.facts.stored) in self.problem.dispatch.unwritten:
            self.kernel.inputs[only] = replace(self.kernel.inputs[only], streamed=True)

    def read(self, evaluator: Evaluator, number: int, row: Index, k: Index) -> Value:
        """Lanes along k of an input."""
        place = place_of(self.problem, evaluator, number, self.batch, row, k)
        return evaluator.at(self.problem.space.operand(number), place)

    def row(self, offset: Index) -> Index:
        """The weight's row at an offset in this workgroup's tile; past the last one, the last one again."""
        index, rows, columns = self.index, self.problem.rows, self.problem.columns
        band, column = index.divmod(offset, columns) if len(self.problem.facts.bands) > 1 else (Index(0), offset)
        row = index.add(self.first, column)
        row = index.minimum(row, rows - 1) if rows % columns else row
        return index.add(row, index.scale(band, rows))

    def elements(self, count: int) -> Iterator[tuple[Index, Value | None]]:
        """Numbers of a tile's elements for each turn of this thread, and whether there are so many."""
        with self.plain.loop(0, -(-count // self.kernel.block), 1) as (turn, _, _done):
            unit = self.index.add(self.index.scale(turn, self.kernel.block), self.kernel.thread())
            yield unit, self.index.below(unit, count) if count % self.kernel.block else None

    def store_element(self, unit: Index, *totals: Value) -> None:
        """Store what the dispatch makes of an element in all bands, if the weight has its row."""
        problem = self.problem
        row, column = self.index.divmod(unit, problem.columns)
        n = self.index.add(self.first, column)
        ragged = problem.rows % problem.columns
        with only_if(self.index.below(n, problem.rows) if ragged else None, self.plain):
            view = problem.space.result_view(self.index, self.batch, row, n)
            evaluator = self.kernel.evaluator()
            store_results(evaluator, problem.space, problem.dispatch, self.kernel.outputs, view, *totals)

    def sum_of(self, x: Value, y: Value) -> Value:
        name = "arith.addf" if isinstance(self.problem.space.accumulator, ir.FloatType) else "arith.addi"
        return ir.Operation.create(name, results=[x.type], operands=[x, y]).results[0]


class SkinnyBlock(SkinnyFrame, ABC):
    """Writes the code of one workgroup whose warps read the weight into registers."""

    def write(self) -> None:
        self.stream_weight()
        if self.problem.programmatic:
            launch_dependents()
            self.ask_ahead()
            self.begin()
            wait_for_dependencies()
        self.take_buffers()
        space, schedule = self.problem.space, self.problem.schedule
        shape = (schedule.warps, self.problem.sizes[1], self.problem.pitch)
        self.partial = self.kernel.shared(shape, space.accumulator)
        self.put(self._sum())
        self.kernel.barrier()
        self.store()

    # -- what a kind of kernel does by itself --------------------------------------------------------------------------

    @abstractmethod
    def start(self) -> list[Value]:
        """Accumulators of zero."""

    @abstractmethod
    def add(self, chunks: Sequence[Index], totals: Sequence[Value], ragged: bool) -> list[Value]:
        """The accumulators with these chunks of k; the last chunk may end beyond k if `ragged`."""

    @abstractmethod
    def put(self, totals: Sequence[Value]) -> None:
        """Write the warp's sums to `self.partial`, at (warp, row of the activations, row of the tile)."""

    # -- on the way ----------------------------------------------------------------------------------------------------

    def _sum(self) -> list[Value]:
        problem, schedule = self.problem, self.problem.schedule
        totals, stride = self.start(), schedule.warps * schedule.unroll
        if problem.steps:
            totals = self.sum_turns(totals)
        for start in range(0, problem.rest, schedule.warps):
            chunk = self.index.offset(self.warp, problem.steps * stride + start)
            totals = self._add_last(chunk, totals, problem.rest - start)
        return totals

    def sum_turns(self, totals: list[Value]) -> list[Value]:
        """The accumulators with all whole turns."""
        with self.plain.loop(0, self.problem.steps, 1, totals) as (turn, now, done):
            done(self.add(self._turn(turn), now, ragged=False))
        return done.results

    def _turn(self, turn: Index) -> list[Index]:
        """The chunks of a turn of this part of k."""
        schedule = self.problem.schedule
        at = self.index.add(self.index.scale(turn, schedule.warps), self.warp)
        at = self.index.scale(at, schedule.unroll)
        return [self.index.offset(at, u) for u in range(schedule.unroll)]

    def begin(self) -> None:
        """What does not depend on the kernels ahead."""

    def _add_last(self, chunk: Index, totals: list[Value], left: int) -> list[Value]:
        """One chunk for each part, where there are so many left."""
        problem = self.problem
        ragged = left <= problem.schedule.warps and problem.sizes[3] % problem.chunk > 0
        if left >= problem.schedule.warps:
            return self.add([chunk], totals, ragged)
        count = -(-problem.sizes[3] // problem.chunk)
        branch = scf.IfOp(self.index.below(chunk, count), [v.type for v in totals], has_else=True)
        with ir.InsertionPoint(branch.then_block), self.plain.scope():
            scf.YieldOp(self.add([chunk], totals, ragged))
        with ir.InsertionPoint(branch.else_block):
            scf.YieldOp(totals)
        return list(branch.results)

    # -- the end -------------------------------------------------------------------------------------------------------

    def store(self) -> None:
        """Each thread joins the parts of some elements, in order, and stores what the dispatch makes of them."""
        bands = range(len(self.problem.facts.bands))
        for unit, condition in self.elements(self.problem.sizes[1] * self.problem.columns):
            with only_if(condition, self.plain):
                self.store_element(unit, *(self.joined(unit, band) for band in bands))

    def joined(self, unit: Index, band: int = 0) -> Value:
        """The sum of the warps' parts of an element, in one band."""
        load, (row, column) = self.plain.memory.load, self.index.divmod(unit, self.problem.columns)
        column = self.index.offset(column, band * self.problem.columns)
        total = load(self.partial, (Index(0), row, column))
        for part in range(1, self.problem.schedule.warps):
            total = self.sum_of(total, load(self.partial, (Index(part), row, column)))
        return total
