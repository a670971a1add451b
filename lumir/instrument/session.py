"""A compile session: everything that watches a compile, owned by one object.

    with Session(dump=DumpDirectory(path)) as session:
        with session.step("graph", module):
            run_pipeline(..., module)
        session.count("dispatches", 12)

The active session is found with `current_session()`; without one, a new silent one is returned.
A session belongs to one thread.
"""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from lumir.diagnostics import UnsupportedError, UserError
from lumir.instrument.dump import DumpDirectory, file_name
from lumir.instrument.printing import PrintIR, header, module_text
from lumir.instrument.reproducer import run_line, write_reproducer
from lumir.instrument.timing import Timing
from lumir.options import Options

if TYPE_CHECKING:
    from lumir.mlir import ir

_active: ContextVar["Session | None"] = ContextVar("lumir-session", default=None)


@dataclass
class Session:
    """What to watch, and what was seen.

    Args:
        print_ir: which IR to print to `stream` (stderr by default) around which passes.
        dump: where to write the IR after each step.
        reproducer: the file (suffix `.mlir`), or the folder, for the reproducer of an internal error; None for none.
        verify_each: verify the IR after each pass.
        report_timing: print the time of each step when the session ends.
        locations: print IR with its locations.
        flags: `lumir-opt` flags that a reproducer needs (`--allow-unregistered-dialect`).
    """

    print_ir: PrintIR = field(default_factory=PrintIR)
    dump: DumpDirectory | None = None
    reproducer: Path | None = None
    verify_each: bool = True
    report_timing: bool = False
    locations: bool = False
    flags: tuple[str, ...] = ()
    stream: TextIO | None = None
    timing: Timing = field(default_factory=Timing)
    counters: Counter[str] = field(default_factory=Counter)
    managers: dict = field(default_factory=dict, repr=False)
    _tokens: list[Token] = field(default_factory=list, repr=False)

    @classmethod
    def from_options(cls, options: Options) -> "Session":
        """The session that the environment's options ask for."""
        printing = PrintIR(options.print_ir_before, options.print_ir_after, after_change=options.print_ir_after_change)
        return cls(
            print_ir=printing,
            dump=DumpDirectory(options.dump_dir) if options.dump_dir else None,
            reproducer=options.reproducer_dir,
            verify_each=options.verify_each,
            report_timing=options.timing,
        )

    def __enter__(self) -> "Session":
        self._tokens.append(_active.set(self))
        return self

    def __exit__(self, *exception: object) -> None:
        _active.reset(self._tokens.pop())
        if self.report_timing:
            self._write(self.timing.report())

    def count(self, name: str, amount: int = 1) -> None:
        """Add to a counter (`schedules-rejected`)."""
        self.counters[name] += amount

    @contextmanager
    def step(self, name: str, module: "ir.Module | None" = None, *, rest: str | None = None) -> Iterator[None]:
        """Watch a step: its time, and with a module its IR in the dump folder.

        `rest` is the pipeline that remains after it; it becomes the first line of the dump.
        """
        if self.dump:
            path = self.dump.enter(name)
        failed = True
        try:
            with self.timing.measure(name):
                yield
            failed = False
        finally:
            if self.dump:
                text = self._dump_text(module, rest, path.name + ".mlir") if module and not failed else None
                self.dump.leave("failed" if failed else "done", text)

    @contextmanager
    def pass_step(self, name: str, module: "ir.Module", rest: str) -> Iterator[None]:
        """Watch a pass: a step whose IR is also printed before and after, as `print_ir` says."""
        if self.print_ir.wants_before(name):
            self._show("Before", name, module_text(module, locations=self.locations))
        before = module_text(module, locations=self.locations) if self.print_ir.after_change else None
        try:
            with self.step(name, module, rest=rest):
                yield
        except Exception:
            if self.print_ir.wants_after(name, failed=True):
                self._show("Failed", name, module_text(module, locations=self.locations))
            raise
        if self.print_ir.wants_after(name, failed=False):
            after = module_text(module, locations=self.locations)
            if after != before:
                self._show("After", name, after)

    def dump_input(self, module: "ir.Module", pipeline: str) -> None:
        """Write what the first pass of a pipeline gets."""
        if self.dump:
            self.dump.write_input(self._dump_text(module, pipeline, "00-input.mlir"))

    def snapshot(self, module: "ir.Module") -> "ir.Operation | None":
        """A copy of the module for a reproducer, if one could be written."""
        return module.operation.clone() if self.reproducer else None

    def reproduce(self, error: Exception, before: "ir.Operation | None", pipeline: str) -> Path | None:
        """Write the reproducer of an error that is lumir's own fault; the path, or None."""
        if self.reproducer is None or before is None or isinstance(error, UserError | UnsupportedError):
            return None
        path = self.reproducer
        if path.suffix != ".mlir":
            path = _unused(path / f"reproducer-{file_name(pipeline)[-40:].strip('-.')}.mlir")
        text = before.operation.get_asm(enable_debug_info=True)
        return write_reproducer(path, pipeline, text, self._all_flags())

    def _dump_text(self, module: "ir.Module", rest: str | None, file: str) -> str:
        text = module_text(module, locations=self.locations)
        return text if rest is None else f"{run_line(rest, file, self._all_flags())}\n\n{text}"

    def _all_flags(self) -> tuple[str, ...]:
        return self.flags if self.verify_each else (*self.flags, "--verify-each=false")

    def _show(self, when: str, name: str, text: str) -> None:
        self._write(f"{header(when, name)}\n{text}\n")

    def _write(self, text: str) -> None:
        print(text, file=self.stream or sys.stderr, flush=True)


def current_session() -> Session:
    """The session of the innermost `with`, or a new silent one."""
    return _active.get() or Session()


def _unused(path: Path) -> Path:
    """The path, or the first of path-1, path-2, ... that does not exist."""
    candidate, number = path, 0
    while candidate.exists():
        number += 1
        candidate = path.with_stem(f"{path.stem}-{number}")
    return candidate
