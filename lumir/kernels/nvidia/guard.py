"""Branches of a kernel: code that runs only where a condition holds."""

from collections.abc import Iterator
from contextlib import contextmanager

from lumir.kernels.evaluate import Evaluator
from lumir.mlir import ir, scf


@contextmanager
def only_if(condition: ir.Value | None, *evaluators: Evaluator) -> Iterator[None]:
    """`scf.if condition`, or no branch at all for a condition of None, which always holds."""
    if condition is None:
        yield
        return
    branch = scf.IfOp(condition)
    block = branch.regions[0].blocks[0]
    with ir.InsertionPoint(block):
        for evaluator in evaluators:
            evaluator.open_scope()
        try:
            yield
        finally:
            for evaluator in evaluators:
                evaluator.close_scope()
        scf.YieldOp([])
