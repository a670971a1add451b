"""CPU family `contraction`: matrix products, batched products and convolutions with accumulators in registers.

A workgroup owns a strip of columns and walks down the rows, `rows` at a time. For each tile it keeps rows x columns
accumulators in vector registers through the whole sum, spills them to the stack once, and computes the dispatch's
results from there, so that whatever follows the contraction is fused.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from lumir.dtypes import byte_size
from lumir.kernels.contraction_space import ContractionSpace, contraction_of
from lumir.kernels.cpu.dot import TOGETHER, ByteProducts, DotWriter
from lumir.kernels.cpu.function import CpuKernel, cpu_kernel, too_many_lanes
from lumir.kernels.cpu.scratch import stack_buffer
from lumir.kernels.dispatch import Dispatch
from lumir.kernels.evaluate import Evaluator
from lumir.kernels.index import Index, IndexMath
from lumir.kernels.memory import Memory
from lumir.kernels.push import Path, result_paths
from lumir.mlir import arith, ir
from lumir.mlir import math as math_ops
from lumir.schedule.family import KernelCode
from lumir.schedule.schedule import Schedule
from lumir.sizes import Dim, low, typical
from lumir.target import Target

Value = ir.Value


@dataclass(frozen=True)
class ContractionSchedule(Schedule):
    """Args:
    rows: rows of a register tile.
    vectors: vectors of a register tile's columns.
    lanes: elements of a vector.
    tiles: register tiles, one below the other, of a workgroup.
    padded: columns may be read past the last one, up to a whole tile: the right operand is packed.
    together: products that one instruction adds to a lane: 4 of bytes where the CPU can, else 1.
    """

    rows: int = 8
    vectors: int = 2
    lanes: int = 16
    tiles: int = 1
    padded: bool = False
    together: int = 1

    @property
    def columns(self) -> int:
        return self.vectors * self.lanes


class ContractionFamily:
    name: ClassVar[str] = "contraction"
    schedule: ClassVar[type[Schedule]] = ContractionSchedule
    symbolic: ClassVar[bool] = True

    def match(self, dispatch: Dispatch, target: Target) -> bool:
        space = contraction_of(dispatch)
        if space is None or not space.n or 0 in space.shape or dispatch.writes_packed:
            return False
        return result_paths(dispatch, space.result) is not None

    def space(self, dispatch: Dispatch, target: Target) -> Iterable[ContractionSchedule]:
        space = _space(dispatch)
        lanes, width = target.lanes(byte_size(space.accumulator)), low(_last_column_size(space))
        rows = typical(_extent(space.m, space))
        padded = is_packed(space.operand(space.rhs))
        bytes_ = ByteProducts.of(space, target) and (padded or lanes <= width)
        while not padded and lanes > max(width, 1):
            lanes //= 2
        for vectors in (2, 1, 4, 8):
            if not padded and vectors * lanes > width:
                continue
            for height in (8, 12, 6, 4, 2, 1):
                tiles = max(1, min(-(-rows // height), 256 // height))
                yield ContractionSchedule(min(height, rows), vectors, lanes, tiles, padded, TOGETHER if bytes_ else 1)

    def legal(self, dispatch: Dispatch, schedule: ContractionSchedule, target: Target) -> list[str]:
        if reasons := too_many_lanes(schedule.lanes):
            return reasons
        registers = schedule.rows * schedule.vectors + schedule.vectors * min(schedule.together, 2) + 2
        limit = 32 if target.vector_bytes == 64 else 16
        if registers > limit:
            return [f"{registers} vector registers are needed and there are {limit}"]
        width = low(_last_column_size(_space(dispatch)))
        if not schedule.padded and schedule.columns > width:
            return [f"a tile of {schedule.columns} columns is wider than the last column dimension, {width}"]
        return []

    def cost(self, dispatch: Dispatch, schedule: ContractionSchedule, target: Target) -> float:
        """Seconds on one core: whole tiles count, each at the rate of its loads or of its multiply-adds."""
        space = _space(dispatch)
        batch, m, n, k = map(typical, space.shape)
        last = max(typical(_last_column_size(space)), 1)
        strips = n // last * -(-last // schedule.columns)
        tiles = batch * strips * -(-m // schedule.rows)
        multiply_adds = schedule.rows * schedule.vectors
        loads = schedule.vectors + schedule.rows
        per_step = max(multiply_adds / 2, loads / 2, 8 * 4 / 8 if multiply_adds < 8 else 0)
        return tiles * (k / schedule.together * per_step + multiply_adds * 4) / 2.5e9

    def emit(self, dispatch: Dispatch, schedule: ContractionSchedule, target: Target, name: str) -> KernelCode:
        space = _space(dispatch)
        grid = Grid.of(space, schedule)
        with cpu_kernel(dispatch, name) as kernel:
            products = ByteProducts.of(space, target) if schedule.together > 1 else None
            ContractionWriter(kernel, space, schedule, grid, products).write()
        return KernelCode((grid.size, 1, 1))


def is_packed(operand: Value) -> bool:
    """The operand is an argument in tiles of columns, padded to whole tiles."""
    return not isinstance(operand.owner, ir.Block) and operand.owner.name == "linalg.unpack"


def _space(dispatch: Dispatch) -> ContractionSpace:
    space = contraction_of(dispatch)
    assert space is not None
    return space


def _extent(dims: Sequence[int], space: ContractionSpace) -> Dim:
    return math.prod(space.nest.sizes[d] for d in dims)


def _last_column_size(space: ContractionSpace) -> Dim:
    return space.nest.sizes[space.n[-1]]


@dataclass(frozen=True)
class Grid:
    """How workgroups are numbered: batch x outer columns x row blocks x strips of the last column dimension."""

    outer: Dim
    row_blocks: Dim
    strips: Dim

    @staticmethod
    def of(space: ContractionSpace, schedule: ContractionSchedule) -> "Grid":
        rows = -(-_extent(space.m, space) // (schedule.rows * schedule.tiles))
        strips = -(-_last_column_size(space) // schedule.columns)
        return Grid(_extent((*space.batch, *space.n[:-1]), space), rows, strips)

    @property
    def size(self) -> Dim:
        return self.outer * self.row_blocks * self.strips


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
        self.rows, self.width = _extent(space.m, space), _last_column_size(space)
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
        lanes, accumulator = self.schedule.lanes, self.space.accumulator
        rows = [self._row_dims(row, i) for i in range(self.schedule.rows)]
        columns = [self.index.offset(self.first_column, j * lanes) for j in range(self.schedule.vectors)]
        columns = [Index(c.base, 1 if lanes > 1 else 0, c.known or 1) for c in columns]
        if self.products is not None:
            return self._dot_writer(self.products).sum(self.outer, rows, columns)
        zero = arith.ConstantOp(accumulator, _zero(accumulator)).result
        start = [self._splat(zero)] * (self.schedule.rows * self.schedule.vectors)

        def step(dims: dict[int, Index], totals: list[Value]) -> list[Value]:
            right = [self._read(self.space.rhs, {**dims, self.space.n[-1]: c}) for c in columns]
            result = []
            for i, here in enumerate(rows):
                left = self._read(self.space.lhs, {**dims, **here})
                for j, factor in enumerate(right):
                    result.append(self._multiply_add(totals[i * len(right) + j], left, factor))
            return result

        return self._nested(list(self.space.k), dict(self.outer), start, step)

    def _nested(self, remaining: list[int], dims: dict[int, Index], totals: list[Value], step) -> list[Value]:
        if not remaining:
            return step(dims, totals)
        dim, *inner = remaining
        with self.wide.loop(0, self.space.nest.sizes[dim], 1, totals) as (position, carried, done), self.narrow.scope():
            done(self._nested(inner, {**dims, dim: position}, carried, step))
        return done.results

    def _row_dims(self, row: Index, i: int) -> dict[int, Index]:
        """The row dimensions of the tile's row i, kept inside."""
        here = self.index.offset(row, i)
        if self.rows % self.schedule.rows != 0:
            here = self.index.minimum(here, self.rows - 1)
        return dict(zip(self.space.m, self.index.delinearize(here, self.space.sizes(self.space.m)), strict=True))

    def _read(self, number: int, dims: dict[int, Index]) -> Value:
        return self.space.widen(number, self._element(self.wide, number, dims))

    def _element(self, evaluator: Evaluator, number: int, dims: dict[int, Index]) -> Value:
        nest = self.space.nest
        all_dims = [dims.get(d, Index(0)) for d in range(nest.rank)]
        place = [evaluator.index.evaluate(e, all_dims) for e in nest.maps[number].results]
        return evaluator.at(self.space.operand(number), place)

    def _dot_writer(self, products: ByteProducts) -> DotWriter:
        evaluators = self.wide, self.kernel.evaluator(TOGETHER)
        packed = is_packed(self.space.operand(self.space.rhs))
        return DotWriter(self.space, products, evaluators, self._element, self._packed_bytes if packed else None)

    def _packed_bytes(self, first: Index, column: Index) -> Value:
        """Four rows of a vector's columns, from a weight in tiles [columns, 4]."""
        unpack = self.space.operand(self.space.rhs).owner
        buffer = self.kernel.inputs[unpack.operands[0]]
        memory = Memory(IndexMath(self.index.type, TOGETHER * self.schedule.lanes))
        tile, inside = self.index.divmod(Index(column.base, 0, column.multiple), buffer.shape[2])
        return memory.load(buffer, (tile, self.index.divmod(first, TOGETHER)[0], inside, Index(0, 1)))

    def _splat(self, value: Value) -> Value:
        return self.wide.widened(value) if self.schedule.lanes > 1 else value

    def _multiply_add(self, total: Value, x: Value, y: Value) -> Value:
        if self.schedule.lanes > 1:
            x, y = self.wide.widened(x), self.wide.widened(y)
        if isinstance(self.space.accumulator, ir.FloatType):
            return math_ops.FmaOp(x, y, total).result
        return arith.AddIOp(total, arith.MulIOp(x, y).result).result

    def _finish(self, row: Index) -> None:
        """The dispatch's results for the tile on the stack: whole vectors of columns, then the columns left over."""
        index, lanes = self.narrow.index, self.schedule.lanes
        rows_left = index.minimum(index.add(Index(self.rows), index.scale(row, -1)), self.schedule.rows)
        with self.narrow.loop(0, index.scalar(rows_left.base), 1) as (i, _, _done), self.wide.scope():
            here = index.add(row, i)
            if not self.schedule.padded or self.width % self.schedule.columns == 0:
                self._columns(self.wide, i, here, 0, self.schedule.columns, lanes)
                continue_at = None
            else:
                left = index.add(Index(self.width), index.scale(self.first_column, -1))
                stop = index.scalar(index.minimum(left, self.schedule.columns).base)
                whole = arith.AndIOp(stop, index.constant(-lanes)).result
                self._columns(self.wide, i, here, 0, whole, lanes)
                continue_at = (whole, stop)
            if continue_at and lanes > 1 and self.width % lanes != 0:
                self._columns(self.narrow, i, here, continue_at[0], continue_at[1], 1)

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
            nest = self.space.nest
            all_dims = [dims.get(d, Index(0)) for d in range(nest.rank)]
            root = tuple(index.evaluate(e, all_dims) for e in nest.output_maps[0].results)
            total = evaluator.memory.load(self.tile, (i, j))
            evaluator.bind(self.space.result, lambda _place: total)
            for result, path, buffer in zip(self.kernel.dispatch.results, self.paths, self.kernel.outputs, strict=True):
                place = path.place(index, root)
                evaluator.memory.store(buffer, place, evaluator.at(result, place))


def _zero(element: ir.Type) -> ir.Attribute:
    return ir.FloatAttr.get(element, 0.0) if isinstance(element, ir.FloatType) else ir.IntegerAttr.get(element, 0)
