"""Operands in GPU memory: random, between guard zones, and as many sets of them as the L2 cache cannot hold."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lumir.artifact.dtypes import PACKED_4BIT, byte_size, numpy_dtype, pack_4bit, unpack_4bit
from lumir.artifact.launches import Copy, Launch
from lumir.artifact.plan import Plan
from lumir.artifact.tensors import BufferRef, TensorSpec
from lumir.measure.compare import WrongResult
from lumir.runtime.cuda_driver import call
from lumir.runtime.cuda_memory import DeviceMemory, aligned
from lumir.runtime.memory import address_of

GUARD_BYTES = 4096
POISON = 0xFF
"""Fills outputs and guards before a kernel runs: NaN as any float, -1 as any integer."""
_BLOCK = (1 << 22) + 12289
"""Random elements that are drawn; a longer tensor repeats them, with a period that no tile has."""
_CACHES, _MOST_SETS = 4, 64


def random_tensor(spec: TensorSpec, rng: np.random.Generator) -> np.ndarray:
    """Standard normal floats, integers of -5..5 (all values of 4-bit ones; 0..5 if unsigned), fair coins."""
    dtype, count = numpy_dtype(spec.dtype), int(np.prod(spec.dims))
    drawn = min(count, _BLOCK)
    if dtype.kind == "b":
        block = rng.random(drawn) < 0.5
    elif spec.dtype in PACKED_4BIT and "float" not in spec.dtype:
        block = rng.integers(0 if spec.dtype.startswith("u") else -8, 16 if spec.dtype.startswith("u") else 8, drawn)
    elif dtype.kind in "iu" or "int" in dtype.name:
        block = rng.integers(0 if "uint" in dtype.name else -5, 6, drawn)
    else:
        block = rng.standard_normal(drawn, np.float32)
    block = block.astype(dtype)
    return np.resize(block, count).reshape(spec.dims)


def random_inputs(specs: Sequence[TensorSpec], seed: int) -> list[np.ndarray]:
    """Operands of a dispatch: for the same seed the same in every process."""
    rng = np.random.default_rng(seed)
    return [random_tensor(spec, rng) for spec in specs]


class Operands:
    """Sets of a plan's inputs and outputs in GPU memory, each with the same contents; made with the context current.

    Args:
        inputs: what every set holds.
        sets: how many; by default so many that they take several times the L2 cache.
    """

    def __init__(self, context: Any, plan: Plan, inputs: Sequence[np.ndarray], l2_bytes: int, sets: int | None = None):
        self.plan, self.inputs = plan, list(inputs)
        self._specs = [*plan.inputs, *plan.outputs]
        self._offsets, nbytes = [], GUARD_BYTES
        for spec in self._specs:
            self._offsets.append(nbytes)
            nbytes += aligned(spec.nbytes) + GUARD_BYTES
        data = sum(spec.nbytes for spec in self._specs)
        self.sets = sets or int(np.clip(-(-_CACHES * l2_bytes // max(data, 1)), 1, _MOST_SETS))
        self._stride = nbytes
        self._memory = DeviceMemory(context, nbytes * self.sets, "operands")
        self._lock = threading.Lock()
        self._scratch: dict[tuple[int, int], Scratch] = {}
        self._context = context
        self._fill()

    def _fill(self) -> None:
        self.poison(inputs=True)
        for spec, offset, array in zip(self._specs, self._offsets, self.inputs):
            data = pack_4bit(array) if spec.dtype in PACKED_4BIT else np.ascontiguousarray(array)
            if spec.nbytes:
                call("cuMemcpyHtoD", self._memory.address + offset, address_of(data), spec.nbytes)
        for number in range(1, self.sets):
            target = self._memory.address + number * self._stride
            call("cuMemcpyDtoD", target, self._memory.address, self._stride)
        call("cuCtxSynchronize")

    def poison(self, inputs: bool = False) -> None:
        """Fill the first set's outputs, and with `inputs` all of the set, with what no kernel leaves behind."""
        start = 0 if inputs else self._offset(len(self.plan.inputs)) - GUARD_BYTES
        call("cuMemsetD8", self._memory.address + start, POISON, self._stride - start)
        call("cuCtxSynchronize")

    def launches(self, plan: Plan, count: int) -> Iterator[Launch | Copy]:
        """The launches of `count` calls, each on the next set of operands."""
        for number in range(count):
            for launch in plan.work:
                args = tuple(self._in_set(ref, number % self.sets) for ref in launch.args)
                yield replace(launch, args=args)

    def address(self, ref: BufferRef, scratch: "Scratch") -> int:
        """Where a buffer of `launches` lies."""
        if ref.space in ("arena", "counters"):
            return getattr(scratch, ref.space).address + ref.offset
        number, index = divmod(ref.index, len(self._specs))
        index += len(self.plan.inputs) if ref.space == "output" else 0
        return self._memory.address + number * self._stride + self._offset(index) + ref.offset

    def inputs_of(self, number: int) -> list[tuple[TensorSpec, int]]:
        """The inputs of a set, and where they lie."""
        start = self._memory.address + number * self._stride
        return [(spec, start + offset) for spec, offset in zip(self.plan.inputs, self._offsets)]

    def scratch(self, plan: Plan) -> "Scratch":
        """What a plan needs besides operands and results; kernels that need as much share it."""
        key = plan.arena_bytes, plan.counter_bytes
        with self._lock:
            if key not in self._scratch:
                self._scratch[key] = Scratch(self._context, plan)
            return self._scratch[key]

    def output(self, index: int) -> np.ndarray:
        """An output of the first set, whole."""
        spec = self.plan.outputs[index]
        data = np.empty(spec.nbytes, np.uint8)
        self._copy_out(data, len(self.plan.inputs) + index, 0)
        return _typed(data, spec.dtype, spec.dims)

    def rows(self, index: int, dim: int, rows: np.ndarray) -> np.ndarray:
        """An output of the first set at these places of dimension `dim`."""
        spec = self.plan.outputs[index]
        outer, inner = int(np.prod(spec.dims[:dim])), spec.dims[dim + 1 :]
        if outer * len(rows) > 512 or spec.dtype in PACKED_4BIT:
            return self.output(index).take(rows, dim)
        nbytes = byte_size(spec.dtype, inner)
        data = np.empty((outer, len(rows), nbytes), np.uint8)
        for i in range(outer):
            for j, row in enumerate(rows):
                self._copy_out(data[i, j], len(self.plan.inputs) + index, (i * spec.dims[dim] + int(row)) * nbytes)
        return _typed(data.reshape(-1), spec.dtype, (*spec.dims[:dim], len(rows), *inner))

    def check_guards(self) -> None:
        """Raise `WrongResult` if a kernel wrote outside the outputs of the first set, or into its inputs' guards."""
        for index, spec in enumerate(self._specs):
            end = self._offsets[index] + spec.nbytes
            following = self._offsets[index + 1] if index + 1 < len(self._specs) else self._stride
            guard = np.empty(following - end, np.uint8)
            call("cuMemcpyDtoH", address_of(guard), self._memory.address + end, guard.nbytes)
            if not (guard == POISON).all():
                raise WrongResult(f"the kernel wrote past the end of {spec}")
        guard = np.empty(GUARD_BYTES, np.uint8)
        call("cuMemcpyDtoH", address_of(guard), self._memory.address, guard.nbytes)
        if not (guard == POISON).all():
            raise WrongResult("the kernel wrote before its first buffer")

    def _copy_out(self, data: np.ndarray, index: int, start: int) -> None:
        if data.nbytes:
            source = self._memory.address + self._offsets[index] + start
            call("cuMemcpyDtoH", address_of(data), source, data.nbytes)

    def _offset(self, index: int) -> int:
        return self._offsets[index] if index < len(self._offsets) else self._stride

    def _in_set(self, ref: BufferRef, number: int) -> BufferRef:
        return ref if ref.space in ("arena", "counters") else replace(ref, index=ref.index + number * len(self._specs))


class Scratch:
    """A plan's arena, and its counters, which are zero before and after each launch."""

    def __init__(self, context: Any, plan: Plan):
        self.arena = DeviceMemory(context, plan.arena_bytes, "scratch memory")
        self.counters = DeviceMemory(context, plan.counter_bytes, "counters")
        if plan.arena_bytes:
            call("cuMemsetD8", self.arena.address, POISON, plan.arena_bytes)
        if plan.counter_bytes:
            call("cuMemsetD8", self.counters.address, 0, plan.counter_bytes)
        call("cuStreamSynchronize", 0)  # not the context: another thread may be capturing a graph

    def check_counters(self) -> None:
        """Raise `WrongResult` if a launch did not leave its counters zero."""
        left = np.empty(self.counters.nbytes, np.uint8)
        if left.nbytes:
            call("cuMemcpyDtoH", address_of(left), self.counters.address, left.nbytes)
            call("cuMemsetD8", self.counters.address, 0, left.nbytes)
        if left.any():
            raise WrongResult("the kernel left counters that are not zero")


def _typed(data: np.ndarray, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    if dtype in PACKED_4BIT:
        return unpack_4bit(data, dtype, shape)
    return data.view(numpy_dtype(dtype)).reshape(shape)
