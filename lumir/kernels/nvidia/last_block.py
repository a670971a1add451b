"""Which of several blocks is the last to finish: it joins what they all left in the workspace."""

from collections.abc import Callable

from lumir.kernels.memory import advance
from lumir.kernels.nvidia.function import NvidiaKernel
from lumir.kernels.nvidia.guard import only_if
from lumir.kernels.nvidia.mma import constant_i32, i32
from lumir.kernels.nvidia.tiles_fill import zero_of
from lumir.mlir import arith, ir, llvm

Value = ir.Value


def is_last_block(kernel: NvidiaKernel, counter: Value, blocks: int | Value) -> Value:
    """Whether `blocks - 1` others came here before this block, as an i1 that is the same in all of its threads.

    What they wrote before is seen after by the block that is the last. The counter is back at zero then. Every thread
    of the block must come here.

    Args:
        counter: the number of the counter that these blocks share, as an integer of the kernel's index type.
    """
    first = arith.CmpIOp(
        arith.CmpIPredicate.eq, kernel.evaluator().index.scalar(kernel.thread().base), zero_of(kernel.index_type)
    ).result
    return is_last(kernel, counter, blocks, first, kernel.shared([1], i32()).pointer, kernel.barrier)


def is_last(
    kernel: NvidiaKernel, counter: Value, blocks: int | Value, first: Value, flag: Value, sync: Callable[[], None]
) -> Value:
    """As `is_last_block`, for threads that a barrier of their own joins.

    Args:
        first: i1, true in one of the threads.
        flag: shared memory of theirs, an i32.
        sync: waits for all of the threads.
    """
    sync()
    with only_if(first):
        at, most = advance(kernel.counters, i32(), counter), _one_less(blocks)
        _fence()
        kind, order = llvm.AtomicBinOp.uinc_wrap, llvm.AtomicOrdering.monotonic
        counted = llvm.AtomicRMWOp(kind, at, most, order, syncscope="device").result
        _fence()
        llvm.StoreOp(counted, flag, alignment=4)
    sync()
    before = llvm.LoadOp(i32(), flag, alignment=4).result
    return arith.CmpIOp(arith.CmpIPredicate.eq, before, _one_less(blocks)).result


def _one_less(blocks: int | Value) -> Value:
    if isinstance(blocks, int):
        return constant_i32(blocks - 1)
    narrow = blocks if blocks.type == i32() else arith.TruncIOp(i32(), blocks).result
    return arith.SubIOp(narrow, constant_i32(1)).result


def _fence() -> None:
    """One of its own: LLVM 22 gives a wrapping increment no order, whatever it is asked for."""
    llvm.FenceOp(llvm.AtomicOrdering.acq_rel, syncscope="device")
