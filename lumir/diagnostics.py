"""The three kinds of error, each with what, where, why and what to do.

A library never exits the process: tools catch `LumirError`, print `str(error)` and choose the exit status.
"""

from collections.abc import Sequence
from typing import Any


class LumirError(Exception):
    """Base of every error that lumir raises on purpose.

    Args:
        message: what happened, one sentence.
        code: a short stable name, e.g. `unsupported-op`, that tests and scripts can rely on.
        op: the operation's name (`lumir.conv`, `onnx.Conv`).
        node: the ONNX node's name, as the user knows it.
        rule: the rule that was broken.
        values: the values that were seen, by name.
        hint: what to do about it.
    """

    kind = "error"
    default_code = "error"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        op: str | None = None,
        node: str | None = None,
        rule: str | None = None,
        values: dict[str, Any] | None = None,
        hint: str | None = None,
    ):
        self.message, self.code = message, code or self.default_code
        self.op, self.node, self.rule, self.values, self.hint = op, node, rule, values or {}, hint
        super().__init__(self.render())

    def render(self) -> str:
        lines = [f"{self.kind}[{self.code}]: {self.message}"]
        if self.node or self.op:
            where = " ".join(part for part in (self.op, f'at node "{self.node}"' if self.node else None) if part)
            lines.append(f"  where: {where}")
        if self.rule:
            lines.append(f"  rule:  {self.rule}")
        lines += [f"  {name}: {value}" for name, value in self.values.items()]
        if self.hint:
            lines.append(f"  help:  {self.hint}")
        return "\n".join(lines)


class UserError(LumirError):
    """The input or the request is wrong, and the user can mend it."""

    kind, default_code = "error", "user-error"


class UnsupportedError(LumirError):
    """The model is valid, and this version of lumir cannot compile it.

    Args:
        problems: one line for each unsupported node; all of them are listed at once.
    """

    kind, default_code = "unsupported", "unsupported"

    def __init__(self, message: str, *, problems: Sequence[str] = (), **fields: Any):
        self.problems = tuple(problems)
        super().__init__(message, **fields)

    def render(self) -> str:
        return "\n".join([super().render(), *(f"  - {problem}" for problem in self.problems)])


class InternalError(LumirError):
    """A defect of lumir: the message names the reproducer that shows it again."""

    kind, default_code = "internal error", "internal"


class LumirWarning(UserWarning):
    """Something that is probably wrong and does not stop lumir; raised through `warnings.warn`."""
