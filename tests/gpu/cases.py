"""Dispatches that the tests of the NVIDIA families share, as functions that give lumir dialect text."""

from collections.abc import Sequence
from typing import Any

from lumir.dialects import build
from lumir.dtypes import mlir_type
from lumir.measure.texts import Argument, Shape
from lumir.measure.texts import dispatch_here as dispatch
from lumir.mlir import ir


def op(name: str, *arguments: Argument, **attributes: Any) -> str:
    """One operation; the attribute `to` is a dtype's name."""
    if "to" in attributes:
        attributes["to"] = mlir_type(attributes["to"])
    return dispatch(lambda *values: build(name, *values, **attributes), *arguments)


def bias_gelu(shape: Shape, bias: Shape, dtype: str) -> str:
    """z * erf(z) of z = x + b, returned beside z itself."""

    def body(x: ir.Value, b: ir.Value) -> list[ir.Value]:
        z = build("add", x, b)
        return [build("mul", z, build("erf", z)), z]

    return dispatch(body, (shape, dtype), (bias, dtype))


def mixed(shape: Shape) -> str:
    """float16 and float32 in, bool and float16 out: accesses of different widths."""

    def body(x: ir.Value, y: ir.Value) -> list[ir.Value]:
        wide = build("cast", x, to=mlir_type("float32"))
        return [build("lt", wide, y), build("cast", build("mul", wide, y), to=mlir_type("bool"))]

    return dispatch(body, (shape, "float16"), (shape, "float32"))


def scaled_reshape(shape: Shape, new: Shape, dtype: str) -> str:
    """A tensor in another shape, times a scalar."""

    def body(x: ir.Value, factor: ir.Value) -> ir.Value:
        return build("mul", build("reshape", x, shape=list(new)), factor)

    return dispatch(body, (shape, dtype), ((), dtype))


def matmul(m: int, n: int, k: int, dtype: str) -> str:
    return op("contract", ((m, k), dtype), ((k, n), dtype), equation="mk,kn->mn", to=dtype)


def layer_norm(shape: Shape, dtype: str, axis: int = -1) -> str:
    """z = x + r normalised, times a scale plus a shift over the normalised dimensions; z is returned too."""
    axis %= len(shape)
    row = tuple(shape[axis:])

    def body(x: ir.Value, r: ir.Value, scale: ir.Value, shift: ir.Value) -> list[ir.Value]:
        z = build("add", x, r)
        y = build("normalize", z, axis=axis, epsilon=1e-5, center=True)
        return [build("add", build("mul", y, scale), shift), z]

    return dispatch(body, (shape, dtype), (shape, dtype), (row, dtype), (row, dtype))


def softmax(shape: Shape, axis: int, dtype: str, log: bool = False) -> str:
    return op("softmax", (shape, dtype), axis=axis, log=log)


def reduce(kind: str, shape: Shape, axes: Sequence[int], dtype: str) -> str:
    return op("reduce", (shape, dtype), kind=kind, axes=list(axes))


def arg_reduce(kind: str, shape: Shape, axis: int, dtype: str, last: bool = False) -> str:
    return op("arg_reduce", (shape, dtype), kind=kind, axis=axis, last=last)


def mean_of_squares(shape: Shape, axes: Sequence[int], dtype: str) -> str:
    """What is reduced is computed first, and the result is scaled after."""

    def body(x: ir.Value, factor: ir.Value) -> ir.Value:
        return build("mul", build("reduce", build("mul", x, x), kind="sum", axes=list(axes)), factor)

    return dispatch(body, (shape, dtype), ((), dtype))
