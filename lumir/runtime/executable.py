"""An artifact, loaded on a device and ready to run."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lumir.artifact.read import Artifact
from lumir.artifact.tensors import TensorSpec
from lumir.diagnostics import UserError
from lumir.runtime.inputs import Tensor, check_tensor, choose_plan, match_names, to_tensor
from lumir.runtime.latency import Latency, measure
from lumir.runtime.lists import gathered, spread
from lumir.runtime.pool import check_threads
from lumir.runtime.session import Device, LaunchResult, Session


class Executable:
    """A model that runs.

    Safe to call from several threads: runs of one executable follow one another.

    Args:
        artifact: an open artifact.
        device: the device that holds its code and weights.
    """

    def __init__(self, artifact: Artifact, device: Device):
        self.artifact, self.device = artifact, device
        self._sessions: dict[int, Session] = {}
        self._lock = threading.Lock()

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The model's inputs; a dimension that differs between plans is a symbol's name."""
        return self.artifact.manifest.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The model's outputs, in the model's order."""
        return self.artifact.manifest.outputs

    def run(self, inputs: Mapping[str, Any], *, out: Mapping[str, np.ndarray] | None = None) -> dict[str, Any]:
        """Run the model once.

        Args:
            inputs: a numpy or ml_dtypes array, or anything with `__dlpack__`, for each input's name. Arrays that are
                dense and start on a multiple of 64 bytes are read in place, others are copied. A list of them for a
                sequence; None, or nothing, for an optional that the model was compiled without.
            out: arrays to write outputs into, by name: dense, of the output's type and shape.

        Returns:
            The outputs by name: arrays, lists of arrays for sequences, None for an optional without value.

        Raises:
            UserError: `input-list`, `input-type`, `unknown-input`, `missing-input`, `input-dtype`, `input-rank`,
                `input-shape`, `no-plan`, `input-device`, `bad-out`.
        """
        with self._lock:
            index, tensors = self._bind(inputs)
            specs = self.artifact.plans[index].outputs
            given = [None] * len(specs) if not out else _check_out(out, specs)
            results = self._session(index).run(tensors, given)
        return self._named(index, results)

    def run_device(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """As `run`, but outputs stay in the device's memory: objects with `__dlpack__` (on a CPU, numpy arrays)."""
        with self._lock:
            index, tensors = self._bind(inputs)
            results = self._session(index).run_device(tensors)
        return self._named(index, results)

    def run_each(self, inputs: Mapping[str, Any]) -> Iterator[LaunchResult]:
        """Run launch by launch, and yield after each what it computed: for verification and timing, not for speed."""
        with self._lock:
            index, tensors = self._bind(inputs)
            yield from self._session(index).run_each(tensors)

    def bench(self, inputs: Mapping[str, Any], *, iterations: int = 100, warmup: int = 10) -> Latency:
        """Latency of `run(inputs)`, with its copies and checks."""
        return measure(lambda: self.run(inputs), iterations, warmup)

    def save(self, path: str | Path) -> None:
        """Write the artifact to `path`."""
        self.artifact.save(path)

    def close(self) -> None:
        """Give threads and memory back; the executable cannot run afterwards."""
        with self._lock:
            self._sessions.clear()
            self.device.close()

    def _bind(self, inputs: Mapping[str, Any]) -> tuple[int, list[Tensor]]:
        """The plan to run and its inputs, in order and checked."""
        plans = self.artifact.plans
        inputs = spread(inputs, plans[0].input_lists)
        match_names(inputs, self.inputs)
        tensors = {spec.name: to_tensor(spec.name, inputs[spec.name], self.device.stream) for spec in self.inputs}
        index = choose_plan(plans, tensors)
        return index, [check_tensor(spec, tensors[spec.name]) for spec in plans[index].inputs]

    def _named(self, index: int, results: Sequence[Any]) -> dict[str, Any]:
        plan = self.artifact.plans[index]
        return gathered({spec.name: x for spec, x in zip(plan.outputs, results, strict=True)}, plan.output_lists)

    def _session(self, index: int) -> Session:
        if index not in self._sessions:
            self._sessions[index] = self.device.session(self.artifact.plans[index])
        return self._sessions[index]


def load(
    path: str | Path | Artifact, device: str | None = None, *, threads: int | None = None, verify: bool | None = None
) -> Executable:
    """Load an artifact on the device it was compiled for.

    Args:
        device: `cpu`, `cuda` or `cuda:N`; by default the target's kind, and the first GPU.
        threads: of the CPU; by default `LUMIR_NUM_THREADS`, else all CPUs that the process may use.
        verify: see `Artifact.open`.

    Raises:
        UserError: the file is no sound artifact, or this machine cannot run it (`wrong-target`, `no-gpu`, ...).
    """
    artifact = path if isinstance(path, Artifact) else Artifact.open(path, verify=verify)
    kind = artifact.target["kind"]
    wanted, _, number = (device or kind).partition(":")
    if wanted != kind or (number and (kind == "cpu" or not number.isdecimal())):
        raise UserError(
            f"the artifact was compiled for {kind!r} and cannot be loaded on {device!r}",
            code="wrong-target",
            hint=f"load it on {kind!r}, or compile the model for the other target",
        )
    if kind == "cuda":
        from lumir.runtime.cuda import CudaDevice

        return Executable(artifact, CudaDevice(artifact, int(number or 0)))
    from lumir.runtime.cpu import CpuDevice

    return Executable(artifact, CpuDevice(artifact, check_threads(threads) if threads is not None else None))


def _check_out(out: Mapping[str, np.ndarray], specs: tuple[TensorSpec, ...]) -> list[np.ndarray | None]:
    names = {spec.name for spec in specs}
    for name in out:
        if name not in names:
            raise UserError(f"the model has no output {name!r}", code="bad-out", values={"outputs": sorted(names)})
    for spec in specs:
        array = out.get(spec.name)
        if array is None:
            continue
        found = f"{array.dtype.name}{list(array.shape)}"
        if array.dtype.name != spec.dtype or array.shape != spec.shape:
            raise UserError(f"the array for output {spec.name!r} is {found}, not {spec}", code="bad-out")
        if not array.flags.c_contiguous or not array.flags.writeable:
            raise UserError(f"the array for output {spec.name!r} is not dense and writable", code="bad-out")
    return [out.get(spec.name) for spec in specs]
