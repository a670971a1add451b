"""Element types: one table between numpy / ml_dtypes names and MLIR types."""

import functools
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
    "float8_e8m0fnu": ir.Float8E8M0FNUType.get,
    "float6_e2m3fn": ir.Float6E2M3FNType.get,
    "float6_e3m2fn": ir.Float6E3M2FNType.get,
    "float4_e2m1fn": ir.Float4E2M1FNType.get,
}
_INTS = {f"int{n}": n for n in (2, 4, 8, 16, 32, 64)}
_UINTS = {f"uint{n}": n for n in (2, 4, 8, 16, 32, 64)}
_FLOAT_NAMES = {
    "f64": "float64",
    "f32": "float32",
    "f16": "float16",
    "bf16": "bfloat16",
    "f8E4M3FN": "float8_e4m3fn",
    "f8E4M3FNUZ": "float8_e4m3fnuz",
    "f8E5M2": "float8_e5m2",
    "f8E5M2FNUZ": "float8_e5m2fnuz",
    "f8E8M0FNU": "float8_e8m0fnu",
    "f6E2M3FN": "float6_e2m3fn",
    "f6E3M2FN": "float6_e3m2fn",
    "f4E2M1FN": "float4_e2m1fn",
}


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
    name = _FLOAT_NAMES.get(str(type_))
    if name is None:
        raise UnsupportedError(f"element type {type_} is not supported", code="unsupported-dtype")
    return name


@functools.cache
def _numpy_dtype(name: str) -> np.dtype:
    return np.dtype(getattr(ml_dtypes, name)) if hasattr(ml_dtypes, name) else np.dtype(name)


def numpy_dtype(type_: ir.Type) -> np.dtype:
    """The numpy dtype of an MLIR element type (ml_dtypes for those that numpy lacks)."""
    return _numpy_dtype(dtype_name(type_))


def byte_size(type_: ir.Type) -> int:
    """Bytes of one element in memory; a bool takes one."""
    if isinstance(type_, ir.IntegerType | ir.FloatType):
        return -(-type_.width // 8)
    return numpy_dtype(type_).itemsize


def bit_size(type_: ir.Type) -> int:
    """Bits of one element's value: 4 for `int4`, 8 for a bool, which is a byte in memory."""
    if isinstance(type_, ir.IntegerType):
        return 8 if type_.width == 1 else type_.width
    if str(type_).startswith(("f4E", "f6E")):
        return int(str(type_)[1])
    return byte_size(type_) * 8


def lowest_finite(type_: ir.Type) -> float:
    """The most negative finite number of a float type."""
    return float(ml_dtypes.finfo(numpy_dtype(type_)).min)


def dense_attribute(array: np.ndarray, element: ir.Type | None = None) -> ir.DenseElementsAttr:
    """The elements of `array`, in its shape, as a dense attribute of its own element type (or `element`).

    MLIR reads types that numpy lacks by their bits: bfloat16 as uint16, the narrower ones as a byte each.
    """
    element = element or mlir_type(array.dtype)
    type_ = ir.RankedTensorType.get(array.shape, element)
    dense = np.ascontiguousarray(array).reshape(array.shape)
    if array.dtype.kind == "V" or array.dtype.name not in np.sctypeDict:
        dense = dense.view(np.uint16 if array.dtype.itemsize == 2 else np.uint8)
    return ir.DenseElementsAttr.get(dense, type=type_)
