"""Element types by name: the numpy and ml_dtypes names that plans, manifests and weights use."""

from math import prod

import ml_dtypes
import numpy as np

from lumir.diagnostics import UserError

PACKED_4BIT = frozenset({"int4", "uint4", "float4_e2m1fn"})
"""Types stored two in a byte, low nibble first."""

_NUMPY = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64", "complex64", "complex128"),
)
_ML_DTYPES = (
    *("bfloat16", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu"),
    *("float6_e2m3fn", "float6_e3m2fn", "int2", "uint2", "int4", "uint4", "float4_e2m1fn"),
)
_TYPES = {name: np.dtype(name) for name in _NUMPY} | {name: np.dtype(getattr(ml_dtypes, name)) for name in _ML_DTYPES}


def numpy_dtype(name: str) -> np.dtype:
    """The numpy type called `name`.

    Raises:
        UserError: `bad-dtype`, when there is no element type of that name.
    """
    if name not in _TYPES:
        raise UserError(f"unknown element type {name!r}", code="bad-dtype", rule=f"one of {', '.join(sorted(_TYPES))}")
    return _TYPES[name]


def is_dtype(name: object) -> bool:
    return isinstance(name, str) and name in _TYPES


def byte_size(dtype: str, shape: tuple[int, ...]) -> int:
    """Bytes of a dense tensor; 4-bit types take half a byte each, rounded up."""
    elements = prod(shape)
    return (elements + 1) // 2 if dtype in PACKED_4BIT else elements * numpy_dtype(dtype).itemsize


def pack_4bit(values: np.ndarray) -> np.ndarray:
    """One value a byte (as ml_dtypes keeps them) -> two values a byte, low nibble first; flat uint8."""
    nibbles = np.ascontiguousarray(values).reshape(-1).view(np.uint8) & 0x0F
    if nibbles.size % 2:
        nibbles = np.append(nibbles, np.uint8(0))
    return nibbles[0::2] | (nibbles[1::2] << 4)


def unpack_4bit(packed: np.ndarray, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    """The inverse of `pack_4bit`: flat uint8 -> an ml_dtypes array of `shape`."""
    nibbles = np.stack([packed & 0x0F, packed >> 4], axis=-1).reshape(-1)[: prod(shape)]
    if dtype == "int4":
        nibbles = np.where(nibbles > 7, nibbles | 0xF0, nibbles).astype(np.uint8)
    return nibbles.view(numpy_dtype(dtype)).reshape(shape)
