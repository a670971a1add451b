"""A dispatch as kernel families see it: its arguments, its operations, what it returns."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from lumir.dialects import shape_of_type
from lumir.kernels.loop_nest import LoopNest
from lumir.kernels.memory import is_packed_type
from lumir.mlir import ir

Value = ir.Value
T = TypeVar("T")
UNWRITTEN = "lumir.unwritten"
"""The mark of an argument that no kernel writes while the model runs, wherever the dispatch is called."""


def shape_of(value: Value) -> tuple[int, ...]:
    """The dimensions of a tensor; where they are not fixed, a `lumir.sizes.Size` stands in place of an int."""
    return shape_of_type(value.type)


def element_of(value: Value) -> ir.Type:
    return ir.RankedTensorType(value.type).element_type


@dataclass(frozen=True)
class Dispatch:
    """A dispatch function after step 4."""

    function: ir.OpView

    @cached_property
    def name(self) -> str:
        return self.function.attributes["sym_name"].value

    @cached_property
    def block(self) -> ir.Block:
        return self.function.regions[0].blocks[0]

    @cached_property
    def arguments(self) -> list[Value]:
        return list(self.block.arguments)

    @cached_property
    def unwritten(self) -> list[Value]:
        """The arguments that every caller passes a weight or an input of the model for."""
        if "arg_attrs" not in self.function.attributes:
            return []
        marks = list(ir.ArrayAttr(self.function.attributes["arg_attrs"]))
        return [a for a, mark in zip(self.arguments, marks, strict=True) if UNWRITTEN in ir.DictAttr(mark)]

    @cached_property
    def operations(self) -> list[ir.OpView]:
        return list(self.block.operations)

    @cached_property
    def results(self) -> list[Value]:
        """The returned tensors, each behind the retyping that restores its signedness."""
        return [_behind_casts(v) for v in self.operations[-1].operands]

    @cached_property
    def writes_packed(self) -> bool:
        """A result holds two elements a byte: only a kernel that writes both at once may take the dispatch."""
        return any(is_packed_type(element_of(result)) for result in self.results)

    @cached_property
    def nests(self) -> list[LoopNest]:
        return [LoopNest.of(op) for op in self.operations if op.operation.name == "linalg.generic"]

    @cached_property
    def reductions(self) -> list[LoopNest]:
        return [nest for nest in self.nests if nest.reductions]

    @cached_property
    def flat(self) -> bool:
        """Every tensor is a scalar, or has the result's shape and is read where it is written: one dimension does."""
        shape = shape_of(self.results[0])
        ok = {
            "linalg.generic",
            "linalg.fill",
            "tensor.empty",
            "arith.constant",
            "lumir.size",
            "func.return",
            "builtin.unrealized_conversion_cast",
        }
        if not all(op.operation.name in ok for op in self.operations):
            return False
        return all(_reads_in_place(nest, shape) for nest in self.nests) and all(
            shape_of(r) == shape for r in self.results
        )

    @cached_property
    def is_static(self) -> bool:
        """Every size is fixed: what a family asks that knows no other."""
        values = [*self.arguments, *(result for op in self.operations for result in op.results)]
        return all(v.type.has_static_shape for v in values if isinstance(v.type, ir.RankedTensorType))

    @cached_property
    def elements(self) -> int:
        return math.prod(shape_of(self.results[0]))


def _reads_in_place(nest: LoopNest, shape: tuple[int, ...]) -> bool:
    if nest.reductions or nest.rank != len(shape):
        return False
    if any(op.operation.name in ("linalg.index", "tensor.extract") for op in nest.block.operations):
        return False
    identity = ir.AffineMap.get_identity(len(shape))
    return all(m == identity or not m.results for m in nest.maps)


def _behind_casts(value: Value) -> Value:
    while not isinstance(value.owner, ir.Block) and value.owner.name == "builtin.unrealized_conversion_cast":
        value = value.owner.operands[0]
    return value


def remembered(dispatch: Dispatch, name: str, compute: Callable[[Dispatch], T]) -> T:
    """`compute(dispatch)`, computed once in the dispatch's life: a search asks for it with every schedule."""
    facts = vars(dispatch)
    if name not in facts:
        facts[name] = compute(dispatch)
    return facts[name]
