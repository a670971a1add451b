"""What skinny kernels by wgmma share: a ring that the copy engine fills, and clusters that share a tile's sums.

A workgroup sums one tile over its part of k: its last warp copies, the warpgroups before it multiply. The workgroups of
a cluster send each other the sums of the elements that each of them stores. While the kernels ahead still run, the ring
fills with the weight.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lumir.dtypes import byte_size
from lumir.kernels.index import Index
from lumir.kernels.nvidia import mbarrier, tma, warps, wgmma
from lumir.kernels.nvidia.function import NvidiaKernel, nvidia_kernel
from lumir.kernels.nvidia.guard import only_if
from lumir.kernels.nvidia.mma import byte_offset, constant_i32, use_all_registers
from lumir.kernels.nvidia.skinny_block import SkinnyFrame
from lumir.kernels.nvidia.skinny_facts import QUAD
from lumir.kernels.nvidia.skinny_plan import SkinnyProblem
from lumir.kernels.nvidia.wgmma_block import Ring
from lumir.mlir import arith, ir, llvm, scf

Value = ir.Value
_WARP_ROWS = 16
"""Rows of the instruction that each warp of a warpgroup has the sums of."""


@contextmanager
def cluster_kernel(problem: SkinnyProblem, name: str) -> Iterator[NvidiaKernel]:
    """Open the kernel and insert into its body."""
    maps = len(problem.stream.tensor_maps())
    with nvidia_kernel(problem.dispatch, name, problem.schedule.block, tensor_maps=maps) as kernel:
        use_all_registers(problem.schedule.resident)
        if problem.schedule.split > 1:
            warps.declare_cluster(problem.schedule.split)
        yield kernel


class ClusterBlock(SkinnyFrame, ABC):
    """Writes the code of one workgroup."""

    def __init__(self, problem: SkinnyProblem, kernel: NvidiaKernel):
        super().__init__(problem, kernel)
        self.stream = stream = problem.stream
        i8, i64 = (ir.IntegerType.get_signless(bits) for bits in (8, 64))
        self.memory = kernel.shared((stream.ring_bytes,), i8, wgmma.ATOM).pointer
        barriers = kernel.shared((2 * stream.stages,), i64).pointer
        self.full = mbarrier.Barriers(barriers)
        self.empty = mbarrier.Barriers(byte_offset(barriers, stream.stages * mbarrier.BYTES))
        self.received = kernel.shared((stream.parts, stream.share), problem.space.accumulator)
        self.warp_number = warps.warp_number()
        self.clustered = problem.schedule.split > 1

    def write(self) -> None:
        warps.launch_dependents()
        copies = equal(self.warp_number, self.problem.schedule.warps * self.problem.schedule.across)
        with only_if(copies, self.plain):
            with only_if(warps.elected(), self.plain):
                self._start()
            warps.sync_warp()
        self.kernel.barrier()
        if self.clustered:
            warps.arrive_cluster(relaxed=True)
        role = scf.IfOp(copies, has_else=True)
        with ir.InsertionPoint(role.then_block), self.plain.scope():
            self.copy()
            warps.sync_warp()
            if self.clustered:
                warps.wait_cluster()
            scf.YieldOp([])
        with ir.InsertionPoint(role.else_block), self.plain.scope():
            sums = self.sum()
            if self.clustered:
                warps.wait_cluster()  # the others run: they have the memory that is sent to
            self._send(sums)
            warps.wait_for_dependencies()
            scf.YieldOp([])
        self._meet()
        self.take_buffers()
        self._store()

    def _meet(self) -> None:
        """Wait for all threads that share the tile; what they sent has come after."""
        if self.clustered:
            warps.sync_cluster()
        else:
            self.kernel.barrier()

    # -- what a kind of kernel does by itself --------------------------------------------------------------------------

    @property
    @abstractmethod
    def readers(self) -> int:
        """Arrivals that make a stage empty."""

    @abstractmethod
    def copy(self) -> None:
        """Bring what the first stages still miss, and the stages after them; by the last warp."""

    @abstractmethod
    def sum(self) -> list[Value]:
        """This thread's sums, as `wgmma.Product.values` has them; by warpgroups."""

    # -- copies, by one thread -----------------------------------------------------------------------------------------

    def _start(self) -> None:
        for stage in range(self.stream.stages):
            mbarrier.initialize(self.full.at(stage), 1)
            mbarrier.initialize(self.empty.at(stage), self.readers)
        mbarrier.fence_initialization()
        if self.known:
            self.copy_first(self.copy_weight)

    @property
    def known(self) -> bool:
        """Whether no kernel writes the weight."""
        return self.problem.facts.stored in self.problem.dispatch.unwritten

    def copy_first(self, copy: Callable[[Index, Value], None]) -> None:
        """Copy to each stage for the first time."""
        for stage in range(self._ahead):
            copy(Index(stage), constant_i32(stage))

    def copy_further(self, *copies: Callable[[Index, Value], None]) -> None:
        """Copy to each stage again, once it is empty."""
        stages, ahead = self.stream.stages, self._ahead
        start = Ring(constant_i32(ahead % stages), constant_i32(int(ahead < stages)), stages)
        loop = scf.ForOp(constant_i32(ahead), self.steps, constant_i32(1), start.values)
        with ir.InsertionPoint(loop.body):
            stage, parity = loop.inner_iter_args
            mbarrier.wait(self.empty.at(stage), parity)
            for copy in copies:
                copy(Index(loop.induction_variable), stage)
            scf.YieldOp(Ring(stage, parity, stages).next().values)

    @property
    def _ahead(self) -> int:
        """Stages that are filled for the first time before the loop."""
        return min(self.stream.stages, self.stream.least_steps)

    def first_step(self, rank: Index) -> Index:
        """Where a workgroup's part of k begins, in stages."""
        if self.stream.even:
            return self.index.scale(rank, self.stream.least_steps)
        return self.index.divmod(self.index.scale(rank, self.stream.all_steps), self.problem.schedule.split)[0]

    @property
    def steps(self) -> Value:
        """Stages of this workgroup's part of k, i32."""
        if self.stream.even:
            return constant_i32(self.stream.least_steps)
        first, after = (self.first_step(rank) for rank in (self.rank, self.index.offset(self.rank, 1)))
        return arith.SubIOp(self.index.scalar(after.base), self.index.scalar(first.base)).result

    def copy_weight(self, step: Index, stage: Value) -> None:
        """Announces the bytes of the whole stage."""
        mbarrier.arrive_expecting(self.full.at(stage), self.stream.stage_bytes)
        problem = self.problem
        for band in range(len(problem.facts.bands)):
            row = self.index.offset(self.first, band * problem.rows)
            at = self.index.add(self.first_step(self.rank), step)
            place = self.stream.weight_place(self.index, self.batch, row, at)
            shared = byte_offset(self.stage_at(stage), band * problem.columns * wgmma.LINE)
            tma.load_box(shared, self.kernel.tensor_maps[0], place, self.full.at(stage))

    def stands(self) -> tuple[Index, Index, Index]:
        """This warp's rows, as a number of warpgroups side by side; its team among those; its number in the team."""
        warpgroup, warp = self.index.divmod(self.warps_before, 4)
        return *self.index.divmod(warpgroup, self.stream.teams), warp

    def stage_at(self, stage: Value) -> Value:
        return byte_offset(self.memory, arith.MulIOp(stage, constant_i32(self.stream.stage_bytes)).result)

    # -- the end -------------------------------------------------------------------------------------------------------

    def _send(self, sums: list[Value]) -> None:
        """Send each of this thread's sums to the workgroup that stores its element."""
        index, rows, problem = self.index, self.problem.schedule.rows, self.problem
        line, quarter = index.divmod(self.lane, QUAD)
        group, team, warp = self.stands()
        row = index.add(index.scale(warp, _WARP_ROWS), line)
        for j, e in ((j, e) for j in range(self.stream.columns // 8) for e in (0, 1)):
            column = index.offset(index.scale(quarter, 2), 8 * j + e)
            with only_if(index.below(column, problem.sizes[1]) if problem.sizes[1] < 8 * (j + 1) else None, self.plain):
                for h in (0, 1):
                    local = index.offset(row, 8 * h)
                    with only_if(index.below(local, rows) if rows < wgmma.ROWS else None, self.plain):
                        at = index.add(index.scale(group, rows), local)
                        unit = index.add(index.scale(column, problem.schedule.tile), at)
                        self._send_element(unit, team, sums[4 * j + 2 * h + e])

    def _send_element(self, unit: Index, team: Index, value: Value) -> None:
        owner, place = self.index.divmod(unit, self.stream.share)
        if not self.clustered:
            self.plain.memory.store(self.received, (team, unit), value)
            return
        size = byte_size(self.received.element)
        part = self.index.add(self.index.scale(self.rank, self.stream.teams), team)
        at = self.index.linearize((part, place), self.received.shape)
        pointer = byte_offset(self.received.pointer, self.index.scalar(self.index.scale(at, size).base))
        llvm.StoreOp(value, mbarrier.address_in(self.index.scalar(owner.base), pointer), alignment=size)

    def _store(self) -> None:
        """Store this workgroup's share of the elements."""
        count, share, bands = self.stream.elements, self.stream.share, range(len(self.problem.facts.bands))
        for place, condition in self.elements(share // len(bands)):
            with only_if(condition, self.plain):
                unit = self.index.add(self.index.scale(self.rank, share), place)
                with only_if(self.index.below(unit, count) if count % share else None, self.plain):
                    self.store_element(unit, *(self._joined(place, band) for band in bands))

    def _joined(self, place: Index, band: int) -> Value:
        """The cluster's parts of an element of this workgroup's share, in order; or of one band of it."""
        load, problem = self.plain.memory.load, self.problem
        if len(problem.facts.bands) > 1:
            row, column = self.index.divmod(place, problem.columns)
            column = self.index.offset(column, band * problem.columns)
            place = self.index.add(self.index.scale(row, problem.schedule.tile), column)
        total = load(self.received, (Index(0), place))
        for part in range(1, self.stream.parts):
            total = self.sum_of(total, load(self.received, (Index(part), place)))
        return total


def equal(x: Value, number: int) -> Value:
    return arith.CmpIOp(arith.CmpIPredicate.eq, x, constant_i32(number)).result
