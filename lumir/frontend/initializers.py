"""Initializers: from a TensorProto to a place of bytes on disk, or to an array where it has none."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from lumir.diagnostics import UnsupportedError, UserError
from lumir.dtypes import bit_size, mlir_type
from lumir.frontend.model import Model
from lumir.mlir import ir
from lumir.weights import MEMORY

_REFUSED_TYPES: dict[int, str] = {
    onnx.TensorProto.STRING: "string",
    onnx.TensorProto.COMPLEX64: "complex64",
    onnx.TensorProto.COMPLEX128: "complex128",
    onnx.TensorProto.UNDEFINED: "undefined",
}


@dataclass(frozen=True)
class Place:
    """Where an initializer's bytes are: a file (relative to the model's folder, or `:memory:`) and a byte offset."""

    path: str
    offset: int = 0


def element_type(data_type: int, what: str) -> ir.Type:
    """The MLIR element type of an ONNX data type; `what` names the tensor in the error."""
    if data_type in _REFUSED_TYPES or data_type not in onnx.TensorProto.DataType.values():
        name = _REFUSED_TYPES.get(data_type) or f"number {data_type}"
        raise UnsupportedError(
            f"{what} has element type {name}",
            code="unsupported-dtype",
            hint="lumir compiles numeric and bool tensors only",
        )
    return mlir_type(onnx.helper.tensor_dtype_to_np_dtype(data_type))


def initializer_type(proto: onnx.TensorProto) -> ir.RankedTensorType:
    """The tensor type of an initializer."""
    what = f"initializer '{proto.name}'"
    if any(dim < 0 for dim in proto.dims):
        raise UserError(f"{what} has a negative dimension", code="weight-invalid", values={"shape": list(proto.dims)})
    return ir.RankedTensorType.get(list(proto.dims), element_type(proto.data_type, what))


def locate(proto: onnx.TensorProto, type_: ir.RankedTensorType, model: Model) -> Place:
    """The place of an initializer's bytes.

    Raises:
        UserError: external data is missing, too short, or outside the model's folder; or the size of the data does not
            fit the initializer's shape and element type.
    """
    if proto.data_location == onnx.TensorProto.EXTERNAL:
        return _locate_external(proto, type_, model)
    if proto.name in model.inline:
        offset, length = model.inline[proto.name]
        _check_length(proto.name, type_, length)
        return Place(MEMORY if _is_packed(type_) else relative_path(model), offset)
    if proto.HasField("raw_data"):
        _check_length(proto.name, type_, len(proto.raw_data))
    return Place(MEMORY)


def relative_path(model: Model) -> str:
    """The model file's own path, relative to the folder where that is possible."""
    assert model.file is not None
    inside = model.file.resolve().is_relative_to(model.folder.resolve())
    return str(model.file.resolve().relative_to(model.folder.resolve()) if inside else model.file.resolve())


def read_array(proto: onnx.TensorProto, type_: ir.RankedTensorType, model: Model) -> np.ndarray:
    """The elements of an initializer, wherever they are."""
    proto = _with_inline_data(proto, model)
    try:
        return numpy_helper.to_array(proto, base_dir=str(model.folder))
    except ValueError as error:
        raise UserError(
            f"initializer '{proto.name}' cannot be read: {error}",
            code="weight-invalid",
            values={"type": type_},
            hint="its data does not fit its shape and element type: export the model again",
        ) from None


def _with_inline_data(proto: onnx.TensorProto, model: Model) -> onnx.TensorProto:
    if proto.name not in model.inline or proto.data_location == onnx.TensorProto.EXTERNAL or model.file is None:
        return proto
    offset, length = model.inline[proto.name]
    whole = onnx.TensorProto()
    whole.CopyFrom(proto)
    with model.file.open("rb") as file:
        file.seek(offset)
        whole.raw_data = file.read(length)
    return whole


def _locate_external(proto: onnx.TensorProto, type_: ir.RankedTensorType, model: Model) -> Place:
    entries = {entry.key: entry.value for entry in proto.external_data}
    location = entries.get("location", "")
    file = _external_file(proto.name, location, model.folder)
    offset = _number(proto.name, "offset", entries.get("offset", "0"))
    needed = byte_count(type_)
    length = _number(proto.name, "length", entries.get("length", str(needed)))
    _check_length(proto.name, type_, length)
    if offset + needed > file.stat().st_size:
        raise UserError(
            f"weight '{proto.name}' ends outside its file",
            code="weight-short",
            values={"file": location, "bytes needed": offset + needed, "bytes found": file.stat().st_size},
            hint="the file is truncated, or does not belong to this model",
        )
    return Place(MEMORY if _is_packed(type_) else os.path.normpath(location), offset)


def _external_file(name: str, location: str, folder: Path) -> Path:
    path = Path(location)
    if not location or path.is_absolute() or ".." in path.parts or "\\" in location or "\0" in location:
        raise UserError(
            f"the data of weight '{name}' must lie in the model's folder",
            code="weight-path",
            values={"location": location or "(none)"},
            hint="external data needs a relative path without '..'",
        )
    file = folder / path
    if not file.is_file():
        raise UserError(
            f"the file that holds weight '{name}' is missing",
            code="weight-missing",
            values={"file": str(file)},
            hint="keep the model's weight files beside it",
        )
    if not file.resolve().is_relative_to(folder.resolve()):
        raise UserError(
            f"the file that holds weight '{name}' is a link that leaves the model's folder",
            code="weight-path",
            values={"file": str(file), "leads to": str(file.resolve())},
            hint="put the file itself into the model's folder",
        )
    return file


def _number(name: str, key: str, text: str) -> int:
    if text.isascii() and text.isdigit():
        return int(text)
    raise UserError(
        f"the external data of weight '{name}' has no valid {key}", code="weight-invalid", values={key: repr(text)}
    )


def _check_length(name: str, type_: ir.RankedTensorType, length: int) -> None:
    if length == byte_count(type_):
        return
    raise UserError(
        f"the data of weight '{name}' does not fit its type",
        code="weight-mistyped",
        values={"type": type_, "bytes needed": byte_count(type_), "bytes found": length},
        hint="export the model again, or correct the weight's shape, element type or length",
    )


def byte_count(type_: ir.RankedTensorType) -> int:
    """Bytes of a tensor as ONNX stores it: types below a byte are packed."""
    elements = int(np.prod(tuple(type_.shape), dtype=np.int64))
    return -(-elements * bit_size(type_.element_type) // 8)


def _is_packed(type_: ir.RankedTensorType) -> bool:
    """Whether elements share bytes in a way that a `WeightStore` does not unpack."""
    return bit_size(type_.element_type) not in (4, 8, 16, 32, 64)
