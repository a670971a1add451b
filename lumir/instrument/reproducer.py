"""Reproducers: IR in a file whose first line is the `lumir-opt` command that shows the failure again."""

import re
import shlex
from pathlib import Path

from lumir.diagnostics import UserError

_RUN = re.compile(r"\A\s*// RUN: (lumir-opt .*)")
_UPSTREAM = re.compile(r'mlir_reproducer\s*:\s*\{[^}]*?pipeline\s*:\s*"((?:[^"\\]|\\.)*)"', re.DOTALL)


def run_line(pipeline: str, file: str, flags: tuple[str, ...] = ()) -> str:
    """`// RUN: lumir-opt --pass-pipeline='...' file`."""
    return "// RUN: lumir-opt " + " ".join([f"--pass-pipeline={shlex.quote(pipeline)}", *flags, shlex.quote(file)])


def write_reproducer(path: Path, pipeline: str, text: str, flags: tuple[str, ...] = ()) -> Path:
    """Write the file, and its folder if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{run_line(pipeline, path.name, flags)}\n\n{text}")
    return path


def read_command(text: str) -> list[str]:
    """The arguments, without the file, that a reproducer's text asks for; MLIR's own reproducers are read too.

    Raises `UserError` (code `not-a-reproducer`).
    """
    if found := _RUN.match(text):
        command = found.group(1).split(" | ")[0]
        return [word for word in shlex.split(command)[1:] if word.startswith("-")]
    if found := _UPSTREAM.search(text):
        return [f"--pass-pipeline={found.group(1)}"]
    raise UserError(
        "the file is not a reproducer",
        code="not-a-reproducer",
        rule="its first line is `// RUN: lumir-opt ...`, or it ends with an `mlir_reproducer` resource",
    )
