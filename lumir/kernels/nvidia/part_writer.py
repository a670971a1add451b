"""Writes the code of one thread of the family `row_parts`."""

from collections.abc import Sequence
from itertools import accumulate

from lumir.dtypes import byte_size
from lumir.kernels.dispatch import element_of
from lumir.kernels.index import Index
from lumir.kernels.loop_nest import LoopNest
from lumir.kernels.memory import Buffer
from lumir.kernels.nvidia.function import NvidiaKernel
from lumir.kernels.nvidia.guard import only_if
from lumir.kernels.nvidia.joining import selects
from lumir.kernels.nvidia.last_block import is_last_block
from lumir.kernels.nvidia.mma import byte_offset
from lumir.kernels.nvidia.row_joining import equals
from lumir.kernels.nvidia.row_schedule import RowPartsSchedule
from lumir.kernels.nvidia.row_writer import RowWriter
from lumir.kernels.row_space import RowSpace
from lumir.mlir import arith, ir

Value = ir.Value
_ALIGNMENT = 256


class PartWriter(RowWriter):
    """Reduces this workgroup's part of its rows; the last workgroup of the rows goes on with all parts."""

    schedule: RowPartsSchedule

    def __init__(self, kernel: NvidiaKernel, space: RowSpace, schedule: RowPartsSchedule):
        super().__init__(kernel, space, schedule)
        slow = schedule.rows if schedule.across else schedule.threads
        outer, inner = self.index.divmod(kernel.thread(), slow)
        self.own = outer if schedule.across else inner

    @staticmethod
    def workspace(space: RowSpace, schedule: RowPartsSchedule, widths: Sequence[int]) -> list[int]:
        """Where the parts of each accumulator begin in the workspace, by their bytes, and where the last ones end."""
        each = [schedule.parts * space.row_count * width for width in widths]
        return [0, *accumulate(-(-size // _ALIGNMENT) * _ALIGNMENT for size in each)]

    def write(self) -> None:
        (nest,) = self.kernel.dispatch.reductions
        values, parts = self._reduce(nest), self._parts(nest)
        with only_if(self._is_first()):
            for buffer, value in zip(parts, values, strict=True):
                self.wide.memory.store(buffer, (self.rank, *self.row), value)
        last = is_last_block(self.kernel, self.index.scalar(self.tile.base), self.schedule.parts)
        with only_if(last, self.wide, self.narrow):
            for result, value in zip(nest.op.results, self._whole(nest, parts), strict=True):
                self._bind(result, value)
            self._store_rows()

    def _parts(self, nest: LoopNest) -> list[Buffer]:
        elements = [element_of(output) for output in nest.outputs]
        starts = self.workspace(self.space, self.schedule, [byte_size(element) for element in elements])
        shape = (self.schedule.parts, *self.space.kept)
        return [
            Buffer(byte_offset(self.kernel.workspace, self.index.constant(start)), shape, element, _ALIGNMENT)
            for start, element in zip(starts, elements)
        ]

    def _whole(self, nest: LoopNest, parts: Sequence[Buffer]) -> list[Value]:
        """All parts of this thread's row joined: some by each of its threads, and then what they have."""
        join, start = self.joining.join(nest), self._start(nest)
        if self.schedule.across and self.schedule.lanes > 1:
            start = [self.wide.widened(value) for value in start]
        found: list[Value] | None = None
        for first in range(0, self.schedule.parts, self.schedule.threads):
            values = self._part(nest, parts, self.index.offset(self.own, first), start)
            found = values if found is None else join(found, values)
        assert found is not None
        return self.joining.of_threads(found, join) if self.schedule.threads > 1 else found

    def _part(self, nest: LoopNest, parts: Sequence[Buffer], number: Index, start: Sequence[Value]) -> list[Value]:
        """What one workgroup left; nothing where there is none of that number."""
        count = self.schedule.parts
        at = number if count % self.schedule.threads == 0 else self.index.minimum(number, count - 1)
        values = [self.wide.memory.load(buffer, (at, *self.row)) for buffer in parts]
        if at is number or selects(nest):
            return values
        there = self.index.below(number, count)
        return [arith.SelectOp(there, value, none).result for value, none in zip(values, start, strict=True)]

    def _is_first(self) -> Value | None:
        return equals(self.index, self.own, 0) if self.schedule.threads > 1 else None
