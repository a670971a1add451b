"""Shared by the tests of graph passes: run passes on a module, and compare what it computes before and after."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
from reference_helpers import make_module, random_array, random_inputs

from lumir.context import make_context
from lumir.dialects import build
from lumir.dialects.constants import constant
from lumir.mlir import ir
from lumir.passes import run_pipeline
from lumir.reference import evaluate
from lumir.weights import WeightStore


class Case:
    """A module with weights, which passes are run on.

    Args:
        body: builds the function's body from its arguments; `self.weight` adds weights.
        arguments: arrays whose dtypes and shapes the arguments have.
    """

    def __init__(self, body: Callable[..., Any], *arguments: np.ndarray, seed: int = 0):
        self.rng = np.random.default_rng(seed)
        self.context, self.store = make_context(), WeightStore()
        self._weights: dict[str, np.ndarray] = {}
        with self.context, ir.Location.unknown():
            self.module = make_module(lambda *values: body(self, *values), *arguments)
            with ir.InsertionPoint.at_block_begin(self.module.body):
                for name, array in self._weights.items():
                    weight(name, array)
        self.store.memory.update(self._weights)

    def weight(self, name: str, array: np.ndarray) -> ir.Value:
        """A load of a new weight."""
        from lumir.dtypes import mlir_type

        self._weights[name] = array
        type_ = ir.RankedTensorType.get(array.shape, mlir_type(array.dtype))
        return build("load", results=[type_], weight=ir.FlatSymbolRefAttr.get(name))

    def run(self, passes: str) -> Counter[str]:
        """Run the passes, and count the ops of `@main` by short name."""
        with self.context, ir.Location.unknown():
            run_pipeline(f"builtin.module({passes})", self.module)
        return self.count()

    def count(self) -> Counter[str]:
        with self.context:
            return Counter(op.name.removeprefix("lumir.") for op in self.ops())

    def ops(self) -> list[ir.Operation]:
        main = next(f for f in self.module.body if f.operation.name == "func.func")
        return [view.operation for view in main.operation.regions[0].blocks[0]]

    def op(self, name: str) -> ir.Operation:
        """The only op of this short name."""
        (found,) = (op for op in self.ops() if op.name == f"lumir.{name}")
        return found

    def inputs(self) -> dict[str, np.ndarray]:
        with self.context, ir.Location.unknown():
            return random_inputs(self.module, self.rng)

    def evaluate(self, inputs: dict[str, np.ndarray], precision: Any = "float64") -> list[np.ndarray]:
        with self.context, ir.Location.unknown():
            return list(evaluate(self.module, self.store, inputs, precision).values())

    def check(self, passes: str, tolerance: float = 1e-9, inputs: dict[str, np.ndarray] | None = None) -> Counter[str]:
        """Run the passes; the float64 results on fresh inputs must not change. Gives the ops that are left."""
        inputs = self.inputs() if inputs is None else inputs
        before = self.evaluate(inputs)
        count = self.run(passes)
        for x, y in zip(before, self.evaluate(inputs), strict=True):
            assert x.dtype == y.dtype
            np.testing.assert_allclose(y.astype(float), x.astype(float), tolerance, tolerance)
        return count


def weight(name: str, array: np.ndarray) -> None:
    """Build a `lumir.weight` whose bytes are in memory."""
    from lumir.dtypes import mlir_type

    type_ = ir.RankedTensorType.get(array.shape, mlir_type(array.dtype))
    build("weight", results=[], sym_name=name, type=type_, path=":memory:", offset=0)


def scalar(number: float, dtype: Any = np.float32) -> ir.Value:
    return constant(np.asarray(number, dtype))


__all__ = ["Case", "random_array", "scalar", "weight"]
