"""Run plans on an NVIDIA GPU: code and weights are loaded once, and each plan is one CUDA graph."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from lumir.artifact.check_plan import check_maps
from lumir.artifact.plan import Plan
from lumir.artifact.read import WEIGHTS, Artifact
from lumir.diagnostics import UserError
from lumir.runtime.cuda_driver import call
from lumir.runtime.cuda_gpu import Gpu, device_capability
from lumir.runtime.cuda_memory import DeviceMemory, current
from lumir.runtime.cuda_session import CudaSession
from lumir.runtime.memory import address_of

__all__ = ["CudaDevice", "check_arch", "device_capability"]


class CudaDevice:
    """One GPU with an artifact's code, weights and arena in its memory.

    Raises:
        UserError: `no-gpu`, `old-driver`, `wrong-target`, `gpu-memory`, `bad-ptx`.
    """

    def __init__(self, artifact: Artifact, ordinal: int = 0):
        self.artifact, self.ordinal, self.gpu = artifact, ordinal, Gpu(ordinal)
        self.name, self.capability, self.context = self.gpu.name, self.gpu.capability, self.gpu.context
        check_arch(artifact.target, self.name, self.capability)
        kernels = artifact.manifest.kernels
        files = {entry.file: bytes(artifact.member(entry.file)) for entry in kernels.values()}
        with current(self.context):
            self.code = self.gpu.load(kernels, files)
            self._weights = self._upload_weights()
            arena_bytes = max(plan.arena_bytes for plan in artifact.plans)
            self.arena = DeviceMemory(self.context, arena_bytes, "arena")
            self.counters = self._zeroed(max(plan.counter_bytes for plan in artifact.plans))
        self.stream: int | None = int(self.gpu.stream)

    def _zeroed(self, nbytes: int) -> DeviceMemory:
        memory = DeviceMemory(self.context, nbytes, "counters")
        if nbytes:
            call("cuMemsetD8", memory.address, 0, nbytes)
            call("cuCtxSynchronize")
        return memory

    def session(self, plan: Plan) -> CudaSession:
        check_maps(plan, {name: weight.nbytes for name, weight in self.artifact.weights.items()}, "the plan")
        with current(self.context):
            return CudaSession(self, plan)

    def weight_address(self, name: str) -> int:
        weight = self.artifact.weights[name]
        return self._weights.address + address_of(weight) - self._weights_start if weight.nbytes else 0

    def close(self) -> None:
        """Memory is freed with the last reference to the device and its sessions."""

    def _upload_weights(self) -> DeviceMemory:
        """Copy the member as it lies in the file; its tensors are aligned for the GPU already."""
        member = np.frombuffer(self.artifact.member(WEIGHTS), np.uint8)
        self._weights_start = address_of(member)
        memory = DeviceMemory(self.context, member.nbytes, "weights")
        call("cuMemcpyHtoD", memory.address, self._weights_start, member.nbytes)
        call("cuCtxSynchronize")  # the copy may still be on its way, and the stream of the runs does not wait for it
        return memory


def check_arch(target: Mapping[str, Any], gpu: str, capability: tuple[int, int]) -> None:
    """Raise `UserError` (`wrong-target`) unless code for the target's `arch` runs on a GPU of that capability.

    PTX for `sm_80` runs on later GPUs too; PTX for `sm_90a` runs on 9.0 alone.
    """
    arch = str(target.get("arch", ""))
    match = re.fullmatch(r"sm_(\d+)(\d)(a?)", arch)
    if match is None:
        raise UserError("the artifact does not say its GPU architecture", code="bad-artifact", values={"arch": arch})
    needed = int(match[1]), int(match[2])
    fits = capability == needed if match[3] else capability >= needed
    if not fits:
        raise UserError(
            f"the artifact was compiled for {arch} and does not run on {gpu}",
            code="wrong-target",
            values={
                "compute capability needed": f"{needed[0]}.{needed[1]}{'' if match[3] else ' or newer'}",
                "compute capability found": f"{capability[0]}.{capability[1]}",
            },
            hint="compile the model for this GPU",
        )
