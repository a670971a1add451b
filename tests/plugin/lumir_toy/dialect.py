"""The `toy` dialect."""

from lumir.mlir import ext, ir


class Toy(ext.Dialect, name="toy"):
    """One op."""


class Square(Toy.Operation, name="square"):
    """The square of each element of a tensor of floats."""

    operand: ext.Operand[ir.RankedTensorType]
    result: ext.Result[ir.RankedTensorType]
