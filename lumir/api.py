"""`lumir.compile`: a model in, something that runs out."""

import shutil
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lumir.compile import Request, compile_to, write
from lumir.runtime.executable import Executable, load

if TYPE_CHECKING:
    import onnx


def compile(
    model: "str | Path | onnx.ModelProto",
    target: str = "cpu",
    dims: Mapping[str, int] | None = None,
    precision: str | None = None,
    *,
    profiles: Sequence[Mapping[str, int]] | None = None,
    device: str | None = None,
    threads: int | None = None,
) -> Executable:
    """Compile a model and load the result.

    Args:
        model: an ONNX file, a Hugging Face directory, a step's `.mlir` file, or a `ModelProto`.
        target: `cpu`, `cuda` (this machine's GPU), or an architecture such as `sm_90a`.
        dims: the values of the model's symbolic dimensions, e.g. `{"batch": 1, "seq": 128}`.
        precision: `fp32`, `fp16` or `bf16`: what float32 tensors are computed in; by default as the model says.
        profiles: several `dims`, one specialisation each, in one artifact.
        device, threads: see `lumir.load`.

    Raises:
        UserError: the request or the model is wrong.
        UnsupportedError: the model needs what lumir cannot do; every such node is listed.
    """
    request = Request(model, target, profiles or [dims or {}], precision)
    folder = Path(tempfile.mkdtemp(prefix="lumir-"))
    write(compile_to(request), folder / "model.lumir")
    executable = load(folder / "model.lumir", device, threads=threads)
    weakref.finalize(executable, shutil.rmtree, folder, ignore_errors=True)
    return executable
