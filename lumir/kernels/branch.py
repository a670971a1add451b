"""Branches of a kernel: code that runs only where a condition holds."""

from collections.abc import Iterator
from contextlib import contextmanager

from lumir.kernels.evaluate import Evaluator
from lumir.mlir import ir, scf


@contextmanager
def only_if(condition: ir.Value, evaluator: Evaluator) -> Iterator[None]:
    """`scf.if condition`; what `evaluator` computes inside is not reused after."""
    branch = scf.IfOp(condition)
    with ir.InsertionPoint(branch.then_block), evaluator.scope():
        yield
        scf.YieldOp([])
