"""The code of the CPU family `contraction`."""

from lumir.kernels.contraction_space import ContractionSpace
from lumir.kernels.cpu.contraction_schedule import ContractionSchedule, Grid, is_packed, last_column_size
from lumir.kernels.cpu.dot import TOGETHER, ByteProducts, DotWriter
from lumir.kernels.cpu.function import CpuKernel
from lumir.kernels.cpu.multiply_add import MultiplyAddWriter
from lumir.kernels.cpu.scratch import stack_buffer
from lumir.kernels.evaluate import Evaluator
from lumir.kernels.index import Index, IndexMath, Place
from lumir.kernels.memory import Memory
from lumir.kernels.push import Path, result_paths
from lumir.mlir import arith, ir
from lumir.sizes import Dim

Value = ir.Value


class ContractionWriter:
    """Writes one workgroup."""

    def __init__(
        self,
        kernel: CpuKernel,
        space: ContractionSpace,
        schedule: ContractionSchedule,
        grid: Grid,
        products: ByteProducts | None = None,
    ):
        self.kernel, self.space, self.schedule, self.grid, self.products = kernel, space, schedule, grid, products
        self.wide, self.narrow = kernel.evaluator(schedule.lanes), kernel.evaluator()
        self.index = self.wide.index
        self.paths: list[Path] = result_paths(kernel.dispatch, space.result) or []
        self.rows, self.width = space.extent(space.m), last_column_size(space)
        self.tile = stack_buffer((schedule.rows, schedule.columns), space.accumulator)

    def write(self) -> None:
        index, schedule = self.narrow.index, self.schedule
        outer, block, strip = index.delinearize(
            Index(self.kernel.workgroup), (self.grid.outer, self.grid.row_blocks, self.grid.strips)
        )
        group = (*self.space.batch, *self.space.n[:-1])
        self.outer = dict(zip(group, index.delinearize(outer, self.space.sizes(group)), strict=True))
        self.first_column = self._strip_start(strip)
        height = schedule.rows * schedule.tiles
        start = index.scale(block, height)
        stop = index.minimum(index.offset(start, height), self.rows)
        begin, end = index.scalar(start.base), index.scalar(stop.base)
        with self.narrow.loop(begin, end, schedule.rows, multiple=schedule.rows) as (row, _, _done), self.wide.scope():
            self._tile(row)

    def _strip_start(self, strip: Index) -> Index:
        """Strips stand side by side; the last one is moved back inside where columns may not be read past the end."""
        start = self.index.scale(strip, self.schedule.columns)
        if self.schedule.padded or self.width % self.schedule.columns == 0:
            return start
        return self.index.minimum(start, self.width - self.schedule.columns)

    def _tile(self, row: Index) -> None:
        totals = self._sum(row)
        for i, total in enumerate(totals):
            place = (Index(i // self.schedule.vectors), Index(i % self.schedule.vectors * self.schedule.lanes, 1))
            self.wide.memory.store(self.tile, place, total)
        self._finish(row)

    def _sum(self, row: Index) -> list[Value]:
        """rows x vectors accumulators after the whole sum."""
        lanes = self.schedule.lanes
        rows = [self._row_dims(row, i) for i in range(self.schedule.rows)]
        columns = [self.index.offset(self.first_column, j * lanes) for j in range(self.schedule.vectors)]
        columns = [Index(c.base, 1 if lanes > 1 else 0, c.known or 1) for c in columns]
        return self._sum_writer().sum(self.outer, rows, columns)

    def _sum_writer(self) -> MultiplyAddWriter | DotWriter:
        if self.products is None:
            return MultiplyAddWriter(self.space, self.wide, self._read)
        evaluators = self.wide, self.kernel.evaluator(TOGETHER)
        packed = is_packed(self.space.operand(self.space.rhs))
        return DotWriter(self.space, self.products, evaluators, self._read, self._packed_bytes if packed else None)

    def _row_dims(self, row: Index, i: int) -> dict[int, Index]:
        """The row dimensions of the tile's row i, kept inside."""
        here = self.index.offset(row, i)
        if self.rows % self.schedule.rows != 0:
            here = self.index.minimum(here, self.rows - 1)
        return dict(zip(self.space.m, self.index.delinearize(here, self.space.sizes(self.space.m)), strict=True))

    def _read(self, evaluator: Evaluator, number: int, dims: dict[int, Index]) -> Value:
        place = self._place(evaluator.index, self.space.nest.maps[number], dims)
        return evaluator.at(self.space.operand(number), place)

    def _place(self, index: IndexMath, map_: ir.AffineMap, dims: dict[int, Index]) -> Place:
        """What the map gives at these iteration dimensions; the others do not count."""
        all_dims = [dims.get(d, Index(0)) for d in range(self.space.nest.rank)]
        return tuple(index.evaluate(e, all_dims) for e in map_.results)

    def _packed_bytes(self, first: Index, column: Index) -> Value:
        """Four rows of a vector's columns, from a weight in tiles [columns, 4]."""
        unpack = self.space.operand(self.space.rhs).owner
        buffer = self.kernel.inputs[unpack.operands[0]]
        memory = Memory(IndexMath(self.index.type, TOGETHER * self.schedule.lanes))
        tile, inside = self.index.divmod(Index(column.base, 0, column.multiple), buffer.shape[2])
        return memory.load(buffer, (tile, self.index.divmod(first, TOGETHER)[0], inside, Index(0, 1)))

    def _finish(self, row: Index) -> None:
        """The dispatch's results for the tile on the stack, row by row."""
        index = self.narrow.index
        rows_left = index.minimum(index.add(Index(self.rows), index.scale(row, -1)), self.schedule.rows)
        with self.narrow.loop(0, index.scalar(rows_left.base), 1) as (i, _, _done), self.wide.scope():
            here = index.add(row, i)
            if self.schedule.padded and self.width % self.schedule.columns != 0:
                self._ragged_columns(i, here)
            else:
                self._columns(self.wide, i, here, 0, self.schedule.columns, self.schedule.lanes)

    def _ragged_columns(self, i: Index, row: Index) -> None:
        """Of a strip that may reach past the last column: whole vectors, then the columns left over."""
        index, lanes = self.narrow.index, self.schedule.lanes
        left = index.add(Index(self.width), index.scale(self.first_column, -1))
        stop = index.scalar(index.minimum(left, self.schedule.columns).base)
        whole = arith.AndIOp(stop, index.constant(-lanes)).result
        self._columns(self.wide, i, row, 0, whole, lanes)
        if lanes > 1 and self.width % lanes != 0:
            self._columns(self.narrow, i, row, whole, stop, 1)

    def _columns(
        self, evaluator: Evaluator, i: Index, row: Index, start: "Dim | Value", stop: "Dim | Value", step: int
    ) -> None:
        index = evaluator.index
        with evaluator.loop(start, stop, step, multiple=step) as (j, _, _done):
            j = Index(j.base, 1 if step > 1 else 0, step)
            column = index.add(self.first_column, j)
            dims = dict(self.outer)
            dims |= zip(self.space.m, index.delinearize(row, self.space.sizes(self.space.m)), strict=True)
            dims[self.space.n[-1]] = column
            root = self._place(index, self.space.nest.output_maps[0], dims)
            total = evaluator.memory.load(self.tile, (i, j))
            evaluator.bind(self.space.result, lambda _place: total)
            for result, path, buffer in zip(self.kernel.dispatch.results, self.paths, self.kernel.outputs, strict=True):
                place = path.place(index, root)
                evaluator.memory.store(buffer, place, evaluator.at(result, place))
