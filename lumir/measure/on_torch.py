"""A compiled dispatch on torch's tensors and stream, so that both can be recorded into one of its graphs."""

from typing import Any

from lumir.artifact.launches import Launch
from lumir.measure.bench import Bench
from lumir.measure.kernel import CompiledDispatch
from lumir.measure.operands import Scratch
from lumir.runtime.cuda_kernel import launch_kernel
from lumir.runtime.cuda_memory import current


class TorchKernel:
    """A dispatch of one kernel, loaded as the runtime loads it.

    Args:
        torch: the module, on the same GPU as the bench.
    """

    def __init__(self, torch: Any, bench: Bench, compiled: CompiledDispatch):
        self._torch, self._bench = torch, bench
        (self._launch,) = (step for step in compiled.plan.launches if isinstance(step, Launch))
        with current(bench.gpu.context):
            self._code = bench.gpu.load(compiled.kernels, compiled.files)
            scratch = Scratch(bench.gpu.context, compiled.plan)
        self._scratch = scratch
        extras = [ref for ref in self._launch.args if ref.space in ("arena", "counters")]
        self._extras = [getattr(scratch, ref.space).address + ref.offset for ref in extras]

    def __call__(self, *tensors: Any) -> Any:
        """Launch it on torch's current stream; the last tensor is its result."""
        launch, addresses = self._launch, [*(t.data_ptr() for t in tensors), *self._extras]
        function, entry = self._code.functions[launch.kernel], self._code.kernels[launch.kernel]
        stream = self._torch.cuda.current_stream().cuda_stream
        with current(self._bench.gpu.context):
            launch_kernel(function, entry, launch.grid, launch.tensor_maps, addresses, (), stream)
        return tensors[-1]
