"""Broken ONNX models of a few nodes, written into a folder of the test's choice.

`BAD` maps a name to a function `(folder) -> path of the .onnx file`. An importer must refuse each with a clear error;
their valid counterparts are in `handmade.py`.
"""

from collections.abc import Sequence
from pathlib import Path

import onnx
from handmade import BIAS, GOOD, WEIGHT, Maker, build, linear, make_external, node, write

__all__ = ["BAD", "GOOD"]

BAD: dict[str, Maker] = {}


def bad(maker: Maker) -> Maker:
    BAD[maker.__name__] = maker
    return maker


@bad
def empty_file(folder: Path) -> Path:
    (folder / "empty_file.onnx").write_bytes(b"")
    return folder / "empty_file.onnx"


@bad
def not_protobuf(folder: Path) -> Path:
    (folder / "not_protobuf.onnx").write_bytes(b"\xff\xd8\xff\xe0 this is a picture" * 9)
    return folder / "not_protobuf.onnx"


@bad
def truncated(folder: Path) -> Path:
    """Cut in the middle of a weight."""
    path = write(folder, "truncated", linear())
    path.write_bytes(path.read_bytes()[:-150])
    return path


@bad
def cyclic(folder: Path) -> Path:
    """a needs b and b needs a."""
    nodes = [node("Add", "x b", "a"), node("Tanh", "a", "b"), node("Relu", "b", "y")]
    return write(folder, "cyclic", build(nodes, {"x": ["batch", 4]}, {"y": ["batch", 4]}))


@bad
def unsorted(folder: Path) -> Path:
    """No cycle, but a node comes before the one it reads: ONNX asks for topological order."""
    nodes = [node("Relu", "h", "y"), node("Tanh", "x", "h")]
    return write(folder, "unsorted", build(nodes, {"x": ["batch", 4]}, {"y": ["batch", 4]}))


@bad
def undefined_value(folder: Path) -> Path:
    """Reads a value that nothing makes."""
    return write(
        folder, "undefined_value", build([node("Add", "x ghost", "y")], {"x": ["batch", 4]}, {"y": ["batch", 4]})
    )


@bad
def defined_twice(folder: Path) -> Path:
    """Two nodes write one name."""
    nodes = [node("Tanh", "x", "y"), node("Relu", "x", "y")]
    return write(folder, "defined_twice", build(nodes, {"x": ["batch", 4]}, {"y": ["batch", 4]}))


@bad
def missing_output(folder: Path) -> Path:
    """The graph promises an output that no node makes."""
    return write(folder, "missing_output", build([node("Tanh", "x", "h")], {"x": ["batch", 4]}, {"y": ["batch", 4]}))


@bad
def wrong_shapes(folder: Path) -> Path:
    """A product whose inner extents are 12 and 11."""
    weights = {"w": WEIGHT[:11]}
    model = build([node("MatMul", "x w", "y")], {"x": ["batch", 12]}, {"y": ["batch", 5]}, weights=weights)
    return write(folder, "wrong_shapes", model)


@bad
def short_initializer(folder: Path) -> Path:
    """An inline weight with fewer bytes than its shape needs."""
    model = linear()
    model.graph.initializer[0].raw_data = model.graph.initializer[0].raw_data[:-4]
    return write(folder, "short_initializer", model)


def _external(folder: Path, name: str, location: str, offsets: Sequence[int] = (0, WEIGHT.nbytes)) -> Path:
    model = linear()
    make_external(model, location, offsets)
    return write(folder, name, model)


@bad
def external_absolute(folder: Path) -> Path:
    """The weights exist and are whole, but the path is absolute."""
    (folder / "absolute.bin").write_bytes(WEIGHT.tobytes() + BIAS.tobytes())
    return _external(folder, "external_absolute", str((folder / "absolute.bin").resolve()))


@bad
def external_parent(folder: Path) -> Path:
    """The weights exist and are whole, but above the model's folder."""
    inner = folder / "inner"
    inner.mkdir(exist_ok=True)
    (folder / "outside.bin").write_bytes(WEIGHT.tobytes() + BIAS.tobytes())
    return _external(inner, "external_parent", "../outside.bin")


@bad
def external_link(folder: Path) -> Path:
    """A symbolic link inside the model's folder leads out of it."""
    inner = folder / "linked"
    inner.mkdir(exist_ok=True)
    (folder / "secret.bin").write_bytes(WEIGHT.tobytes() + BIAS.tobytes())
    (inner / "link.bin").unlink(missing_ok=True)
    (inner / "link.bin").symlink_to(folder / "secret.bin")
    return _external(inner, "external_link", "link.bin")


@bad
def external_short(folder: Path) -> Path:
    """The side file ends eight bytes before the last weight does."""
    (folder / "short.bin").write_bytes((WEIGHT.tobytes() + BIAS.tobytes())[:-8])
    return _external(folder, "external_short", "short.bin")


@bad
def external_wrong_length(folder: Path) -> Path:
    """The stated length is not what dtype and shape need."""
    (folder / "whole.bin").write_bytes(WEIGHT.tobytes() + BIAS.tobytes())
    path = _external(folder, "external_wrong_length", "whole.bin")
    model = onnx.load(path, load_external_data=False)
    entry = next(entry for entry in model.graph.initializer[1].external_data if entry.key == "length")
    entry.value = str(BIAS.nbytes - 4)
    return write(folder, "external_wrong_length", model)


@bad
def external_negative(folder: Path) -> Path:
    """A negative offset."""
    (folder / "negative.bin").write_bytes(WEIGHT.tobytes() + BIAS.tobytes())
    return _external(folder, "external_negative", "negative.bin", offsets=(-4, WEIGHT.nbytes))


@bad
def external_missing(folder: Path) -> Path:
    """The side file does not exist."""
    return _external(folder, "external_missing", "nowhere.bin")


@bad
def unknown_ops(folder: Path) -> Path:
    """Two operators of the standard domain that do not exist: an error should name both."""
    nodes = [node("Frobnicate", "x", "h"), node("Relu", "h", "r"), node("Transmogrify", "r", "y")]
    return write(folder, "unknown_ops", build(nodes, {"x": ["batch", 4]}, {"y": ["batch", 4]}))


@bad
def unknown_domain(folder: Path) -> Path:
    """An operator of a vendor's domain."""
    nodes = [node("Relu", "x", "y", domain="com.example.accelerator")]
    model = build(nodes, {"x": ["batch", 4]}, {"y": ["batch", 4]}, domains=["com.example.accelerator"])
    return write(folder, "unknown_domain", model)


@bad
def no_opset(folder: Path) -> Path:
    """No opset of the standard domain, so no operator has a meaning."""
    model = linear()
    del model.opset_import[:]
    return write(folder, "no_opset", model)


@bad
def future_opset(folder: Path) -> Path:
    """An opset newer than any the onnx package knows."""
    return write(folder, "future_opset", linear(opset=9999))
