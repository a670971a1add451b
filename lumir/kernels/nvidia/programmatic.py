"""Programmatic dependent launch: a kernel that starts while the one ahead of it still runs.

Everything that another kernel may have written, or may still read, is touched after `wait_for_dependencies` only. That
the kernel ahead is done means that all before it are, since it waited too: every kernel that is launched in this way
must wait, in every workgroup.
"""

from lumir.kernels.memory import Buffer
from lumir.kernels.nvidia.mma import constant_i32
from lumir.mlir import ir, llvm, nvvm
from lumir.target import Target

Value = ir.Value


def is_programmatic(target: Target) -> bool:
    """Whether the target has programmatic dependent launch."""
    return target.arch not in ("sm_80", "sm_86", "sm_89")


def only_from_here(buffer: Buffer) -> Buffer:
    """The same memory behind a pointer that nothing is known of: no access through it moves ahead of this place."""
    constraints = "=l,0,~{memory}"
    pointer = llvm.InlineAsmOp(buffer.pointer.type, [buffer.pointer], "", constraints, has_side_effects=True).result
    return Buffer(pointer, buffer.shape, buffer.element, buffer.alignment)


def fetch_to_l2(pointer: Value, size: int) -> None:
    """Ask for `size` bytes, a multiple of 16 at an address that is one, to be brought to the L2 cache (sm_90 on)."""
    nvvm.cp_async_bulk_prefetch(pointer, constant_i32(size))


def copy_line(shared: Value, source: Value, barrier: Value, size: Value) -> None:
    """Start a copy of `size` bytes (i32, a multiple of 16) to shared memory; `barrier` counts them (sm_90 on)."""
    target = llvm.AddrSpaceCastOp(ir.Type.parse("!llvm.ptr<7>"), shared).result
    nvvm.cp_async_bulk_shared_cluster_global(target, source, barrier, size)
