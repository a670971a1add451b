"""Skinny products by wgmma: the weight's rows are the 64 of the instruction, the rows of activations its columns.

The copy engine brings both operands to a ring in shared memory, so that each row of activations is read once for all
rows of a tile, and no thread touches an operand. A workgroup sums one tile over its part of k; the workgroups of a
cluster send each other the sums of the elements that each of them stores. While the kernels ahead still run, the ring
fills with the weight.
"""

from collections.abc import Callable

from lumir.artifact.tensor_map import TensorMap
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


def emit_wgmma(problem: SkinnyProblem, name: str) -> NvidiaKernel:
    """Write the kernel at the insertion point."""
    with nvidia_kernel(problem.dispatch, name, problem.schedule.block, tensor_maps=2) as kernel:
        use_all_registers(problem.schedule.resident)
        if problem.schedule.split > 1:
            warps.declare_cluster(problem.schedule.split)
        WgmmaBlock(problem, kernel).write()
    return kernel


def tensor_maps(problem: SkinnyProblem) -> tuple[TensorMap, ...]:
    """Of the weight and of the activations."""
    stream = problem.stream
    assert stream.matrices is not None
    weight, activations = stream.matrices
    return weight.tensor_map(problem.columns, stream.k), activations.tensor_map(stream.columns, stream.k)


