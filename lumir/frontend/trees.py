"""Ensembles of decision trees, as tables."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

MODES = ("le", "lt", "ge", "gt", "eq", "ne")
"""How a node compares, as the dialect names it, in the order of TreeEnsemble's `nodes_modes`."""
MEMBER = len(MODES)


@dataclass
class Node:
    """An interior node: `feature mode value` leads to node `yes`, else to `no`; `missing`: NaN leads to `yes` too."""

    feature: int
    mode: int
    value: float
    yes: int
    no: int
    missing: bool = False


@dataclass
class Forest:
    """Trees whose leaves have scores.

    Nodes are numbered with the leaves behind all interior ones; a leaf leads to itself.

    Attributes:
        scores: [leaves, targets] float64; what a leaf gives each target.
        given: [leaves, targets] bool; the targets that a leaf speaks of.
    """

    nodes: list[Node]
    roots: list[int]
    scores: np.ndarray
    given: np.ndarray
    _size: int = field(init=False)

    def __post_init__(self) -> None:
        self._size = len(self.nodes) + len(self.scores)

    def column(self, name: str, dtype: type, leaf: int = 0) -> np.ndarray:
        """A field of all nodes, [nodes]; leaves have `leaf`."""
        return np.array([*(getattr(node, name) for node in self.nodes), *[leaf] * len(self.scores)], dtype)

    def children(self, name: str) -> np.ndarray:
        """Where each node leads, `yes` or `no`."""
        return np.array([*(getattr(node, name) for node in self.nodes), *range(len(self.nodes), self._size)], np.int64)

    @property
    def depth(self) -> int:
        """The most steps from a root to a leaf.

        Raises:
            ValueError: the nodes form a cycle, or lead to a node that is not there.
        """
        level, steps = {r for r in self.roots if r < len(self.nodes)}, 0
        while level:
            children = {child for node in level for child in (self.nodes[node].yes, self.nodes[node].no)}
            if steps > len(self.nodes) or not all(0 <= child < self._size for child in children):
                raise ValueError("its nodes are no trees")
            level, steps = {child for child in children if child < len(self.nodes)}, steps + 1
        return steps


def member_chains(nodes: list[Node], members: Sequence[Sequence[float]], at: Sequence[int]) -> None:
    """Replace the nodes `at`, which ask whether a feature is one of `members`, by chains that ask for one each.

    The chain's first node takes the place of the old one, the others come last: leaves must be numbered from
    `len(nodes) + sum(max(len(m), 1) - 1 for m in members)` on.
    """
    for place, values in zip(at, members, strict=True):
        old, mode = nodes[place], MODES.index("eq")
        chain = [place, *range(len(nodes), len(nodes) + len(values) - 1)]
        nodes.extend(old for _ in chain[1:])
        for number, (own, value) in enumerate(zip(chain, values or [np.inf], strict=False)):
            after = chain[number + 1] if number + 1 < len(chain) else old.no
            nodes[own] = Node(old.feature, mode, value, old.yes, after, old.missing)
