"""Which dimensions of two shapes hold the same elements, where one shape is the other reshaped."""

import itertools
import math
from collections.abc import Sequence

from lumir.sizes import Dim

Group = tuple[range, range]


def matching_groups(old: Sequence[Dim], new: Sequence[Dim]) -> list[Group]:
    """Runs of dimensions of two shapes that hold the same elements, as short as possible.

    (2, 20, 96) and (40, 6, 16) give [0, 1] with [0], and [2] with [1, 2].
    """
    if 0 in old:
        return [(range(len(old)), range(len(new)))]
    groups, i, j = [], 0, 0
    while i < len(old) or j < len(new):
        first_i, first_j = i, j
        i, j = _shortest(old, new, i, j)
        groups.append((range(first_i, i), range(first_j, j)))
    return groups


def _shortest(old: Sequence[Dim], new: Sequence[Dim], i: int, j: int) -> tuple[int, int]:
    """The ends of the shortest runs from i and j on that have one product."""
    left, right = range(min(i + 1, len(old)), len(old) + 1), range(min(j + 1, len(new)), len(new) + 1)
    for a, b in sorted(itertools.product(left, right), key=sum):
        if math.prod(old[i:a]) == math.prod(new[j:b]):
            return a, b
    raise ValueError(f"{tuple(old)} and {tuple(new)} hold different numbers of elements")


def whole_groups(old: Sequence[Dim], new: Sequence[Dim]) -> list[Group]:
    """The same with no empty run on either side: what is left over at an end joins its neighbour. Not for rank 0."""
    groups: list[Group] = []
    for left, right in matching_groups(old, new):
        if groups and not (left and right):
            before = groups.pop()
            left, right = range(before[0].start, left.stop), range(before[1].start, right.stop)
        groups.append((left, right))
    return groups
