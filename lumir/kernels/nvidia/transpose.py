"""NVIDIA family `transpose`: element-wise operations whose operands lie along another dimension than their results.

A workgroup takes a tile of the two dimensions: `slow`, which the turned operands lie along, and `fast`, which the
results lie along. It reads the turned operands along the one, puts them into shared memory, and computes and stores
the results along the other. Every access of device memory is then as wide as it can be.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

from lumir.dtypes import byte_size
from lumir.kernels.dispatch import Dispatch, element_of, remembered, shape_of
from lumir.kernels.index import Index, IndexMath, Place
from lumir.kernels.memory import Buffer
from lumir.kernels.nvidia.function import STATIC_SHARED_BYTES, NvidiaKernel, nvidia_kernel
from lumir.kernels.nvidia.guard import only_if
from lumir.kernels.nvidia.mma import all_of, separated
from lumir.kernels.nvidia.programmatic import is_programmatic
from lumir.kernels.nvidia.roofline import LAUNCH_SECONDS, Traffic, buffer_bytes, read_bytes
from lumir.kernels.nvidia.transpose_plan import TransposeFacts, core_of, read_places
from lumir.mlir import arith, ir
from lumir.schedule.family import KernelCode
from lumir.schedule.schedule import Schedule
from lumir.target import Target

Value = ir.Value


@dataclass(frozen=True)
class TransposeSchedule(Schedule):
    """How the tiles are cut.

    Args:
        slow, fast: elements of a tile along the dimension that is read along, and the one that is stored along.
        block: threads of a workgroup.
    """

    slow: int = 64
    fast: int = 64
    block: int = 256


class TransposeFamily:
    name: ClassVar[str] = "transpose"
    schedule: ClassVar[type[Schedule]] = TransposeSchedule

    def match(self, dispatch: Dispatch, target: Target) -> bool:
        """Element-wise operations over one shape, with operands that lie along one other dimension of it."""
        return not dispatch.writes_packed and TransposeFacts.of(dispatch) is not None

    def space(self, dispatch: Dispatch, target: Target) -> Iterable[TransposeSchedule]:
        every = [TransposeSchedule(s, f, b) for s in (32, 64, 128) for f in (32, 64, 128) for b in (128, 256, 512)]
        legal = [s for s in every if not self.legal(dispatch, s, target)]
        return sorted(legal, key=lambda s: (self.cost(dispatch, s, target), s.block))

    def legal(self, dispatch: Dispatch, schedule: TransposeSchedule, target: Target) -> list[str]:
        reasons, facts = [], _facts(dispatch)
        if schedule.block % 32 or not 32 <= schedule.block <= 1024:
            reasons.append(f"a workgroup has 32 to 1024 threads in whole warps, not {schedule.block}")
        if any(size % lanes or size & (size - 1) for size, lanes in zip((schedule.slow, schedule.fast), facts.along)):
            reasons.append("a tile's sides are powers of two, and whole accesses")
        if (shared := _shared_bytes(facts, schedule)) > STATIC_SHARED_BYTES:
            reasons.append(f"{shared} bytes of shared memory, of {STATIC_SHARED_BYTES}")
        if _tiles(facts, schedule) >= 2**31:
            reasons.append("more than 2**31 workgroups")
        return reasons

    def cost(self, dispatch: Dispatch, schedule: TransposeSchedule, target: Target) -> float:
        """The bytes of whole tiles, with so many under way, and a little for every exchange."""
        facts, read = _facts(dispatch), remembered(dispatch, "read_bytes", read_bytes)
        tiles, area = _tiles(facts, schedule), schedule.slow * schedule.fast
        waste = tiles * area / math.prod(facts.shape)
        each = area / schedule.block
        traffic = Traffic(
            read=read * waste,
            written=sum(buffer_bytes(r) for r in dispatch.results) * waste,
            workgroups=tiles,
            block=schedule.block,
            in_flight=max(each, facts.along[0]) * sum(byte_size(element_of(v)) for v in facts.turned),
            efficiency=0.9 * min(_line(schedule.slow, facts.turned), _line(schedule.fast, dispatch.results)),
            registers=40,
        )
        return LAUNCH_SECONDS + traffic.seconds(target) + 0.3e-6

    def emit(self, dispatch: Dispatch, schedule: TransposeSchedule, target: Target, name: str) -> KernelCode:
        facts, programmatic = _facts(dispatch), is_programmatic(target)
        with nvidia_kernel(dispatch, name, schedule.block, programmatic=programmatic) as kernel:
            TileWriter(kernel, facts, schedule).write()
        return KernelCode((_tiles(facts, schedule), 1, 1), schedule.block, kernel.shared_bytes, pdl=programmatic)


def _facts(dispatch: Dispatch) -> TransposeFacts:
    facts = TransposeFacts.of(dispatch)
    assert facts is not None
    return facts


def _line(elements: int, tensors: Iterable[Value]) -> float:
    """The part of the bandwidth that lines of so many elements reach."""
    width = elements * min(byte_size(element_of(v)) for v in tensors)
    return min(1.0, 0.6 + 0.4 * width / 128)


def _sides(facts: TransposeFacts, schedule: TransposeSchedule) -> tuple[int, int]:
    """Tiles along the slow and the fast dimension."""
    slow, fast = facts.extents
    return -(-slow // schedule.slow), -(-fast // schedule.fast)


def _tiles(facts: TransposeFacts, schedule: TransposeSchedule) -> int:
    return math.prod(facts.outer) * math.prod(_sides(facts, schedule))


def _shared_bytes(facts: TransposeFacts, schedule: TransposeSchedule) -> int:
    return schedule.slow * schedule.fast * sum(byte_size(element_of(v)) for v in facts.turned)


class TileWriter:
    """Writes the code of one workgroup.

    In shared memory a tile is [slow, fast]. Groups of the elements that are read back at once are permuted in each
    line by the line's number among those that are written at once: then both directions meet all banks.
    """

    def __init__(self, kernel: NvidiaKernel, facts: TransposeFacts, schedule: TransposeSchedule):
        self.kernel, self.facts, self.schedule = kernel, facts, schedule
        self.index = IndexMath(kernel.index_type)
        slow, fast = _sides(facts, schedule)
        *outer, slow_tile, fast_tile = self.index.delinearize(kernel.workgroup(), (*facts.outer, slow, fast))
        self.outer = tuple(outer)
        self.start = self.index.scale(slow_tile, schedule.slow), self.index.scale(fast_tile, schedule.fast)
        self.cores = [core_of(result) for result in kernel.dispatch.results]

    def write(self) -> None:
        tiles = [self._turn(leaf) for leaf in self.facts.turned]
        self.kernel.barrier()
        self._store(dict(zip(self.facts.turned, tiles, strict=True)))

    def _units(self, lines: int, per_line: int) -> Iterator[tuple[Index, Index]]:
        """(line, group in it) for each access of this thread; past the last one it is done again."""
        index, units = self.index, lines * per_line
        for first in range(0, units, self.kernel.block):
            unit = index.offset(self.kernel.thread(), first)
            unit = index.minimum(unit, units - 1) if units - first < self.kernel.block else unit
            yield index.divmod(unit, per_line)

    def _turn(self, leaf: Value) -> Buffer:
        """Read an operand's tile along the slow dimension; write it to shared memory."""
        lanes, (slow, fast) = self.facts.along[0], (self.schedule.slow, self.schedule.fast)
        tile, wide, loaded = self.kernel.shared((slow * fast,), element_of(leaf)), self.kernel.evaluator(lanes), []
        for line, group in self._units(fast, slow // lanes):
            local = self.index.scale(group, lanes)
            (at,) = set(read_places(self.kernel.evaluator(lanes), leaf, self.cores, self._place(local, line, lanes, 0)))
            loaded.append((line, local, wide.at(leaf, at)))
        for line, local, value in loaded:
            self._put(tile, line, local, value)
        return tile

    def _put(self, tile: Buffer, line: Index, local: Index, value: Value) -> None:
        """Write lanes along the slow dimension, each to a line of its own."""
        narrow = self.kernel.evaluator()
        for lane, element in enumerate(separated(value)):
            at = self._in_tile(self.index.offset(local, lane), line)
            narrow.memory.store(tile, (at,), element)

    def _in_tile(self, slow: Index, fast: Index) -> Index:
        """Where an element stands in shared memory."""
        index, (read, stored), columns = self.index, self.facts.along, self.schedule.fast
        group, inside = index.divmod(fast, stored)
        key = index.divmod(index.divmod(slow, read)[0], columns // stored)[1]
        turned = Index(arith.XOrIOp(index.scalar(group.base), index.scalar(key.base)).result)
        return index.add(index.add(index.scale(slow, columns), index.scale(turned, stored)), inside)

    def _place(self, slow: Index, fast: Index, lanes: int, direction: int) -> Place:
        """The place in the results of local positions, the one that lanes run along being number `direction`.

        Past the end the last one is taken again.
        """
        at = []
        sides = (self.schedule.slow, self.schedule.fast)
        for i, (start, local) in enumerate(zip(self.start, (slow, fast), strict=True)):
            each, extent = (lanes if i == direction else 1), self.facts.extents[i]
            position = self.index.add(start, local)
            if extent % sides[i]:
                position = self.index.minimum(position, extent - each)
            step = int(each > 1)
            at.append(Index(position.base, step, math.gcd(position.multiple, each) if step else position.multiple))
        return self.facts.place(self.outer, at[0], at[1])

    def _store(self, tiles: dict[Value, Buffer]) -> None:
        """Compute the results along the fast dimension, with the turned operands out of shared memory."""
        lanes, (slow, fast) = self.facts.along[1], (self.schedule.slow, self.schedule.fast)
        for line, group in self._units(slow, fast // lanes):
            local = self.index.scale(group, lanes)
            wide = self.kernel.evaluator(lanes)
            with only_if(all_of(self._inside(line, local)), wide):
                at = self._in_tile(line, local)
                for leaf, tile in tiles.items():
                    value = wide.memory.load(tile, (Index(at.base, int(lanes > 1), lanes),))
                    wide.bind(leaf, lambda _place, value=value: value)
                place = self._place(line, local, lanes, 1)
                for core, buffer in zip(self.cores, self.kernel.outputs, strict=True):
                    shaped = Buffer(buffer.pointer, shape_of(core), buffer.element, buffer.alignment)
                    wide.memory.store(shaped, place, wide.at(core, place))

    def _inside(self, slow: Index, fast: Index) -> list[Value]:
        sides = (self.schedule.slow, self.schedule.fast)
        checks = zip(self.start, (slow, fast), self.facts.extents, sides, strict=True)
        return [
            self.index.below(self.index.add(start, local), extent)
            for start, local, extent, side in checks
            if extent % side
        ]
