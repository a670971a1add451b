"""The line as code: a model through steps 1 to 9."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lumir.artifact.build import build_artifact
from lumir.artifact.schema import Plan
from lumir.context import make_context
from lumir.diagnostics import UserError
from lumir.instrument.session import current_session
from lumir.mlir import ir
from lumir.passes import run_pipeline
from lumir.pipelines.boundary import check_boundary
from lumir.pipelines.stages import STAGES
from lumir.pipelines.steps import passes_of
from lumir.target import Target, target_named
from lumir.weights import WeightStore

IR_STEPS = tuple(stage.name for stage in STAGES if stage.name not in ("artifact", "run"))
PRECISIONS = ("fp32", "fp16", "bf16")


@dataclass(frozen=True)
class Request:
    """What to compile, and for what.

    Args:
        model: an ONNX file, a Hugging Face directory, a step's `.mlir` file, or a `ModelProto`.
        target: `cpu`, `cuda` or an architecture such as `sm_90a`.
        profiles: the values of the model's symbols, one mapping for each specialisation.
        precision: `fp32` (as the model says), `fp16` or `bf16`: what float32 tensors are computed in.
        override: a folder whose `<step>.mlir` files replace the IR after that step.
        progress: called with each step's name before it starts.
    """

    model: Any
    target: str = "cpu"
    profiles: Sequence[Mapping[str, int]] = ({},)
    precision: str | None = None
    override: Path | None = None
    progress: Callable[[str], None] = field(default=lambda step: None)


@dataclass
class Compiled:
    """A model after its last IR step: one module for each profile, and the bytes of its weights."""

    modules: list[tuple[ir.Module, dict[str, int]]]
    store: WeightStore
    target: Target
    context: ir.Context


def compile_to(request: Request, last: str = "plan") -> Compiled:
    """Run the steps up to and including `last`.

    Raises:
        UserError: the request or the model is wrong.
        UnsupportedError: the model needs what lumir cannot do; every such node is listed.
    """
    if request.precision not in (None, *PRECISIONS):
        raise UserError(f"unknown precision '{request.precision}'", code="unknown-precision", hint=f"use one of {', '.join(PRECISIONS)}")
    target, context = target_named(request.target), make_context()
    modules, store = [], WeightStore()
    with context, ir.Location.unknown():
        for dims in request.profiles:
            request.progress("import")
            with current_session().step("import"):
                module, first, store = import_model(request.model, dims, store)
            for step in IR_STEPS[IR_STEPS.index(first) + 1 : IR_STEPS.index(last) + 1]:
                request.progress(step)
                module = _overridden(run_step(module, step, target, request.precision), step, request.override)
            modules.append((module, dict(dims)))
    return Compiled(modules, store, target, context)


def run_step(module: ir.Module, step: str, target: Target, precision: str | None = None) -> ir.Module:
    """One step on a module, in place, and the check of what it may leave behind."""
    with current_session().step(step, module):
        run_pipeline(passes_of(step, target, precision), module)
        check_boundary(next(stage for stage in STAGES if stage.name == step), module)
    return module


def write(compiled: Compiled, path: Path) -> list[Plan]:
    """Step 9: the artifact."""
    with compiled.context, ir.Location.unknown(), current_session().step("artifact"):
        return build_artifact(path, compiled.modules, compiled.store, compiled.target)


def import_model(model: Any, dims: Mapping[str, int], store: WeightStore) -> tuple[ir.Module, str, WeightStore]:
    """Step 1, for whatever kind of model it is: the module, the step it stands after, and its weights."""
    from lumir.frontend import import_onnx
    from lumir.frontend.huggingface import load_huggingface

    if not isinstance(model, str | Path):
        return _after_import(import_onnx(model, dims=dims))
    path = Path(model)
    if path.suffix == ".mlir":
        return _parse(path), step_of(path), WeightStore(path.parent)
    if path.is_dir():
        proto, folder = load_huggingface(path)
        return _after_import(import_onnx(proto, folder=folder, dims=dims))
    return _after_import(import_onnx(path, dims=dims))


def _after_import(imported: tuple[ir.Module, WeightStore]) -> tuple[ir.Module, str, WeightStore]:
    return imported[0], "import", imported[1]


def step_of(path: Path) -> str:
    """The step that a dumped file stands after: `03-dispatch.mlir` or `model.dispatch.mlir`.

    Raises:
        UserError: `unknown-step`, when the name says none.
    """
    match = re.search(rf"(?:^|[.-])({'|'.join(IR_STEPS)})\.mlir$", path.name)
    if match is None:
        raise UserError(
            f"cannot tell which step '{path.name}' stands after",
            code="unknown-step",
            hint=f"name it like model.linalg.mlir; the steps are {', '.join(IR_STEPS)}",
        )
    return match[1]


def _parse(path: Path) -> ir.Module:
    try:
        return ir.Module.parse(path.read_text())
    except ir.MLIRError as error:
        raise UserError(f"{path} is not valid IR", code="bad-ir", values={"message": str(error)}) from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}", code="unreadable") from None


def _overridden(module: ir.Module, step: str, folder: Path | None) -> ir.Module:
    file = folder / f"{step}.mlir" if folder else None
    return _parse(file) if file is not None and file.exists() else module
