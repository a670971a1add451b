"""Run plans on the CPU: a table of launch records, made once for each plan and walked by native threads."""

import time
from collections.abc import Iterator, Sequence

import numpy as np

from lumir.artifact.dtypes import PACKED_4BIT, byte_size, numpy_dtype, pack_4bit, unpack_4bit
from lumir.artifact.image import HostImage
from lumir.artifact.launches import Copy, Launch
from lumir.artifact.plan import Plan
from lumir.artifact.read import Artifact
from lumir.artifact.tensors import BufferRef, TensorSpec
from lumir.runtime.cpu_features import check_cpu
from lumir.runtime.inputs import Tensor
from lumir.runtime.memory import ALIGNMENT, Arena, LoadedImage, address_of, aligned_copy, aligned_empty, array_at
from lumir.runtime.pool import Pool, default_threads
from lumir.runtime.session import LaunchResult

COPY_CHUNK_BYTES = 256 << 10
CHUNKS_PER_THREAD = 8
"""A thread takes its share of a launch in about this many pieces, so that others can take what it has not begun."""
_RECORD_WORDS = 4


class CpuDevice:
    """An artifact's machine code, weights and arena in this process."""

    name = "cpu"
    stream: int | None = None

    def __init__(self, artifact: Artifact, threads: int | None = None):
        check_cpu(artifact.target)
        files = sorted({entry.file for entry in artifact.manifest.kernels.values()} | {"kernels/host.bin"})
        self.images = {file: LoadedImage(HostImage.from_bytes(artifact.member(file), file)) for file in files}
        self.artifact = artifact
        self.threads = threads or default_threads()
        self.pool = Pool(self.images["kernels/host.bin"], self.threads)
        self.arena = Arena(max(plan.arena_bytes for plan in artifact.plans))
        self.counters = Arena(max(plan.counter_bytes for plan in artifact.plans))
        self.copy_kernel = self.images["kernels/host.bin"].symbol("lumir_copy")

    def session(self, plan: Plan) -> "CpuSession":
        return CpuSession(self, plan)

    def function(self, kernel: str) -> int:
        entry = self.artifact.manifest.kernels[kernel]
        return self.images[entry.file].symbol(entry.symbol)

    def close(self) -> None:
        """Threads end with the last reference to the pool."""


