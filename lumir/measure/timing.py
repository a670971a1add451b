"""What repeated measurements of one thing say."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
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

    def scaled(self, factor: float) -> "Timing":
        return replace(self, median=factor * self.median)

    def __str__(self) -> str:
        return f"{self.median * 1e6:.2f} us +- {self.spread * 50:.1f} %"


class Replay(Protocol):
    """Work that is on the GPU already and can be run again: ours, or a peer's."""

    def seconds(self) -> float:
        """Run it once; seconds of one call, by the GPU's clock."""
        ...


_TURN = 3


def time_together(replays: Sequence[Replay], samples: int = 30, warmup: int = 3) -> list[Timing]:
    """Time several things in turns, so that the card's temperature, clock and power are the same for all of them.

    A card that has idled runs large products up to a fifth faster at first. So the warm-up is in turns as well, turns
    are short, and every second round goes backwards.
    """
    for _ in range(warmup):
        for replay in replays:
            replay.seconds()
    taken: list[list[float]] = [[] for _ in replays]
    turns, direction = list(zip(replays, taken, strict=True)), 1
    for done in range(0, samples, _TURN):
        for replay, times in turns[::direction]:
            replay.seconds()  # what ran before has left its own clock and cache behind
            times.extend(replay.seconds() for _ in range(min(_TURN, samples - done)))
        direction = -direction
    return [Timing.of(times) for times in taken]


def calls_in_graph(seconds: float, sets: int) -> int:
    """How many calls to record: about half a millisecond of them, and every set of operands where that is short."""
    wanted = round(0.5e-3 / max(seconds, 1e-7))
    return int(np.clip(max(wanted, sets if sets * seconds < 5e-3 else 1), 4, 256))
