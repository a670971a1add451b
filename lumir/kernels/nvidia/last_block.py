"""Which of several blocks is the last to finish: it joins what they all left in the workspace."""

from lumir.kernels.memory import advance
from lumir.kernels.nvidia.function import NvidiaKernel
from lumir.kernels.nvidia.guard import only_if
from lumir.kernels.nvidia.mma import constant_i32, i32
from lumir.mlir import arith, ir, llvm

Value = ir.Value


def is_last_block(kernel: NvidiaKernel, counter: Value, blocks: int) -> Value:
    """Whether `blocks - 1` others came here before this block, as an i1 that is the same in all of its threads.

    What they wrote before is seen after by the block that is the last. The counter is back at zero then. Every thread
    of the block must come here.

    Args:
        counter: the number of the counter that these blocks share, as an integer of the kernel's index type.
    """
    first = arith.CmpIOp(
        arith.CmpIPredicate.eq, kernel.evaluator().index.scalar(kernel.thread().base), _zero(kernel.index_type)
    ).result
    flag = kernel.shared([1], i32()).pointer
    kernel.barrier()
    with only_if(first):
        at, most = advance(kernel.counters, i32(), counter), constant_i32(blocks - 1)
        _fence()
        kind, order = llvm.AtomicBinOp.uinc_wrap, llvm.AtomicOrdering.monotonic
        counted = llvm.AtomicRMWOp(kind, at, most, order, syncscope="device").result
        _fence()
        llvm.StoreOp(counted, flag, alignment=4)
    kernel.barrier()
    before = llvm.LoadOp(i32(), flag, alignment=4).result
    return arith.CmpIOp(arith.CmpIPredicate.eq, before, constant_i32(blocks - 1)).result


def _fence() -> None:
    """One of its own: LLVM 22 gives a wrapping increment no order, whatever it is asked for."""
    llvm.FenceOp(llvm.AtomicOrdering.acq_rel, syncscope="device")


def _zero(type_: ir.Type) -> Value:
    return arith.ConstantOp(type_, ir.IntegerAttr.get(type_, 0)).result
