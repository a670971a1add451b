"""Canonical forms, once for all later passes."""

from dataclasses import dataclass
from typing import ClassVar

from lumir.graph.fold_small import FOLDS
from lumir.graph.rewrite import merged, rewrite
from lumir.graph.simplify_arithmetic import ARITHMETIC
from lumir.graph.simplify_contraction import CONTRACTION
from lumir.graph.simplify_shaping import SHAPING
from lumir.mlir import PassManager, ir
from lumir.passes.registry import register_pass

CANONICAL = merged(FOLDS, SHAPING, ARITHMETIC, CONTRACTION)


@register_pass
@dataclass(frozen=True)
class Canonicalize:
    """Bring every function to canonical form: one way to write a thing, nothing that computes nothing.

    Requires: the `lumir` and `func` dialects.
    Guarantees: no dead or repeated pure op; no identity (x + 0, x * 1, reshape to the same shape, ...); no chain of
    reshapes, transposes, slices, broadcasts or exact casts; transposes that feed a contraction are in its labels; a
    division by a power of two is a product. Ops of constants are computed when the result is uniform or small.

        %0 = lumir.transpose(%w) [1, 0]
        %1 = lumir.contract(%x, %0) "mk,kn->mn"       ->    %0 = lumir.contract(%x, %w) "mk,nk->mn"
        %2 = lumir.add(%1, 0.0)
    """

    name: ClassVar[str] = "lumir-canonicalize"

    def run(self, module: ir.Module) -> None:
        deduplicate(module)
        while rewrite(module, CANONICAL):
            deduplicate(module)


def deduplicate(module: ir.Module) -> None:
    """Merge equal pure ops, and drop dead ones."""
    with module.context:
        PassManager.parse("builtin.module(cse)").run(module.operation)
