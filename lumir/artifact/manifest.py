"""The manifest: what an artifact is for, what it holds, and the SHA-256 of each member."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lumir.artifact.fields import check_int, get_bool, get_int, get_list, get_object, get_str, get_strings, require
from lumir.artifact.tensors import TensorSpec

SCHEMA_VERSION = 3
"""Raised by one when a reader of the old schema could no longer read the file rightly."""
MAX_CLUSTER = 8
"""Blocks of a cluster that every GPU with clusters can run."""


@dataclass(frozen=True)
class KernelEntry:
    """One kernel.

    Args:
        file: the member that holds its code, `kernels/*.ptx` or `kernels/host.bin`.
        symbol: the function's name in that file.
        block: threads of a GPU block; 1 on a CPU.
        shared_bytes: dynamic shared memory of a GPU block, in bytes.
        family: the kernel family that emitted it.
        schedule: the family's schedule, as JSON.
        cluster: blocks of a cluster along x, y and z.
        pdl: programmatic dependent launch: it may start before the launch ahead is done, and waits for it itself.
    """

    file: str
    symbol: str
    block: int = 1
    shared_bytes: int = 0
    family: str = ""
    schedule: Any = None
    cluster: tuple[int, int, int] = (1, 1, 1)
    pdl: bool = False

    def to_json(self) -> dict[str, Any]:
        return {**self.__dict__, "cluster": list(self.cluster)}

    @classmethod
    def from_json(cls, data: Any, where: str) -> "KernelEntry":
        data = get_object(data, where)
        require(not data.get("tensor_maps"), f"{where} has tensor maps, which are its launches' since schema 3")
        return cls(
            file=get_str(data, "file", where),
            symbol=get_str(data, "symbol", where),
            block=get_int(data, "block", where, default=1, low=1, high=1024),
            shared_bytes=get_int(data, "shared_bytes", where, default=0, high=2**31 - 1),
            family=get_str(data, "family", where, default=""),
            schedule=data.get("schedule"),
            cluster=_cluster(get_list(data, "cluster", where, [1, 1, 1]), where),
            pdl=get_bool(data, "pdl", where, default=False),
        )


def _cluster(sizes: list[Any], where: str) -> tuple[int, int, int]:
    require(len(sizes) == 3, f"the cluster of {where} does not have three sizes", cluster=sizes)
    x, y, z = (check_int(n, f"the cluster of {where}", low=1, high=MAX_CLUSTER) for n in sizes)
    require(x * y * z <= MAX_CLUSTER, f"the cluster of {where} has more than {MAX_CLUSTER} blocks", cluster=sizes)
    return x, y, z


@dataclass(frozen=True)
class Member:
    """Size in bytes and SHA-256 (hexadecimal) of one file of the artifact."""

    nbytes: int
    sha256: str

    def to_json(self) -> dict[str, Any]:
        return {"nbytes": self.nbytes, "sha256": self.sha256}

    @classmethod
    def from_json(cls, data: Any, where: str) -> "Member":
        data = get_object(data, where)
        return cls(get_int(data, "nbytes", where), get_str(data, "sha256", where))


@dataclass(frozen=True)
class Manifest:
    """Everything but code, plans and weights.

    Args:
        target: `{"kind": "cpu" | "cuda", ...}`: CPUs add `features` (the instruction sets that the code needs),
            GPUs add `arch` (`sm_90a`).
        plans: the plans' members, in order of preference.
        inputs: the model's inputs; a dimension on which the plans differ is a symbol's name.
    """

    lumir: str
    target: Mapping[str, Any]
    kernels: Mapping[str, KernelEntry]
    plans: tuple[str, ...]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    members: Mapping[str, Member] = field(default_factory=dict)
    schema: int = SCHEMA_VERSION

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": self.schema,
            "lumir": self.lumir,
            "target": dict(self.target),
            "kernels": {name: entry.to_json() for name, entry in self.kernels.items()},
            "plans": list(self.plans),
            "inputs": [spec.to_json() for spec in self.inputs],
            "outputs": [spec.to_json() for spec in self.outputs],
            "members": {name: member.to_json() for name, member in self.members.items()},
        }

    @classmethod
    def from_json(cls, data: Any) -> "Manifest":
        where = "the manifest"
        data = get_object(data, where)
        target = get_object(data.get("target"), f'"target" of {where}')
        require(target.get("kind") in ("cpu", "cuda"), "the target is neither a CPU nor a GPU", kind=target.get("kind"))
        kernels = get_object(data.get("kernels", {}), f'"kernels" of {where}')
        members = get_object(data.get("members"), f'"members" of {where}')
        return cls(
            lumir=get_str(data, "lumir", where),
            target=target,
            kernels={name: KernelEntry.from_json(item, f"kernel {name!r}") for name, item in kernels.items()},
            plans=get_strings(data, "plans", where),
            inputs=tuple(TensorSpec.from_json(item, f"an input of {where}") for item in data.get("inputs", [])),
            outputs=tuple(TensorSpec.from_json(item, f"an output of {where}") for item in data.get("outputs", [])),
            members={name: Member.from_json(item, f"member {name!r}") for name, item in members.items()},
            schema=get_int(data, "schema", where),
        )
