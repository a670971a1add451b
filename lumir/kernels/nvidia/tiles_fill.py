"""Bringing a tile of an operand into shared memory, by cp.async where it is plain memory, else through registers."""

from collections.abc import Callable

from lumir.diagnostics import InternalError
from lumir.dtypes import byte_size
from lumir.kernels.contraction_space import ContractionSpace, Split, View
from lumir.kernels.dispatch import shape_of
from lumir.kernels.evaluate import Evaluator
from lumir.kernels.index import Index, IndexMath
from lumir.kernels.memory import like
from lumir.kernels.nvidia.function import NvidiaKernel
from lumir.kernels.nvidia.mma import all_of, copy_async
from lumir.kernels.nvidia.tiles import TileLayout
from lumir.kernels.nvidia.tiles_address import address_of
from lumir.kernels.nvidia.tiles_plan import OperandPlan
from lumir.mlir import arith, ir, llvm

Value = ir.Value
Position = Index | Split


class OperandTile:
    """One operand's tiles [rows, depth], a slice of depth along k at a time, shared out among the block's threads.

    Rows beyond the end repeat the last one (their products are not stored); beyond the end of k there are zeros.

    Args:
        shape: rows and depth of a tile: its size along m or n and along k.
        stored: the element type in shared memory; the accumulator type where it differs from the operand's.
        counts: says of a position along k whether the operand has it, i1, where that is known to the running kernel
            only; then lanes are along the rows.
    """

    def __init__(
        self,
        kernel: NvidiaKernel,
        space: ContractionSpace,
        plan: OperandPlan,
        shape: tuple[int, int],
        stored: ir.Type,
        counts: Callable[[Index], Value] | None = None,
    ):
        self.kernel, self.space, self.plan, self.stored = kernel, space, plan, stored
        self.counts = counts
        self.rows, self.depth = shape
        self.thread = kernel.thread()
        lines, width = shape if plan.along_k else shape[::-1]
        self.layout = TileLayout(lines, width, byte_size(stored))

    @property
    def size(self) -> int:
        return self.layout.size

    def start(self, base: Value, batch: Index, first_row: Index, first_k: Index) -> list[Value]:
        """Begin to fetch a tile: asynchronous copies into `base`, or loads whose values `finish` takes."""
        evaluator = self.kernel.evaluator(self.plan.lanes)
        index = evaluator.index
        values = []
        for line, column in self._units(index):
            row, offset = (line, column) if self.plan.along_k else (column, line)
            row, k, valid = self._inside(index, index.add(first_row, row), first_k, offset)
            view = self.space.operand_view(index, self.plan.number, batch, *self._lanes(row, k))
            if self.plan.asynchronous:
                self._copy(evaluator, view, self._pointer(index, base, line, column), valid)
            else:
                values.append(self._load(evaluator, view, valid))
        return values

    def finish(self, base: Value, values: list[Value]) -> None:
        """Write fetched values to shared memory."""
        index = self.kernel.index()
        for (line, column), value in zip(self._units(index), values if not self.plan.asynchronous else []):
            width = self.plan.lanes * self.layout.element_bytes
            llvm.StoreOp(value, self._pointer(index, base, line, column), alignment=width)

    def _units(self, index: IndexMath) -> list[tuple[Index, Index]]:
        """The line and the first element of each unit of this thread."""
        threads, per_line = self.kernel.block, self.layout.width // self.plan.lanes
        total = self.layout.lines * per_line
        if total % threads:
            raise InternalError(
                "a tile must be whole units for every thread", values={"units": total, "threads": threads}
            )
        if per_line > threads:
            turns = per_line // threads
            places = [
                (Index(i // turns), index.offset(self.thread, i % turns * threads)) for i in range(total // threads)
            ]
        else:
            line, column = index.divmod(self.thread, per_line)
            places = [(index.offset(line, i * (threads // per_line)), column) for i in range(total // threads)]
        return [(line, index.scale(column, self.plan.lanes)) for line, column in places]

    def _lanes(self, row: Index, k: Position) -> tuple[Index, Position]:
        """The row and k with the lanes along one of them."""
        if not self.plan.along_k:
            return self._widened(row), k
        return row, Split(k.base, self._widened(k.offset), k.window) if isinstance(k, Split) else self._widened(k)

    def _widened(self, at: Index) -> Index:
        return Index(at.base, int(self.plan.lanes > 1), at.multiple)

    def _inside(
        self, index: IndexMath, row: Index, first_k: Index, offset: Index
    ) -> tuple[Index, Position, Value | None]:
        """The position kept inside the operand, and whether k was; None where it always is."""
        row_lanes, k_lanes = (1, self.plan.lanes) if self.plan.along_k else (self.plan.lanes, 1)
        row_extent, k_extent = self.space.extent(self.space.rows_of(self.plan.number)), self.space.extent(self.space.k)
        if row_extent % self.rows != 0:
            row = index.minimum(row, row_extent - row_lanes)
        k = index.add(first_k, offset)
        valid = None if self.counts is None else self.counts(k)
        if k_extent % self.depth == 0:
            return row, Split(first_k, offset, self.depth), valid
        inside = index.below(k, k_extent) if valid is None else valid
        return row, index.minimum(k, k_extent - k_lanes), inside

    def _copy(self, evaluator: Evaluator, view: View, pointer: Value, valid: Value | None) -> None:
        address = address_of(evaluator.index, evaluator.buffers, self.space.operand(self.plan.number), view)
        size = self.plan.lanes * self.layout.element_bytes
        if address is None or address.alignment % size:
            raise InternalError("an asynchronous copy must read aligned, consecutive elements", values={"bytes": size})
        copy_async(pointer, address.pointer(evaluator.index), size, all_of([valid, address.inside]))

    def _load(self, evaluator: Evaluator, view: View, valid: Value | None) -> Value:
        operand = self.space.operand(self.plan.number)
        value = evaluator.at(operand, view.place_in(evaluator.index, shape_of(operand)))
        value = evaluator.widened(value) if self.plan.lanes > 1 else value
        if like(value.type, self.stored) != value.type:
            value = self.space.widen(self.plan.number, value)
        if valid is None:
            return value
        return arith.SelectOp(valid, value, zero_of(value.type)).result

    def _pointer(self, index: IndexMath, base: Value, line: Index, column: Index) -> Value:
        return self.layout.pointer(index, base, line, column)


def zero_of(type_: ir.Type) -> Value:
    """A zero, or a vector of them."""
    element = type_.element_type if isinstance(type_, ir.VectorType) else type_
    zero = ir.FloatAttr.get(element, 0.0) if isinstance(element, ir.FloatType) else ir.IntegerAttr.get(element, 0)
    value = ir.DenseElementsAttr.get_splat(type_, zero) if isinstance(type_, ir.VectorType) else zero
    return arith.ConstantOp(type_, value).result