class CpuSession:
    """One plan: `_slots` holds the argument arrays of all launches one after the other, `_records` points into it.

    Slots that hold an input or output are patched at each run; everything else is written once.
    """

    def __init__(self, device: CpuDevice, plan: Plan):
        self._device, self._plan = device, plan
        self._input_dtypes = [numpy_dtype(spec.dtype) for spec in plan.inputs]
        self._output_types = [_storage(spec) for spec in plan.outputs]
        slots: list[int] = []
        patches: list[tuple[int, int, int]] = []
        starts = []
        for launch in plan.work:
            starts.append(len(slots))
            for ref in launch.args:
                if ref.space in ("input", "output"):
                    index = ref.index + (len(plan.inputs) if ref.space == "output" else 0)
                    patches.append((len(slots), index, ref.offset))
                slots.append(self._address(ref))
            slots += launch.scalars if isinstance(launch, Launch) else (launch.nbytes, COPY_CHUNK_BYTES)
        self._slots = np.array(slots, np.int64)
        self._starts = starts
        table = np.array(patches, np.int64).reshape(-1, 3)
        self._patched, self._sources, self._offsets = (np.ascontiguousarray(column) for column in table.T)
        self._pointers = np.zeros(len(plan.inputs) + len(plan.outputs), np.int64)
        self._records = self._make_records()
        self._records_at = address_of(self._records)

    def _address(self, ref: BufferRef) -> int:
        if ref.space in ("arena", "counters"):
            memory = self._device.arena if ref.space == "arena" else self._device.counters
            return memory.address + ref.offset
        if ref.space == "weight":
            return address_of(self._device.artifact.weights[ref.name]) + ref.offset
        return 0

    def _make_records(self) -> np.ndarray:
        records = np.zeros((max(len(self._starts), 1), _RECORD_WORDS), np.int64)
        for i, (launch, start) in enumerate(zip(self._plan.work, self._starts)):
            if isinstance(launch, Copy):
                function, workgroups = self._device.copy_kernel, -(-launch.nbytes // COPY_CHUNK_BYTES)
            else:
                function, workgroups = self._device.function(launch.kernel), launch.workgroups
            chunk = max(1, workgroups // (self._device.threads * CHUNKS_PER_THREAD))
            records[i] = function, address_of(self._slots) + 8 * start, workgroups, chunk
        return records

    def run(self, inputs: Sequence[Tensor], outputs: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        arrays = self._bind(inputs, outputs)
        self._device.pool.run(self._records_at, len(self._starts))
        return self._finish(arrays, outputs)

    def run_device(self, inputs: Sequence[Tensor]) -> list[np.ndarray]:
        return self.run(inputs, [None] * len(self._plan.outputs))

    def _bind(self, inputs: Sequence[Tensor], outputs: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        """Point the launches at the arrays; returns all of them, inputs first, to be kept alive during the run."""
        arrays = [_dense(array, dtype) for array, dtype in zip(inputs, self._input_dtypes)]  # pyright: ignore[reportArgumentType]
        for given, (dtype, shape) in zip(outputs, self._output_types):
            usable = given is not None and _is_usable(given, dtype, shape, arrays)
            arrays.append(given if usable else aligned_empty(dtype, shape))  # pyright: ignore[reportArgumentType]
        self._pointers[:] = [address_of(array) for array in arrays]
        self._slots[self._patched] = self._pointers[self._sources] + self._offsets
        return arrays

    def _finish(self, arrays: list[np.ndarray], outputs: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        results = []
        for array, given, spec in zip(arrays[len(self._input_dtypes) :], outputs, self._plan.outputs):
            if spec.dtype in PACKED_4BIT:
                array = unpack_4bit(array, spec.dtype, spec.dims)
            if given is not None and given is not array:
                given[...] = array
            results.append(array if given is None else given)
        return results

    def read(self, source: BufferRef) -> int:
        return int(array_at(self._address(source), np.dtype(np.int64), ())[()])

    def run_each(self, inputs: Sequence[Tensor]) -> Iterator[LaunchResult]:
        arrays = self._bind(inputs, [None] * len(self._plan.outputs))
        for i, launch in enumerate(self._plan.work):
            start = time.perf_counter()
            self._device.pool.run(self._records_at + 8 * _RECORD_WORDS * i, 1)
            elapsed = (time.perf_counter() - start) * 1e6
            kernel = launch.kernel if isinstance(launch, Launch) else "copy"
            yield LaunchResult(i, kernel, launch.nodes, self._results(i, launch), elapsed)
        del arrays

    def _results(self, index: int, launch: Launch | Copy) -> dict[str, np.ndarray]:
        results = launch.results if isinstance(launch, Launch) else ()
        tensors = {}
        for result in results:
            address = int(self._slots[self._starts[index] + result.arg])
            if result.dtype in PACKED_4BIT:
                packed = array_at(address, np.dtype(np.uint8), (byte_size(result.dtype, result.shape),))
                tensors[result.name] = unpack_4bit(packed, result.dtype, result.shape)
            else:
                tensors[result.name] = array_at(address, numpy_dtype(result.dtype), result.shape).copy()
        return tensors


def _storage(spec: TensorSpec) -> tuple[np.dtype, tuple[int, ...]]:
    """The type and shape of an output's bytes: 4-bit types are packed bytes."""
    if spec.dtype in PACKED_4BIT:
        return np.dtype(np.uint8), (spec.nbytes,)
    return numpy_dtype(spec.dtype), spec.dims


def _is_usable(given: np.ndarray, dtype: np.dtype, shape: tuple[int, ...], others: Sequence[np.ndarray]) -> bool:
    """Can kernels write to an array of the caller's? It must be aligned and apart from every other argument."""
    if given.dtype != dtype or given.shape != shape or address_of(given) % ALIGNMENT:
        return False
    return not any(np.may_share_memory(given, other) for other in others)


def _dense(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The array as kernels take it: dense, aligned, 4-bit types packed; copied only when it is not so already."""
    if dtype.name in PACKED_4BIT:
        array = pack_4bit(array)
    if array.flags.c_contiguous and address_of(array) % ALIGNMENT == 0:
        return array
    return aligned_copy(array)
