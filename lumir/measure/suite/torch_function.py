"""Peers that are functions of torch: as torch runs them, and compiled for exactly the shapes at hand."""

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any

from lumir.measure.suite.benchmark import Peer

MODES: Mapping[str, str | None] = {
    "torch": None,
    "torch.compile": "default",
    "max-autotune": "max-autotune-no-cudagraphs",
}


def function_peers(function: Callable[..., Any]) -> dict[str, Peer]:
    """The fastest of these is what torch offers.

    Args:
        function: of torch and the operands, returns the results.
    """
    return {name: partial(_peer, function=function, mode=mode) for name, mode in MODES.items()}


def is_compiled(peer: Peer) -> bool:
    """Whether torch compiles this peer when it first runs."""
    return isinstance(peer, partial) and peer.keywords.get("mode") is not None


def _peer(torch: Any, *operands: Any, function: Callable[..., Any], mode: str | None) -> Callable[[], Any]:
    shapes = tuple((tuple(operand.shape), operand.dtype) for operand in operands)
    run = _compiled(torch, function, mode, shapes) if mode else partial(function, torch)
    return lambda: run(*operands)


@lru_cache(maxsize=1)
def _compiled(torch: Any, function: Callable[..., Any], mode: str, shapes: Any) -> Callable[..., Any]:
    """A function compiled for `shapes` alone.

    torch keeps eight versions of one function, and runs it uncompiled for every further shape: what was compiled for
    others is dropped first. Calls that were recorded into a graph stay as they are.
    """
    torch._dynamo.reset()

    def call(*operands: Any) -> Any:
        return function(torch, *operands)

    return torch.compile(call, mode=mode, dynamic=False, fullgraph=True)
