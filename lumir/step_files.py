"""A step's IR as a file that the compiler can be entered with again."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lumir.diagnostics import InternalError, UserError
from lumir.dims import as_texts
from lumir.mlir import ir
from lumir.module import symbols as symbols_of_module
from lumir.module import symbols_in
from lumir.pipelines.boundary import check_boundary
from lumir.pipelines.stages import STAGES, stage
from lumir.symbols import Symbol
from lumir.target import Target
from lumir.weights import MEMORY, WeightStore

IR_STEPS = tuple(stage.name for stage in STAGES if stage.dialects is not None)
TARGET = "lumir.target"


@dataclass
class Start:
    """Where a compile enters the line.

    Attributes:
        store: the bytes of the module's weights.
        symbols: the model's symbols, those of one value included.
        step: the step that the module stands after.
        target: what the module was made for, when that is decided.
    """

    module: ir.Module
    store: WeightStore
    symbols: Mapping[str, Symbol]
    step: str = "import"
    target: str | None = None


def record_target(module: ir.Module, target: Target) -> None:
    """Note in the module what it is compiled for, for a later entry."""
    module.operation.attributes[TARGET] = ir.StringAttr.get(target.name)


def read_start(path: Path, weights: Path | None = None) -> Start:
    """Read a step's file.

    Args:
        weights: what relative weight paths start at; the file's folder by default.

    Raises:
        UserError: `unreadable`, `bad-ir`, `unknown-step`; `wrong-step`, when the file is not what may follow the step.
    """
    module, step = parse(path), step_of(path)
    if "main" not in symbols_of_module(module):
        raise UserError(
            f"{path} has no function @main", code="bad-ir", hint="give a file that lumir-compile --to wrote"
        )
    try:
        check_boundary(stage(step), module)
    except InternalError as error:
        raise UserError(
            f"{path} is not IR that may follow step '{step}'",
            code="wrong-step",
            op=error.op,
            node=error.node,
            rule=error.rule,
        ) from None
    _check_memory(module, WeightStore(), path)
    attributes = module.operation.attributes
    target = attributes[TARGET].value if TARGET in attributes else None
    return Start(module, WeightStore(weights or path.parent), symbols_in(module), step, target)


def check_start(
    start: Start, target: Target | None, symbols: Mapping[str, Symbol], precision: str | None, last: str
) -> None:
    """Raise `UserError` when what is asked for was decided otherwise before the step that the file stands after."""
    step = start.step
    if IR_STEPS.index(last) < IR_STEPS.index(step):
        raise UserError(
            f"the file stands after step '{step}', past '{last}'", code="step-passed", hint=f"use --to {step}"
        )
    known = as_texts(start.symbols)
    if any(known.get(name) != size for name, size in as_texts(symbols).items()):
        raise UserError(
            "the file was made for other sizes",
            code="dims-fixed",
            values={"file": _sizes(start.symbols), "asked for": _sizes(symbols)},
            hint="leave --dim and --profile out, or start from the model",
        )
    if step == "import":
        return
    if target and start.target and target.name != start.target:
        raise UserError(
            f"the file was made for target '{start.target}', and '{target.name}' is asked for",
            code="target-fixed",
            hint="leave --target out, or start from the model or from its import step",
        )
    if precision:
        raise UserError(
            f"precision is decided in step 'graph', and the file stands after '{step}'",
            code="precision-fixed",
            hint="leave --precision out, or start from the model or from its import step",
        )


def _sizes(symbols: Mapping[str, Symbol]) -> str:
    return ", ".join(f"{name}={size}" for name, size in as_texts(symbols).items()) or "none"


def step_of(path: Path) -> str:
    """The step that a file stands after: `03-dispatch.mlir`, `model.dispatch.mlir` or `dispatch.mlir`.

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


def parse(path: Path) -> ir.Module:
    """The module in a file, verified."""
    try:
        return ir.Module.parse(path.read_text())
    except ir.MLIRError as error:
        raise UserError(f"{path} is not valid IR", code="bad-ir", values={"message": str(error)}) from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}", code="unreadable") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is not text", code="bad-ir") from None


def overridden(module: ir.Module, store: WeightStore, step: str, folder: Path | None) -> ir.Module:
    """The module, or the one in the folder's `<step>.mlir` or `NN-<step>.mlir`, whose weight paths start there."""
    files = [path for path in sorted(folder.glob("*.mlir")) if step_of(path) == step] if folder else []
    if not files:
        return module
    replacement = parse(files[0])
    _check_memory(replacement, store, files[0])
    for op in _weights(replacement.operation):
        op.attributes["path"] = ir.StringAttr.get(str(files[0].parent.resolve() / op.attributes["path"].value))
    return replacement


def portable_text(module: ir.Module, store: WeightStore, folder: Path) -> str:
    """The module's text with its locations, for a file in `folder`: its weight paths start there."""
    copy = module.operation.clone()
    for op in _weights(copy.operation):
        file = (store.folder / op.attributes["path"].value).resolve()
        op.attributes["path"] = ir.StringAttr.get(os.path.relpath(file, folder.resolve()))
    return copy.operation.get_asm(enable_debug_info=True)


def weights_in_memory(module: ir.Module) -> list[str]:
    """The weights whose bytes are in no file, by name."""
    ops = [op for op in module.body.operations if op.operation.name == "lumir.weight"]
    return [op.attributes["sym_name"].value for op in ops if op.attributes["path"].value == MEMORY]


def _weights(module: ir.Operation) -> list[ir.OpView]:
    """The weights that lie in files."""
    ops = [op for op in module.regions[0].blocks[0].operations if op.operation.name == "lumir.weight"]
    return [op for op in ops if op.attributes["path"].value != MEMORY]


def _check_memory(module: ir.Module, store: WeightStore, path: Path) -> None:
    lost = [name for name in weights_in_memory(module) if name not in store.memory]
    if lost:
        raise UserError(
            f"{path} names {len(lost)} weight(s) that were held in memory when it was written",
            code="weight-missing",
            values={"weights": ", ".join(lost[:8])},
            hint="write the step with --to STEP -o FILE: their bytes then go to a file beside it",
        )
