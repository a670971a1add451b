"""The GPU of this machine as a bench: dispatches with their operands and reference, kernels checked and timed."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from lumir.artifact.plan import Plan
from lumir.measure.compare import Error, WrongResult, check_result, tolerance_of
from lumir.measure.kernel import CompiledDispatch
from lumir.measure.operands import Operands, random_inputs
from lumir.measure.reference import Reference
from lumir.measure.timing import Timing, calls_in_graph, time_together
from lumir.runtime.cuda_clock import Stopwatch
from lumir.runtime.cuda_driver import call
from lumir.runtime.cuda_gpu import Gpu
from lumir.runtime.cuda_launch import Launcher
from lumir.runtime.cuda_memory import current, release_with


class Bench:
    """One GPU, and what is measured on it.

    Raises:
        UserError: `no-gpu`, `no-cuda-bindings`, `old-driver`.
    """

    def __init__(self, ordinal: int = 0):
        self.gpu = Gpu(ordinal)

    def case(self, text: str, seed: int = 0, sets: int | None = None) -> "Case":
        """A dispatch in lumir ops, with random operands.

        Args:
            sets: of operands; by default as many as the L2 cache cannot hold.
        """
        return Case(self, Reference(text), seed, sets)

    def copy_rate(self, nbytes: int = 1 << 30) -> float:
        """Bytes a second, read and written, of the driver's copy within the GPU's memory."""
        from lumir.measure.ceiling import copy_rate

        return copy_rate(self.gpu, nbytes)


class Case:
    """One dispatch on a bench. Its operands are made once, for every kernel that is tried on them.

    Args:
        reference: the dispatch, as the interpreter computes it.
    """

    def __init__(self, bench: Bench, reference: Reference, seed: int, sets: int | None):
        self.gpu, self.reference, self._sets, self._seed = bench.gpu, reference, sets, seed

    @cached_property
    def inputs(self) -> list[np.ndarray]:
        """What every kernel is given; others may be set before anything runs."""
        return random_inputs(self.reference.inputs, self._seed)

    def set_inputs(self, inputs: Sequence[np.ndarray]) -> None:
        """Use these arrays in place of random ones; before anything runs."""
        self.inputs = list(inputs)

    @cached_property
    def operands(self) -> Operands:
        plan = Plan(self.reference.inputs, self.reference.outputs, ())
        with current(self.gpu.context):
            return Operands(self.gpu.context, plan, self.inputs, self.gpu.l2_bytes, self._sets)

    @cached_property
    def expected(self) -> list[np.ndarray]:
        """The results in float64, of the sampled rows only where the dispatch is large."""
        return self.reference.evaluate(self.inputs)

    def make_ready(self) -> None:
        """Make operands and expected results now, rather than when they are first needed."""
        assert self.operands and self.expected

    def prepare(self, kernel: CompiledDispatch) -> "Loaded":
        """Load a kernel for this case.

        Raises:
            UserError: `bad-ptx`, `wrong-target`.
        """
        with current(self.gpu.context):
            return Loaded(self, kernel)

    def results(self, kernel: "CompiledDispatch | Loaded") -> list[np.ndarray]:
        """What a kernel leaves in its outputs, which were poisoned before, whole.

        Raises:
            WrongResult: it wrote outside its outputs.
        """
        loaded = self._run(kernel)
        with current(self.gpu.context):
            self.operands.check_guards()
            loaded.scratch.check_counters()
            return [self.operands.output(i) for i in range(len(self.reference.outputs))]

    def check(self, kernel: "CompiledDispatch | Loaded", whole: bool = False, tolerance: float | None = None) -> Error:
        """Run a kernel once on poisoned outputs and hold it against the reference.

        Args:
            whole: also look for places that were not written, in all of the outputs, and run again for the same bits.

        Returns:
            the largest error of its results.

        Raises:
            WrongResult: also where it wrote outside its outputs.
        """
        loaded = self._run(kernel)
        with current(self.gpu.context):
            self.operands.check_guards()
            loaded.scratch.check_counters()
            found = [self._sampled(i) for i in range(len(self.expected))]
        errors = [
            check_result(a, b, tolerance or tolerance_of(a.dtype, self.reference.least_tolerance), rounded)
            for a, b, rounded in zip(found, self.expected, self.reference.rounded, strict=True)
        ]
        if whole:
            self._check_whole(loaded)
        return max(errors, key=lambda error: error.relative, default=Error(0.0, 0.0))

    def time(self, kernel: "CompiledDispatch | Loaded", samples: int = 30) -> Timing:
        """The time of one call among many in a CUDA graph, on operands that are not in the L2 cache."""
        loaded = kernel if isinstance(kernel, Loaded) else self.prepare(kernel)
        return time_together([loaded], samples)[0]

    def _run(self, kernel: "CompiledDispatch | Loaded") -> "Loaded":
        loaded = kernel if isinstance(kernel, Loaded) else self.prepare(kernel)
        with current(self.gpu.context):
            self.operands.poison()
            loaded.run_once()
        return loaded

    def _sampled(self, index: int) -> np.ndarray:
        dim = self.reference.result_dims[index]
        if dim is None:
            return self.operands.output(index)
        return self.operands.rows(index, dim, self.reference.rows)

    def _check_whole(self, loaded: "Loaded") -> None:
        with current(self.gpu.context):
            before = [self.operands.output(i) for i in range(len(self.reference.outputs))]
        for array in before:
            unwritten = np.isnan(array).sum() if "float" in array.dtype.name else 0
            if unwritten and not any(np.isnan(wanted).any() for wanted in self.expected if wanted.dtype.kind == "f"):
                raise WrongResult(f"{unwritten} of {array.size} elements were not written, or are NaN")
        for first, second in zip(before, self.results(loaded), strict=True):
            if not np.array_equal(first.reshape(-1).view(np.uint8), second.reshape(-1).view(np.uint8)):
                raise WrongResult("the same inputs gave different bits in a second run")


class Loaded:
    """A kernel on the GPU, for the operands of one case; made with the context current."""

    def __init__(self, case: Case, kernel: CompiledDispatch):
        self.kernel, self._case = kernel, case
        gpu = case.gpu
        self._launcher = Launcher(gpu.load(kernel.kernels, kernel.files), gpu.stream)
        self.scratch = case.operands.scratch(kernel.plan)
        self._watch = Stopwatch(gpu.context, gpu.stream)

    def run_once(self) -> None:
        for launch in self._case.operands.launches(self.kernel.plan, 1):
            self._launcher.enqueue(launch, self._address)
        call("cuStreamSynchronize", self._case.gpu.stream)

    def seconds(self) -> float:
        """Replay the graph; seconds of one call."""
        with current(self._case.gpu.context):
            count, graph = self._graph
            return self._watch.seconds(lambda: call("cuGraphLaunch", graph, self._case.gpu.stream)) / count

    @cached_property
    def _graph(self) -> tuple[int, Any]:
        """Calls on rotating operands, recorded; and their number."""
        self.run_once()
        estimate = self._watch.seconds(self._enqueue_few) / 3
        count = calls_in_graph(estimate, self._case.operands.sets)
        graph = self._launcher.capture(self._case.operands.launches(self.kernel.plan, count), self._address)
        release_with(self, self._case.gpu.context, "cuGraphExecDestroy", graph)
        return count, graph

    def _enqueue_few(self) -> None:
        for launch in self._case.operands.launches(self.kernel.plan, 3):
            self._launcher.enqueue(launch, self._address)

    def _address(self, ref: Any) -> int:
        return self._case.operands.address(ref, self.scratch)
