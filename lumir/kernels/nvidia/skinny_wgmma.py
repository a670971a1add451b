"""Skinny products by wgmma: the weight's rows are the 64 of the instruction, the rows of activations its columns.

The copy engine brings both operands to one ring in shared memory, so that each row of activations is read once for all
rows of a tile, and no thread touches an operand.
"""

from lumir.kernels.index import Index
from lumir.kernels.nvidia import mbarrier, tma, warps, wgmma
from lumir.kernels.nvidia.function import NvidiaKernel
from lumir.kernels.nvidia.guard import only_if
from lumir.kernels.nvidia.mma import byte_offset, constant_i32
from lumir.kernels.nvidia.skinny_cluster import ClusterBlock, cluster_kernel, equal
from lumir.kernels.nvidia.skinny_plan import SkinnyProblem
from lumir.kernels.nvidia.wgmma_block import Ring
from lumir.mlir import arith, ir, scf

Value = ir.Value


def emit_wgmma(problem: SkinnyProblem, name: str) -> NvidiaKernel:
    """Write the kernel at the insertion point."""
    with cluster_kernel(problem, name) as kernel:
        WgmmaBlock(problem, kernel).write()
    return kernel


class WgmmaBlock(ClusterBlock):
    """Both operands from the ring."""

    def __init__(self, problem: SkinnyProblem, kernel: NvidiaKernel):
        super().__init__(problem, kernel)
        along_k = wgmma.Operand(along_k=True)
        self.product = wgmma.Product(self.stream.kinds, self.stream.columns, along_k, along_k)

    @property
    def readers(self) -> int:
        return self.problem.schedule.across

    def copy(self) -> None:
        warps.wait_for_dependencies()
        with only_if(warps.elected(), self.plain):
            if not self.known:
                self.copy_first(self.copy_weight)
            self.copy_first(self._copy_activations)
            self.copy_further(self.copy_weight, self._copy_activations)

    def _copy_activations(self, step: Index, stage: Value) -> None:
        at = self.index.add(self.first_step(self.rank), step)
        place = self.stream.activations_place(self.index, self.batch, at)
        tma.load_box(self._activations(stage), self.kernel.tensor_maps[1], place, self.full.at(stage))

    def _activations(self, stage: Value) -> Value:
        return byte_offset(self.stage_at(stage), self.stream.rows * wgmma.LINE)

    def sum(self) -> list[Value]:
        ring = Ring(constant_i32(0), constant_i32(0), self.stream.stages)
        sums = self._multiply(ring)
        loop = scf.ForOp(constant_i32(1), self.steps, constant_i32(1), [ring.stage, *ring.next().values, sums])
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
        weight, activations = self.stage_at(ring.stage), self._activations(ring.stage)
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
        with only_if(equal(thread, 0)):
            mbarrier.arrive(self.empty.at(stage))
