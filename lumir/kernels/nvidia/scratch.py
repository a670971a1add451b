"""A place to write a kernel that nobody keeps, to learn something about it."""

from collections.abc import Iterator
from contextlib import contextmanager

from lumir.kernels.nvidia.function import kernel_module
from lumir.mlir import ir


@contextmanager
def scratch_kernel() -> Iterator[None]:
    """Insert into a `gpu.module` that is dropped afterwards."""
    scratch = ir.Module.create()
    with ir.InsertionPoint(scratch.body), kernel_module("scratch"):
        yield
