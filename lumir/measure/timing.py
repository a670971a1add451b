"""What repeated measurements of one thing say."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class Timing:
    """Seconds of one call, from several samples.

    Args:
        median: of the samples.
        spread: from the 10th to the 90th percentile, relative to the median.
    """

    median: float
    spread: float
    samples: int

    @staticmethod
    def of(samples: Sequence[float]) -> "Timing":
        low, median, high = np.percentile(samples, [10, 50, 90])
        return Timing(float(median), float((high - low) / median), len(samples))

    def __str__(self) -> str:
        return f"{self.median * 1e6:.2f} us +- {self.spread * 50:.1f} %"


class Replay(Protocol):
    """Work that is on the GPU already and can be run again: ours, or a peer's."""

    def seconds(self) -> float:
        """Run it once; seconds of one call, by the GPU's clock."""
        ...


def time_together(replays: Sequence[Replay], samples: int = 30, warmup: int = 3) -> list[Timing]:
    """Time several things in turns, so that the card's temperature and clock are the same for all of them."""
    for replay in replays:
        for _ in range(warmup):
            replay.seconds()
    taken: list[list[float]] = [[] for _ in replays]
    rounds, block = max(samples // 5, 1), min(samples, 5)
    for _ in range(rounds):
        for replay, times in zip(replays, taken, strict=True):
            replay.seconds()  # what ran before has left its own clock and cache behind
            times.extend(replay.seconds() for _ in range(block))
    return [Timing.of(times) for times in taken]


def calls_in_graph(seconds: float, sets: int) -> int:
    """How many calls to record: about half a millisecond of them, and every set of operands where that is short."""
    wanted = round(0.5e-3 / max(seconds, 1e-7))
    return int(np.clip(max(wanted, sets if sets * seconds < 5e-3 else 1), 4, 256))
