"""Branches of a kernel: code that runs only where a condition holds."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from lumir.kernels.evaluate import Evaluator
from lumir.mlir import ir, scf


@contextmanager
def only_if(condition: ir.Value | None, *evaluators: Evaluator) -> Iterator[None]:
    """`scf.if condition`; no branch at all for a condition of None, which always holds.

    Args:
        evaluators: those that write code inside, whose values must not be reused after.
    """
    if condition is None:
        yield
        return
    branch = scf.IfOp(condition)
    with ir.InsertionPoint(branch.then_block), ExitStack() as scopes:
        for evaluator in evaluators:
            scopes.enter_context(evaluator.scope())
        yield
        scf.YieldOp([])
