"""The frame of an NVIDIA kernel: a `gpu.func` with one pointer per buffer, and its shared memory."""

import math
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

from lumir.dtypes import byte_size
from lumir.kernels.dispatch import Dispatch, element_of, shape_of
from lumir.kernels.evaluate import Evaluator
from lumir.kernels.index import Index, IndexMath
from lumir.kernels.launch_sizes import LaunchSizes
from lumir.kernels.memory import Buffer, pointer_type
from lumir.kernels.nvidia.programmatic import only_from_here
from lumir.kernels.nvidia.warps import launch_dependents, wait_for_dependencies
from lumir.linalg.generic import signless
from lumir.mlir import arith, gpu, ir, llvm
from lumir.sizes import high

Value = ir.Value
Extra = Literal["workspace", "counters"]
GLOBAL, SHARED = 1, 3
"""PTX address spaces."""
STATIC_SHARED_BYTES = 48 * 1024
"""Shared memory that a kernel may declare; what goes beyond is asked for at the launch."""
_SHARED_ALIGNMENT = 1024  # what the 128-byte swizzle of TMA and wgmma wants
_NARROW_ELEMENTS = 2**31 - 2**24  # leaves room for positions past the end, which are computed before they are limited
_READ_ONLY = "{llvm.noalias, llvm.readonly, llvm.align = 256 : i64}"
_WRITTEN = "{llvm.noalias, llvm.align = 256 : i64}"
_SHARED_AMONG_BLOCKS = "{llvm.align = 256 : i64}"  # an atomic operation on one makes writes to the other visible
_TENSOR_MAP = "{llvm.byval = !llvm.array<128 x i8>, llvm.align = 64 : i64}"


