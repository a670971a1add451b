"""MLIR's own passes: one pass of the pipeline as a `PassManager`, and its parser's messages made precise."""

import re

from lumir.diagnostics import UserError
from lumir.mlir import PassManager, ir
from lumir.passes.pipeline import Upstream, to_text
from lumir.passes.registry import nearest, pass_names

_RESTRICTED = re.compile(r"restricted to '([\w.]+)'")
_NO_OPTION = re.compile(r"no such option (\S*)")


def pass_manager(path: tuple[str, ...], item: Upstream, context: ir.Context, *, verify: bool) -> PassManager:
    """A pass manager that runs the one pass on the ops at `path` (`("builtin.module", "gpu.module")`).

    Raises `UserError`: `unknown-pass`, `unknown-option`, `bad-option-value`, `wrong-anchor` or `bad-upstream-pass`.
    """
    try:
        manager = _parse(path, to_text(item), context)
    except ValueError as error:
        raise _explain(str(error), path, item, context) from None
    manager.enable_verifier(verify)
    return manager


def required_anchor(item: Upstream, context: ir.Context) -> str | None:
    """The op that the pass insists on, when that is not the module: `func.func` for `llvm-request-c-wrappers`."""
    try:
        _parse(("builtin.module",), to_text(item), context)
    except ValueError as error:
        restricted = _RESTRICTED.search(str(error))
        return restricted.group(1) if restricted else None
    return None


def _parse(path: tuple[str, ...], text: str, context: ir.Context) -> PassManager:
    return PassManager.parse("(".join([*path, text]) + ")" * len(path), context)


def _explain(message: str, path: tuple[str, ...], item: Upstream, context: ir.Context) -> UserError:
    name = item.name
    if "does not refer to a registered pass" in message:
        from lumir.passes.upstream_names import UPSTREAM_PASSES

        hint = nearest(name, [*UPSTREAM_PASSES, *pass_names()])
        return UserError(f"unknown pass '{name}'", code="unknown-pass", hint=hint)
    if restricted := _RESTRICTED.search(message):
        anchor = restricted.group(1)
        return UserError(
            f"pass '{name}' runs on {anchor}, not on {path[-1]}",
            code="wrong-anchor",
            hint=f"write {anchor}({to_text(item)}) where {anchor} ops are",
        )
    options = _options_text(path, name, context)
    if unknown := _NO_OPTION.search(message):
        hint = nearest(unknown.group(1), re.findall(r"([\w-]+)=", options))
        what = f"pass '{name}' has no option '{unknown.group(1)}'"
        return UserError(what, code="unknown-option", values={"options": options}, hint=hint)
    if f"failed to add `{name}` with options" in message and item.options:
        what = f"pass '{name}' does not accept the options '{item.options}'"
        return UserError(what, code="bad-option-value", values={"options and defaults": options})
    return UserError(f"MLIR does not accept pass '{name}'", code="bad-upstream-pass", values={"why": message.strip()})


def _options_text(path: tuple[str, ...], name: str, context: ir.Context) -> str:
    """The pass's options with their defaults, as MLIR prints them."""
    try:
        printed = str(_parse(path, name, context))
    except ValueError:
        return "unknown"
    listed = re.search(re.escape(name) + r"\{(.*)\}", printed, re.DOTALL)
    return " ".join(listed.group(1).split()) if listed else "none"
