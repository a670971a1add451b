"""Quantised tensors: integers that stand for real numbers."""

# The annotations below are constraints, read by `dialects.ext`.
# pyright: reportInvalidTypeForm=false, reportGeneralTypeIssues=false, reportCallIssue=false

from lumir.dialects.base import Lumir, Op, broadcast, element, is_int, register, require, shape, tensor
from lumir.dialects.constraints import Tensor
from lumir.mlir import ext, ir


@register
class Dequantize(Op, dialect=Lumir, name="dequantize", traits=[ext.Pure]):
    """(input - zero) * scale in float32, element by element; scale and zero broadcast to the input.

    An op of its own, so that a product of two of these can be found and computed in integers.
    """

    input: ext.Operand[Tensor]
    scale: ext.Operand[Tensor]
    zero: ext.Operand[Tensor]
    result: ext.Result[Tensor]

    @staticmethod
    def infer(x: ir.Type, scale: ir.Type, zero: ir.Type) -> ir.Type:
        narrow = is_int(element(x)) and ir.IntegerType(element(x)).width <= 16
        require(narrow, "input must be an integer of at most 16 bits", type=element(x))
        require(element(zero) == element(x), "zero must have the input's element type", input=x, zero=zero)
        require(isinstance(element(scale), ir.F32Type), "scale must be f32", type=element(scale))
        whole = broadcast(shape(x), shape(scale), shape(zero)) == shape(x)
        require(whole, "scale and zero must broadcast to the input", input=x, scale=scale, zero=zero)
        return tensor(shape(x), element(scale))
