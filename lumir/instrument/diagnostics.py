"""MLIR's diagnostics as plain data: collected, located and shown with the source line."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lumir.mlir import ir

SEVERITIES = ("error", "warning", "note", "remark")


@dataclass(frozen=True)
class Diagnostic:
    """One message. `line` and `column` count from 1 and are 0 without a position in a file.

    `node` is the innermost location name (the ONNX node), `location` all of it as MLIR prints it.
    """

    severity: str
    message: str
    location: str = "loc(unknown)"
    file: str | None = None
    line: int = 0
    column: int = 0
    node: str | None = None
    notes: tuple["Diagnostic", ...] = ()

    def render(self, source: str | None = None, name: str | None = None) -> str:
        """The text that `mlir-opt` prints; with the text of the file, its line and a caret follow.

        `name` is what to call the file in place of `file`.
        """
        where = f"{name or self.file}:{self.line}:{self.column}" if self.file else self.location
        node = f' (at node "{self.node}")' if self.node and self.file else ""
        lines = [f"{where}: {self.severity}: {self.message}{node}"]
        shown = source.splitlines()[self.line - 1 : self.line] if source and self.line > 0 else []
        if shown:
            lines += [shown[0], " " * (self.column - 1) + "^"]
        return "\n".join([*lines, *(note.render(source, name) for note in self.notes)])


@contextmanager
def listen(
    context: "ir.Context", sink: Callable[[Diagnostic], None], only: Sequence[str] = SEVERITIES
) -> Iterator[None]:
    """Give what is emitted inside the `with` to `sink`; other severities go on to outer listeners or to stderr."""

    def handler(diagnostic: Any) -> bool:
        if diagnostic.severity.name.lower() not in only:
            return False
        sink(from_mlir(diagnostic))
        return True

    attached = context.attach_diagnostic_handler(handler)
    try:
        yield
    finally:
        attached.detach()


@contextmanager
def collect(context: "ir.Context", only: Sequence[str] = SEVERITIES) -> Iterator[list[Diagnostic]]:
    """`listen`, into a list."""
    collected: list[Diagnostic] = []
    with listen(context, collected.append, only):
        yield collected


def from_mlir_error(error: "ir.MLIRError") -> list[Diagnostic]:
    """The diagnostics that an `ir.MLIRError` carries."""
    return [from_mlir(diagnostic) for diagnostic in error.error_diagnostics]


def from_mlir(diagnostic: Any) -> Diagnostic:
    """A copy of an `ir.Diagnostic` (which dies with its handler's call) or `ir.DiagnosticInfo`."""
    from lumir.mlir import ir

    # `DiagnosticInfo.location` is a plain `ir.Location`; from its attribute it comes back as what it is.
    location = ir.Location.from_attr(diagnostic.location.attr, diagnostic.location.context)
    file, line, column = position_of(location) or (None, 0, 0)
    return Diagnostic(
        diagnostic.severity.name.lower(),
        diagnostic.message.strip(),
        str(location),
        file,
        line,
        column,
        node_of(location),
        tuple(from_mlir(note) for note in diagnostic.notes),
    )


def position_of(location: Any) -> tuple[str, int, int] | None:
    """The first file, line and column inside an `ir.Location`, or None."""
    from lumir.mlir import ir

    match location:
        case ir.FileLineColLoc():
            return location.filename, location.start_line, location.start_col
        case ir.NameLoc() | ir.CallSiteLoc() | ir.FusedLoc():
            return next((found for inner in _inner(location) if (found := position_of(inner))), None)
    return None


def node_of(location: Any) -> str | None:
    """The first name inside an `ir.Location`: the ONNX node; or None."""
    from lumir.mlir import ir

    if isinstance(location, ir.NameLoc):
        return location.name_str
    return next((found for inner in _inner(location) if (found := node_of(inner))), None)


def _inner(location: Any) -> list[Any]:
    from lumir.mlir import ir

    match location:
        case ir.NameLoc():
            return [location.child_loc]
        case ir.CallSiteLoc():
            return [location.callee, location.caller]
        case ir.FusedLoc():
            return list(location.locations)
    return []
