"""Step 9: a planned module -> one `.lumir` file."""

from base64 import b64decode
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lumir.artifact.schema import Plan
from lumir.artifact.weights import WeightSource
from lumir.artifact.write import write_artifact
from lumir.dtypes import dtype_name
from lumir.mlir import ir
from lumir.module import calls, symbols
from lumir.plan.launches import kernel_entries, plan_of
from lumir.target import Target
from lumir.weights import WeightStore


def build_artifact(
    path: Path, modules: Sequence[tuple[ir.Module, dict[str, int]]], store: WeightStore, target: Target
) -> list[Plan]:
    """Write the specialisations of one model into one artifact.

    Args:
        modules: a module after step 8 and the values of its symbols, for each specialisation.

    Returns:
        the plans, in the same order.
    """
    plans, kernels, codes, weights = [], {}, {}, {}
    for number, (module, dims) in enumerate(modules):
        prefix = f"p{number}." if len(modules) > 1 else ""
        plans.append(_prefixed(plan_of(module, dims), prefix))
        kernels |= {prefix + name: entry for name, entry in kernel_entries(module).items()}
        codes |= {prefix + name: code for name, code in _codes(module).items()}
        weights |= {source.name: source for source in weight_sources(module, store)}
    members, described = _members(codes, target)
    if target.kind == "nvidia":
        kernels = {name: _in_file(entry, f"kernels/{name}.ptx") for name, entry in kernels.items()}
    else:
        kernels = {name: _with_symbol(entry, name) for name, entry in kernels.items()}
    schedules = {name: {"family": k.family, "schedule": k.schedule} for name, k in kernels.items()}
    write_artifact(
        path, target=described, kernels=kernels, modules=members, plans=plans, weights=weights.values(), schedules=schedules
    )
    return plans


def _prefixed(plan: Plan, prefix: str) -> Plan:
    from dataclasses import replace

    launches = tuple(replace(x, kernel=prefix + x.kernel) if hasattr(x, "kernel") else x for x in plan.launches)  # pyright: ignore
    return replace(plan, launches=launches)


def _in_file(entry: Any, file: str) -> Any:
    from dataclasses import replace

    return replace(entry, file=file)


def _with_symbol(entry: Any, symbol: str) -> Any:
    from dataclasses import replace

    return replace(entry, symbol=symbol)


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


def weight_sources(module: ir.Module, store: WeightStore) -> list[WeightSource]:
    """The weights that the module's calls and copies read, each loaded or computed when it is asked for."""
    named, used = symbols(module), dict.fromkeys(_used_weights(module))
    return [_source(named[name], module, store) for name in used]


def _used_weights(module: ir.Module) -> list[str]:
    places = [place for call in calls(module) for place in call.attributes["lumir.buffers"]]
    main = symbols(module)["main"]
    places += [place for pair in main.attributes["lumir.copies"] for place in pair]
    return [p.value.removeprefix("weight:") for p in places if p.value.startswith("weight:")]


def _source(weight: ir.OpView, module: ir.Module, store: WeightStore) -> WeightSource:
    type_ = ir.RankedTensorType(weight.attributes["type"].value)
    dims = tuple(type_.shape)

    def load() -> np.ndarray:
        if weight.operation.name == "lumir.weight":
            return store.array(weight)
        return derived(weight, module, store)

    return WeightSource(weight.attributes["sym_name"].value, dtype_name(type_.element_type), dims, load)


def derived(weight: ir.OpView, module: ir.Module, store: WeightStore) -> np.ndarray:
    """The value of a `lumir.derived_weight`."""
    from lumir.reference import evaluate_region

    return evaluate_region(weight.regions[0].blocks[0], [], store)[0]


