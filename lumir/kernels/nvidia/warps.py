"""What warps of a block and blocks of a cluster tell one another: roles, registers, named barriers, clusters."""

from collections.abc import Sequence

from lumir.kernels.nvidia.mma import WARP, constant_i32, i32
from lumir.mlir import arith, gpu, ir, nvvm

Value = ir.Value


def thread_number() -> Value:
    """This thread's number in its block, i32."""
    return arith.IndexCastOp(i32(), gpu.ThreadIdOp(gpu.Dimension.x).result).result


def uniform(value: Value) -> Value:
    """A value (i32) that is the same for a whole warp, in a form that the assembler knows to be so."""
    kind = ir.Attribute.parse("#nvvm<shfl_kind idx>")
    return nvvm.shfl_sync(constant_i32(-1), value, constant_i32(0), constant_i32(WARP - 1), kind, results=[value.type])


def warp_number() -> Value:
    """This thread's warp in its block, i32, known to be uniform."""
    return uniform(arith.DivUIOp(thread_number(), constant_i32(WARP)).result)


def elected() -> Value:
    """True (i1) in one thread of a converged warp."""
    return nvvm.elect_sync(results=[ir.IntegerType.get_signless(1)])


def sync_warp() -> None:
    """Wait for all threads of the warp; what they wrote before is seen after."""
    nvvm.bar_warp_sync(constant_i32(-1))


def sync_threads(barrier: int | Value, threads: int) -> None:
    """Named barrier 1 to 15 of the block: wait for so many threads; what they wrote before is seen after."""
    number = constant_i32(barrier) if isinstance(barrier, int) else barrier
    nvvm.barrier(barrier_id=number, number_of_threads=constant_i32(threads))


def arrive_threads(barrier: int | Value, threads: int) -> None:
    """Count for a named barrier that others wait at with `sync_threads`, without waiting."""
    number = constant_i32(barrier) if isinstance(barrier, int) else barrier
    nvvm.barrier_arrive(constant_i32(threads), barrier_id=number)


def take_registers(count: int) -> None:
    """Raise this warpgroup's registers a thread to `count` (24 to 240, a multiple of 8); waits until they are free.

    All warpgroups together may have 65,536 registers, or the kernel hangs: with a producer of 40, two of 232 fit.
    """
    nvvm.setmaxregister(count, ir.Attribute.parse("#nvvm<action increase>"))


def give_registers(count: int) -> None:
    """Lower this warpgroup's registers a thread to `count`."""
    nvvm.setmaxregister(count, ir.Attribute.parse("#nvvm<action decrease>"))


def store_matrices(shared: Value, registers: Sequence[Value], *, transposed: bool = False) -> None:
    """stmatrix: one, two or four 8x8 matrices of 16-bit elements, a register (i32) each.

    Args:
        shared: in lane l, the address of row l % 8 of matrix l // 8; 16 bytes are written there.
        registers: in lane l, elements 2 (l % 4) and the next of row l // 4 of each matrix.
        transposed: columns for rows.
    """
    layout = ir.Attribute.parse(f"#nvvm.mma_layout<{'col' if transposed else 'row'}>")
    shape = ir.Attribute.parse("#nvvm.ld_st_matrix_shape<m = 8, n = 8>")
    nvvm.stmatrix(shared, list(registers), layout, shape, ir.Attribute.parse("#nvvm.ld_st_matrix_elt_type<b16>"))


def wait_for_dependencies() -> None:
    """Programmatic dependent launch: wait until what came before this launch is done and its writes are seen."""
    nvvm.griddepcontrol(ir.Attribute.parse("#nvvm<grid_dep_action wait>"))


def launch_dependents() -> None:
    """Programmatic dependent launch: let the next launch start; its blocks run where this one leaves room."""
    nvvm.griddepcontrol(ir.Attribute.parse("#nvvm<grid_dep_action launch_dependents>"))


def sync_cluster() -> None:
    """Wait for every thread of the cluster; what they wrote before is seen after."""
    arrive_cluster()
    wait_cluster()


def arrive_cluster(relaxed: bool = False) -> None:
    """The first half of `sync_cluster`: do not wait yet.

    Args:
        relaxed: tell only that this thread has come here, and nothing of what it wrote.
    """
    (nvvm.cluster_arrive_relaxed if relaxed else nvvm.cluster_arrive)()


def wait_cluster() -> None:
    """The second half of `sync_cluster`."""
    nvvm.cluster_wait()


def declare_cluster(blocks: int) -> None:
    """Say that the kernel runs in clusters of so many blocks along x. Call it at the top level of a `gpu.func`."""
    function = ir.InsertionPoint.current.block.owner
    function.attributes["nvvm.cluster_dim"] = ir.DenseI32ArrayAttr.get([blocks, 1, 1])
