"""Lines: the positions of all dimensions but a few, side by side in vectors where the last dimension is among them."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lumir.kernels.evaluate import Evaluator
from lumir.kernels.index import Index
from lumir.sizes import Dim, Shape, at_least

Body = Callable[[Evaluator, dict[int, Index]], None]
"""Writes one line, or `lanes` of them side by side: gets an evaluator and the index of each dimension of the lines."""


@dataclass(frozen=True)
class Lines:
    """The lines of a shape, numbered row-major in groups of `lanes` along the last dimension; the last group is ragged.

    Args:
        dims: the dimensions that the lines stand along.
        sizes: their extents.
        lanes: 1, or the lines of a group.
    """

    dims: tuple[int, ...]
    sizes: Shape
    lanes: int

    @staticmethod
    def of(shape: Sequence[Dim], along: Sequence[int], lanes: int) -> "Lines | None":
        """The lines that run along the dimensions `along`; None where `lanes` of them do not lie side by side."""
        dims = tuple(d for d in range(len(shape)) if d not in along)
        sizes = tuple(shape[d] for d in dims)
        if lanes > 1 and (not dims or dims[-1] != len(shape) - 1 or not at_least(sizes[-1], lanes)):
            return None
        return Lines(dims, sizes, lanes)

    @property
    def grouped(self) -> Shape:
        """The extents counted in groups."""
        return (*self.sizes[:-1], -(-self.sizes[-1] // self.lanes)) if self.sizes else ()

    @property
    def ragged(self) -> bool:
        """The last group of a run of lines is moved back, so that it shares lines with the one before."""
        return self.lanes > 1 and self.sizes[-1] % self.lanes != 0

    @property
    def count(self) -> Dim:
        """The number of groups."""
        return math.prod(self.grouped)

    def each(self, wide: Evaluator, narrow: Evaluator, workgroup: Index, groups: int, body: Body) -> None:
        """Write a loop over the groups `workgroup * groups` and following of a workgroup."""
        index = narrow.index
        first = index.scale(workgroup, groups)
        last = index.minimum(index.offset(first, groups), self.count)
        with narrow.loop(index.scalar(first.base), index.scalar(last.base), 1) as (number, _, _done), wide.scope():
            place = list(index.delinearize(number, self.grouped))
            if self.lanes == 1:
                body(narrow, dict(zip(self.dims, place, strict=True)))
                return
            start = index.scale(place[-1], self.lanes)
            start = index.minimum(start, self.sizes[-1] - self.lanes) if self.ragged else start
            place[-1] = Index(start.base, 1, start.known or self.lanes)
            body(wide, dict(zip(self.dims, place, strict=True)))