class WgmmaBlock(SkinnyFrame):
    """Writes the code of one workgroup: its last warp copies, the warpgroups before it multiply."""

    def __init__(self, problem: SkinnyProblem, kernel: NvidiaKernel):
        super().__init__(problem, kernel)
        self.stream = stream = problem.stream
        i8, i64 = (ir.IntegerType.get_signless(bits) for bits in (8, 64))
        self.memory = kernel.shared((stream.ring_bytes,), i8, wgmma.ATOM).pointer
        barriers = kernel.shared((2 * stream.stages,), i64).pointer
        self.full = mbarrier.Barriers(barriers)
        self.empty = mbarrier.Barriers(byte_offset(barriers, stream.stages * mbarrier.BYTES))
        self.received = kernel.shared((problem.schedule.split, stream.share), problem.space.accumulator)
        along_k = wgmma.Operand(along_k=True)
        self.product = wgmma.Product(stream.kinds, stream.columns, along_k, along_k)
        self.warp_number = warps.warp_number()
        self.clustered = problem.schedule.split > 1

    def write(self) -> None:
        warps.launch_dependents()
        copies = _equal(self.warp_number, 4 * self.problem.schedule.across)
        with only_if(copies, self.plain):
            with only_if(warps.elected(), self.plain):
                self._start()
            warps.sync_warp()
        self.kernel.barrier()
        if self.clustered:
            warps.arrive_cluster()
        role = scf.IfOp(copies, has_else=True)
        with ir.InsertionPoint(role.then_block), self.plain.scope():
            warps.wait_for_dependencies()
            with only_if(warps.elected(), self.plain):
                self._copy()
            warps.sync_warp()
            if self.clustered:
                warps.wait_cluster()
            scf.YieldOp([])
        with ir.InsertionPoint(role.else_block), self.plain.scope():
            sums = self._sum()
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

    # -- copies, by one thread -----------------------------------------------------------------------------------------

    def _start(self) -> None:
        for stage in range(self.stream.stages):
            mbarrier.initialize(self.full.at(stage), 1)
            mbarrier.initialize(self.empty.at(stage), self.problem.schedule.across)
        mbarrier.fence_initialization()
        if self._known:
            self._first(self._copy_weight)

    @property
    def _known(self) -> bool:
        """Whether no kernel writes the weight."""
        return self.problem.facts.stored in self.problem.dispatch.unwritten

    def _copy(self) -> None:
        """Bring what is still missing in the first stages, then one stage after the other."""
        if not self._known:
            self._first(self._copy_weight)
        self._first(self._copy_activations)
        stages, ahead = self.stream.stages, self._ahead
        start = Ring(constant_i32(ahead % stages), constant_i32(int(ahead < stages)), stages)
        loop = scf.ForOp(constant_i32(ahead), self._steps, constant_i32(1), start.values)
        with ir.InsertionPoint(loop.body):
            stage, parity = loop.inner_iter_args
            step, ring = Index(loop.induction_variable), Ring(stage, parity, stages)
            mbarrier.wait(self.empty.at(stage), parity)
            self._copy_weight(step, stage)
            self._copy_activations(step, stage)
            scf.YieldOp(ring.next().values)

    @property
    def _ahead(self) -> int:
        """Stages that are filled for the first time before the loop."""
        return min(self.stream.stages, self.stream.least_steps)

    def _first(self, copy: Callable[[Index, Value], None]) -> None:
        """Copy to each stage for the first time."""
        for stage in range(self._ahead):
            copy(Index(stage), constant_i32(stage))

    def _first_step(self, rank: Index) -> Index:
        """Where a workgroup's part of k begins, in stages."""
        if self.stream.even:
            return self.index.scale(rank, self.stream.least_steps)
        return self.index.divmod(self.index.scale(rank, self.stream.all_steps), self.problem.schedule.split)[0]

    @property
    def _steps(self) -> Value:
        """Stages of this workgroup's part of k, i32."""
        if self.stream.even:
            return constant_i32(self.stream.least_steps)
        first, after = (self._first_step(rank) for rank in (self.rank, self.index.offset(self.rank, 1)))
        return arith.SubIOp(self.index.scalar(after.base), self.index.scalar(first.base)).result

    def _copy_weight(self, step: Index, stage: Value) -> None:
        """Announces the bytes of both operands."""
        mbarrier.arrive_expecting(self.full.at(stage), self.stream.stage_bytes)
        problem = self.problem
        for band in range(len(problem.facts.bands)):
            row = self.index.offset(self.first, band * problem.rows)
            self._load(0, row, step, stage, band * problem.columns * wgmma.LINE)

    def _copy_activations(self, step: Index, stage: Value) -> None:
        self._load(1, Index(0), step, stage)

    def _load(self, number: int, row: Index, step: Index, stage: Value, behind: int = 0) -> None:
        matrices = self.stream.matrices
        assert matrices is not None
        at = self.index.add(self._first_step(self.rank), step)
        place = matrices[number].place(self.index, self.batch, row, self.index.scale(at, self.stream.k))
        shared = byte_offset(self._places(stage)[number], behind)
        tma.load_box(shared, self.kernel.tensor_maps[number], place, self.full.at(stage))

    def _places(self, stage: Value) -> tuple[Value, Value]:
        """Where the weight and the activations of a stage are."""
        start = byte_offset(self.memory, arith.MulIOp(stage, constant_i32(self.stream.stage_bytes)).result)
        return start, byte_offset(start, self.stream.rows * wgmma.LINE)

    # -- products, by warpgroups ---------------------------------------------------------------------------------------

    def _sum(self) -> list[Value]:
        """This thread's sums, as `wgmma.Product.values` has them."""
        ring = Ring(constant_i32(0), constant_i32(0), self.stream.stages)
        sums = self._multiply(ring)
        loop = scf.ForOp(constant_i32(1), self._steps, constant_i32(1), [ring.stage, *ring.next().values, sums])
        with ir.InsertionPoint(loop.body):
            before, stage, parity, sums = loop.inner_iter_args
            ring = Ring(stage, parity, self.stream.stages)
            sums = self._multiply(ring, sums)
            wgmma.wait_products(1)
            self._release(before)
            scf.YieldOp([stage, *ring.next().values, sums])
        wgmma.wait_products(0)
        return self.product.values(loop.results[3])[0]

    def _multiply(self, ring: Ring, sums: Value | None = None) -> Value:
        """Start the products of a stage, as one group."""
        mbarrier.wait(self.full.at(ring.stage), ring.parity)
        weight, activations = self._places(ring.stage)
        group = arith.DivUIOp(self.warp_number, constant_i32(4)).result
        own = arith.MulIOp(group, constant_i32(self.problem.schedule.rows * wgmma.LINE)).result
        lies = self.product.left
        left, right = lies.descriptor(byte_offset(weight, own)), lies.descriptor(activations)
        offsets = [lies.step(0, k) for k in range(0, wgmma.LINE, wgmma.K_BYTES)]
        wgmma.fence_products()
        steps = [([wgmma.advanced(left, by)], wgmma.advanced(right, by)) for by in offsets]
        sums = self.product.multiply(sums, steps)
        wgmma.commit_products()
        return sums

    def _release(self, stage: Value) -> None:
        """Tell the copying thread that this warpgroup has multiplied a stage."""
        thread = arith.AndIOp(warps.thread_number(), constant_i32(wgmma.WARPGROUP - 1)).result
        with only_if(_equal(thread, 0)):
            mbarrier.arrive(self.empty.at(stage))

    # -- the end -------------------------------------------------------------------------------------------------------

    def _send(self, sums: list[Value]) -> None:
        """Send each of this thread's sums to the workgroup that stores its element."""
        index, rows, problem = self.index, self.problem.schedule.rows, self.problem
        line, quarter = index.divmod(self.lane, QUAD)
        group, warp = index.divmod(self.warps_before, 4)
        row = index.add(index.scale(warp, _WARP_ROWS), line)
        for j, e in ((j, e) for j in range(self.stream.columns // 8) for e in (0, 1)):
            column = index.offset(index.scale(quarter, 2), 8 * j + e)
            with only_if(index.below(column, problem.sizes[1]) if problem.sizes[1] < 8 * (j + 1) else None, self.plain):
                for h in (0, 1):
                    local = index.offset(row, 8 * h)
                    with only_if(index.below(local, rows) if rows < wgmma.ROWS else None, self.plain):
                        at = index.add(index.scale(group, rows), local)
                        unit = index.add(index.scale(column, problem.schedule.tile), at)
                        self._send_element(unit, sums[4 * j + 2 * h + e])

    def _send_element(self, unit: Index, value: Value) -> None:
        owner, place = self.index.divmod(unit, self.stream.share)
        if not self.clustered:
            self.plain.memory.store(self.received, (Index(0), unit), value)
            return
        size = byte_size(self.received.element)
        at = self.index.linearize((self.rank, place), self.received.shape)
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
        for part in range(1, problem.schedule.split):
            total = self.sum_of(total, load(self.received, (Index(part), place)))
        return total


def _equal(x: Value, number: int) -> Value:
    return arith.CmpIOp(arith.CmpIPredicate.eq, x, constant_i32(number)).result
