"""Write one `.lumir` file: the same arguments always give the same bytes."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import lumir
from lumir.artifact.archive import write_archive
from lumir.artifact.check_plan import check_plan
from lumir.artifact.manifest import KernelEntry, Manifest
from lumir.artifact.plan import Plan
from lumir.artifact.tensors import TensorSpec
from lumir.artifact.weights import WeightSource, weight_chunks
from lumir.diagnostics import InternalError, UserError
from lumir.sizes import Size, size_of

ALIGNMENT = {"cpu": 64, "cuda": 256}
"""Alignment in bytes of each weight, by kind of target."""


def write_artifact(
    path: str | Path,
    *,
    target: Mapping[str, Any],
    kernels: Mapping[str, KernelEntry],
    modules: Mapping[str, bytes],
    plans: Sequence[Plan],
    weights: Iterable[WeightSource | tuple[str, np.ndarray]] = (),
    schedules: Mapping[str, Any] | None = None,
) -> None:
    """Write an artifact.

    Weights are loaded and written one at a time. An existing file at `path` is replaced whole, or not at all.

    Args:
        target: `{"kind": "cpu", "features": [...]}` or `{"kind": "cuda", "arch": "sm_90a"}`; more keys are kept.
        modules: the members that hold code, by name: `kernels/host.bin`, `kernels/k0.ptx`.
        plans: one for each specialisation, the preferred one first.
        schedules: what `schedules.json` holds.

    Raises:
        InternalError: a plan, kernel or weight does not fit the rest.
        UserError: `unwritable`, when the file cannot be written.
    """
    path, sources = Path(path), [WeightSource.of(item) for item in weights]
    _check(kernels, modules, plans, sources)
    plan_names = tuple(f"plan-{i}.json" for i in range(len(plans)))
    nbytes, chunks = weight_chunks(sources, ALIGNMENT[target["kind"]])
    try:
        with write_archive(path) as archive:
            for name, data in sorted(modules.items()):
                archive.add(name, len(data), [data])
            for name, plan in zip(plan_names, plans):
                _add_json(archive, name, plan.to_json())
            _add_json(archive, "schedules.json", dict(schedules or {}))
            archive.add("weights.safetensors", nbytes, chunks)
            manifest = Manifest(
                lumir=lumir.__version__,
                target=target,
                kernels=kernels,
                plans=plan_names,
                inputs=_merge([plan.inputs for plan in plans], plans),
                outputs=_merge([plan.outputs for plan in plans], plans),
                members=dict(archive.members),
            )
            _add_json(archive, "manifest.json", manifest.to_json())
    except OSError as error:
        raise UserError(
            f"{path} cannot be written: {error.strerror or error}",
            code="unwritable",
            hint="check that the folder exists, that it can be written and that the disk has room",
        ) from error


def _add_json(archive: Any, name: str, value: Any) -> None:
    text = (json.dumps(value, sort_keys=True, indent=1) + "\n").encode()
    archive.add(name, len(text), [text])


def _check(
    kernels: Mapping[str, KernelEntry],
    modules: Mapping[str, bytes],
    plans: Sequence[Plan],
    sources: Sequence[WeightSource],
) -> None:
    weight_bytes = {source.name: source.nbytes for source in sources}
    try:
        if not plans:
            raise UserError("there is no plan")
        for name, entry in kernels.items():
            if entry.file not in modules:
                raise UserError(f"kernel {name!r} is in {entry.file}, which is not among the modules")
        if any(plan.input_lists != plans[0].input_lists for plan in plans):
            raise UserError("the plans differ in the lengths of their sequences")
        for i, plan in enumerate(plans):
            plan.check(f"plan {i}")
            check_plan(plan, kernels, weight_bytes, f"plan {i}")
    except UserError as error:
        raise InternalError(f"the artifact does not hold together: {error.message}", values=error.values) from error


def _merge(specs_of_plans: Sequence[Sequence[TensorSpec]], plans: Sequence[Plan]) -> tuple[TensorSpec, ...]:
    """The tensors of the model: sizes as text; one on which the plans differ is the symbol with those sizes, or `?`."""
    merged = []
    for specs in zip(*specs_of_plans):
        dims = zip(*(spec.shape for spec in specs))
        merged.append(TensorSpec(specs[0].name, specs[0].dtype, tuple(_merge_dim(sizes, plans) for sizes in dims)))
    return tuple(merged)


def _merge_dim(sizes: Sequence[int | str | Size], plans: Sequence[Plan]) -> int | str:
    if len(set(sizes)) == 1:
        return str(sizes[0]) if isinstance(sizes[0], Size) else sizes[0]
    for name in sorted(plans[0].ranges):
        if all(name in plan.ranges and size_of(plan.ranges[name]) == size for plan, size in zip(plans, sizes)):
            return name
    return "?"
