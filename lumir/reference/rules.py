"""The table of rules: one function computes one op, on numpy arrays."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from lumir.dialects import attributes_of, shape_of_type
from lumir.dtypes import numpy_dtype
from lumir.mlir import ir

Precision = Literal["declared", "float64"]
Rule = Callable[..., np.ndarray | list[np.ndarray]]

RULES: dict[str, Rule] = {}


@dataclass(frozen=True)
class Call:
    """What a rule may know of the op it computes, apart from its operands.

    Attributes:
        name: the op's short name.
        attributes: its attributes as Python values.
        shapes: the shape of each result.
        dtypes: the dtype of each result; float64 for every float under precision `float64`.
        precision: `declared`, or `float64` to compute every float in float64.
    """

    name: str
    attributes: dict[str, Any]
    shapes: list[tuple[int, ...]]
    dtypes: list[np.dtype]
    precision: Precision = "declared"

    @classmethod
    def of(cls, op: ir.Operation, precision: Precision = "declared") -> "Call":
        types = [ir.RankedTensorType(result.type) for result in op.results]
        return cls(
            op.name.removeprefix("lumir."),
            attributes_of(op),
            [shape_of_type(type_) for type_ in types],
            [storage_dtype(type_.element_type, precision) for type_ in types],
            precision,
        )

    def __getitem__(self, attribute: str) -> Any:
        return self.attributes[attribute]


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Register a function as the rule of these ops; it gets the `Call` and the operands' arrays."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, function))
        return function

    return register


def storage_dtype(type_: ir.Type, precision: Precision) -> np.dtype:
    """The dtype in which values of an element type are held."""
    if precision == "float64" and isinstance(type_, ir.FloatType):
        return np.dtype(np.float64)
    return numpy_dtype(type_)


def is_float(dtype: np.dtype) -> bool:
    return dtype.kind == "f" or dtype.name.startswith(("bfloat", "float"))


def widen(array: np.ndarray) -> np.ndarray:
    """The array in the type that arithmetic runs in: float32 for shorter floats, int8/uint8 for shorter integers."""
    dtype = array.dtype
    if is_float(dtype):
        return array if dtype.name in ("float32", "float64") else array.astype(np.float32)
    if dtype.name in ("int2", "int4", "uint2", "uint4"):
        return array.astype(np.uint8 if dtype.name.startswith("u") else np.int8)
    return array


def narrow(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Round a widened result once to the dtype it is held in; integers wrap around."""
    return array if array.dtype == dtype else _wrap(array, dtype).astype(dtype)


def _wrap(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    if dtype.name not in ("int2", "int4", "uint2", "uint4") or array.dtype.kind not in "iu":
        return array
    bits = int(dtype.name[-1])
    low = array & ((1 << bits) - 1)
    return low - ((low >> (bits - 1)) << bits) if dtype.name.startswith("i") else low


def lowest(dtype: np.dtype) -> Any:
    """The neutral element of `max`: -inf, the smallest integer, or False."""
    if dtype.kind == "b":
        return False
    return -np.inf if is_float(dtype) else np.iinfo(dtype).min


def highest(dtype: np.dtype) -> Any:
    """The neutral element of `min`: inf, the largest integer, or True."""
    if dtype.kind == "b":
        return True
    return np.inf if is_float(dtype) else np.iinfo(dtype).max


__all__ = [
    "RULES",
    "Call",
    "Precision",
    "Rule",
    "highest",
    "is_float",
    "lowest",
    "narrow",
    "rule",
    "storage_dtype",
    "widen",
]
