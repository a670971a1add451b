"""Step 9: a planned module -> one `.lumir` file."""

from base64 import b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lumir.artifact.launches import Bind
from lumir.artifact.plan import Plan
from lumir.artifact.shared_weights import SharedWeights
from lumir.artifact.tensors import BufferRef
from lumir.artifact.write import write_artifact
from lumir.mlir import ir
from lumir.module import calls, symbols
from lumir.plan.launches import kernel_entries, plan_of
from lumir.target import Target
from lumir.weights import WeightStore


@dataclass(frozen=True)
class Specialisation:
    """A model after step 8 for one set of sizes and ranges.

    Args:
        store: the bytes of the module's weights.
    """

    module: ir.Module
    store: WeightStore


def build_artifact(path: Path, specialisations: Sequence[Specialisation], target: Target) -> list[Plan]:
    """Write the specialisations of one model into one artifact.

    Their kernels have different names; weights that are equal are written once.

    Returns:
        the plans, in the same order.
    """
    plans, kernels, codes, weights = [], {}, {}, SharedWeights()
    for item in specialisations:
        names = weights.add(item.module, item.store, _used_weights(item.module))
        plans.append(_with_weights(plan_of(item.module), names))
        kernels |= kernel_entries(item.module)
        codes |= _codes(item.module)
    members, described = _members(codes, target)
    schedules = {name: {"family": k.family, "schedule": k.schedule} for name, k in kernels.items()}
    write_artifact(
        path,
        target=described,
        kernels=kernels,
        modules=members,
        plans=plans,
        weights=weights.sources.values(),
        schedules=schedules,
    )
    return plans


def _with_weights(plan: Plan, names: Mapping[str, str]) -> Plan:
    """The plan with the artifact's names of its weights."""

    def renamed(ref: BufferRef) -> BufferRef:
        return replace(ref, name=names[ref.name]) if ref.space == "weight" else ref

    launches = [
        replace(entry, source=renamed(entry.source))
        if isinstance(entry, Bind)
        else replace(entry, args=tuple(map(renamed, entry.args)))
        for entry in plan.launches
    ]
    return replace(plan, launches=tuple(launches))


def _codes(module: ir.Module) -> dict[str, bytes]:
    return {
        name.removesuffix(".kernel"): _decoded(op)
        for name, op in symbols(module).items()
        if op.operation.name == "lumir.code"
    }


def _decoded(code: ir.OpView) -> bytes:
    data = code.attributes["data"].value
    return b64decode(data) if code.attributes["format"].value == "elf" else data.encode()


def _members(codes: dict[str, bytes], target: Target) -> tuple[dict[str, bytes], dict[str, Any]]:
    if target.kind == "nvidia":
        return {f"kernels/{name}.ptx": code for name, code in codes.items()}, {"kind": "cuda", "arch": target.arch}
    from lumir.codegen.host import host_target
    from lumir.codegen.host_link import link_host

    return {"kernels/host.bin": link_host(codes).to_bytes()}, host_target()


def _used_weights(module: ir.Module) -> list[str]:
    places = [place for call in calls(module) for place in call.attributes["lumir.buffers"]]
    main = symbols(module)["main"]
    places += [place for pair in main.attributes["lumir.copies"] for place in pair]
    return [p.value.removeprefix("weight:") for p in places if p.value.startswith("weight:")]
