"""CPU family `map`: every result element by itself, whatever the dispatch does. The one that always fits."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from lumir.dtypes import byte_size
from lumir.kernels.cpu.function import CpuKernel, cpu_kernel, too_many_lanes
from lumir.kernels.dispatch import Dispatch, element_of, shape_of
from lumir.kernels.index import Index, IndexMath, Place
from lumir.mlir import arith, ir
from lumir.schedule.family import KernelCode
from lumir.schedule.schedule import Schedule
from lumir.sizes import Dim, Shape, high, typical
from lumir.target import Target


@dataclass(frozen=True)
class MapSchedule(Schedule):
    """How the result is cut up.

    Args:
        lanes: elements side by side in a vector along the last dimension.
        chunk: elements of the last dimension in one unit, a multiple of lanes.
        units: units of one workgroup.
    """

    lanes: int = 1
    chunk: int = 1
    units: int = 1


@dataclass(frozen=True)
class Rows:
    """The result as outer positions times a last dimension.

    A flat dispatch has one outer position. So has one that packs two elements in a byte, so that no byte falls to two
    workgroups; `linear` says that its position counts through the whole result.
    """

    outer: Shape
    inner: Dim
    linear: bool = False

    @staticmethod
    def of(dispatch: Dispatch) -> "Rows":
        shape = shape_of(dispatch.results[0])
        if dispatch.flat or dispatch.writes_packed or not shape:
            return Rows((1,) * max(len(shape) - 1, 0), math.prod(shape), not dispatch.flat)
        return Rows(shape[:-1], shape[-1])

    def place(self, index: IndexMath, outer: Place, position: Index, shape: tuple[int, ...]) -> Place:
        if self.linear:
            return index.delinearize(position, shape)
        return (*outer, position) if shape else ()


class MapFamily:
    name: ClassVar[str] = "map"
    schedule: ClassVar[type[Schedule]] = MapSchedule
    symbolic: ClassVar[bool] = True

    def match(self, dispatch: Dispatch, target: Target) -> bool:
        return all(shape_of(r) == shape_of(dispatch.results[0]) for r in dispatch.results)

    def space(self, dispatch: Dispatch, target: Target) -> Iterable[MapSchedule]:
        rows = Rows.of(dispatch)
        widest = max(
            byte_size(element_of(v))
            for v in (*dispatch.results, *dispatch.arguments)
            if shape_of(v) or v in dispatch.results
        )
        longest = max(high(rows.inner), 1)
        best = min(target.lanes(max(widest, 4)), 1 << longest.bit_length() - 1)
        if rows.linear:
            best = 1
        for lanes in (best, 1) if best > 1 else (1,):
            chunk = max(lanes, min(longest, 4096) // lanes * lanes)
            heavy = 64 if dispatch.reductions else 1
            elements = min(max(typical(rows.inner), 1), chunk)
            yield MapSchedule(lanes, chunk, max(1, 16384 // heavy // elements))

    def legal(self, dispatch: Dispatch, schedule: MapSchedule, target: Target) -> list[str]:
        if reasons := too_many_lanes(schedule.lanes):
            return reasons
        if schedule.lanes > 1 and self._scatters(dispatch, schedule, target):
            return ["the last dimension is not contiguous in some operand"]
        return []

    def cost(self, dispatch: Dispatch, schedule: MapSchedule, target: Target) -> float:
        return typical(dispatch.elements) / schedule.lanes * 1e-9

    def emit(self, dispatch: Dispatch, schedule: MapSchedule, target: Target, name: str) -> KernelCode:
        return self._emit(dispatch, schedule, name)[0]

    def _scatters(self, dispatch: Dispatch, schedule: MapSchedule, target: Target) -> bool:
        """Write it once into a module that is thrown away, and see whether an access had to be split."""
        scratch = ir.Module.create()
        with ir.InsertionPoint(scratch.body):
            return self._emit(dispatch, schedule, "scratch")[1] > 0

    def _emit(self, dispatch: Dispatch, schedule: MapSchedule, name: str) -> tuple[KernelCode, int]:
        rows = Rows.of(dispatch)
        chunks = -(-rows.inner // schedule.chunk) if rows.inner else 0
        units = math.prod(rows.outer) * chunks
        with cpu_kernel(dispatch, name) as kernel:
            scattered = _units(kernel, rows, schedule, chunks, units)
        return KernelCode((-(-units // schedule.units), 1, 1)), scattered


def _units(kernel: CpuKernel, rows: Rows, schedule: MapSchedule, chunks: Dim, units: Dim) -> int:
    """Loop over this workgroup's units; returns how many accesses were split into lanes."""
    wide, narrow = kernel.evaluator(schedule.lanes), kernel.evaluator()
    index = narrow.index
    if not units:
        return 0
    first = index.scale(Index(kernel.workgroup), schedule.units)
    last = index.minimum(index.offset(first, schedule.units), units)
    with narrow.loop(index.scalar(first.base), index.scalar(last.base), 1) as (unit, _, _done):
        row, chunk = index.divmod(unit, chunks)
        outer = index.delinearize(row, rows.outer)
        start = index.scale(chunk, schedule.chunk)
        stop = index.minimum(index.offset(start, schedule.chunk), rows.inner)
        _run(kernel, rows, outer, start, stop, wide, narrow)
    return wide.memory.scattered


def _run(kernel: CpuKernel, rows: Rows, outer: Place, start: Index, stop: Index, wide, narrow) -> None:
    """The elements start..stop of one row: whole lane groups, then one by one."""
    index, lanes = narrow.index, wide.index.lanes
    shape = shape_of(kernel.dispatch.results[0])
    begin, end = index.scalar(start.base), index.scalar(stop.base)
    if lanes > 1:
        count = arith.SubIOp(end, begin).result
        whole = arith.AddIOp(begin, arith.AndIOp(count, index.constant(-lanes)).result).result
        with wide.loop(begin, whole, lanes, multiple=lanes) as (position, _, _done):
            _store(kernel, wide, rows.place(index, outer, Index(position.base, 1, lanes), shape))
        begin = whole
        if rows.inner % lanes == 0:
            return
    with narrow.loop(begin, end, 1) as (position, _, _done):
        _store(kernel, narrow, rows.place(index, outer, position, shape))


def _store(kernel: CpuKernel, evaluator, place: Place) -> None:
    for result, buffer in zip(kernel.dispatch.results, kernel.outputs, strict=True):
        evaluator.memory.store(buffer, place, evaluator.at(result, place))
