"""CPU family `contraction`: matrix products, batched products and convolutions with accumulators in registers.

A workgroup owns a strip of columns and walks down the rows, `rows` at a time. For each tile it keeps rows x columns
accumulators in vector registers through the whole sum, spills them to the stack once, and computes the dispatch's
results from there, so that whatever follows the contraction is fused.
"""

from collections.abc import Iterable
from typing import ClassVar

from lumir.dtypes import byte_size
from lumir.kernels.contraction_space import ContractionSpace, contraction_of
from lumir.kernels.cpu.contraction_schedule import ContractionSchedule, Grid, is_packed, last_column_size
from lumir.kernels.cpu.contraction_writer import ContractionWriter
from lumir.kernels.cpu.dot import TOGETHER, ByteProducts
from lumir.kernels.cpu.function import cpu_kernel, too_many_lanes
from lumir.kernels.dispatch import Dispatch
from lumir.kernels.push import result_paths
from lumir.schedule.family import KernelCode
from lumir.schedule.schedule import Schedule
from lumir.sizes import low, typical
from lumir.target import Target


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
        lanes, width = target.lanes(byte_size(space.accumulator)), low(last_column_size(space))
        rows = typical(space.extent(space.m))
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
        width = low(last_column_size(_space(dispatch)))
        if not schedule.padded and schedule.columns > width:
            return [f"a tile of {schedule.columns} columns is wider than the last column dimension, {width}"]
        return []

    def cost(self, dispatch: Dispatch, schedule: ContractionSchedule, target: Target) -> float:
        """Seconds on one core: whole tiles count, each at the rate of its loads or of its multiply-adds."""
        space = _space(dispatch)
        batch, m, n, k = map(typical, space.shape)
        last = max(typical(last_column_size(space)), 1)
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


def _space(dispatch: Dispatch) -> ContractionSpace:
    space = contraction_of(dispatch)
    assert space is not None
    return space
