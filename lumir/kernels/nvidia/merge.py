"""Which neighbouring dimensions of an element-wise dispatch can be walked as one.

    [N, C, H, W] + [C, 1, 1]    H and W are either both read or both absent: one dimension of H * W elements

A merged dimension gives longer contiguous runs: 7 x 7 pixels are 49 in a row, not seven times seven.
"""

import math
from dataclasses import dataclass

from lumir.kernels.dispatch import Dispatch, shape_of
from lumir.kernels.index import ZERO, Index, IndexMath, Place
from lumir.kernels.loop_nest import LoopNest
from lumir.mlir import ir

_PLAIN = frozenset(
    ["linalg.fill", "tensor.empty", "arith.constant", "func.return", "builtin.unrealized_conversion_cast"]
)


@dataclass(frozen=True)
class Walk:
    """A result shape as groups of dimensions, each walked as one.

    Args:
        shape: of the results.
        groups: ascending runs of dimensions that together are all of them.
    """

    shape: tuple[int, ...]
    groups: tuple[tuple[int, ...], ...]

    @staticmethod
    def of(dispatch: Dispatch) -> "Walk":
        shape = shape_of(dispatch.results[0])
        if not _is_plain(dispatch, len(shape)):
            return Walk(shape, tuple((i,) for i in range(len(shape))))
        orders = [order for nest in dispatch.nests for order in _orders(nest, shape)]
        groups: list[tuple[int, ...]] = []
        for dim in range(len(shape)):
            if groups and all(together(order, groups[-1], dim, shape) for order in orders):
                groups[-1] = (*groups[-1], dim)
            else:
                groups.append((dim,))
        return Walk(shape, tuple(groups))

    @property
    def sizes(self) -> tuple[int, ...]:
        """The number of elements of each group."""
        return tuple(math.prod(self.shape[d] for d in group) for group in self.groups)

    def place(self, index: IndexMath, position: Index) -> Place:
        """Row-major `position` as a place in `shape` to read or write at.

        The position inside a group stands in its last dimension of more than one element, which is as good as spread
        over the group wherever all of the group is read in order. A dimension of size 1 may be read alone: it stays 0.
        """
        place = [ZERO] * len(self.shape)
        for group, inner in zip(self.groups, index.delinearize(position, self.sizes), strict=True):
            place[next((d for d in reversed(group) if self.shape[d] != 1), group[-1])] = inner
        return tuple(place)


def _is_plain(dispatch: Dispatch, rank: int) -> bool:
    """Only element-wise operations over the result's shape that read at plain dimensions."""
    others = [op for op in dispatch.operations if op.operation.name != "linalg.generic"]
    return all(op.operation.name in _PLAIN for op in others) and all(_is_elementwise(n, rank) for n in dispatch.nests)


def _is_elementwise(nest: LoopNest, rank: int) -> bool:
    identity = ir.AffineMap.get_identity(nest.rank)
    if nest.reductions or nest.rank != rank or any(m != identity for m in nest.output_maps):
        return False
    if any(op.operation.name in ("linalg.index", "tensor.extract") for op in nest.block.operations):
        return False
    return all(isinstance(e, ir.AffineDimExpr | ir.AffineConstantExpr) for m in nest.maps for e in m.results)


def _orders(nest: LoopNest, shape: tuple[int, ...]) -> list[list[int]]:
    """The dimensions that each operand reads, in its own order, without those of size 1."""
    dims = [[e.position for e in m.results if isinstance(e, ir.AffineDimExpr)] for m in nest.maps]
    return [[d for d in order if shape[d] != 1] for order in dims]


def together(order: list[int], group: tuple[int, ...], dim: int, shape: tuple[int, ...]) -> bool:
    """Whether an operand that reads `order` has `dim` right after the group, or neither of them."""
    large = [d for d in group if shape[d] != 1]
    if not large or shape[dim] == 1:
        return True
    if large[-1] not in order:
        return dim not in order
    after = order.index(large[-1]) + 1
    return order[after : after + 1] == [dim]
