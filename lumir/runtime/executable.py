"""An artifact, loaded on a device and ready to run."""

import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lumir.artifact.plan import Plan
from lumir.artifact.read import Artifact
from lumir.artifact.tensors import TensorSpec
from lumir.diagnostics import UserError
from lumir.runtime.inputs import Tensor, check_tensor, choose_plan, match_names, to_tensor
from lumir.runtime.latency import Latency, measure
from lumir.runtime.lists import cut, gathered, spread
from lumir.runtime.parts import PartedSession
from lumir.runtime.pool import check_threads
from lumir.runtime.session import Device, LaunchResult, Session

SESSIONS = 32
"""Shapes that an executable keeps prepared: launch records, or a CUDA graph, for each."""


@dataclass(frozen=True)
class Bound:
    """A plan for given sizes, and what runs it."""

    plan: Plan
    session: Session

    def named(self, results: Sequence[Any], whole: bool = False) -> dict[str, Any]:
        """The results by name; unless they are wanted `whole`, those whose shape is computed are cut to it."""
        found = {spec.name: x for spec, x in zip(self.plan.outputs, results, strict=True)}
        return gathered(found if whole else cut(found, self.plan.output_shapes), self.plan.output_lists)


class Executable:
    """A model that runs.

    Safe to call from several threads: runs of one executable follow one another.

    Args:
        artifact: an open artifact.
        device: the device that holds its code and weights.
    """

    def __init__(self, artifact: Artifact, device: Device):
        self.artifact, self.device = artifact, device
        self._sessions: OrderedDict[tuple, Bound] = OrderedDict()
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
            The outputs by name: arrays, lists of arrays for sequences, None for an optional without value. Where a
            shape depends on the data, the array is the part of a larger one that counts.

        Raises:
            UserError: `input-list`, `input-type`, `unknown-input`, `missing-input`, `input-dtype`, `input-rank`,
                `input-shape`, `size-out-of-range`, `size-conflict`, `no-plan`, `input-device`, `bad-out`.
        """
        with self._lock:
            bound, tensors = self._bind(inputs)
            specs = bound.plan.outputs
            given = [None] * len(specs) if not out else _check_out(out, specs)
            results = bound.session.run(tensors, given)
        return bound.named(results)

    def run_device(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """As `run`, but outputs stay in the device's memory: objects with `__dlpack__` (on a CPU, numpy arrays).

        An output `y` whose shape depends on the data is whole, and how much of it counts is in `y.shape`.
        """
        with self._lock:
            bound, tensors = self._bind(inputs)
            results = bound.session.run_device(tensors)
        return bound.named(results, whole=True)

    def run_each(self, inputs: Mapping[str, Any]) -> Iterator[LaunchResult]:
        """Run launch by launch, and yield after each what it computed: for verification and timing, not for speed."""
        with self._lock:
            bound, tensors = self._bind(inputs)
            yield from bound.session.run_each(tensors)

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

    def _bind(self, inputs: Mapping[str, Any]) -> "tuple[Bound, list[Tensor]]":
        """What to run and its inputs, in order and checked."""
        plans = self.artifact.plans
        inputs = spread(inputs, plans[0].input_lists)
        match_names(inputs, self.inputs)
        tensors = {spec.name: to_tensor(spec.name, inputs[spec.name], self.device.stream) for spec in self.inputs}
        checked = [check_tensor(spec, tensors[spec.name]) for spec in self.inputs]
        return self._bound(tensors), checked

    def _bound(self, tensors: Mapping[str, Tensor]) -> "Bound":
        """The session for inputs of these shapes: one that was prepared, or a new one in place of the oldest."""
        key = tuple(tuple(tensor.shape) for tensor in tensors.values())
        if key in self._sessions:
            self._sessions.move_to_end(key)
            return self._sessions[key]
        index, binding = choose_plan(self.artifact.plans, tensors)
        plan = self.artifact.plans[index].at(binding)
        session = PartedSession(self.device, plan) if plan.late else self.device.session(plan)
        bound = self._sessions[key] = Bound(plan, session)
        if len(self._sessions) > SESSIONS:
            self._sessions.popitem(last=False)
        return bound


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
