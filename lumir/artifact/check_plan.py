"""A plan held against what stands beside it in the artifact: the kernels that it launches and the weights it reads."""

from collections.abc import Mapping

from lumir.artifact.fields import require
from lumir.artifact.launches import Launch
from lumir.artifact.manifest import KernelEntry
from lumir.artifact.plan import Plan
from lumir.artifact.tensor_map import TensorMap
from lumir.sizes import at_least, high


def check_plan(plan: Plan, kernels: Mapping[str, KernelEntry], weight_bytes: Mapping[str, int], where: str) -> None:
    """Hold a plan against the kernels and weights of its artifact.

    Args:
        weight_bytes: the size in bytes of each weight.

    Raises:
        UserError: `bad-artifact`: a kernel or weight that is not there, a copy that reaches past its weight.
    """
    for i, launch in enumerate(plan.launches):
        known = not isinstance(launch, Launch) or launch.kernel in kernels
        require(known, f"launch {i} of {where} names a kernel that is missing", kernel=getattr(launch, "kernel", ""))
        nbytes = 0 if isinstance(launch, Launch) else launch.nbytes
        for ref in launch.args:
            if ref.space != "weight":
                continue
            require(ref.name in weight_bytes, f"launch {i} of {where} names a weight that is missing", weight=ref.name)
            size = weight_bytes[ref.name]
            require(
                at_least(size, ref.offset + nbytes),
                f"launch {i} of {where} reaches past weight {ref.name!r}",
                size=size,
            )
    check_maps(plan, weight_bytes, where)


def check_maps(plan: Plan, weight_bytes: Mapping[str, int], where: str) -> None:
    """Hold every tensor map against the size of its buffer, as far as both are known.

    Raises:
        UserError: `bad-artifact`: no values of the symbols, or not these, let the map stay inside.
    """
    for i, launch in enumerate(plan.launches):
        if isinstance(launch, Launch):
            for tensor_map in launch.tensor_maps:
                _check_map(plan, launch, tensor_map, weight_bytes, f"launch {i} of {where}")


def _check_map(plan: Plan, launch: Launch, tensor_map: TensorMap, weight_bytes: Mapping[str, int], where: str) -> None:
    count = len(launch.args)
    require(tensor_map.arg < count, f"{where} has a tensor map of argument {tensor_map.arg} of {count}")
    ref = launch.args[tensor_map.arg]
    match ref.space:
        case "weight":
            size = weight_bytes.get(ref.name, 0)
        case "arena":
            size = plan.arena_bytes
        case _:
            size = (plan.inputs if ref.space == "input" else plan.outputs)[ref.index].nbytes
    end = ref.offset + tensor_map.end
    require(high(size - end) >= 0, f"a tensor map of {where} reaches past its {ref.space}", end=end, size=size)
