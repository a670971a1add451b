"""Weights as one safetensors file, written tensor by tensor and read without copying.

The format allows no holes between tensors, so the alignment of each is made with small named `U8` tensors, which
readers of lumir skip and other readers see as what they are.
"""

import json
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import prod

import numpy as np

from lumir.artifact.dtypes import PACKED_4BIT, byte_size, numpy_dtype, pack_4bit
from lumir.artifact.fields import check_int, get_list, get_object, get_str, require
from lumir.diagnostics import InternalError

PADDING_PREFIX = "__padding__."
MAX_HEADER_BYTES = 100_000_000

_SAFETENSORS = {
    "bool": "BOOL",
    **{f"int{bits}": f"I{bits}" for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": f"U{bits}" for bits in (8, 16, 32, 64)},
    **{f"float{bits}": f"F{bits}" for bits in (16, 32, 64)},
    "bfloat16": "BF16",
    "complex64": "C64",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e4m3fnuz": "F8_E4M3FNUZ",
    "float8_e5m2": "F8_E5M2",
    "float8_e5m2fnuz": "F8_E5M2FNUZ",
    "float8_e8m0fnu": "F8_E8M0",
}
_NAMES = {code: name for name, code in _SAFETENSORS.items()}


@dataclass(frozen=True)
class WeightSource:
    """A weight that is loaded when its turn to be written comes.

    Args:
        dtype: a numpy or ml_dtypes name; what safetensors cannot name (4-bit types) is written as packed bytes.
        load: returns the array, of that dtype and shape; called once.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    load: Callable[[], np.ndarray]

    @classmethod
    def of(cls, item: "WeightSource | tuple[str, np.ndarray]") -> "WeightSource":
        if isinstance(item, WeightSource):
            return item
        name, array = item
        return cls(name, array.dtype.name, tuple(array.shape), lambda: array)

    @property
    def nbytes(self) -> int:
        return byte_size(self.dtype, self.shape)

    def stored(self) -> tuple[str, list[int]]:
        """The safetensors type and shape this weight is written as."""
        code = _SAFETENSORS.get(self.dtype)
        return (code, list(self.shape)) if code else ("U8", [self.nbytes])

    def data(self) -> memoryview:
        """The weight's bytes.

        Raises:
            InternalError: `weight-mismatch`, when `load` returns another dtype or shape than was declared.
        """
        array = np.asarray(self.load())
        if (array.dtype.name, array.shape) != (self.dtype, self.shape):
            raise InternalError(
                f"weight {self.name!r} is not what was declared",
                code="weight-mismatch",
                values={"declared": f"{self.dtype} {self.shape}", "loaded": f"{array.dtype} {array.shape}"},
            )
        flat = pack_4bit(array) if self.dtype in PACKED_4BIT else np.ascontiguousarray(array).reshape(-1)
        return flat.view(np.uint8).data


def weight_chunks(sources: Iterable[WeightSource], alignment: int) -> tuple[int, Iterator[bytes | memoryview]]:
    """The file's size in bytes, and its contents piece by piece; each weight is loaded when it is reached."""
    sources = sorted(sources, key=lambda source: source.name)
    names = [source.name for source in sources]
    if len(set(names)) != len(names) or any(name.startswith("__") for name in names):
        raise InternalError("weights share a name or use a reserved one", code="weight-names")
    header: dict[str, object] = {}
    offset, padding = 0, []
    for source in sources:
        gap = -offset % alignment
        if gap:
            header[f"{PADDING_PREFIX}{len(header)}"] = _entry("U8", [gap], offset, gap)
        offset += gap
        code, shape = source.stored()
        header[source.name] = _entry(code, shape, offset, source.nbytes)
        offset += source.nbytes
        padding.append(gap)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % alignment)

    def chunks() -> Iterator[bytes | memoryview]:
        yield struct.pack("<Q", len(text)) + text
        for source, gap in zip(sources, padding):
            yield bytes(gap)
            yield source.data()

    return 8 + len(text) + offset, chunks()


def _entry(code: str, shape: list[int], offset: int, nbytes: int) -> dict[str, object]:
    return {"dtype": code, "shape": shape, "data_offsets": [offset, offset + nbytes]}


def read_weights(data: memoryview) -> dict[str, np.ndarray]:
    """The weights of a safetensors file as read-only views of `data`.

    Raises:
        UserError: `bad-artifact`, when the header is malformed or a tensor leaves the file.
    """
    where = "the weights"
    require(len(data) >= 8, f"{where} are cut short")
    length = struct.unpack_from("<Q", data)[0]
    require(length <= min(len(data) - 8, MAX_HEADER_BYTES), f"the header of {where} is cut short", header=length)
    try:
        parsed = json.loads(bytes(data[8 : 8 + length]))
    except ValueError:
        parsed = None
    header = get_object(parsed, f"the header of {where}")
    body = data[8 + length :]
    return {name: _view(name, entry, body) for name, entry in header.items() if not name.startswith("__")}


def _view(name: str, entry: Mapping[str, object], body: memoryview) -> np.ndarray:
    where = f"weight {name!r}"
    entry = get_object(entry, where)
    code = get_str(entry, "dtype", where)
    require(code in _NAMES, f"{where} has an unknown element type", dtype=code)
    shape = tuple(check_int(dim, f"a dimension of {where}", high=2**48) for dim in get_list(entry, "shape", where))
    offsets = get_list(entry, "data_offsets", where)
    require(len(offsets) == 2, f"{where} has no begin and end", offsets=offsets)
    begin, end = (check_int(offset, f"an offset of {where}", high=len(body)) for offset in offsets)
    dtype = numpy_dtype(_NAMES[code])
    require(end - begin == prod(shape) * dtype.itemsize, f"{where} has a size that is not its shape's", shape=shape)
    view = np.frombuffer(body[begin:end], dtype) if end > begin else np.empty(0, dtype)
    view.flags.writeable = False
    return view.reshape(shape)
