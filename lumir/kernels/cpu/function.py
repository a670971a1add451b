"""The frame of a CPU kernel: a function of a workgroup id and an array of buffer pointers."""

from collections.abc import Iterator
from contextlib import contextmanager

from lumir.kernels.dispatch import Dispatch, element_of, shape_of
from lumir.kernels.evaluate import Evaluator
from lumir.kernels.index import IndexMath
from lumir.kernels.memory import Buffer, pointer_type
from lumir.mlir import func, ir, llvm


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
            slot = llvm.GEPOp(pointer, arguments, [], [number], pointer, None).result
            buffers.append(Buffer(llvm.LoadOp(pointer, slot).result, shape_of(tensor), element_of(tensor)))
        self.inputs = dict(zip(dispatch.arguments, buffers))
        self.outputs = buffers[len(dispatch.arguments) :]

    def evaluator(self, lanes: int = 1) -> Evaluator:
        """A fresh evaluator of the dispatch's tensors with this many lanes."""
        return Evaluator(IndexMath(ir.IntegerType.get_signless(64), lanes), self.inputs)


@contextmanager
def cpu_kernel(dispatch: Dispatch, name: str) -> Iterator[CpuKernel]:
    """Open `func.func @name(%workgroup: i64, %arguments: !llvm.ptr)` and insert into its body."""
    i64, pointer = ir.IntegerType.get_signless(64), pointer_type()
    function = func.FuncOp(name, ([i64, pointer], []))
    with ir.InsertionPoint(function.add_entry_block()):
        yield CpuKernel(dispatch, *function.arguments)
        func.ReturnOp([])
