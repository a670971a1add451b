"""The end of a contraction kernel: accumulators through shared memory to the results, fused operations on the way."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce

from lumir.dtypes import byte_size
from lumir.kernels.bands import bands_of, bind_bands
from lumir.kernels.contraction_space import ContractionSpace, View
from lumir.kernels.dispatch import Dispatch, element_of, remembered, shape_of
from lumir.kernels.evaluate import Evaluator
from lumir.kernels.index import Index, IndexMath, Place
from lumir.kernels.memory import Buffer
from lumir.kernels.nvidia.function import NvidiaKernel
from lumir.kernels.nvidia.guard import only_if
from lumir.kernels.nvidia.mma import all_of, byte_offset
from lumir.kernels.nvidia.tiles_plan import scratch
from lumir.kernels.push import Path, Reshape, paths_from
from lumir.mlir import ir, llvm

Value = ir.Value
_PAD = 8
"""Elements between staged lines: eight rows of four neighbouring pairs, as mma.sync holds them, then fill all banks."""


@dataclass(frozen=True)
class Staging:
    """A part of the result tile in shared memory.

    Args:
        passes: the tile goes through in this many parts.
        lines, width: of one part, in elements.
        groups: rows of the tile are `groups` blocks, of which each part takes an equal share of each.
    """

    passes: int
    lines: int
    width: int
    groups: int

    @property
    def pitch(self) -> int:
        return self.width + _PAD

    def size(self, element_bytes: int) -> int:
        return self.lines * self.pitch * element_bytes

    def tile_row(self, index: IndexMath, part: int, line: Index) -> Index:
        """The tile's row that a line of a part holds."""
        share = self.lines // self.groups
        if self.groups == 1:
            return index.offset(line, part * share)
        group, inside = index.divmod(line, share)
        return index.add(index.scale(group, share * self.passes), index.offset(inside, part * share))


