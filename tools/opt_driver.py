"""What `lumir-opt` does with its input: parse, run the pipeline, print, and hold diagnostics against expectations."""

import io
import re
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lumir.context import make_context
from lumir.diagnostics import LumirError, UserError
from lumir.extensions import load_dialects
from lumir.instrument.diagnostics import Diagnostic, from_mlir_error, listen
from lumir.instrument.expected import check_expected
from lumir.instrument.session import Session
from lumir.mlir import ir
from lumir.passes import Nest, PassFailure, run_pipeline

BYTECODE = b"ML\xefR"


@dataclass(frozen=True)
class Settings:
    """What the command line asks for. `path` is None for standard input; `split` is the marker to split at, or None.

    `verify_diagnostics` is `all`, `only-expected` (others may appear) or None.
    """

    path: Path | None
    pipeline: Nest
    split: str | None = None
    output_marker: str = "// -----"
    verify_diagnostics: str | None = None
    emit_bytecode: bool = False
    allow_unregistered: bool = False
    threads: bool = True
    print_debuginfo: bool = False
    print_generic: bool = False
    print_local_scope: bool = False
    elide_larger: int | None = None

    @property
    def name(self) -> str:
        return str(self.path) if self.path else "<stdin>"


def process(data: bytes, settings: Settings, session: Session) -> tuple[bytes, bool]:
    """The output for the whole input, and whether all went well; messages go to stderr."""
    outputs, good = [], True
    for chunk in _chunks(data, settings):
        run = _Run(chunk, settings, session)
        output = run.output()
        good = run.good() and good
        if output is not None:
            outputs.append(output)
    separator = f"{settings.output_marker}\n".encode() if settings.output_marker else b""
    return separator.join(outputs), good


def _chunks(data: bytes, settings: Settings) -> Iterator[bytes]:
    """The input split at its markers; lines keep their numbers."""
    if not settings.split or data.startswith(BYTECODE):
        yield data
        return
    text, start = _decoded(data), 0
    for marker in re.finditer(rf"^{re.escape(settings.split)}[^\S\n]*$", text, re.MULTILINE):
        yield _padded(text, start, marker.start())
        start = marker.end()
    yield _padded(text, start, len(text))


def _decoded(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise UserError("the input is neither UTF-8 text nor bytecode", code="no-input", hint=str(error)) from None


def _padded(text: str, start: int, end: int) -> bytes:
    return ("\n" * text.count("\n", 0, start) + text[start:end]).encode()


class _Run:
    """One chunk's way through the tool; `diagnostics` are those that expectations are held against."""

    def __init__(self, chunk: bytes, settings: Settings, session: Session):
        self.settings, self.session = settings, session
        self.data = chunk
        self.source = "" if chunk.startswith(BYTECODE) else _decoded(chunk)
        self.diagnostics: list[Diagnostic] = []
        self.failed = False

    def good(self) -> bool:
        """Whether the chunk counts as a success; with `verify_diagnostics`, whether expectations were met."""
        if not self.settings.verify_diagnostics:
            return not self.failed
        problems = check_expected(
            self.source, self.diagnostics, self.settings.name, only=self.settings.verify_diagnostics == "only-expected"
        )
        for problem in problems:
            print(problem, file=sys.stderr)
        return not problems

    def output(self) -> bytes | None:
        """The output, or None after a failure, which has been reported then."""
        context = self._context()
        with listen(context, self._report):
            try:
                with self.session.timing.measure("parse"):
                    module = self._parse(context)
                run_pipeline(self.settings.pipeline, module, self.session)
                with self.session.timing.measure("output"):
                    return self._print(module)
            except Exception as error:
                self.failed = True
                self._report_error(error)
        return None

    def _context(self) -> ir.Context:
        context = make_context()
        load_dialects(context)
        context.allow_unregistered_dialects = self.settings.allow_unregistered
        if not self.settings.threads:
            context.enable_multithreading(False)
        return context

    def _parse(self, context: ir.Context) -> ir.Module:
        if self.settings.path and self.settings.path.is_file() and not self.settings.split:
            return ir.Module.parseFile(str(self.settings.path), context)
        return ir.Module.parse(self.source or self.data, context)

    def _print(self, module: ir.Module) -> bytes:
        settings = self.settings
        if settings.emit_bytecode:
            buffer = io.BytesIO()
            module.operation.write_bytecode(buffer)
            return buffer.getvalue()
        text = module.operation.get_asm(
            enable_debug_info=settings.print_debuginfo,
            print_generic_op_form=settings.print_generic,
            use_local_scope=settings.print_local_scope,
            large_elements_limit=settings.elide_larger,
        )
        return (str(text).rstrip("\n") + "\n").encode()

    def _report(self, diagnostic: Diagnostic) -> None:
        if self.settings.verify_diagnostics:
            self.diagnostics.append(diagnostic)
            return
        own = diagnostic.file in ("-", str(self.settings.path))
        print(diagnostic.render(self.source, self.settings.name) if own else diagnostic.render(), file=sys.stderr)

    def _report_error(self, error: Exception) -> None:
        notes = getattr(error, "__notes__", [])
        match error:
            case PassFailure() if error.diagnostics:
                for diagnostic in error.diagnostics:
                    self._report(diagnostic)
                text = error.message
            case ir.MLIRError():
                for diagnostic in from_mlir_error(error):
                    self._report(diagnostic)
                return
            case LumirError():
                self.diagnostics.append(Diagnostic("error", error.message))
                text = str(error)
            case _:
                self.diagnostics.append(Diagnostic("error", f"{type(error).__name__}: {error}"))
                text, notes = "".join(traceback.format_exception(error)).rstrip(), []
        if not self.settings.verify_diagnostics:
            print("\n".join([text, *(f"  {note}" for note in notes)]), file=sys.stderr)
