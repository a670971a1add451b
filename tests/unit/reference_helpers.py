"""Shared by the tests that compute with the reference interpreter."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lumir.context import make_context
from lumir.dialects import build
from lumir.dtypes import mlir_type, numpy_dtype
from lumir.measure.texts import write_function
from lumir.mlir import ir
from lumir.reference import evaluate


def make_module(body: Callable[..., Any], *arguments: np.ndarray) -> ir.Module:
    """`@main` with one argument `xI` an array, whose body is `body(values...)`; results are named `yI`."""
    module = ir.Module.create()
    types = [ir.RankedTensorType.get(a.shape, mlir_type(a.dtype)) for a in arguments]
    function = write_function(module, "main", types, body)
    function.arg_attrs = _names("x", len(types))
    results = ir.FunctionType(ir.TypeAttr(function.attributes["function_type"]).value).results
    function.attributes["res_attrs"] = ir.ArrayAttr.get(_names("y", len(results)))
    assert module.operation.verify()
    return module


def _names(letter: str, count: int) -> list[ir.DictAttr]:
    return [ir.DictAttr.get({"lumir.name": ir.StringAttr.get(f"{letter}{i}")}) for i in range(count)]


def run(name: str, *operands: np.ndarray, precision: Any = "declared", **attributes: Any) -> Any:
    """The result (or results) of one op on arrays; the attribute `to` is a dtype's name."""
    with make_context(), ir.Location.unknown():
        if "to" in attributes:
            attributes["to"] = mlir_type(attributes["to"])
        module = make_module(lambda *values: build(name, *values, **attributes), *operands)
        inputs = {f"x{i}": a for i, a in enumerate(operands)}
        results = list(evaluate(module, None, inputs, precision).values())
    return results[0] if len(results) == 1 else results


def random_array(rng: np.random.Generator, shape: Sequence[int], dtype: Any = np.float32) -> np.ndarray:
    """Standard normal floats, small integers, or coin flips."""
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return rng.random(shape) < 0.5
    if dtype.kind in "iu":
        return rng.integers(0 if dtype.kind == "u" else -5, 6, shape).astype(dtype)
    return rng.standard_normal(shape).astype(dtype)


def random_inputs(module: ir.Module, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Fresh inputs of `@main` by name."""
    function = next(op for op in module.body.operations if op.operation.name == "func.func" and op.name.value == "main")
    inputs = {}
    for argument, attributes in zip(function.arguments, function.arg_attrs, strict=True):
        type_ = ir.RankedTensorType(argument.type)
        name = ir.DictAttr(attributes)["lumir.name"].value
        inputs[name] = random_array(rng, tuple(type_.shape), numpy_dtype(type_.element_type))
    return inputs
