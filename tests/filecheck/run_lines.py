"""The `// RUN:` lines of a test file: read them, and run them as a small shell.

A line is commands joined by `|` and `&&`, with `not`, `< file`, `> file`, `2> file` and `2>&1`. `%s` is the test file,
`%S` its folder, `%t` a fresh path. `lumir-opt` and `filecheck` run inside this process; others are programs.
"""

import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

from filecheck.matcher import Matcher
from filecheck.options import parse_argv_options

from lumir.tools import lumir_opt

_DIRECTIVE = re.compile(r"^\s*// (RUN|REQUIRES): *(.*?)\s*$", re.MULTILINE)


@dataclass(frozen=True)
class Script:
    """What a test file asks for: the commands to run in order, and the tools it requires."""

    runs: tuple[str, ...]
    requires: tuple[str, ...]

    def missing(self) -> list[str]:
        return [tool for tool in self.requires if shutil.which(tool) is None]


@dataclass
class Command:
    """One command with its redirections."""

    words: list[str] = field(default_factory=list)
    stdin: str | None = None
    stdout: str | None = None
    stderr: str | None = None
    joined: bool = False
    negated: bool = False


@dataclass(frozen=True)
class Outcome:
    status: int
    stdout: bytes
    stderr: bytes


class ScriptError(Exception):
    """A test file that cannot be run, or a command of it that failed."""


def read_script(text: str) -> Script:
    """The directives of a test file. Raises `ScriptError` without a RUN line: such a test could not fail."""
    runs, requires, open_line = [], [], ""
    for kind, value in _DIRECTIVE.findall(text):
        if kind == "REQUIRES":
            requires += value.replace(",", " ").split()
        elif value.endswith("\\"):
            open_line += value[:-1]
        else:
            runs.append(open_line + value)
            open_line = ""
    if open_line or not runs:
        raise ScriptError("the last RUN line goes on, and nothing follows" if open_line else "no RUN line")
    return Script(tuple(runs), tuple(requires))


def run_line(line: str, path: Path, temporary: Path) -> None:
    """Run one RUN line; raises `ScriptError` with all that was written when a command fails."""
    substitutions = {"%s": str(path), "%S": str(path.parent), "%t": str(temporary)}
    line = re.sub(r"%[sSt]\b", lambda found: substitutions[found.group()], line)
    for pipeline in parse_line(line):
        data = b""
        for command in pipeline:
            outcome = _run(command, data)
            if (outcome.status == 0) == command.negated:
                raise ScriptError(_report(line, command, outcome, data))
            data = outcome.stdout


def parse_line(line: str) -> list[list[Command]]:
    """The line as pipelines (joined by `&&`) of commands (joined by `|`)."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&<>;")
    lexer.whitespace_split, lexer.commenters = True, ""
    pipelines, tokens = [[Command()]], list(lexer)
    while tokens:
        token, command = tokens.pop(0), pipelines[-1][-1]
        if token == "&&":
            pipelines.append([Command()])
        elif token == "|":
            pipelines[-1].append(Command())
        elif token == "2" and tokens[:2] == [">&", "1"]:
            command.joined = True
            del tokens[:2]
        elif token == "2" and tokens[:1] == [">"]:
            command.stderr = tokens[1]
            del tokens[:2]
        elif token in ("<", ">"):
            setattr(command, "stdin" if token == "<" else "stdout", tokens.pop(0))
        elif token == "not" and not command.words:
            command.negated = not command.negated
        elif set(token) <= set("|&<>;"):
            raise ScriptError(f"RUN lines do not know '{token}'")
        else:
            command.words.append(token)
    return pipelines


def _run(command: Command, data: bytes) -> Outcome:
    if not command.words:
        raise ScriptError("a command is missing in a RUN line")
    data = Path(command.stdin).read_bytes() if command.stdin else data
    program, arguments = command.words[0], command.words[1:]
    if program == "lumir-opt":
        outcome = _in_process(lambda: lumir_opt.run(arguments), data, command.joined)
    elif program.lower() == "filecheck":
        outcome = _in_process(lambda: _filecheck(arguments), data, command.joined)
    else:
        outcome = _subprocess(command, data)
    if command.stderr:
        Path(command.stderr).write_bytes(outcome.stderr)
        outcome = Outcome(outcome.status, outcome.stdout, b"")
    if command.stdout:
        Path(command.stdout).write_bytes(outcome.stdout)
        outcome = Outcome(outcome.status, b"", outcome.stderr)
    return outcome


def _filecheck(arguments: list[str]) -> int:
    return Matcher.from_opts(parse_argv_options(["filecheck", *arguments])).run()


def _in_process(function, data: bytes, joined: bool) -> Outcome:
    """Call the function as if it were a process; what C++ code writes to stderr is caught as well."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LUMIR_")}
    stdin = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8")
    with _stderr_to_file() as (errors, stderr):
        own = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
        stdout = io.TextIOWrapper(io.FileIO(os.dup(2), "w"), write_through=True) if joined else own
        with (
            contextlib.redirect_stdout(stdout),
            contextlib.redirect_stderr(stderr),
            mock.patch.object(sys, "stdin", stdin),
            mock.patch.dict(os.environ, clean, clear=True),
        ):
            status = function()
        stdout.flush()
        stderr.flush()
        errors.seek(0)
        written = errors.read()
    return Outcome(status, written, b"") if joined else Outcome(status, own.buffer.getvalue(), written)


@contextlib.contextmanager
def _stderr_to_file() -> Iterator[tuple]:
    saved = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield file, io.TextIOWrapper(io.FileIO(os.dup(2), "w"), write_through=True)
        finally:
            os.dup2(saved, 2)
            os.close(saved)


def _subprocess(command: Command, data: bytes) -> Outcome:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    stderr = subprocess.STDOUT if command.joined else subprocess.PIPE
    program = shutil.which(command.words[0], path=path)
    if program is None:
        raise ScriptError(f"'{command.words[0]}' is not installed; a test that needs it says REQUIRES: ...")
    environment = {**os.environ, "PATH": path}
    done = subprocess.run(
        [program, *command.words[1:]], input=data, stdout=subprocess.PIPE, stderr=stderr, env=environment, check=False
    )
    return Outcome(done.returncode, done.stdout, done.stderr or b"")


def _report(line: str, command: Command, outcome: Outcome, data: bytes) -> str:
    what = "succeeded, which it should not have" if command.negated else f"failed with status {outcome.status}"
    parts = [f"RUN: {line}", f"command {what}: {shlex.join(command.words)}"]
    for title, written in (("input", data), ("stdout", outcome.stdout), ("stderr", outcome.stderr)):
        if written:
            parts += [f"--- {title}", written.decode(errors="replace").rstrip()]
    return "\n".join(parts)
