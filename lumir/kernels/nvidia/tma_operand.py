"""Operands and results of a contraction as tensor maps: which of them TMA can address, and the place of a box."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from lumir.artifact.tensor_map import ALIGNMENT, MAX_RANK, MAX_STRIDE, TensorMap, swizzle_of
from lumir.dtypes import byte_size, dtype_name
from lumir.kernels.contraction_space import ContractionSpace
from lumir.kernels.dispatch import Dispatch, element_of
from lumir.kernels.evaluate import Evaluator
from lumir.kernels.index import Index, IndexMath
from lumir.kernels.nvidia.tma_windows import WindowMatrices
from lumir.kernels.strided import Factor, Factors, Strided, strided_argument, strided_results
from lumir.kernels.windows import windows_of
from lumir.mlir import ir
from lumir.sizes import Dim, high

if TYPE_CHECKING:
    from lumir.kernels.nvidia.tma_runs import RunMatrices

Value = ir.Value
Dims = tuple[int, ...]


@dataclass(frozen=True)
class Matrices:
    """A batch of matrices in one buffer of the launch, lines by columns; the columns lie side by side.

    Args:
        arg: the buffer's number.
        element: what it holds.
        lines, columns, batch: the factors of each, in elements.
        offset: of the first element.
        together: how many matrices a box has, one after the other: all of the innermost factor of the batch.
    """

    arg: int
    element: ir.Type
    lines: Factors
    columns: Factors
    batch: Factors
    offset: Dim
    together: int = 1

    @cached_property
    def size(self) -> int:
        return byte_size(self.element)

    @property
    def _inner(self) -> tuple[Factor, Factor]:
        """Columns and lines that a box runs over: the innermost factors. A single one may have any stride."""
        single = (1, ALIGNMENT // self.size)
        return (self.columns or ((1, 1),))[-1], (self.lines or (single,))[-1]

    @property
    def _outer(self) -> list[Factor]:
        """What a box has one of, but for the last where it has several matrices."""
        return [f for f in (*self.lines[:-1], *self.columns[:-1], *self.batch) if f[1]]

    def problems(self, box_lines: int, box_columns: int) -> list[str]:
        """Why TMA cannot move boxes of this size."""
        reasons = []
        (columns, stride), (lines, _) = self._inner
        if stride != 1:
            reasons.append("neighbours are not side by side in memory")
        strides = [s for _, s in (self._inner[1], *self._outer)]
        if any(s == 0 for _, s in (*self.lines, *self.columns)):
            reasons.append("lines or columns are repeated")
        if any(n * self.size % ALIGNMENT for n in (self.offset, *strides)):
            reasons.append(f"a stride is not a multiple of {ALIGNMENT} bytes")
        if any(high(n) * self.size >= MAX_STRIDE for n in (self.offset, *strides)):
            reasons.append("a stride may be more bytes than TMA counts")
        if 2 + len(self._outer) > MAX_RANK:
            reasons.append(f"more than {MAX_RANK} strides")
        for name, factors, inner, box in (
            ("lines", self.lines, lines, box_lines),
            ("columns", self.columns, columns, box_columns),
        ):
            if len(factors) > 1 and inner % box:
                reasons.append(f"runs of {inner} {name} are not whole boxes of {box}")
        return reasons

    @property
    def stores_whole(self) -> bool:
        """Whether lines are whole pieces of 16 bytes: TMA writes no less, past the end of a single line too."""
        return not self._inner[0][0] * self.size % ALIGNMENT

    def tensor_map(self, box_lines: int, box_columns: int) -> TensorMap:
        """The map with boxes of lines by columns."""
        columns, lines = self._inner
        factors = [columns, lines, *self._outer]
        return TensorMap(
            self.arg,
            dtype_name(self.element),
            dims=tuple(size for size, _ in factors),
            strides=tuple(stride * self.size for _, stride in factors[1:]),
            box=(box_columns, box_lines, *(1 for _ in self._outer[:-1]), *(self.together for _ in self._outer[-1:])),
            offset=self.offset * self.size,
            swizzle=swizzle_of(box_columns * self.size),
        )

    def place(self, index: IndexMath, batch: Index, line: Index, column: Index) -> list[Value]:
        """The coordinates of the box that starts at a line and a column."""
        lines, columns, batches = (
            _places(index, at, factors)
            for at, factors in ((line, self.lines), (column, self.columns), (batch, self.batch))
        )
        outer = [
            at
            for places, factors in ((lines[:-1], self.lines), (columns[:-1], self.columns), (batches, self.batch))
            for at, (_, stride) in zip(places, factors)
            if stride
        ]
        return [index.scalar(at.base) for at in (columns[-1], lines[-1], *outer)]

    @property
    def args(self) -> tuple[int, ...]:
        """The buffers that are read."""
        return (self.arg,)

    def box_lines(self, lines: int) -> int:
        """Lines that one copy can bring of so many."""
        return lines

    def boxes(self, evaluator: Evaluator, batch: Index, line: Index, _lines: int) -> Callable[[Index], list[Value]]:
        """The coordinates, by column, of the box that starts at a line."""
        return lambda column: self.place(evaluator.index, batch, line, column)

    def offsets(self, index: IndexMath, batch: Index) -> list[Value]:
        """None: boxes are where their coordinates say."""
        return []


def _places(index: IndexMath, at: Index, factors: Factors) -> Sequence[Index]:
    return index.delinearize(at, [size for size, _ in factors]) if len(factors) > 1 else [at]


@dataclass(frozen=True)
class Operand:
    """An operand of a contraction that TMA can read.

    Args:
        along_k: lines are rows (of m or n) and columns k; else lines are k and columns rows.
    """

    matrices: "Matrices | WindowMatrices | RunMatrices"
    along_k: bool

    @property
    def is_one_run(self) -> bool:
        """Whether a box of rows may start at any of them: they are not several runs, whose ends it must not cross."""
        matrices = self.matrices
        return not isinstance(matrices, Matrices) or len(matrices.lines if self.along_k else matrices.columns) < 2


Operands = tuple[ContractionSpace, Operand, Operand, int]
"""Of a contraction: its space, the left and the right operand, and how many products it is the sum of. They count
innermost among the batches of both operands: one for each place of a convolution's window."""


