"""Estimates of a kernel's time from the bytes it moves and the operations it does, where nothing was measured."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

from lumir.dtypes import bit_size
from lumir.kernels.dispatch import Dispatch, element_of, shape_of
from lumir.kernels.evaluate import LoopNest
from lumir.mlir import ir
from lumir.target import Target

Value = ir.Value
T = TypeVar("T")

LAUNCH_SECONDS = 2.0e-6
"""From one kernel's end to the next one's first instruction, inside a CUDA graph."""
TRANSCENDENTAL = 20
"""Instructions of an expanded exponential, logarithm, ... relative to one addition."""
THREADS_TO_FILL = 1024
"""Threads of a multiprocessor that keep its memory system busy."""


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


def occupancy(threads: int, target: Target) -> float:
    """The part of the machine's memory parallelism that this many threads can use, 0 to 1."""
    return min(1.0, max(threads, 1) / (target.multiprocessors * THREADS_TO_FILL))


def buffer_bytes(tensor: Value) -> float:
    return math.prod(shape_of(tensor)) * bit_size(element_of(tensor)) / 8


def moved_bytes(dispatch: Dispatch) -> float:
    """Bytes if every argument is read once and every result written once."""
    return sum(buffer_bytes(v) for v in (*dispatch.arguments, *dispatch.results))


def operations_in(nest: LoopNest) -> int:
    """Instructions of one iteration of the body, roughly."""
    names = (op.operation.name for op in nest.block.operations)
    return sum(TRANSCENDENTAL if name.startswith("math.") and name not in _CHEAP else 1 for name in names)


_CHEAP = frozenset(["math.absf", "math.fma", "math.floor", "math.ceil", "math.trunc", "math.copysign", "math.absi"])


def remembered(dispatch: Dispatch, name: str, compute: Callable[[Dispatch], T]) -> T:
    """`compute(dispatch)`, computed once in the dispatch's life: a search asks for it with every schedule."""
    facts = vars(dispatch)
    if name not in facts:
        facts[name] = compute(dispatch)
    return facts[name]


def element_operations(dispatch: Dispatch) -> float:
    """Instructions for one element of every result when all that it depends on is computed for it alone."""

    @cache
    def of(tensor: Value) -> float:
        if isinstance(tensor.owner, ir.Block):
            return 1.0
        if tensor.owner.name != "linalg.generic":
            return 1 + sum(of(v) for v in tensor.owner.operands if isinstance(v.type, ir.RankedTensorType))
        nest = LoopNest.of(tensor.owner)
        iterations = math.prod(nest.sizes[d] for d in nest.reductions)
        return iterations * (operations_in(nest) + sum(of(v) for v in nest.inputs))

    return sum(of(result) for result in dispatch.results)


def access_efficiency(width: int) -> float:
    """The part of the memory bandwidth that accesses of `width` bytes a thread reach."""
    return {1: 0.3, 2: 0.55, 4: 0.85, 8: 0.95}.get(width, 1.0)
