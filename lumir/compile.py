"""The line as code: a model through steps 1 to 9."""

import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from lumir.artifact.build import Specialisation, build_artifact
from lumir.artifact.plan import Plan
from lumir.context import make_context
from lumir.diagnostics import InternalError, LumirWarning, UserError
from lumir.dims import Dims, Symbols, as_symbols
from lumir.graph.known import use_store
from lumir.instrument.session import current_session
from lumir.mlir import ir
from lumir.module import prefix_dispatches, record_symbols, symbols_in
from lumir.passes import as_pipeline, run_pipeline, to_text
from lumir.pipelines.boundary import check_boundary
from lumir.pipelines.stages import stage
from lumir.pipelines.steps import Tuning, passes_of
from lumir.step_files import IR_STEPS, Start, check_start, overridden, read_start, record_target
from lumir.target import Target, target_named
from lumir.weights import WeightStore

PRECISIONS = ("fp32", "tf32", "fp16", "bf16")
Observer = Callable[[str, int, ir.Module, WeightStore], None]


@dataclass(frozen=True)
class Request:
    """What to compile, and for what.

    Args:
        model: an ONNX file, a Hugging Face directory, a step's `.mlir` file, or a `ModelProto`.
        target: `cpu`, `cuda` or an architecture such as `sm_90a`; by default what a step's file was made for, or `cpu`.
        profiles: the sizes and ranges of the model's symbols (see `lumir.dims`), one mapping for each specialisation.
        precision: `fp32` (as the model says), `tf32` (but products may round their factors to it), `fp16` or `bf16`:
            what float32 tensors are computed in.
        override: a folder whose `<step>.mlir` files replace the IR after that step.
        weights: what the relative weight paths of a step's file start at; the file's own folder by default.
        tuning: measured schedules to use, and schedules given by hand.
        progress: called with each step's name before it starts.
        observe: called after each step with its name, the profile's number, the module and its weights.
    """

    model: Any
    target: str | None = None
    profiles: Sequence[Dims] = ({},)
    precision: str | None = None
    override: Path | None = None
    weights: Path | None = None
    tuning: Tuning = field(default_factory=Tuning)
    progress: Callable[[str], None] = field(default=lambda step: None)
    observe: Callable[[str, int, ir.Module, WeightStore], None] = field(
        default=lambda step, number, module, store: None
    )


@dataclass
class Compiled:
    """A model after its last IR step, once for each profile."""

    specialisations: list[Specialisation]
    target: Target
    context: ir.Context


def compile_to(request: Request, last: str = "plan") -> Compiled:
    """Run the steps up to and including `last`.

    Raises:
        UserError: the request or the model is wrong.
        UnsupportedError: the model needs what lumir cannot do; every such node is listed.
    """
    if request.precision not in (None, *PRECISIONS):
        known = ", ".join(PRECISIONS)
        raise UserError(
            f"unknown precision '{request.precision}'", code="unknown-precision", hint=f"use one of {known}"
        )
    target = asked = target_named(request.target) if request.target else None
    context, specialisations = make_context(), []
    with context, ir.Location.unknown():
        for number, dims in enumerate(request.profiles):
            symbols = as_symbols(dims)
            start = _import(request, symbols, number)
            check_start(start, asked, symbols, request.precision, last)
            target = target or target_named(start.target or "cpu")
            if number == 0 and request.precision == "tf32" and not target.rounds_products:
                message = f"precision tf32 changes nothing for {target}: there products of float32 are not rounded"
                warnings.warn(message, LumirWarning, stacklevel=2)
            module = _lower(start, number, request, target, last)
            specialisations.append(Specialisation(module, start.store))
    assert target is not None
    return Compiled(specialisations, target, context)


def _import(request: Request, symbols: Symbols, number: int) -> Start:
    request.progress("import")
    with current_session().step("import"):
        start = import_model(request.model, symbols, request.weights)
        start.module = overridden(start.module, start.store, start.step, _folder(request, number))
        record_symbols(start.module, start.symbols)
    request.observe(start.step, number, start.module, start.store)
    return start


def _lower(start: Start, number: int, request: Request, target: Target, last: str) -> ir.Module:
    """The steps after the one that the start stands after."""
    module = start.module
    record_target(module, target)
    for step in IR_STEPS[IR_STEPS.index(start.step) + 1 : IR_STEPS.index(last) + 1]:
        request.progress(step)
        with use_store(start.store):
            module = run_step(module, step, target, request.precision, request.tuning)
        if step == "dispatch" and len(request.profiles) > 1:
            prefix_dispatches(module, f"p{number}_")
        module = overridden(module, start.store, step, _folder(request, number))
        request.observe(step, number, module, start.store)
    return module


def _folder(request: Request, number: int) -> Path | None:
    """Where the overrides of a profile are; each profile has its own folder when there are several."""
    if request.override is None or len(request.profiles) == 1:
        return request.override
    return request.override / f"profile-{number}"


def run_step(
    module: ir.Module, step: str, target: Target, precision: str | None = None, tuning: Tuning | None = None
) -> ir.Module:
    """One step on a module, in place, and the check of what it may leave behind."""
    session, passes = current_session(), passes_of(step, target, precision, tuning)
    with session.step(step, module):
        before = session.snapshot(module)
        run_pipeline(passes, module)
        try:
            check_boundary(stage(step), module)
        except InternalError as error:
            allowed = ",".join(sorted(stage(step).dialects or ()))
            pipeline = to_text(as_pipeline([*passes, f"lumir-check-dialects{{allowed={allowed}}}"]))
            error.add_note(f"reproducer: {session.reproduce(error, before, pipeline)}")
            raise
    return module


def write(compiled: Compiled, path: Path) -> list[Plan]:
    """Step 9: the artifact."""
    with compiled.context, ir.Location.unknown(), current_session().step("artifact"):
        return build_artifact(path, compiled.specialisations, compiled.target)


def import_model(model: Any, symbols: Symbols, weights: Path | None = None) -> Start:
    """Step 1, for whatever kind of model it is."""
    from lumir.frontend import import_onnx
    from lumir.frontend.huggingface import load_huggingface

    if not isinstance(model, str | Path):
        return _started(*import_onnx(model, dims=symbols))
    path = Path(model)
    if path.suffix == ".mlir":
        return read_start(path, weights)
    if path.is_dir():
        proto, folder = load_huggingface(path)
        return _started(*import_onnx(proto, folder=folder, dims=symbols))
    return _started(*import_onnx(path, dims=symbols))


def _started(module: ir.Module, store: WeightStore) -> Start:
    return Start(module, store, symbols_in(module))


class _Callable(ModuleType):
    """`lumir.compile(model)` is `lumir.api.compile`, although importing this module makes the name mean the module."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        from lumir.api import compile

        return compile(*args, **options)


sys.modules[__name__].__class__ = _Callable