def operands_of(dispatch: Dispatch, space: ContractionSpace) -> Operands | None:
    """The operands of a contraction, if TMA can read both."""
    left, right = (operand_of(dispatch, space, number) for number in (space.lhs, space.rhs))
    return (space, left, right, 1) if left and right else _convolved(dispatch, space)


def _convolved(dispatch: Dispatch, space: ContractionSpace) -> Operands | None:
    """Of a convolution."""
    for number, other in ((space.lhs, space.rhs), (space.rhs, space.lhs)):
        found = windows_of(dispatch, space, number)
        filters = found and operand_of(dispatch, found[1], other)
        if not found or not filters:
            continue
        windows, _ = found
        arg, element = dispatch.arguments.index(windows.argument), element_of(space.operand(number))
        images, taps = Operand(WindowMatrices(arg, element, windows), True), windows.places
        return (space, images, filters, taps) if number == space.lhs else (space, filters, images, taps)
    return None


def operand_of(dispatch: Dispatch, space: ContractionSpace, number: int) -> Operand | None:
    """Input `number` of the contraction, if it is a view of an argument with neighbours along k or along the rows."""
    found = strided_argument(dispatch, space.operand(number))
    if found is None:
        return None
    argument, view = found
    return operand_in(space, number, dispatch.arguments.index(argument), view)


def operand_in(space: ContractionSpace, number: int, arg: int, view: Strided) -> Operand | None:
    """Input `number` of the contraction, a view of the buffer `arg`, if it has neighbours as `operand_of` says."""
    places = _dims_of_map(space.nest.maps[number])
    if places is None:
        return None

    def factors(dims: Dims) -> Factors:
        return view.joined([places[d] for d in dims if d in places])

    rows, k, batch = (factors(dims) for dims in (space.rows_of(number), space.k, space.batch))
    element = element_of(space.operand(number))
    if not k or k[-1][1] == 1:
        return Operand(Matrices(arg, element, rows, k, batch, view.offset), True)
    if not rows or rows[-1][1] == 1:
        return Operand(Matrices(arg, element, k, rows, batch, view.offset), False)
    return None


def results_of(dispatch: Dispatch, space: ContractionSpace) -> list[Matrices | None]:
    """Each result as rows by columns of the product, where it lies so in memory."""
    places = _dims_of_map(space.nest.output_maps[0]) or {}
    first = len(dispatch.arguments)

    def matrices(number: int, view: Strided | None) -> Matrices | None:
        if view is None:
            return None
        m, n, batch = (view.joined([places[d] for d in dims]) for dims in (space.m, space.n, space.batch))
        if n and n[-1][1] != 1:
            return None
        return Matrices(first + number, element_of(dispatch.results[number]), m, n, batch, view.offset)

    return [matrices(number, view) for number, view in enumerate(strided_results(dispatch, space.result))]


def _dims_of_map(map_: ir.AffineMap) -> dict[int, int] | None:
    """Which dimension of the tensor each iteration dimension is; None where an index is more than that."""
    places: dict[int, int] = {}
    for i, expression in enumerate(map_.results):
        if isinstance(expression, ir.AffineDimExpr) and expression.position not in places:
            places[expression.position] = i
        elif not (isinstance(expression, ir.AffineConstantExpr) and expression.value == 0):
            return None
    return places
