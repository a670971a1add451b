"""Running a pipeline: one pass after the other, each watched by the session, each failure told precisely.

Every pass, lumir's or MLIR's, is one step with a name. A failure therefore names its pass, and timing, printing and
dumps need no second mechanism; a prepared `PassManager` of one pass costs about 0.05 ms a run.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lumir.diagnostics import UnsupportedError, UserError
from lumir.instrument.diagnostics import Diagnostic, collect, from_mlir_error
from lumir.instrument.session import Session, current_session
from lumir.passes.failure import PassFailure
from lumir.passes.pipeline import MODULE, Nest, Pipeline, Upstream, as_pipeline, to_text
from lumir.passes.registry import Pass
from lumir.size_text import declare

if TYPE_CHECKING:
    from lumir.mlir import PassManager, ir


@dataclass(frozen=True)
class Step:
    """One pass of a pipeline, and the names of the ops that lead to where it runs."""

    path: tuple[str, ...]
    item: Upstream | Pass

    @property
    def name(self) -> str:
        return self.item.name

    @property
    def text(self) -> str:
        return "(".join([*self.path, to_text(self.item)]) + ")" * len(self.path)


def run_pipeline(pipeline: Pipeline, module: "ir.Module", session: Session | None = None) -> None:
    """Run the pipeline on the module, in place.

    All names, options and anchors are checked before the first pass runs.
    Raises `UserError` for a wrong pipeline, `PassFailure` when a pass emits errors or leaves invalid IR, and whatever
    a pass written in Python raises. Each has notes that name the pass, the step and the reproducer, if one is written.
    """
    from lumir.dialects.base import verifying_alike_once

    session = session or current_session()
    steps = list(_steps(as_pipeline(pipeline)))
    actions = [_prepare(step, module, session) for step in steps]
    before = session.snapshot(module)
    session.dump_input(module, _text(steps))
    with verifying_alike_once():
        _run_steps(steps, actions, module, session, before)


def _run_steps(
    steps: Sequence[Step], actions: Sequence[Callable[[], None]], module: "ir.Module", session: Session, before: Any
) -> None:
    for index, (step, action) in enumerate(zip(steps, actions, strict=True)):
        try:
            with session.pass_step(step.name, module, _text(steps[index + 1 :])):
                _run_step(step, action, module, session)
        except Exception as error:
            reproducer = session.reproduce(error, before, _text(steps[: index + 1]))
            _add_notes(error, step, f"{index + 1} of {len(steps)}", reproducer)
            raise


def step_names(pipeline: Pipeline) -> list[str]:
    """The names of the pipeline's passes, in order."""
    return [step.name for step in _steps(as_pipeline(pipeline))]


def _steps(item: Nest, path: tuple[str, ...] = ()) -> Iterator[Step]:
    path = (*path, item.anchor)
    for child in item.items:
        if isinstance(child, Nest):
            yield from _steps(child, path)
        else:
            yield Step(path, child)


def _prepare(step: Step, module: "ir.Module", session: Session) -> Callable[[], None]:
    """What running the step means, with everything checked that can be checked before."""
    if isinstance(step.item, Upstream):
        manager = _manager(step, step.item, module.context, session)
        return lambda: manager.run(module.operation)
    item, anchor = step.item, getattr(step.item, "anchor", MODULE)
    here = step.path[-1] if len(step.path) > 1 else MODULE
    if anchor not in ("any", here):
        raise UserError(
            f"pass '{step.name}' runs on {anchor}, not on {here}",
            code="wrong-anchor",
            hint=f"write {anchor}({to_text(item)}) where {anchor} ops are",
        )
    return lambda: _run_on_each(item, _targets(module, step.path[1:]))


def _manager(step: Step, item: Upstream, context: "ir.Context", session: Session) -> "PassManager":
    from lumir.passes.upstream import pass_manager

    key = (context, step.text, session.verify_each)
    if key not in session.managers:
        session.managers[key] = pass_manager(step.path, item, context, verify=session.verify_each)
    return session.managers[key]


def _run_on_each(item: Pass, targets: Sequence[Any]) -> None:
    for target in targets:
        item.run(target)


def _targets(module: "ir.Module", path: tuple[str, ...]) -> list[Any]:
    """The module, or the ops that the rest of the path leads to, as MLIR's nested pass managers find them."""
    if not path:
        return [module]
    ops: list[Any] = [module.operation]
    for name in path:
        ops = [child for op in ops for child in _children(op) if _matches(child, name)]
    return ops


def _children(op: Any) -> Iterator[Any]:
    for region in op.regions:
        for block in region:
            yield from (child.operation for child in block)


def _matches(op: Any, name: str) -> bool:
    from lumir.mlir import ir

    return op.name == name or (name == "any" and op.has_trait(ir.IsIsolatedFromAboveTrait))


def _run_step(step: Step, action: Callable[[], None], module: "ir.Module", session: Session) -> None:
    from lumir.mlir import ir
    from lumir.module import symbols_in

    known = declare(symbols_in(module))
    with module.context, ir.Location.unknown(), known, collect(module.context, only=("error",)) as errors:
        try:
            action()
        except ir.MLIRError as error:
            raise _failure(step, [*errors, *from_mlir_error(error)]) from None
        except Exception as error:
            for diagnostic in errors:
                error.add_note(diagnostic.render())
            raise
        if errors:
            raise _failure(step, errors)
        if session.verify_each and not isinstance(step.item, Upstream):
            _verify(step, module)


def _verify(step: Step, module: "ir.Module") -> None:
    from lumir.mlir import ir

    try:
        module.operation.verify()
    except ir.MLIRError as error:
        raise PassFailure(
            f"the IR is invalid after pass '{step.name}'",
            code="invalid-ir",
            pass_name=step.name,
            diagnostics=from_mlir_error(error),
        ) from None


def _failure(step: Step, diagnostics: Sequence[Diagnostic]) -> PassFailure:
    why = "" if diagnostics else " and gave no reason"
    return PassFailure(f"pass '{step.name}' failed{why}", pass_name=step.name, diagnostics=diagnostics)


def _add_notes(error: Exception, step: Step, position: str, reproducer: Any) -> None:
    error.add_note(f"pass: {to_text(step.item)}")
    error.add_note(f"step: {position}, {step.text}")
    if reproducer:
        error.add_note(f"reproducer: {reproducer}")
    elif not isinstance(error, UserError | UnsupportedError):
        error.add_note("reproducer: set LUMIR_REPRODUCER_DIR to have one written")


def _text(steps: Sequence[Step]) -> str:
    """The steps as one pipeline."""
    inner = ("(".join([*step.path[1:], to_text(step.item)]) + ")" * (len(step.path) - 1) for step in steps)
    return f"{MODULE}({','.join(inner)})"
