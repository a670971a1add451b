"""Ops that hold the program together: weights, constants, machine code.

A dispatch needs no op of its own: it is a private `func.func` marked `lumir.dispatch`, and `func.call` runs it, so
equal dispatches are one function, and any MLIR tool can open one alone.
"""

# The annotations below are constraints, read by `dialects.ext`.
# pyright: reportInvalidTypeForm=false, reportGeneralTypeIssues=false, reportCallIssue=false

from typing import Any

from lumir.dialects.base import Lumir, Op, register, require, tensor
from lumir.dialects.constraints import SizeAttr, Tensor
from lumir.mlir import ext, ir
from lumir.sizes import Dim


def _tensor_type(op: ir.OpView) -> ir.Type:
    type_ = op.attributes["type"].value
    static = isinstance(type_, ir.RankedTensorType) and type_.has_static_shape
    require(static, "type must be a ranked tensor of static shape", type=type_)
    return type_


@register
class Weight(Op, dialect=Lumir, name="weight"):
    """A weight by reference: `type` elements, little-endian and dense, at byte `offset` of the file `path`.

    The bytes are never in the IR; a relative path starts at the folder given with the module.
    """

    sym_name: ir.StringAttr
    type: ir.TypeAttr
    path: ir.StringAttr
    offset: ir.IntegerAttr

    @staticmethod
    def check(op: ir.OpView) -> None:
        _tensor_type(op)
        offset = op.attributes["offset"].value
        require(offset >= 0, "offset must not be negative", offset=offset)


@register
class DerivedWeight(Op, dialect=Lumir, name="derived_weight"):
    """A weight that the compiler computes from others: its body holds lumir ops and yields one tensor of `type`."""

    sym_name: ir.StringAttr
    type: ir.TypeAttr
    body: ext.Region

    @staticmethod
    def check(op: ir.OpView) -> None:
        blocks = list(op.regions[0])
        require(len(blocks) == 1 and not blocks[0].arguments, "body must be one block without arguments")
        last = [inner.operation for inner in blocks[0].operations][-1:]
        ends = bool(last) and last[0].name == "lumir.yield" and len(last[0].operands) == 1
        require(ends, "body must end with lumir.yield of one tensor")
        yielded = last[0].operands[0].type
        require(yielded == _tensor_type(op), "body must yield the type", type=_tensor_type(op), yielded=yielded)


@register
class Load(Op, dialect=Lumir, name="load", traits=[ext.Pure]):
    """The tensor of the weight named `weight`."""

    weight: ir.FlatSymbolRefAttr
    result: ext.Result[Tensor]


@register
class Constant(Op, dialect=Lumir, name="constant", traits=[ext.Pure]):
    """A small tensor written out in the IR."""

    value: Any
    result: ext.Result[Tensor]

    @staticmethod
    def infer(value: ir.Attribute) -> ir.Type:
        require(isinstance(value, ir.DenseElementsAttr), "value must be a dense attribute", value=value)
        return ir.DenseElementsAttr(value).type


@register
class SizeOf(Op, dialect=Lumir, name="size", traits=[ext.Pure]):
    """A size as a scalar: `to` is `tensor<i64>`, or `index` inside a dispatch."""

    value: SizeAttr
    to: ir.TypeAttr
    result: ext.Result[Any]

    @staticmethod
    def infer(value: Dim, to: ir.Type) -> ir.Type:
        scalar = tensor([], ir.IntegerType.get_signless(64))
        require(to in (scalar, ir.IndexType.get()), "to must be tensor<i64> or index", to=to)
        return to


@register
class Bind(Op, dialect=Lumir, name="bind"):
    """From here on `symbol` is the number that `value`, of type `tensor<i64>`, holds when the model runs.

    The module's `lumir.dims` holds its range; a number outside ends the run with an error.
    """

    value: ext.Operand[Tensor]
    symbol: ir.StringAttr

    @staticmethod
    def check(op: ir.OpView) -> None:
        scalar, found = tensor([], ir.IntegerType.get_signless(64)), op.operands[0].type
        require(found == scalar, "value must be tensor<i64>", value=found)


@register
class Yield(Op, dialect=Lumir, name="yield", traits=[ir.IsTerminatorTrait]):
    """Ends the body of a derived weight and names the tensor it returns."""

    value: ext.Operand[Tensor]


@register
class Code(Op, dialect=Lumir, name="code"):
    """A kernel's machine code for `target`: PTX text, or a host object in base64, as `format` (ptx, elf) says."""

    sym_name: ir.StringAttr
    target: ir.StringAttr
    format: ir.StringAttr
    data: ir.StringAttr
