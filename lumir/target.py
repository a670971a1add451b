"""Targets: what a kernel may use."""

from dataclasses import dataclass
from functools import cache

from lumir.diagnostics import UserError

NVIDIA_ARCHS = ("sm_80", "sm_86", "sm_89", "sm_90a", "sm_100a", "sm_120")


@dataclass(frozen=True)
class Target:
    """A kind of machine.

    Args:
        kind: "cpu" or "nvidia".
        arch: the GPU's architecture (`sm_90a`), or the CPU's name.
        vector_bytes: the widest vector register of a CPU, or the widest access of a GPU thread.
        multiprocessors: SMs of a GPU, cores of a CPU: what a grid should fill.
        shared_bytes: shared memory that one workgroup may have.
        byte_products: the CPU has an instruction that sums four products of bytes in each int32 of a vector.
    """

    kind: str
    arch: str
    vector_bytes: int = 16
    multiprocessors: int = 1
    shared_bytes: int = 0
    byte_products: bool = False

    @property
    def name(self) -> str:
        """What `target_named` makes this target from."""
        return "cpu" if self.kind == "cpu" else self.arch

    @property
    def rounds_products(self) -> bool:
        """Whether products of float32 may be computed by tf32 (`--precision tf32`), by the family `wgmma`."""
        return self.arch == "sm_90a"

    def __str__(self) -> str:
        return self.name

    def lanes(self, element_bytes: int) -> int:
        return max(self.vector_bytes // element_bytes, 1)


_GPUS = {
    "sm_80": (108, 163 * 1024),
    "sm_86": (84, 99 * 1024),
    "sm_89": (128, 99 * 1024),
    "sm_90a": (132, 227 * 1024),
    "sm_100a": (148, 227 * 1024),
    "sm_120": (170, 99 * 1024),
}


def target_named(name: str) -> Target:
    """The target for `cpu`, `cuda` (this machine's GPU) or an architecture such as `sm_90a`."""
    if name == "cpu":
        return host()
    if name == "cuda":
        return local_gpu()
    if name in _GPUS:
        multiprocessors, shared = _GPUS[name]
        return Target("nvidia", name, 16, multiprocessors, shared)
    raise UserError(
        f"unknown target '{name}'", code="unknown-target", hint=f"use cpu, cuda, or one of {', '.join(_GPUS)}"
    )


@cache
def host() -> Target:
    """The machine this runs on."""
    import os

    import llvmlite.binding as llvm

    features = llvm.get_host_cpu_features()
    width = 64 if features.get("avx512f") else 32 if features.get("avx2") else 16
    byte_products = bool(features.get("avx512vnni" if width == 64 else "avxvnni")) and width > 16
    return Target("cpu", llvm.get_host_cpu_name(), width, os.cpu_count() or 1, byte_products=byte_products)


def local_gpu() -> Target:
    """The architecture that fits the first GPU of this machine best."""
    from lumir.runtime.cuda import device_capability

    major, minor = device_capability()
    by_capability = {
        (8, 0): "sm_80",
        (8, 6): "sm_86",
        (8, 9): "sm_89",
        (9, 0): "sm_90a",
        (10, 0): "sm_100a",
        (12, 0): "sm_120",
    }
    if (major, minor) in by_capability:
        return target_named(by_capability[major, minor])
    if major == 8:
        return target_named("sm_86" if minor == 7 else "sm_80")
    raise UserError(
        f"no target for a GPU of compute capability {major}.{minor}",
        code="unknown-gpu",
        hint=f"name one that it can run: {', '.join(_GPUS)}",
    )
