"""Where an ONNX file's inline weights are: a walk over protobuf's wire format that leaves their bytes on disk.

A protobuf message is a sequence of fields, each a varint key (field number * 8 + wire type) and a payload. Only three
levels matter here: ModelProto.graph, GraphProto.initializer, TensorProto.raw_data. See
https://protobuf.dev/programming-guides/encoding.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

GRAPH, INITIALIZER, TENSOR_NAME, RAW_DATA = 7, 5, 8, 9
LENGTH_DELIMITED = 2
SMALL = 1024

Buffer = bytes | memoryview


class WireError(ValueError):
    """The bytes are not a protobuf message, or end inside one."""


@dataclass(frozen=True)
class Field:
    """A field of a message: its number, where the field starts, and where its payload starts and ends."""

    number: int
    start: int
    payload: int
    end: int


@dataclass
class Stripped:
    """A model without the bytes of its larger inline weights.

    Attributes:
        model: a serialized ModelProto whose larger initializers have no `raw_data`.
        inline: the place of that data in the file, (offset, length) in bytes, by initializer name.
    """

    model: bytes
    inline: dict[str, tuple[int, int]] = field(default_factory=dict)


def strip_weights(data: Buffer) -> Stripped:
    """Cut the `raw_data` of initializers above 1 KiB out of a serialized ModelProto.

    Raises:
        WireError: the data is no complete protobuf message.
    """
    stripped = Stripped(b"")
    stripped.model = _rewrite(data, 0, len(data), GRAPH, lambda f: _strip_graph(data, f, stripped.inline))
    return stripped


def _strip_graph(data: Buffer, graph: Field, inline: dict[str, tuple[int, int]]) -> bytes:
    return _rewrite(data, graph.payload, graph.end, INITIALIZER, lambda f: _strip_tensor(data, f, inline))


def _strip_tensor(data: Buffer, tensor: Field, inline: dict[str, tuple[int, int]]) -> bytes:
    if tensor.end - tensor.payload <= SMALL:
        return bytes(data[tensor.payload : tensor.end])
    fields = list(_fields(data, tensor.payload, tensor.end))
    raw = next((f for f in fields if f.number == RAW_DATA and f.end - f.payload > SMALL), None)
    name = next((f for f in fields if f.number == TENSOR_NAME), None)
    if raw is None or name is None:
        return bytes(data[tensor.payload : tensor.end])
    inline[str(data[name.payload : name.end], "utf-8")] = (raw.payload, raw.end - raw.payload)
    return b"".join(bytes(data[f.start : f.end]) for f in fields if f is not raw)


def _rewrite(data: Buffer, start: int, end: int, number: int, edit) -> bytes:
    """The message in `data[start:end]` with the payload of every field `number` replaced by `edit(field)`."""
    pieces: list[bytes] = []
    kept = start
    for found in _fields(data, start, end):
        if found.number != number:
            continue
        payload = edit(found)
        pieces += [
            bytes(data[kept : found.start]),
            _varint_bytes(number << 3 | LENGTH_DELIMITED),
            _varint_bytes(len(payload)),
        ]
        pieces.append(payload)
        kept = found.end
    pieces.append(bytes(data[kept:end]))
    return b"".join(pieces)


def _fields(data: Buffer, position: int, end: int) -> Iterator[Field]:
    while position < end:
        start = position
        key, position = _varint(data, position, end)
        match key & 7:
            case 0:
                payload, position = position, _varint(data, position, end)[1]
            case 1:
                payload, position = position, position + 8
            case 2:
                length, payload = _varint(data, position, end)
                position = payload + length
            case 5:
                payload, position = position, position + 4
            case kind:
                raise WireError(f"byte {start}: no protobuf field has wire type {kind}")
        if position > end:
            raise WireError(f"byte {start}: a field needs {position - end} bytes more than there are")
        yield Field(key >> 3, start, payload, position)


def _varint(data: Buffer, position: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while position < end and shift < 70:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise WireError(f"byte {position}: a number is cut off")


def _varint_bytes(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
