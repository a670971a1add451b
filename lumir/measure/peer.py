"""The peer of a benchmark: what torch offers, timed as ours is, in the same process and on the same numbers."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lumir.measure.compare import Error, error_of
from lumir.measure.suite.benchmark import Peer
from lumir.measure.timing import calls_in_graph


def torch_or_none() -> Any:
    """torch with a GPU, or None: lumir does not need it."""
    try:
        import torch  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    return torch if torch.cuda.is_available() else None


def to_torch(torch: Any, array: np.ndarray) -> Any:
    """A copy on the GPU."""
    shorts = {"bfloat16": torch.bfloat16, "float8_e4m3fn": torch.float8_e4m3fn, "float8_e5m2": torch.float8_e5m2}
    if array.dtype.name in shorts:
        bits = array.view(np.int16 if array.dtype.itemsize == 2 else np.uint8)
        return torch.from_numpy(bits.copy()).cuda().view(shorts[array.dtype.name])
    return torch.from_numpy(array.astype(np.uint8) if "int4" in array.dtype.name else array.copy()).cuda()


def to_numpy(tensor: Any) -> np.ndarray:
    """A copy on the host, of a type that numpy has; bfloat16 widened."""
    tensor = tensor.detach()
    return (tensor.float() if "bfloat16" in str(tensor.dtype) else tensor).cpu().numpy()


def peer_calls(torch: Any, peer: Peer, inputs: Sequence[np.ndarray], sets: int) -> list[Callable[[], Any]]:
    """A peer's call on each of so many sets of the same operands."""
    operands = [[to_torch(torch, array) for array in inputs]]
    operands += [[tensor.clone() for tensor in operands[0]] for _ in range(sets - 1)]
    return [peer(torch, *tensors) for tensors in operands]


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

    def error(self, expected: np.ndarray, taken: Callable[[np.ndarray], np.ndarray]) -> Error:
        """The error of its result against the reference's.

        Args:
            taken: picks of a whole result what the reference has of it.
        """
        return error_of(taken(to_numpy(self.result)), expected)


def matrix_rate(torch: Any, size: int = 8192) -> float:
    """Operations a second of cuBLAS on a large product of random bfloat16."""
    x, w = (torch.randn(size, size, dtype=torch.bfloat16, device="cuda") for _ in range(2))
    replay = PeerReplay(torch, "cublas", [lambda: torch.nn.functional.linear(x, w)])
    times = sorted(replay.seconds() for _ in range(7))
    return 2 * size**3 / times[3]
