"""Diagnostics expected by comments in the source, like `mlir-opt --verify-diagnostics`: `// expected-error {{text}}`.

Severities: error, warning, note, remark. Where: this line, `@+N`, `@-N`, `@above` or `@below` (the nearest line without
an expectation), `@unknown`. The text must occur in the message; with `-re`, parts in `{{...}}` are regular expressions.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lumir.instrument.diagnostics import Diagnostic

_COMMENT = re.compile(
    r"expected-(error|warning|note|remark)(-re)? *(?:@([+-]\d+|above|below|unknown))? *\{\{(.*)\}\}\s*$"
)
_TYPO = re.compile(r"//.*\bexpected-\w")


@dataclass(frozen=True)
class Expected:
    """A diagnostic that must appear at `line` (0: at no line), written as a comment at line `written`."""

    severity: str
    line: int
    text: str
    pattern: re.Pattern[str]
    written: int

    def matches(self, severity: str, line: int, message: str) -> bool:
        return (self.severity, self.line) == (severity, line) and bool(self.pattern.search(message))


def parse_expected(source: str) -> tuple[list[Expected], list[str]]:
    """The expectations in the source, and problems: comments that look like one and are not."""
    lines = source.splitlines()
    found = [_COMMENT.search(line) for line in lines]
    expected, problems = [], []
    for index, (line, match) in enumerate(zip(lines, found)):
        if match:
            severity, is_pattern, where, text = match.groups()
            target = _target_line(index, where, [m is not None for m in found])
            pattern = _pattern(text) if is_pattern else re.compile(re.escape(text))
            expected.append(Expected(severity, target, text, pattern, index + 1))
        elif _TYPO.search(line):
            problems.append(f"{index + 1}:1: error: malformed expectation, write // expected-error@+1 {{{{text}}}}")
    return expected, problems


def check_expected(source: str, diagnostics: Sequence[Diagnostic], name: str, *, only: bool = False) -> list[str]:
    """What differs between the source's expectations and the diagnostics, one message each; none if they agree.

    The note in which MLIR prints the current operation need not be expected; with `only`, nothing needs to be.
    """
    expected, problems = parse_expected(source)
    open_ = list(expected)
    for severity, line, message in _messages(diagnostics):
        match = next((e for e in open_ if e.matches(severity, line, message)), None)
        if match:
            open_.remove(match)
        elif not only:
            problems.append(f"{line}:1: error: unexpected {severity}: {message}")
    problems += [f'{e.written}:1: error: expected {e.severity} "{e.text}" was not produced' for e in open_]
    return [f"{name}:{problem}" for problem in problems]


def _messages(diagnostics: Sequence[Diagnostic]) -> Iterator[tuple[str, int, str]]:
    for diagnostic in diagnostics:
        if not diagnostic.message.startswith("see current operation:"):
            yield diagnostic.severity, diagnostic.line, diagnostic.message
        yield from _messages(diagnostic.notes)


def _target_line(index: int, where: str | None, is_comment: Sequence[bool]) -> int:
    """The line, counted from 1, that the comment at `index` (from 0) speaks of."""
    if where is None:
        return index + 1
    if where == "unknown":
        return 0
    if where in ("above", "below"):
        step = -1 if where == "above" else 1
        index += step
        while 0 <= index < len(is_comment) and is_comment[index]:
            index += step
        return index + 1
    return index + 1 + int(where)


def _pattern(text: str) -> re.Pattern[str]:
    """Plain text with regular expressions in `{{...}}`."""
    parts = re.split(r"\{\{(.*?)\}\}", text)
    return re.compile("".join(part if index % 2 else re.escape(part) for index, part in enumerate(parts)))
