"""A kernel's own memory on the stack."""

import math

from lumir.kernels.memory import Buffer, pointer_type, stored_type
from lumir.mlir import arith, ir, llvm


def stack_buffer(shape: tuple[int, ...], element: ir.Type) -> Buffer:
    """An uninitialised buffer; ask for it at the start of the kernel, outside loops."""
    i64 = ir.IntegerType.get_signless(64)
    count = arith.ConstantOp(i64, ir.IntegerAttr.get(i64, max(math.prod(shape), 1))).result
    pointer = llvm.AllocaOp(pointer_type(), count, stored_type(element), alignment=64).result
    return Buffer(pointer, shape, element)
