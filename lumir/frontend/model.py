"""Reading an ONNX model: the file, its protobuf message, and the claims about it that everything else relies on."""

import mmap
from dataclasses import dataclass, field
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from lumir.diagnostics import UnsupportedError, UserError
from lumir.frontend.wire import WireError, strip_weights

OLDEST_OPSET = 1
_MAGIC = {
    b"PK\x03\x04": ("a zip archive, e.g. a PyTorch checkpoint", "export it: torch.onnx.export(model, ...)"),
    b"version https://git-lfs": ("a Git LFS pointer", "fetch the file itself: git lfs pull"),
    b"GGUF": ("a GGUF file", "give the ONNX export of the model"),
    b"\x89HDF": ("an HDF5 file, e.g. a Keras model", "export it, e.g. with tf2onnx"),
    b"ORTM": ("an ONNX Runtime .ort file", "give the .onnx file it was made from"),
    b"<": ("a web page or XML", "the download probably failed: fetch the file again"),
    b"{": ("JSON", "give the .onnx file"),
}


@dataclass
class Model:
    """An ONNX model that was read.

    Attributes:
        proto: the message; for a model read from a file, larger initializers have no `raw_data`.
        folder: what the paths of external data start at.
        file: the file it was read from.
        inline: where in `file` the missing `raw_data` is, (offset, length) in bytes by initializer name.
        opsets: the opset version of each domain; the default domain is "".
    """

    proto: onnx.ModelProto
    folder: Path
    file: Path | None = None
    inline: dict[str, tuple[int, int]] = field(default_factory=dict)
    opsets: dict[str, int] = field(default_factory=dict)


def read_model(source: Path | str | onnx.ModelProto, folder: Path | None = None) -> Model:
    """Read a model from a file, or take one that is in memory.

    Raises:
        UserError: the file is missing, is not ONNX or is cut off, or the model names no graph or opset.
        UnsupportedError: the model's opset is older or newer than this version knows.
    """
    if isinstance(source, onnx.ModelProto):
        model = Model(source, folder or Path("."))
    else:
        model = _read_file(Path(source), folder)
    _check(model)
    return model


def _read_file(path: Path, folder: Path | None) -> Model:
    if not path.is_file():
        reason = "is a directory, not a file" if path.is_dir() else "does not exist"
        raise UserError(f"'{path}' {reason}", code="model-missing", hint="give the path of an .onnx file")
    if path.stat().st_size == 0:
        raise UserError(f"'{path}' is empty", code="model-truncated", hint="export or download the model again")
    with path.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        head = mapped[:32]
        data = memoryview(mapped)
        try:
            stripped = strip_weights(data)
            proto = onnx.ModelProto.FromString(stripped.model)
        except (WireError, DecodeError, UnicodeDecodeError) as error:
            raise _unreadable(path, head, error) from None
        finally:
            data.release()
    if not proto.HasField("graph"):
        raise _unreadable(path, head, "it has no graph")
    return Model(proto, folder or path.parent, path, stripped.inline)


def _unreadable(path: Path, head: bytes, reason: object) -> UserError:
    for magic, (what, hint) in _MAGIC.items():
        if head.startswith(magic):
            return UserError(f"'{path}' is not an ONNX model: it is {what}", code="model-not-onnx", hint=hint)
    starts_as_onnx = head[:1] == b"\x08"
    return UserError(
        f"'{path}' {'ends too early or is damaged' if starts_as_onnx else 'is not an ONNX model'}",
        code="model-truncated" if starts_as_onnx else "model-not-onnx",
        values={"size": f"{path.stat().st_size} bytes", "reason": reason},
        hint="export or download the model again",
    )


def _check(model: Model) -> None:
    proto = model.proto
    if not proto.HasField("graph"):
        raise UserError("the model has no graph", code="model-empty", hint="export the model again")
    model.opsets = opset_table(proto.opset_import)
    if "" not in model.opsets:
        if any(node.domain in ("", "ai.onnx") for node in proto.graph.node):
            raise UserError(
                "the model does not say which opset of ai.onnx it uses",
                code="opset-missing",
                hint="set opset_import when the model is made",
            )
        return
    check_opset(model.opsets[""])


def check_opset(opset: int) -> None:
    """Raise unless the opset of ai.onnx is one that this version knows."""
    newest = onnx.defs.onnx_opset_version()
    if OLDEST_OPSET <= opset <= newest:
        return
    raise UnsupportedError(
        f"opset {opset} of ai.onnx is not supported",
        code="opset-unsupported",
        values={"supported": f"{OLDEST_OPSET} to {newest}"},
        hint="export with a supported opset, or convert with onnx.version_converter.convert_version",
    )


def opset_table(imports) -> dict[str, int]:
    """The version of each imported domain; `ai.onnx` is another name of the default domain ""."""
    return {"" if item.domain == "ai.onnx" else item.domain: item.version for item in imports}
