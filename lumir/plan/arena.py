"""Places in one arena for buffers with lifetimes."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Lifetime:
    """A buffer of `nbytes` that is alive from step `first` to step `last`, both included."""

    nbytes: int
    first: int
    last: int

    def overlaps(self, other: "Lifetime") -> bool:
        return self.first <= other.last and other.first <= self.last


def assign_offsets(buffers: Sequence[Lifetime], alignment: int) -> tuple[list[int], int]:
    """An offset for each buffer, such that no two that are alive together share a byte; and the arena's size.

    Greedy by size (Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net Inference", 2020): the largest
    buffer first, each at the lowest offset that is free for its whole life.
    """
    offsets = [0] * len(buffers)
    placed: list[int] = []
    for i in sorted(range(len(buffers)), key=lambda i: (-buffers[i].nbytes, buffers[i].first)):
        taken = sorted((offsets[j], offsets[j] + buffers[j].nbytes) for j in placed if buffers[j].overlaps(buffers[i]))
        offset = 0
        for start, end in taken:
            if offset + buffers[i].nbytes <= start:
                break
            offset = max(offset, -(-end // alignment) * alignment)
        offsets[i] = offset
        placed.append(i)
    size = max((offset + buffer.nbytes for offset, buffer in zip(offsets, buffers, strict=True)), default=0)
    return offsets, -(-size // alignment) * alignment
