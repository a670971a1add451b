"""Element types: one table between numpy / ml_dtypes names and MLIR types."""

from collections.abc import Callable

import ml_dtypes
import numpy as np

from lumir.diagnostics import UnsupportedError
from lumir.mlir import ir

_FLOATS: dict[str, Callable[[], ir.Type]] = {
    "float64": ir.F64Type.get,
    "float32": ir.F32Type.get,
    "float16": ir.F16Type.get,
    "bfloat16": ir.BF16Type.get,
    "float8_e4m3fn": ir.Float8E4M3FNType.get,
    "float8_e4m3fnuz": ir.Float8E4M3FNUZType.get,
    "float8_e5m2": ir.Float8E5M2Type.get,
    "float8_e5m2fnuz": ir.Float8E5M2FNUZType.get,
    "float4_e2m1fn": ir.Float4E2M1FNType.get,
}
_INTS = {f"int{n}": n for n in (2, 4, 8, 16, 32, 64)}
_UINTS = {f"uint{n}": n for n in (2, 4, 8, 16, 32, 64)}


def mlir_type(dtype: np.dtype | str) -> ir.Type:
    """The MLIR element type of a numpy or ml_dtypes dtype, or of its name."""
    name = dtype if isinstance(dtype, str) else dtype.name
    if name == "bool":
        return ir.IntegerType.get_signless(1)
    if name in _INTS:
        return ir.IntegerType.get_signless(_INTS[name])
    if name in _UINTS:
        return ir.IntegerType.get_unsigned(_UINTS[name])
    if name in _FLOATS:
        return _FLOATS[name]()
    raise UnsupportedError(f"element type {name} is not supported", code="unsupported-dtype")


def dtype_name(type_: ir.Type) -> str:
    """The numpy or ml_dtypes name of an MLIR element type."""
    if isinstance(type_, ir.IntegerType):
        if type_.width == 1:
            return "bool"
        return f"{'u' if type_.is_unsigned else ''}int{type_.width}"
    for name, get in _FLOATS.items():
        if get() == type_:
            return name
    raise UnsupportedError(f"element type {type_} is not supported", code="unsupported-dtype")


def numpy_dtype(type_: ir.Type) -> np.dtype:
    """The numpy dtype of an MLIR element type (ml_dtypes for those that numpy lacks)."""
    name = dtype_name(type_)
    return np.dtype(getattr(ml_dtypes, name)) if hasattr(ml_dtypes, name) else np.dtype(name)


def byte_size(type_: ir.Type) -> int:
    """Bytes of one element in memory; a bool takes one."""
    return numpy_dtype(type_).itemsize
