"""The end of the family `decode`: warps' parts become the block's, blocks' parts the result."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from lumir.kernels.index import Index
from lumir.kernels.nvidia.attention_block import Rows
from lumir.kernels.nvidia.attention_softmax import RowState, inverse_sum
from lumir.kernels.nvidia.contraction_store import store_results
from lumir.kernels.nvidia.decode_parts import Joined
from lumir.kernels.nvidia.decode_schedule import ROWS
from lumir.kernels.nvidia.function import NvidiaKernel
from lumir.kernels.nvidia.guard import only_if
from lumir.kernels.nvidia.last_block import is_last_block
from lumir.kernels.nvidia.mma import all_of, byte_offset, separated
from lumir.mlir import arith, ir, vector

if TYPE_CHECKING:
    from lumir.kernels.nvidia.decode_schedule import DecodeProblem

Value = ir.Value
Read = Callable[[Index, Index], Joined]
"""Row and column -> some columns of the row, over all parts."""


class DecodeEnd:
    """Writes the code that follows the loop over keys.

    Args:
        shared: memory for each warp's part and one more.
        blocks: how many of the splits have a part.
    """

    def __init__(
        self,
        problem: "DecodeProblem",
        kernel: NvidiaKernel,
        shared: Value,
        group: Index,
        split: Index,
        blocks: int | Value,
    ):
        self.blocks = blocks
        self.problem, self.kernel, self.shared, self.group, self.split = problem, kernel, shared, group, split
        self.index, self.parts = kernel.index(), problem.parts
        self.batch, rows = self.index.divmod(group, problem.row_groups)
        self.first_row = self.index.scale(rows, ROWS)

    def write(self, warp: Index, g: Index, t: Index, totals: Rows, state: RowState) -> None:
        """Args:
        g, t: of this thread's lane; totals and state by its rows, as `DecodeBlock` says.
        """
        s, index = self.problem.schedule, self.index
        if s.stages:
            self.kernel.barrier()  # the parts lie where other warps may still read keys and values
        with only_if(self.index.below(warp, s.warps) if s.stages else None):
            self._write_warp(warp, g, t, totals, state)
        self.kernel.barrier()
        warps_joined = partial(self._joined, self.shared, s.warps)
        if s.splits == 1:
            self._each_unit(partial(self._finish, warps_joined))
        else:
            here = index.scale(self.group, s.splits)
            mine = self._part(self.kernel.workspace, index.add(here, self.split))
            self._each_unit(partial(self._hand_on, warps_joined, mine))
            with only_if(is_last_block(self.kernel, index.scalar(self.group.base), self.blocks)):
                first = self._part(self.kernel.workspace, here)
                self._each_unit(partial(self._finish, partial(self._joined, first, self.blocks)))

    def _part(self, base: Value, number: Index) -> Value:
        return self.parts.row(self.index, base, number, Index(0))

    def _bytes(self, column: Index) -> Value:
        return self.index.scalar(self.index.scale(column, 4).base)

    def _write_warp(self, warp: Index, g: Index, t: Index, totals: Rows, state: RowState) -> None:
        index, lanes = self.index, self.problem.chunk
        part = self._part(self.shared, warp)
        first = index.scale(t, 2)
        for i, (sums, maximum, total) in enumerate(zip(totals, state.maxima, state.sums, strict=True)):
            row = self.parts.row(index, part, Index(0), index.offset(first, 8 * (i // 2) + i % 2))
            column = self._bytes(index.scale(g, lanes))
            for start in range(0, len(sums), lanes):
                at = byte_offset(byte_offset(row, column), 4 * 8 * start)
                self.parts.write(at, sums[start : start + lanes])
            self.parts.write_statistics(row, maximum, total)  # the same from each of the lanes that share a row

    def _each_unit(self, body: Callable[[Index, Index], None]) -> None:
        """body(row, column) for each unit of `lanes` columns, shared out among the threads."""
        rows, columns = self.problem.rows, self.problem.space.shape[4]
        loops, lanes = self.kernel.evaluator(), self.problem.lanes
        index, units, threads = loops.index, rows * columns // lanes, self.kernel.block
        with loops.loop(0, -(-units // threads), 1) as (turn, _, _done):
            unit = index.add(index.scale(turn, threads), self.kernel.thread())
            row, column = index.divmod(unit, columns // lanes)
            inside = [index.below(unit, units)] if units % threads else []
            if (whole := self.problem.space.shape[1]) % rows:
                inside.append(index.below(index.add(self.first_row, row), whole))
            with only_if(all_of(inside)):
                body(row, index.scale(column, lanes))

    def _joined(self, base: Value, count: int | Value, row: Index, column: Index) -> Joined:
        first = self.parts.row(self.index, base, Index(0), row)
        return self.parts.joined(self.kernel.evaluator(), first, count, self._bytes(column), self.problem.lanes)

    def _hand_on(self, read: Read, to: Value, row: Index, column: Index) -> None:
        """Join parts into one in memory."""
        part = read(row, column)
        target = self.parts.row(self.index, to, Index(0), row)
        self.parts.write(byte_offset(target, self._bytes(column)), separated(part.sums))
        self.parts.write_statistics(target, part.maximum, part.total)

    def _finish(self, read: Read, row: Index, column: Index) -> None:
        """Join parts and store the result."""
        part = read(row, column)
        scaled = arith.MulFOp(part.sums, vector.BroadcastOp(part.sums.type, inverse_sum(part.total)).result).result
        lanes, second = self.problem.lanes, self.problem.space.second
        evaluator = self.kernel.evaluator(lanes)
        row = self.index.add(self.first_row, row)
        view = second.result_view(evaluator.index, self.batch, row, Index(column.base, int(lanes > 1), column.known))
        value = scaled if lanes > 1 else separated(scaled)[0]
        store_results(evaluator, second, self.kernel.dispatch, self.kernel.outputs, view, value)
