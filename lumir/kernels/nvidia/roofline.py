"""Estimates of a kernel's time from the bytes it moves and the operations it does, where nothing was measured."""

import math
from dataclasses import dataclass
from functools import cache

from lumir.dtypes import bit_size
from lumir.kernels.dispatch import Dispatch, element_of, shape_of
from lumir.kernels.loop_nest import LoopNest
from lumir.mlir import ir
from lumir.sizes import typical
from lumir.target import Target

Value = ir.Value

LAUNCH_SECONDS = 1.0e-6
"""What a kernel costs beside its work, as one of many in a CUDA graph."""
WORKGROUP_SECONDS = 0.62e-9
"""The time between the starts of two workgroups anywhere on the GPU, measured on an H200."""
ACCESS_SECONDS = 0.8e-6
"""From a load of DRAM to its value, on a busy GPU."""
THREADS, REGISTERS, WORKGROUPS = 2048, 65536, 32
"""What a multiprocessor holds."""
SHARED_BYTES_PER_SECOND = 128 * 1.7e9
"""What one multiprocessor reads from its shared memory."""
TRANSCENDENTAL = 20
"""Instructions of an expanded exponential, logarithm, ... relative to one addition."""


@dataclass(frozen=True)
class Speeds:
    """Peak rates: bytes a second of DRAM, and instructions of one lane a second over all multiprocessors."""

    bytes: float
    instructions: float


_SPEEDS = {
    "sm_80": Speeds(1.9e12, 9.7e12),
    "sm_86": Speeds(0.76e12, 14.9e12),
    "sm_89": Speeds(1.0e12, 41e12),
    "sm_90a": Speeds(4.3e12, 33e12),
    "sm_100a": Speeds(7.5e12, 37e12),
    "sm_120": Speeds(1.7e12, 52e12),
}


def speeds(target: Target) -> Speeds:
    return _SPEEDS.get(target.arch, _SPEEDS["sm_80"])


@dataclass(frozen=True)
class Traffic:
    """What a kernel moves, and how.

    Args:
        read, written: bytes.
        workgroups, block: how many, of how many threads.
        in_flight: bytes of loads that a thread has under way at once.
        efficiency: the part of the peak bandwidth that accesses of this kind can reach.
        registers: that a thread needs.
    """

    read: float
    written: float
    workgroups: int
    block: int
    in_flight: float
    efficiency: float = 1.0
    registers: int = 32

    def resident(self, target: Target) -> int:
        """Threads that run at once."""
        most = min(THREADS, REGISTERS // self.registers, WORKGROUPS * self.block)
        return min(self.workgroups * self.block, target.multiprocessors * most)

    def seconds(self, target: Target) -> float:
        """The longest of moving the bytes, waiting for loads with too few under way, and starting workgroups."""
        spread = min(1.0, 1.5 * max(self.workgroups, 1) / target.multiprocessors)
        peak = (self.read + self.written) / (speeds(target).bytes * self.efficiency * spread)
        waiting = ACCESS_SECONDS * max(1.0, self.read / max(self.resident(target) * self.in_flight, 1))
        return max(peak, waiting, self.workgroups * WORKGROUP_SECONDS)


def compute_seconds(instructions: float, threads: float, target: Target) -> float:
    """The time for that many instructions spread over the threads, a quarter of a full GPU's threads being enough."""
    busy = min(1.0, max(threads, 1) / (target.multiprocessors * THREADS / 4))
    return instructions / (speeds(target).instructions * busy)


def buffer_bytes(tensor: Value) -> float:
    return typical(math.prod(shape_of(tensor))) * bit_size(element_of(tensor)) / 8


def read_bytes(dispatch: Dispatch) -> float:
    """Bytes if every argument is read once."""
    return sum(buffer_bytes(v) for v in dispatch.arguments)


def moved_bytes(dispatch: Dispatch) -> float:
    """Bytes if every argument is read once and every result written once."""
    return read_bytes(dispatch) + sum(buffer_bytes(v) for v in dispatch.results)


def operations_in(nest: LoopNest) -> int:
    """Instructions of one iteration of the body, roughly."""
    names = (op.operation.name for op in nest.block.operations if op.operation.name not in _FREE)
    return sum(TRANSCENDENTAL if name.startswith("math.") and name not in _CHEAP else 1 for name in names)


_FREE = frozenset(["linalg.yield", "arith.constant"])
_CHEAP = frozenset(
    ["math.absf", "math.fma", "math.floor", "math.ceil", "math.roundeven", "math.trunc", "math.copysign", "math.absi"]
)


def element_operations(dispatch: Dispatch) -> float:
    """Instructions for one element of every result when all that it depends on is computed for it alone."""

    @cache
    def of(tensor: Value) -> float:
        if isinstance(tensor.owner, ir.Block):
            return 1.0
        if tensor.owner.name != "linalg.generic":
            return 1 + sum(of(v) for v in tensor.owner.operands if isinstance(v.type, ir.RankedTensorType))
        nest = LoopNest.of(tensor.owner)
        iterations = typical(math.prod(nest.sizes[d] for d in nest.reductions))
        return iterations * (operations_in(nest) + sum(of(v) for v in nest.inputs))

    return sum(of(result) for result in dispatch.results)


def access_efficiency(width: int) -> float:
    """The part of the memory bandwidth that accesses of `width` bytes a thread reach."""
    return {1: 0.5, 2: 0.85, 4: 0.95}.get(width, 1.0)