def staging_within(budget: int, tile: tuple[int, int], groups: int, most_passes: int, element_bytes: int) -> Staging:
    """The fewest passes with which a part of a tile (rows, columns) fits in `budget` bytes, else `most_passes`."""
    (rows, width), passes = tile, 1
    while passes < most_passes and Staging(passes, rows // passes, width, groups).size(element_bytes) > budget:
        passes *= 2
    return Staging(passes, rows // passes, width, groups)


def store_lanes(dispatch: Dispatch, space: ContractionSpace) -> int:
    """How many neighbouring columns of the product can be stored, and every fused operand read, at once."""
    lanes = min(8, 16 // max(byte_size(element_of(v)) for v in dispatch.results))
    columns = space.extent(space.n) // len(_bands(dispatch, space))
    while lanes > 1 and (columns % lanes != 0 or _scatters(dispatch, space, lanes)):
        lanes //= 2
    return lanes


def _scatters(dispatch: Dispatch, space: ContractionSpace, lanes: int) -> bool:
    with scratch(dispatch, lanes) as (evaluator, position):
        pointer = next(iter(evaluator.buffers.values())).pointer
        outputs = [Buffer(pointer, shape_of(v), element_of(v), 256) for v in dispatch.results]
        total = llvm.PoisonOp(ir.VectorType.get([lanes], space.accumulator)).result
        view = space.result_view(evaluator.index, Index(position), Index(position), Index(position, 1, lanes))
        totals = [total] * len(_bands(dispatch, space))
        store_results(evaluator, space, dispatch, outputs, view, *totals)
        return evaluator.memory.scattered > 0


def store_results(
    evaluator: Evaluator, space: ContractionSpace, dispatch: Dispatch, outputs: list[Buffer], view: View, *totals: Value
) -> None:
    """Every result's element that the product's element at a place ends in."""
    for buffer, (place, value) in zip(outputs, results_at(evaluator, space, dispatch, view, *totals), strict=True):
        evaluator.memory.store(buffer, place, value)


def results_at(
    evaluator: Evaluator, space: ContractionSpace, dispatch: Dispatch, view: View, *totals: Value
) -> list[tuple[Place, Value]]:
    """Where each result has what becomes of the product's element at a place, and its value.

    Args:
        view: the place, in the first band of the columns where there are several.
        totals: the element's value in each band.
    """
    bind_bands(evaluator, space, _bands(dispatch, space), totals)
    ends = _ends(dispatch, space.result)
    paths = [ends[result] for result in dispatch.results]
    whole = Path().then(Reshape(view.shape, shape_of(space.result)))
    found = []
    for result, path in zip(dispatch.results, paths, strict=True):
        place = reduce(Path.then, path.steps, whole).place(evaluator.index, view.place)
        found.append((place, evaluator.at(result, place)))
    return found


def _ends(dispatch: Dispatch, root: Value) -> dict[Value, Path]:
    """`paths_from(root)`, which every element that is stored asks for."""
    known = remembered(dispatch, "ends", lambda _: dict[Value, dict[Value, Path]]())
    if root not in known:
        known[root] = paths_from(dispatch, root, bands=True)
    return known[root]


def _bands(dispatch: Dispatch, space: ContractionSpace) -> tuple[Value, ...]:
    bands = remembered(dispatch, f"bands along {space.n}", lambda d: bands_of(d, space))
    assert bands is not None
    return bands


@dataclass(frozen=True)
class ResultTile:
    """Where a block's tile of the product lies.

    Args:
        batch, m, n: the number of the product, and the first row and column.
        rows, columns: the tile's size.
        lanes: columns that are stored at once.
    """

    kernel: NvidiaKernel
    space: ContractionSpace
    batch: Index
    m: Index
    n: Index
    rows: int
    columns: int
    lanes: int

    def store(self, shared: Value, staging: Staging, write: Callable[[int, Value], None]) -> None:
        """Store the tile.

        Args:
            shared: memory for a part.
            write: called with the number of a part and `shared`; writes this thread's accumulators of that part there,
                row-major with `staging.pitch` elements a line.
        """
        for part in range(staging.passes):
            self.kernel.barrier()
            write(part, shared)
            self.kernel.barrier()

            def row_of(index: IndexMath, line: Index, part: int = part) -> Index:
                return staging.tile_row(index, part, line)

            def total(index: IndexMath, line: Index, column: Index) -> Value:
                return self.load(shared, index.add(index.scale(line, staging.pitch), column))

            self.store_lines(staging.lines, row_of, total)

    def store_lines(
        self,
        lines: int,
        row_of: Callable[[IndexMath, Index], Index],
        total: Callable[[IndexMath, Index, Index], Value],
    ) -> None:
        """Store lines of the tile; every thread of the block takes its share.

        Args:
            row_of: the tile's row that a line holds.
            total: the product's elements, `lanes` of them, of a line from a column on.
        """
        per_line = self.columns // self.lanes
        units = lines * per_line
        loops = self.kernel.evaluator()
        index = loops.index
        with loops.loop(0, -(-units // self.kernel.block), 1) as (turn, _, _done):
            unit = index.add(index.scale(turn, self.kernel.block), self.kernel.thread())
            line, column = index.divmod(unit, per_line)
            conditions = [index.below(line, lines)] if units % self.kernel.block else []
            m = index.add(self.m, row_of(index, line))
            column = index.scale(column, self.lanes)
            n = index.add(self.n, column)
            conditions += self._inside(index, m, n)
            with only_if(all_of(conditions)):
                self._store_lanes(total(index, line, column), m, n)

    def _inside(self, index: IndexMath, m: Index, n: Index) -> list[Value]:
        _, rows, columns, _ = self.space.shape
        checks = [(m, rows, self.rows), (n, columns, self.columns)]
        return [index.below(at, extent) for at, extent, tile in checks if extent % tile != 0]

    def load(self, memory: Value, at: Index) -> Value:
        """`lanes` elements of the product, from element `at` of a memory on."""
        size = byte_size(self.space.accumulator)
        type_ = ir.VectorType.get([self.lanes], self.space.accumulator) if self.lanes > 1 else self.space.accumulator
        index = IndexMath(self.kernel.index_type)
        pointer = byte_offset(memory, index.scalar(index.scale(at, size).base))
        return llvm.LoadOp(type_, pointer, alignment=min(16, self.lanes * size)).result

    def _store_lanes(self, total: Value, m: Index, n: Index) -> None:
        evaluator = self.kernel.evaluator(self.lanes)
        index = evaluator.index
        view = self.space.result_view(index, self.batch, m, Index(n.base, int(self.lanes > 1), n.multiple))
        store_results(evaluator, self.space, self.kernel.dispatch, self.kernel.outputs, view, total)
