"""The table of handlers: which function imports which ONNX operator from which opset on."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lumir.frontend.values import Operand
from lumir.mlir import ir

if TYPE_CHECKING:
    from lumir.frontend.context import NodeContext

Result = ir.Value | np.ndarray | Operand
Handler = Callable[["NodeContext"], Result | Sequence[Result]]

MICROSOFT = "com.microsoft"
_HANDLERS: dict[tuple[str, str], list[tuple[int, Handler]]] = {}


def handler(*names: str, since: int = 1, domain: str = "") -> Callable[[Handler], Handler]:
    """Register a function as the importer of ONNX operators from opset `since` on.

    The function gets a `NodeContext` and returns the node's outputs in order: SSA values, numpy arrays (elements known
    at import) or tensors passed through. Later outputs that it does not compute may be left out.
    """

    def register(function: Handler) -> Handler:
        for name in names:
            rows = _HANDLERS.setdefault((domain, name), [])
            rows.append((since, function))
            rows.sort(key=lambda row: -row[0])
        return function

    return register


def find_handler(domain: str, name: str, opset: int) -> Handler | None:
    """The handler with the highest `since` that is not above `opset`."""
    return next((function for since, function in _HANDLERS.get((domain, name), []) if since <= opset), None)


def oldest_opset(domain: str, name: str) -> int | None:
    """The oldest opset of an operator that has a handler."""
    return min((since for since, _ in _HANDLERS.get((domain, name), [])), default=None)


def known_names(domain: str) -> list[str]:
    """The operators of a domain that have a handler."""
    return sorted(name for where, name in _HANDLERS if where == domain)
