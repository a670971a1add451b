"""Ops that hold the program together: weights, constants, machine code.

A dispatch needs no op of its own: it is a private `func.func` marked `lumir.dispatch`, and `func.call` runs it, so
equal dispatches are one function, and any MLIR tool can open one alone.
"""

from typing import Any

from lumir.dialects.base import Lumir, Op, register
from lumir.mlir import ext, ir


@register
class Weight(Op, dialect=Lumir, name="weight"):
    """A weight by reference: `type` elements, little-endian and dense, at byte `offset` of the file `path`.

    The bytes are never in the IR; a relative path starts at the folder given with the module.
    """

    sym_name: ir.StringAttr
    type: ir.TypeAttr
    path: ir.StringAttr
    offset: ir.IntegerAttr


@register
class DerivedWeight(Op, dialect=Lumir, name="derived_weight"):
    """A weight that the compiler computes from others: its body holds lumir ops and yields one tensor of `type`."""

    sym_name: ir.StringAttr
    type: ir.TypeAttr
    body: ext.Region


@register
class Load(Op, dialect=Lumir, name="load", traits=[ext.Pure]):
    """The tensor of the weight named `weight`."""

    weight: ir.FlatSymbolRefAttr
    result: ext.Result[Any]


@register
class Constant(Op, dialect=Lumir, name="constant", traits=[ext.Pure]):
    """A small tensor written out in the IR."""

    value: Any
    result: ext.Result[Any]

    @staticmethod
    def infer(value: ir.Attribute) -> ir.Type:
        return ir.DenseElementsAttr(value).type


@register
class Yield(Op, dialect=Lumir, name="yield", traits=[ir.IsTerminatorTrait]):
    """Ends the body of a derived weight and names the tensor it returns."""

    value: ext.Operand[Any]


@register
class Code(Op, dialect=Lumir, name="code"):
    """A kernel's machine code for `target`: PTX text, or the bytes of a host object, as `format` (ptx, elf) says."""

    sym_name: ir.StringAttr
    target: ir.StringAttr
    format: ir.StringAttr
    data: ir.StringAttr
