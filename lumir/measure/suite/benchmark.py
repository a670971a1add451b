"""A benchmark: a dispatch, and what others offer for it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Peer = Callable[..., Callable[[], Any]]
"""Given torch and the operands as its tensors, a function that computes the results: on the GPU, and capturable."""


@dataclass(frozen=True)
class Benchmark:
    """One row of the benchmark set.

    Args:
        group: what is compared, e.g. `gemm`.
        name: of the shape, unique in its group.
        text: makes the dispatch.
        peers: what the best of others is taken from, by name.
        flops: operations that count; by default those of the dispatch's contractions.
        goal: the ratio to the peer's time that is aimed at.
        inputs: changes the random operands in place, where they have something in common.
    """

    group: str
    name: str
    text: Callable[[], str]
    peers: Mapping[str, Peer] = field(default_factory=dict)
    flops: int | None = None
    goal: float = 1.0
    inputs: Callable[[list[np.ndarray]], None] | None = None

    @property
    def full_name(self) -> str:
        return f"{self.group}/{self.name}"
