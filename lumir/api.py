"""`lumir.compile`: a model in, something that runs out."""

import tempfile
import weakref
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from lumir.compile import Request, compile_to, write
from lumir.dims import Dims
from lumir.options import from_environment
from lumir.pipelines.steps import Tuning
from lumir.runtime.executable import Executable, load

if TYPE_CHECKING:
    import onnx


def compile(
    model: "str | Path | onnx.ModelProto",
    target: str | None = None,
    dims: Dims | None = None,
    precision: str | None = None,
    *,
    profiles: Sequence[Dims] | None = None,
    device: str | None = None,
    threads: int | None = None,
    tuning_db: str | Path | None = None,
) -> Executable:
    """Compile a model and load the result.

    Args:
        model: an ONNX file, a Hugging Face directory, a step's `.mlir` file, or a `ModelProto`.
        target: `cpu` (the default), `cuda` (this machine's GPU), or an architecture such as `sm_90a`.
        dims: the sizes of the model's symbolic dimensions, or the ranges that one compile serves:
            `{"batch": 1, "seq": (1, 512)}`, or as text, `{"seq": "8..512:8"}`.
        precision: `fp32`, `tf32` (products may round their factors to it), `fp16` or `bf16`: what float32 tensors are
            computed in; by default as the model says.
        profiles: several `dims`, one specialisation each, in one artifact.
        device, threads: see `lumir.load`.
        tuning_db: a database that lumir-tune wrote, used before the one that ships; by default `LUMIR_TUNING_DB`.

    Raises:
        UserError: the request or the model is wrong.
        UnsupportedError: the model needs what lumir cannot do; every such node is listed.
    """
    tuning = Tuning(str(tuning_db or from_environment().tuning_db or ""))
    request = Request(model, target, profiles or [dims or {}], precision, tuning=tuning)
    compiled = compile_to(request)
    with ExitStack() as files:
        folder = Path(files.enter_context(tempfile.TemporaryDirectory(prefix="lumir-")))
        write(compiled, folder / "model.lumir")
        executable = load(folder / "model.lumir", device, threads=threads)
        weakref.finalize(executable, files.pop_all().close)
    return executable
