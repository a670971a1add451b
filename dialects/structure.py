"""Ops that hold the program together: weights, constants, dispatches, launches, machine code."""

from collections.abc import Sequence
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
class Dispatch(Op, dialect=Lumir, name="dispatch", traits=[ir.IsIsolatedFromAboveTrait]):
    """One launch: its body computes the results from the operands, which are the body's arguments.

    `family` and `schedule` appear once step 5 has chosen them.
    """

    inputs: Sequence[ext.Operand[Any]]
    results_: Sequence[ext.Result[Any]]
    body: ext.Region


@register
class Yield(Op, dialect=Lumir, name="yield", traits=[ir.IsTerminatorTrait]):
    """Ends a body and names what it returns."""

    values: Sequence[ext.Operand[Any]]


@register
class Launch(Op, dialect=Lumir, name="launch"):
    """Run `kernel` over `grid` workgroups: the operands are read, the results are written.

    After step 8 operands and results carry their places in `buffers`.
    """

    inputs: Sequence[ext.Operand[Any]]
    results_: Sequence[ext.Result[Any]]
    kernel: ir.FlatSymbolRefAttr
    grid: Any


@register
class Kernel(Op, dialect=Lumir, name="kernel"):
    """A kernel's code: before step 7 its body holds a function, after it `code` holds PTX text or object bytes."""

    sym_name: ir.StringAttr
    target: ir.StringAttr
    body: ext.Region
