"""What an importer says about a node it cannot import, and how many of them become one error."""

from collections.abc import Sequence
from dataclasses import dataclass

from lumir.diagnostics import LumirError, UnsupportedError, UserError


class NodeProblem(Exception):
    """Raised by a handler about its own node; the importer adds the node's name, types and opset."""

    invalid = False


class Refused(NodeProblem):
    """The node is valid, and lumir cannot compile it."""


class Malformed(NodeProblem):
    """The node breaks a rule of its operator."""

    invalid = True


@dataclass(frozen=True)
class Problem:
    """One node that could not be imported.

    `operands` are the inputs' types as text (`float32[2, 3]`), `?` where a problem upstream hides them.
    """

    node: str
    op: str
    domain: str
    opset: int
    operands: Sequence[str]
    reason: str
    invalid: bool = False

    def __str__(self) -> str:
        operands = ", ".join(self.operands)
        return (
            f'{self.op} at "{self.node}" ({self.domain} opset {self.opset}; {operands or "no inputs"}): {self.reason}'
        )


def error_from(problems: Sequence[Problem], node_count: int) -> LumirError:
    """The error that lists every problem: a user error when all of them are invalid nodes, else an unsupported one."""
    first = problems[0]
    where = {"op": f"onnx.{first.op}", "node": first.node} if len(problems) == 1 else {}
    if all(problem.invalid for problem in problems):
        listed = {f"{p.op} at {p.node!r}": p.reason for p in problems}
        return UserError(
            f"{_nodes(len(problems))} of the model's {node_count} {_verb(problems, 'breaks', 'break')} ONNX's rules",
            code="invalid-node",
            values=listed,
            hint="check the exporter, e.g. with onnx.checker.check_model",
            **where,
        )
    kinds = sorted({f"{p.op} ({p.domain})" for p in problems if not p.invalid})
    return UnsupportedError(
        f"{_nodes(len(problems))} of the model's {node_count} cannot be compiled: {', '.join(kinds)}",
        code="unsupported-op",
        problems=[str(problem) for problem in problems],
        hint="replace these nodes in the exporter or in the model",
        **where,
    )


def _nodes(count: int) -> str:
    return "1 node" if count == 1 else f"{count} nodes"


def _verb(problems: Sequence[Problem], singular: str, plural: str) -> str:
    return singular if len(problems) == 1 else plural
