"""Time on a GPU's own clock."""

from collections.abc import Callable
from typing import Any

from lumir.runtime.cuda_driver import call
from lumir.runtime.cuda_memory import release_with


class Stopwatch:
    """Measures work on a stream by events. Its methods want the context current."""

    def __init__(self, context: Any, stream: Any):
        self._stream = stream
        self._events = [call("cuEventCreate", 0) for _ in range(2)]
        for event in self._events:
            release_with(self, context, "cuEventDestroy", event)

    def seconds(self, enqueue: Callable[[], object]) -> float:
        """Enqueue work, wait for it, and return the seconds that it took."""
        before, after = self._events
        call("cuEventRecord", before, self._stream)
        enqueue()
        call("cuEventRecord", after, self._stream)
        call("cuStreamSynchronize", self._stream)
        return call("cuEventElapsedTime", before, after) / 1000
