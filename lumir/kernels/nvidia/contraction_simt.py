"""The contraction kernel on ordinary multiply-adds: exact float32, float64 and integers, a register tile a thread."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lumir.dtypes import byte_size
from lumir.kernels.index import Index, IndexMath
from lumir.kernels.nvidia.contraction_block import Block
from lumir.kernels.nvidia.contraction_store import Staging
from lumir.kernels.nvidia.function import NvidiaKernel, nvidia_kernel
from lumir.kernels.nvidia.mma import WARP, byte_offset, separated, store_vector
from lumir.kernels.nvidia.tiles import TileLayout
from lumir.kernels.nvidia.tiles_fill import zero_of
from lumir.mlir import ir, llvm

if TYPE_CHECKING:
    from lumir.kernels.nvidia.contraction import ContractionSchedule, Problem

Value = ir.Value
_WARP_DOWN, _WARP_ACROSS = 4, 8  # how a warp's threads share its part of the tile


@dataclass(frozen=True)
class MicroTile:
    """`down` by `across` threads, each with `rows` by `columns` elements of the tile."""

    down: int
    across: int
    rows: int
    columns: int

    @staticmethod
    def of(s: "ContractionSchedule") -> "MicroTile":
        down, across = s.warps_m * _WARP_DOWN, s.warps_n * _WARP_ACROSS
        return MicroTile(down, across, s.m // down, s.n // across)


@dataclass(frozen=True)
class Team:
    """Threads that share the rows (or columns) of a tile.

    Args:
        thread: this one's number.
        threads: how many there are.
        count: rows of each.
    """

    thread: Index
    threads: int
    count: int


class Strips:
    """A thread's rows (or columns) of an operand's tile, in registers for a chunk of k.

    With t and T the thread and the threads of its team: a tile with lines along k gives rows t, t + T, ...; one with
    lines along the rows gives chunks t, t + T, ... of neighbouring rows.
    """

    def __init__(self, index: IndexMath, layout: TileLayout, along_k: bool, team: Team, element: ir.Type):
        self.index, self.layout, self.along_k, self.team, self.element = index, layout, along_k, team, element

    @property
    def chunk(self) -> int:
        return self.layout.chunk

    @property
    def together(self) -> int:
        """Neighbouring rows."""
        return 1 if self.along_k else self.chunk

    def load(self, base: Value, k: Index) -> list[list[Value]]:
        """Values by k (a chunk of them, from `k`, a multiple of the chunk) and row."""
        if self.along_k:
            chunk = self.index.divmod(k, self.chunk)[0]
            rows = [self._read(base, self._turn(i), chunk) for i in range(self.team.count)]
            return [list(values) for values in zip(*rows, strict=True)]
        turns = range(self.team.count // self.chunk)
        lines = [self.index.offset(k, i) for i in range(self.chunk)]
        return [[v for i in turns for v in self._read(base, line, self._turn(i))] for line in lines]

    def _turn(self, i: int) -> Index:
        return self.index.offset(self.team.thread, i * self.team.threads)

    def _read(self, base: Value, line: Index, chunk: Index) -> list[Value]:
        at = self.index.scalar(self.layout.offset(self.index, line, chunk).base)
        type_ = ir.VectorType.get([self.chunk], self.element)
        value = llvm.LoadOp(type_, byte_offset(base, at), alignment=16).result
        return separated(value)

    def runs(self) -> list[tuple[int, Index]]:
        """(first number, row in the tile) of each run of `together` neighbouring rows."""
        first = self.index.scale(self.team.thread, self.together)
        starts = range(0, self.team.count, self.together)
        return [(i, self.index.offset(first, i * self.team.threads)) for i in starts]


def emit_simt(problem: "Problem", name: str) -> NvidiaKernel:
    """Write the kernel at the insertion point."""
    with nvidia_kernel(problem.dispatch, name, problem.schedule.threads) as kernel:
        SimtKernel(problem, kernel).write()
    return kernel


class SimtKernel:
    """Writes the code of one block."""

    def __init__(self, problem: "Problem", kernel: NvidiaKernel):
        self.problem, self.block = problem, Block(problem, kernel)
        index, micro = self.block.index, MicroTile.of(problem.schedule)
        down, across = thread_place(index, kernel.thread(), problem.schedule.warps_n)
        lhs, rhs = self.block.lhs, self.block.rhs
        rows, columns = Team(down, micro.down, micro.rows), Team(across, micro.across, micro.columns)
        self.left = Strips(index, lhs.layout, lhs.plan.along_k, rows, problem.stored)
        self.right = Strips(index, rhs.layout, rhs.plan.along_k, columns, problem.stored)

    def write(self) -> None:
        width = self.right.team.count
        start = [zero_of(self.problem.space.accumulator)] * (self.left.team.count * width)
        totals = self.block.run(start, self._multiply)
        rows = [totals[i : i + width] for i in range(0, len(totals), width)]
        strips, staging = (self.left, self.right), self.problem.staging
        self.block.tile.store(
            self.block.shared,
            staging,
            lambda part, shared: stage_rows(self.block.index, staging, part, shared, strips, rows),
        )

    def _multiply(self, _step: Index, tiles: list[Value], totals: list[Value]) -> list[Value]:
        lhs, rhs = tiles
        totals, space = list(totals), self.problem.space
        for k in range(0, self.problem.schedule.k, self.left.chunk):
            for xs, ys in zip(self.left.load(lhs, Index(k)), self.right.load(rhs, Index(k)), strict=True):
                products = ((x, y) for x in xs for y in ys)
                totals = [space.multiply_add(total, x, y) for total, (x, y) in zip(totals, products, strict=True)]
        return totals


def stage_rows(
    index: IndexMath,
    staging: Staging,
    part: int,
    shared: Value,
    strips: tuple[Strips, Strips],
    totals: list[list[Value]],
) -> None:
    """Write the accumulators (by row and column of the strips) whose row lies in a part of the tile."""
    left, right = strips
    share = left.team.count // staging.passes
    for first, row in left.runs():
        for i in range(left.together) if first // share == part else ():
            line = index.scale(index.offset(row, i - part * staging.lines), staging.pitch)
            for number, column in right.runs():
                run = totals[first + i][number : number + right.together]
                size = byte_size(run[0].type)
                at = index.scalar(index.scale(index.add(line, column), size).base)
                store_vector(byte_offset(shared, at), run)


def thread_place(index: IndexMath, thread: Index, warps_across: int) -> tuple[Index, Index]:
    """The thread's row and column among the block's threads."""
    warp, lane = index.divmod(thread, WARP)
    warp_row, warp_column = index.divmod(warp, warps_across)
    row, column = index.divmod(lane, _WARP_ACROSS)
    return (
        index.add(index.scale(warp_row, _WARP_DOWN), row),
        index.add(index.scale(warp_column, _WARP_ACROSS), column),
    )
