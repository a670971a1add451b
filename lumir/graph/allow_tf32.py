"""Permission to round the factors of float32 products to the 19 bits that tensor cores multiply."""

from dataclasses import dataclass
from typing import ClassVar

from lumir.dialects.contraction import ALLOW_TF32
from lumir.graph.rewrite import functions
from lumir.graph.values import element, short_name
from lumir.mlir import ir
from lumir.passes.registry import register_pass


@register_pass
@dataclass(frozen=True)
class AllowTf32:
    """Mark the contractions of float32, whose factors may be rounded to tf32; sums stay float32.

    Requires: to be the last pass of its step, since a pass that builds an op anew drops the mark.
    Guarantees: numbers change only where a kernel makes use of the mark.
    """

    name: ClassVar[str] = "lumir-allow-tf32"

    def run(self, module: ir.Module) -> None:
        for block in functions(module):
            for view in block.operations:
                op = view.operation
                if short_name(op) == "contract" and {element(v) for v in op.operands} == {ir.F32Type.get()}:
                    op.attributes[ALLOW_TF32] = ir.UnitAttr.get()