class NvidiaKernel:
    """A kernel being written.

    Attributes:
        block: threads of a workgroup.
        inputs: where the dispatch's arguments lie, by SSA value.
        outputs: where its results go, in order.
        workspace, counters: pointers to what `KernelCode` calls so; there if the frame was opened with them.
        tensor_maps: pointers to those passed by value, in order.
        index_type: i32 where every tensor has fewer than about 2**31 elements, else i64.
        shared_bytes: dynamic shared memory to launch with; known once the frame is closed.
    """

    workspace: Value
    counters: Value

    def __init__(self, dispatch: Dispatch, name: str, arguments: list[Value], block: int):
        self.dispatch, self.name, self.block = dispatch, name, block
        tensors = [*dispatch.arguments, *dispatch.results]
        buffers = [
            Buffer(argument, shape_of(tensor), signless(element_of(tensor)), 256)
            for argument, tensor in zip(arguments, tensors)
        ]
        self.tensor_maps: list[Value] = []
        self.inputs = dict(zip(dispatch.arguments, buffers))
        self.outputs = buffers[len(dispatch.arguments) :]
        i64, buffer_count = ir.IntegerType.get_signless(64), len(arguments)
        entry = arguments[0].owner
        self.sizes = LaunchSizes(lambda number: _scalar_argument(entry, buffer_count + number, i64), entry)
        self.index_type = ir.IntegerType.get_signless(64 if _largest(dispatch) >= _NARROW_ELEMENTS else 32)
        self.shared_bytes = 0
        self._shared_used = 0

    def evaluator(self, lanes: int = 1) -> Evaluator:
        """A fresh evaluator of the dispatch's tensors with this many lanes."""
        return Evaluator(self.index(lanes), self.inputs)

    def index(self, lanes: int = 1) -> IndexMath:
        """Index arithmetic of the kernel's width."""
        return IndexMath(self.index_type, lanes, lambda size: self.sizes.value(size, self.index_type))

    def narrow_index(self) -> IndexMath:
        """Index arithmetic 32 bits wide, for places that are known to fit."""
        i32 = ir.IntegerType.get_signless(32)
        return IndexMath(i32, size=lambda size: self.sizes.value(size, i32))

    def take_buffers(self, apart: Collection[Value] = ()) -> None:
        """Have no access to a buffer move ahead of this place, but to those of the arguments `apart`."""
        for argument, buffer in self.inputs.items():
            self.inputs[argument] = buffer if argument in apart else only_from_here(buffer)
        self.outputs = [only_from_here(buffer) for buffer in self.outputs]

    @contextmanager
    def buffers_apart(self) -> Iterator[None]:
        """What `take_buffers` does inside, in a region that ends there, is undone behind."""
        inputs, outputs = dict(self.inputs), list(self.outputs)
        yield
        self.inputs.update(inputs)
        self.outputs = outputs

    def thread(self) -> Index:
        return Index(self._id(gpu.ThreadIdOp(gpu.Dimension.x).result))

    def workgroup(self, dimension: str = "x") -> Index:
        return Index(self._id(gpu.BlockIdOp(getattr(gpu.Dimension, dimension)).result))

    def index_of(self, at: Index) -> Index:
        """An index of 32 bits in the kernel's index type."""
        if isinstance(at.base, int) or at.base.type == self.index_type:
            return at
        return Index(arith.ExtSIOp(self.index_type, at.base).result, at.step, at.multiple)

    def _id(self, value: Value) -> Value:
        return arith.IndexCastOp(self.index_type, value).result

    def shared(self, shape: Sequence[int], element: ir.Type, alignment: int = 16) -> Buffer:
        """A tensor in the workgroup's shared memory; each call takes memory of its own.

        Args:
            alignment: in bytes, a power of two up to 1024.
        """
        start = -(-self._shared_used // alignment) * alignment
        base = llvm.AddressOfOp(pointer_type(SHARED), self._shared_symbol).result
        i8 = ir.IntegerType.get_signless(8)
        pointer = llvm.GEPOp(base.type, base, [], [start], i8, None).result if start else base
        buffer = Buffer(pointer, tuple(shape), element, alignment)
        self._shared_used = start + math.prod(shape) * byte_size(buffer.stored)
        return buffer

    def barrier(self) -> None:
        """Wait for the whole workgroup; what it wrote to memory before is seen after."""
        gpu.BarrierOp()

    @property
    def _shared_symbol(self) -> str:
        return f"{self.name}_shared"

    def declare_shared(self) -> None:
        """Declare what `shared` handed out: static where it is small enough, else sized by the launch."""
        if not self._shared_used:
            return
        dynamic = self._shared_used > STATIC_SHARED_BYTES
        self.shared_bytes = self._shared_used if dynamic else 0
        size = 0 if dynamic else self._shared_used
        linkage = "external" if dynamic else "internal"
        declaration = ir.Operation.parse(
            f"llvm.mlir.global {linkage} @{self._shared_symbol}() "
            f"{{addr_space = {SHARED} : i32, alignment = {_SHARED_ALIGNMENT} : i64}} : !llvm.array<{size} x i8>"
        )
        ir.InsertionPoint.current.insert(declaration)


def _largest(dispatch: Dispatch) -> int:
    """Elements of the largest tensor that the dispatch speaks of, in memory or not."""
    values = [*dispatch.arguments, *(result for op in dispatch.operations for result in op.results)]
    return max((high(math.prod(shape_of(v))) for v in values if isinstance(v.type, ir.RankedTensorType)), default=0)


@contextmanager
def kernel_module(name: str) -> Iterator[ir.OpView]:
    """Open `gpu.module @name` and insert into it: what `lumir.codegen.nvidia.ptx_of` turns into one PTX file."""
    module = gpu.GPUModuleOp(name)
    blocks = module.regions[0].blocks
    with ir.InsertionPoint(blocks[0] if len(blocks) else blocks.append()):
        yield module


@contextmanager
def nvidia_kernel(
    dispatch: Dispatch,
    name: str,
    block: int,
    extras: Sequence[Extra] = (),
    tensor_maps: int = 0,
    programmatic: bool = False,
) -> Iterator[NvidiaKernel]:
    """Open `gpu.func @name(%buffer: !llvm.ptr<1>, ..., %map: !llvm.ptr, ...) kernel` and insert into its body.

    The kernel promises that its buffers do not overlap unless both are read only, so that reads may go through the
    read-only cache and move across writes.

    Args:
        block: threads of a workgroup, which the kernel must be launched with.
        extras: what the kernel's `KernelCode` asks for besides, in this order.
        tensor_maps: how many are passed by value after all buffers.
        programmatic: the kernel may be launched before the one ahead of it is done, and waits for it here; what it
            reads after may have been written by that one, so nothing is promised of the buffers.
    """
    reads, writes = len(dispatch.arguments), len(dispatch.results)
    buffers = reads + writes + len(extras)
    pointers = [pointer_type(GLOBAL)] * buffers + [pointer_type()] * tensor_maps
    type_ = ir.FunctionType.get(pointers, [])
    function = gpu.GPUFuncOp(ir.TypeAttr.get(type_), name, kernel=True, known_block_size=[block, 1, 1])
    attributes = [ir.Attribute.parse(_READ_ONLY)] * reads + [ir.Attribute.parse(_WRITTEN)] * writes
    attributes += [ir.Attribute.parse(_SHARED_AMONG_BLOCKS)] * len(extras)
    attributes += [ir.Attribute.parse(_TENSOR_MAP)] * tensor_maps
    function.operation.attributes["arg_attrs"] = ir.ArrayAttr.get(attributes)
    entry = function.body.blocks.append(*pointers, arg_locs=[ir.Location.current] * len(pointers))
    with ir.InsertionPoint(entry):
        kernel = NvidiaKernel(dispatch, name, list(entry.arguments), block)
        for extra, pointer in zip(extras, list(entry.arguments)[reads + writes :]):
            setattr(kernel, extra, pointer)
        kernel.tensor_maps = list(entry.arguments)[buffers:]
        if programmatic:
            launch_dependents()
            wait_for_dependencies()
            kernel.take_buffers()
        yield kernel
        gpu.ReturnOp([])
    _add_scalars(function, entry, pointers)
    kernel.sizes.note(function)
    kernel.declare_shared()


def _scalar_argument(entry: ir.Block, number: int, type_: ir.Type) -> Value:
    while len(entry.arguments) <= number:
        entry.add_argument(type_, ir.Location.unknown())
    return entry.arguments[number]


def _add_scalars(function: gpu.GPUFuncOp, entry: ir.Block, pointers: Sequence[ir.Type]) -> None:
    """Give the function the arguments for sizes that were added to its block."""
    scalars = [argument.type for argument in list(entry.arguments)[len(pointers) :]]
    if scalars:
        attributes = function.operation.attributes
        attributes["function_type"] = ir.TypeAttr.get(ir.FunctionType.get([*pointers, *scalars], []))
        nothing = [ir.DictAttr.get({})] * len(scalars)
        attributes["arg_attrs"] = ir.ArrayAttr.get([*ir.ArrayAttr(attributes["arg_attrs"]), *nothing])
