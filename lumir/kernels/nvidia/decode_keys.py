"""Which keys a block of the family `decode` has: an equal part of those that count for some row."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lumir.kernels.index import Index, IndexMath
from lumir.kernels.nvidia.function import NvidiaKernel
from lumir.kernels.nvidia.valid_keys import ValidKeys
from lumir.mlir import arith, ir

if TYPE_CHECKING:
    from lumir.kernels.nvidia.decode_schedule import DecodeProblem

Value = ir.Value


@dataclass(frozen=True)
class Part:
    """A block's part of the keys of its rows.

    Args:
        key: with which step 0 begins; a step is a tile.
        first, stop: the steps of this block.
        blocks: how many have a part, from the first on; an int where all of them do.
        valid: where the data says how many keys count.
    """

    key: Index
    first: Index
    stop: Index
    blocks: int | Value
    valid: ValidKeys | None = None


def part_of(problem: "DecodeProblem", kernel: NvidiaKernel, batch: Index, split: Index) -> Part:
    """The part of one of a schedule's splits."""
    index = kernel.index()
    if problem.space.band.length is not None:
        return _valid_part(problem, index, ValidKeys(problem.space, kernel, batch, index), split)
    first = index.scale(split, problem.steps_of_split)
    stop = index.minimum(index.offset(first, problem.steps_of_split), problem.steps)
    return Part(Index(problem.first_key), first, stop, problem.schedule.splits)


def _valid_part(problem: "DecodeProblem", index: IndexMath, valid: ValidKeys, split: Index) -> Part:
    """What counts is split anew at each run, in whole tiles; a window's first tile is one of those that start at 0."""
    tile, splits = problem.tile, problem.schedule.splits
    key = index.scale(index.divmod(valid.first_of(Index(0)), tile)[0], tile)
    stop = valid.stop_of(Index(problem.space.queries - 1))
    keys = index.maximum(index.add(stop, index.scale(key, -1)), 0)
    steps = index.divmod(index.offset(keys, tile - 1), tile)[0]
    each = index.scalar(index.maximum(index.divmod(index.offset(steps, splits - 1), splits)[0], 1).base)
    first = Index(arith.MulIOp(index.scalar(split.base), each).result)
    end = arith.MinSIOp(arith.AddIOp(first.base, each).result, index.scalar(steps.base)).result
    counted = index.scalar(index.offset(index.add(steps, Index(each)), -1).base)
    blocks = index.maximum(Index(arith.DivUIOp(counted, each).result), 1)
    return Part(key, first, Index(end), index.scalar(blocks.base), valid)
