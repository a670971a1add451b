"""Launches of a plan on a stream: one after another, or recorded into a CUDA graph."""

import contextlib
from collections.abc import Callable, Iterable
from typing import Any

from lumir.artifact.launches import Copy, Launch
from lumir.artifact.tensors import BufferRef
from lumir.diagnostics import LumirError
from lumir.runtime.cuda_driver import call, enum
from lumir.runtime.cuda_gpu import Code
from lumir.runtime.cuda_kernel import launch_kernel

Address = Callable[[BufferRef], int]
"""Where a buffer lies in GPU memory."""


class Launcher:
    """Enqueues what a plan lists. Its methods want the GPU's context current.

    Args:
        code: the plan's kernels, loaded.
    """

    def __init__(self, code: Code, stream: Any):
        self._code, self._stream = code, stream

    def enqueue(self, launch: Launch | Copy, address: Address) -> None:
        addresses = [address(ref) for ref in launch.args]
        if isinstance(launch, Copy):
            if launch.nbytes:
                call("cuMemcpyDtoDAsync", addresses[1], addresses[0], launch.nbytes, self._stream)
            return
        if not launch.workgroups:
            return
        entry = self._code.kernels[launch.kernel]
        function, nodes = self._code.functions[launch.kernel], ", ".join(launch.nodes)
        maps, scalars, stream = launch.tensor_maps, launch.scalars, self._stream
        launch_kernel(function, entry, launch.grid, maps, addresses, scalars, stream, kernel=launch.kernel, nodes=nodes)

    def capture(self, launches: Iterable[Launch | Copy], address: Address) -> Any:
        """Record launches into one executable graph, which is the caller's to destroy."""
        mode = enum("CUstreamCaptureMode", "CU_STREAM_CAPTURE_MODE_THREAD_LOCAL")
        call("cuStreamBeginCapture", self._stream, mode)
        try:
            for launch in launches:
                self.enqueue(launch, address)
        except LumirError:
            with contextlib.suppress(LumirError):  # the stream must leave the capture; what broke it is the news
                call("cuStreamEndCapture", self._stream)
            raise
        graph = call("cuStreamEndCapture", self._stream)
        try:
            return call("cuGraphInstantiate", graph, 0)
        finally:
            call("cuGraphDestroy", graph)
