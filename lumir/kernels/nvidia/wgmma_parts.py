"""Tiles of a wgmma kernel in parts: each block leaves the sums over its part of k, the last one joins them in order.

Sums lie in the workspace as threads hold them, so that reads and writes are whole lines. The same parts are added in
the same order whichever block is the last: the same inputs give the same bits.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce

from lumir.kernels.index import Index
from lumir.kernels.nvidia.guard import only_if
from lumir.kernels.nvidia.last_block import is_last
from lumir.kernels.nvidia.mma import byte_offset, joined, separated
from lumir.kernels.nvidia.wgmma import WARPGROUP
from lumir.kernels.nvidia.wgmma_block import Tile, WgmmaBlock
from lumir.kernels.nvidia.wgmma_store import Sums, TileStore
from lumir.mlir import arith, ir, llvm

Value = ir.Value
_LANES = 4
"""Sums that a thread reads or writes at once."""
_LINE = 4 * _LANES * WARPGROUP
"""Bytes that a warpgroup does."""


@contextmanager
def joined_parts(block: WgmmaBlock, store: TileStore, tile: Tile, sums: list[list[Value]]) -> Iterator[Sequence[Sums]]:
    """Run the body with a warpgroup's sums over all of k: where tiles are in parts, in the last block alone.

    Args:
        store: the warpgroup's.
        sums: this thread's over the tile's part of k, of each 64 rows.
    """
    s, index, team = block.problem.schedule, block.index, Index(store.team)
    if s.parts == 1:
        yield sums
        return
    flat = [value for rows in sums for value in rows]
    group = index.add(index.scale(tile.number, s.consumers), team)
    size = len(flat) // _LANES * _LINE
    first = index.add(index.scale(group, s.parts * size), index.scale(store.thread, 4 * _LANES))
    start = byte_offset(block.kernel.workspace, index.scalar(first.base))
    own = byte_offset(start, index.scalar(index.scale(tile.part, size).base))
    for at in range(0, len(flat), _LANES):
        llvm.StoreOp(joined(flat[at : at + _LANES]), _line(own, at), alignment=4 * _LANES)
    flag = byte_offset(block.flags, index.scalar(index.scale(team, 4).base))
    last = is_last(block.kernel, index.scalar(group.base), s.parts, store.leads, flag, store.sync)
    with only_if(last):
        left = [byte_offset(start, part * size) for part in range(s.parts)]
        yield [JoinedSums(left, row * len(rows), flat[0].type) for row, rows in enumerate(sums)]


@dataclass(frozen=True)
class JoinedSums:
    """Sums over all of k, read and added where they are asked for: all at once would fill the registers.

    Args:
        parts: where this thread's sums over each part of k start.
        first: the number of the first sum.
        element: their type.
    """

    parts: list[Value]
    first: int
    element: ir.Type

    def __getitem__(self, numbers: slice) -> list[Value]:
        vectors = range(self.first + numbers.start, self.first + numbers.stop, _LANES)
        return [value for at in vectors for value in separated(self._total(at))]

    def _total(self, at: int) -> Value:
        type_ = ir.VectorType.get([_LANES], self.element)
        read = [llvm.LoadOp(type_, _line(part, at), alignment=4 * _LANES).result for part in self.parts]
        add = arith.AddIOp if isinstance(self.element, ir.IntegerType) else arith.AddFOp
        return reduce(lambda x, y: add(x, y).result, read)


def _line(start: Value, at: int) -> Value:
    """Where the vector lies that holds sum number `at`."""
    return byte_offset(start, at // _LANES * _LINE)
