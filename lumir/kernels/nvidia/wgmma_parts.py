"""Tiles of a wgmma kernel in parts: each block sums over its part of k, and the sums are joined in a fixed order.

Blocks of a cluster send one another the sums of a warpgroup's rows, each to the one that stores them. Without clusters
they leave them in the workspace, and the last to be done adds them all up. Sums lie there as threads hold them, so
that reads and writes are whole lines. In either case the same inputs give the same bits.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import reduce

from lumir.kernels.index import Index
from lumir.kernels.nvidia import mbarrier
from lumir.kernels.nvidia.guard import only_if
from lumir.kernels.nvidia.last_block import is_last
from lumir.kernels.nvidia.mma import byte_offset, joined, separated
from lumir.kernels.nvidia.wgmma import WARPGROUP
from lumir.kernels.nvidia.wgmma_block import Tile, WgmmaBlock
from lumir.kernels.nvidia.wgmma_store import Sums, TileStore
from lumir.mlir import arith, ir, llvm, scf

Value = ir.Value
_LANES = 4
"""Sums that a thread reads or writes at once."""
_LINE = 4 * _LANES * WARPGROUP
"""Bytes that a warpgroup does."""


def joined_parts(
    block: WgmmaBlock, store: TileStore, tile: Tile, sums: list[list[Value]]
) -> AbstractContextManager[Sequence[Sums]]:
    """Run the body with a warpgroup's sums over all of k, in one of the blocks that have parts of the tile.

    Args:
        store: the warpgroup's.
        sums: this thread's over the tile's part of k, of each 64 rows.
    """
    if block.problem.schedule.parts == 1:
        return nullcontext(sums)
    return (_sent if block.problem.received_bytes else _left)(block, store, tile, sums)


@contextmanager
def _sent(block: WgmmaBlock, store: TileStore, tile: Tile, sums: list[list[Value]]) -> Iterator[Sequence[Sums]]:
    """Block w of the cluster gets the sums of all warpgroups w, a slot from each of the others."""
    index, team, flat = block.index, store.team, [value for rows in sums for value in rows]
    size = len(flat) // _LANES * _LINE
    received = byte_offset(block.received, index.scalar(index.scale(store.thread, 4 * _LANES).base))
    slots = [byte_offset(received, slot * size) for slot in range(block.problem.schedule.parts - 1)]
    stores = arith.CmpIOp(arith.CmpIPredicate.eq, block.rank, team).result
    role = scf.IfOp(stores, has_else=True)
    with ir.InsertionPoint(role.else_block):
        above = arith.CmpIOp(arith.CmpIPredicate.ugt, block.rank, team).result
        slot = arith.SubIOp(block.rank, arith.ExtUIOp(block.rank.type, above).result).result
        start = byte_offset(received, index.scalar(index.scale(Index(slot), size).base))
        start, barrier = (mbarrier.address_in(team, pointer) for pointer in (start, block.arrived))
        for at in range(0, len(flat), _LANES):
            mbarrier.send(flat[at : at + _LANES], _line(start, at), barrier)
        scf.YieldOp([])
    with ir.InsertionPoint(role.then_block):
        mbarrier.wait(block.arrived, 0)
        yield [JoinedSums(slots, row * len(rows), flat[0].type, rows) for row, rows in enumerate(sums)]
        scf.YieldOp([])


@contextmanager
def _left(block: WgmmaBlock, store: TileStore, tile: Tile, sums: list[list[Value]]) -> Iterator[Sequence[Sums]]:
    """Warpgroups count for themselves; the last one reads what all have left, its own too."""
    s, index, flat = block.problem.schedule, block.index, [value for rows in sums for value in rows]
    group = index.add(index.scale(tile.number, s.consumers), Index(store.team))
    size = len(flat) // _LANES * _LINE
    first = index.add(index.scale(group, s.parts * size), index.scale(store.thread, 4 * _LANES))
    start = byte_offset(block.kernel.workspace, index.scalar(first.base))
    own = byte_offset(start, index.scalar(index.scale(tile.part, size).base))
    for at in range(0, len(flat), _LANES):
        llvm.StoreOp(joined(flat[at : at + _LANES]), _line(own, at), alignment=4 * _LANES)
    flag = byte_offset(block.flags, index.scalar(index.scale(Index(store.team), 4).base))
    last = is_last(block.kernel, index.scalar(group.base), s.parts, store.leads, flag, store.sync)
    with only_if(last):
        parts = [byte_offset(start, part * size) for part in range(s.parts)]
        yield [JoinedSums(parts, row * len(rows), flat[0].type) for row, rows in enumerate(sums)]


@dataclass(frozen=True)
class JoinedSums:
    """Sums over all of k, read and added where they are asked for: all at once would fill the registers.

    Args:
        parts: where this thread's sums over each part of k start.
        first: the number of the first sum.
        element: their type.
        own: those of this block, where they are not among the parts.
    """

    parts: list[Value]
    first: int
    element: ir.Type
    own: Sequence[Value] = ()

    def __getitem__(self, numbers: slice, /) -> list[Value]:
        vectors = range(numbers.start, numbers.stop, _LANES)
        return [value for at in vectors for value in separated(self._total(at))]

    def _total(self, at: int) -> Value:
        type_ = ir.VectorType.get([_LANES], self.element)
        terms = [joined(self.own[at : at + _LANES])] if self.own else []
        lines = [_line(part, self.first + at) for part in self.parts]
        terms += [llvm.LoadOp(type_, line, alignment=4 * _LANES).result for line in lines]
        add = arith.AddIOp if isinstance(self.element, ir.IntegerType) else arith.AddFOp
        return reduce(lambda x, y: add(x, y).result, terms)


def _line(start: Value, at: int) -> Value:
    """Where the vector lies that holds sum number `at`."""
    return byte_offset(start, at // _LANES * _LINE)
