"""The peer of a benchmark: what torch offers, timed as ours is, in the same process and on the same numbers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lumir.artifact.dtypes import PACKED_4BIT, numpy_dtype
from lumir.artifact.tensors import TensorSpec
from lumir.measure.compare import Error, error_of
from lumir.measure.operands import Operands
from lumir.measure.suite.benchmark import Peer
from lumir.measure.timing import calls_in_graph


def torch_or_none() -> Any:
    """torch with a GPU, or None: lumir does not need it."""
    try:
        import torch  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    return torch if torch.cuda.is_available() else None


@dataclass(frozen=True)
class _Memory:
    """GPU memory as other libraries take it: https://numba.readthedocs.io/en/stable/cuda/cuda_array_interface.html"""

    __cuda_array_interface__: dict[str, Any]


def tensor_at(torch: Any, spec: TensorSpec, address: int) -> Any:
    """What lies in GPU memory, as torch's tensor; two integers of 4 bits are a byte."""
    dtype, packed = numpy_dtype(spec.dtype), spec.dtype in PACKED_4BIT
    shape = (*spec.dims[:-1], spec.dims[-1] // 2) if packed else tuple(spec.dims)
    common = dtype.isbuiltin == 1  # what only ml_dtypes knows goes as integers of its size
    kind = dtype.str if common else {1: "|u1", 2: "<i2"}[dtype.itemsize]
    memory = _Memory({"shape": shape, "typestr": kind, "data": (address, False), "version": 3})
    tensor = torch.as_tensor(memory, device="cuda")
    return tensor if common or packed else tensor.view(getattr(torch, spec.dtype))


def peer_calls(torch: Any, peer: Peer, operands: Operands, sets: int | None = None) -> list[Callable[[], Any]]:
    """A peer's call on each of the sets that ours is called on, or on the first so many."""
    places = [operands.inputs_of(number) for number in range(sets or operands.sets)]
    return [peer(torch, *(tensor_at(torch, *place) for place in inputs)) for inputs in places]


class PeerReplay:
    """Calls of torch's, in turns, recorded into a CUDA graph.

    Each set's results are kept until its next turn, so that what is written rotates past the L2 cache as what is read
    does.

    Raises:
        Exception: of whatever type torch raises where it cannot run the operation.
    """

    def __init__(self, torch: Any, name: str, calls: Sequence[Callable[[], Any]]):
        self.name, self._torch, self._calls = name, torch, calls
        with torch.no_grad():
            self._record()

    def _record(self) -> None:
        torch = self._torch
        self._events = [torch.cuda.Event(enable_timing=True) for _ in range(2)]
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):  # capture wants warm kernels, and not the default stream
            for call in self._calls:
                self.result = call()
            torch.cuda.synchronize()
            self.result = self._calls[0]()
            self._events[0].record()
            for i in range(3):
                self._calls[i % len(self._calls)]()
            self._events[1].record()
            torch.cuda.synchronize()
        self.count = calls_in_graph(self._events[0].elapsed_time(self._events[1]) / 3000, len(self._calls))
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, stream=stream):
            kept: list[Any] = [None] * len(self._calls)
            for i in range(self.count):
                kept[i % len(kept)] = None
                kept[i % len(kept)] = self._calls[i % len(kept)]()

    def seconds(self) -> float:
        before, after = self._events
        before.record()
        self._graph.replay()
        after.record()
        self._torch.cuda.synchronize()
        return before.elapsed_time(after) / 1000 / self.count

    def error(self, expected: np.ndarray, dim: int | None, rows: np.ndarray) -> Error:
        """The error of its first result against the reference's, which has these rows of dimension `dim`, or all."""
        found = self.result[0] if isinstance(self.result, tuple) else self.result
        if dim is not None:
            found = found.index_select(dim, self._torch.from_numpy(rows).cuda())
        return error_of((found.float() if "bfloat16" in str(found.dtype) else found).detach().cpu().numpy(), expected)


def matrix_rate(torch: Any, size: int = 8192) -> float:
    """Operations a second of cuBLAS on a large product of random bfloat16."""
    x, w = (torch.randn(size, size, dtype=torch.bfloat16, device="cuda") for _ in range(2))
    replay = PeerReplay(torch, "cublas", [lambda: torch.nn.functional.linear(x, w)])
    times = sorted(replay.seconds() for _ in range(7))
    return 2 * size**3 / times[3]
