"""What `lumir-opt` can tell about itself: passes, dialects, and one pass's contract."""

import inspect
import re

import click

from lumir.diagnostics import UserError
from lumir.passes.options import options_of
from lumir.passes.registry import find_pass, find_pipeline, nearest, pass_names
from lumir.passes.table import PASSES, PIPELINES
from lumir.passes.upstream_names import UPSTREAM_PASSES


def show(passes: bool, dialects: bool, pass_name: str | None) -> int:
    """Print what was asked for; the exit status."""
    if passes:
        click.echo("\n".join(_passes()))
    if dialects:
        click.echo(f"Available Dialects: {', '.join(available_dialects())}")
    if pass_name:
        click.echo(pass_help(pass_name))
    return 0


def _passes() -> list[str]:
    names = pass_names()
    groups = {
        "lumir": {name: target for name, target in names.items() if name in PASSES},
        "extensions": {name: target for name, target in names.items() if name not in PASSES},
        "named pipelines": PIPELINES,
    }
    lines = []
    for title, group in groups.items():
        lines += [f"Passes of {title}:" if title != "named pipelines" else "Named pipelines:"] if group else []
        lines += [f"  --{name:<34} {target}" for name, target in group.items()]
    return [*lines, "Passes of MLIR:", *(f"  --{name}" for name in UPSTREAM_PASSES)]


def pass_help(name: str) -> str:
    """A pass's (or named pipeline's) docstring and options. Raises `UserError` (code `unknown-pass`)."""
    target = find_pass(name) or find_pipeline(name)
    if target is None:
        raise UserError(
            f"lumir has no pass '{name}'", code="unknown-pass", hint=nearest(name, [*pass_names(), *PIPELINES])
        )
    options = [f"  {option}" for option in options_of(target).values()] or ["  none"]
    return "\n".join([name, "", inspect.getdoc(target) or "", "", "Options:", *options])


def available_dialects() -> list[str]:
    """The namespaces that a new context knows.

    The bindings have no call for this; the parser lists them in the note on an op of an unknown dialect.
    """
    from lumir.extensions import load_extensions
    from lumir.mlir import ir

    listed: list[str] = []
    try:
        ir.Module.parse("unknown_dialect.op", ir.Context())
    except ir.MLIRError as error:
        notes = " ".join(note.message for diagnostic in error.error_diagnostics for note in diagnostic.notes)
        found = re.search(r"Available dialects: ([^;]*)", notes)
        listed = [name.strip() for name in found.group(1).split(",")] if found else []
    own = ["lumir", *(dialect.DIALECT_NAMESPACE for dialect in load_extensions().dialects)]
    return sorted({*listed, *own})
