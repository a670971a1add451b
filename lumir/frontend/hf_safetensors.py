"""Where the tensors of a Hugging Face directory lie on disk: safetensors headers, read with bounds checks.

A safetensors file is eight bytes of header length (little-endian), a JSON header, then raw little-endian tensor bytes.
That is what ONNX calls external data, so a graph can point into the file and no weight is read or copied here.
Format: https://github.com/huggingface/safetensors#format.
"""

import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onnx import TensorProto

from lumir.diagnostics import UserError

LARGEST_HEADER = 100_000_000  # bytes; the limit of the reference implementation

ONNX_TYPES = {
    "F64": TensorProto.DOUBLE, "F32": TensorProto.FLOAT, "F16": TensorProto.FLOAT16, "BF16": TensorProto.BFLOAT16,
    "I64": TensorProto.INT64, "I32": TensorProto.INT32, "I16": TensorProto.INT16, "I8": TensorProto.INT8,
    "U64": TensorProto.UINT64, "U32": TensorProto.UINT32, "U16": TensorProto.UINT16, "U8": TensorProto.UINT8,
    "BOOL": TensorProto.BOOL, "F8_E4M3": TensorProto.FLOAT8E4M3FN, "F8_E5M2": TensorProto.FLOAT8E5M2,
}  # fmt: skip
ITEM_BYTES = {"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2}


@dataclass(frozen=True)
class StoredTensor:
    """One tensor's bytes.

    Attributes:
        file: the file that holds it, symbolic links resolved.
        dtype: safetensors' name of the element type, e.g. `F32`.
        shape: its dimensions.
        offset: of its first byte, from the start of the file.
        length: its size in bytes.
    """

    file: Path
    dtype: str
    shape: tuple[int, ...]
    offset: int
    length: int


def read_directory(directory: Path) -> dict[str, StoredTensor]:
    """Finds every tensor of `model.safetensors`, or of the shards that `model.safetensors.index.json` lists.

    Raises:
        UserError: no such file, or one that is not safetensors.
    """
    single, index = directory / "model.safetensors", directory / "model.safetensors.index.json"
    if single.is_file():
        return read_header(single)
    if not index.is_file():
        raise UserError(
            f"{directory} holds neither model.safetensors nor model.safetensors.index.json",
            code="hf-no-weights",
            hint="PyTorch .bin checkpoints are not read; save the model with safe serialization",
        )
    return _read_shards(directory, index)


def _read_shards(directory: Path, index: Path) -> dict[str, StoredTensor]:
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(name, str) for name in weight_map.values()):
        raise UserError(f"{index} has no weight_map of tensor names to file names", code="hf-bad-index")
    tensors: dict[str, StoredTensor] = {}
    for name in sorted(set(weight_map.values())):
        if Path(name).name != name:
            raise UserError(f"{index} names a shard outside its directory: {name!r}", code="hf-bad-index")
        tensors |= read_header(directory / name)
    return tensors


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object.

    Raises:
        UserError: the file is missing, is not JSON, or is not an object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"cannot read {path}: {error}", code="hf-bad-json") from error
    if not isinstance(value, dict):
        raise UserError(f"{path} is not a JSON object", code="hf-bad-json")
    return value


def read_header(path: Path) -> dict[str, StoredTensor]:
    """Reads the header of one safetensors file; the tensors' bytes are not touched.

    Returns:
        Tensor name -> where it lies. Every range is inside the file and as long as its dtype and shape require.

    Raises:
        UserError: the file is missing, truncated, or its header is not consistent.
    """
    path = path.resolve()
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            prefix = file.read(8)
            length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else LARGEST_HEADER + 1
            _require(length <= min(size - 8, LARGEST_HEADER), path, "its header does not fit in the file")
            header = json.loads(file.read(length))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}", code="hf-no-weights") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not a safetensors file: {error}", code="hf-bad-safetensors") from error
    _require(isinstance(header, dict), path, "its header is not a JSON object")
    header.pop("__metadata__", None)
    return {name: _entry(path, name, entry, start=8 + length, size=size) for name, entry in header.items()}


def _entry(path: Path, name: str, entry: Any, *, start: int, size: int) -> StoredTensor:
    _require(isinstance(entry, dict), path, f"the entry of {name!r} is not an object")
    dtype, shape, offsets = (entry.get(key) for key in ("dtype", "shape", "data_offsets"))
    _require(_is_sizes(shape), path, f"the shape of {name!r} is {shape}")
    _require(_is_sizes(offsets) and len(offsets) == 2, path, f"the offsets of {name!r} are {offsets}")
    _require(isinstance(dtype, str), path, f"the dtype of {name!r} is {dtype}")
    begin, end = offsets
    inside = begin <= end <= size - start
    _require(inside, path, f"{name!r} lies at {begin}..{end} of {size - start} data bytes; the file may be truncated")
    if dtype in ONNX_TYPES:
        expected = math.prod(shape) * ITEM_BYTES.get(dtype, 1)
        _require(expected == end - begin, path, f"{name!r}, {dtype} {shape}, has {end - begin} bytes, not {expected}")
    return StoredTensor(path, dtype, tuple(shape), start + begin, end - begin)


def _is_sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int and item >= 0 for item in value)


def _require(condition: bool, path: Path, problem: str) -> None:
    if not condition:
        raise UserError(f"{path} is not a valid safetensors file: {problem}", code="hf-bad-safetensors")
