"""The frame of a CPU kernel: a function of a workgroup id and an array of buffer pointers."""

from collections.abc import Iterator
from contextlib import contextmanager

from lumir.kernels.dispatch import Dispatch, element_of, shape_of
from lumir.kernels.evaluate import Evaluator
from lumir.kernels.index import IndexMath
from lumir.kernels.launch_sizes import LaunchSizes
from lumir.kernels.memory import Buffer, pointer_type
from lumir.mlir import func, ir, llvm

MOST_LANES = 64
"""Of a vector: one for each byte of the widest register."""


def too_many_lanes(*lanes: int) -> list[str]:
    """Why a schedule's vectors are too wide; empty if they are not."""
    return [f"vectors have up to {MOST_LANES} lanes, not {max(lanes)}"] if max(lanes) > MOST_LANES else []


class CpuKernel:
    """A kernel being written.

    Attributes:
        workgroup: the workgroup's id, an i64.
        inputs: where the dispatch's arguments lie, by SSA value.
        outputs: where its results go, in order.
    """

    def __init__(self, dispatch: Dispatch, workgroup: ir.Value, arguments: ir.Value):
        self.dispatch, self.workgroup = dispatch, workgroup
        pointer = pointer_type()
        tensors = [*dispatch.arguments, *dispatch.results]
        buffers = []
        for number, tensor in enumerate(tensors):
            buffers.append(Buffer(_argument(arguments, number, pointer), shape_of(tensor), element_of(tensor)))
        i64 = ir.IntegerType.get_signless(64)
        self.sizes = LaunchSizes(lambda number: _argument(arguments, len(tensors) + number, i64), arguments.owner)
        self.inputs = dict(zip(dispatch.arguments, buffers))
        self.outputs = buffers[len(dispatch.arguments) :]

    def evaluator(self, lanes: int = 1) -> Evaluator:
        """A fresh evaluator of the dispatch's tensors with this many lanes."""
        i64 = ir.IntegerType.get_signless(64)
        return Evaluator(IndexMath(i64, lanes, lambda size: self.sizes.value(size, i64)), self.inputs)


def _argument(arguments: ir.Value, number: int, type_: ir.Type) -> ir.Value:
    """The 8-byte argument of this number: a buffer's address, or a size."""
    slot = llvm.GEPOp(pointer_type(), arguments, [], [number], pointer_type(), None).result
    return llvm.LoadOp(type_, slot).result


@contextmanager
def cpu_kernel(dispatch: Dispatch, name: str) -> Iterator[CpuKernel]:
    """Open `func.func @name(%workgroup: i64, %arguments: !llvm.ptr)` and insert into its body."""
    i64, pointer = ir.IntegerType.get_signless(64), pointer_type()
    function = func.FuncOp(name, ([i64, pointer], []))
    with ir.InsertionPoint(function.add_entry_block()):
        kernel = CpuKernel(dispatch, *function.arguments)
        yield kernel
        func.ReturnOp([])
    kernel.sizes.note(function)
