"""Run plans on an NVIDIA GPU: code and weights are loaded once, and each plan is one CUDA graph."""

import contextlib
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from lumir.artifact.read import WEIGHTS, Artifact
from lumir.artifact.schema import Plan
from lumir.diagnostics import LumirError, UserError
from lumir.runtime.cuda_driver import call, enum
from lumir.runtime.cuda_memory import DeviceMemory, current, release_with
from lumir.runtime.cuda_modules import compile_modules
from lumir.runtime.cuda_session import CudaSession
from lumir.runtime.memory import address_of

DEFAULT_SHARED_BYTES = 48 << 10
"""Dynamic shared memory that a kernel may use without asking for more."""


class CudaDevice:
    """One GPU with an artifact's code, weights and arena in its memory.

    Raises:
        UserError: `no-gpu`, `old-driver`, `wrong-target`, `gpu-memory`, `bad-ptx`.
    """

    def __init__(self, artifact: Artifact, ordinal: int = 0):
        self.artifact, self.ordinal = artifact, ordinal
        self._handle = _device(ordinal)
        self.name = _device_name(self._handle)
        self.capability = _capability(self._handle)
        check_arch(artifact.target, self.name, self.capability)
        self.context = call("cuDevicePrimaryCtxRetain", self._handle)
        with current(self.context):
            self._stream = call("cuStreamCreate", enum("CUstream_flags", "CU_STREAM_NON_BLOCKING").value)
            release_with(self, self.context, "cuStreamDestroy", self._stream)
            self._functions = self._load_code()
            self._weights = self._upload_weights()
            arena_bytes = max(plan.arena_bytes for plan in artifact.plans)
            self.arena = DeviceMemory(self.context, arena_bytes, "arena")
        self.stream: int | None = int(self._stream)

    def session(self, plan: Plan) -> CudaSession:
        with current(self.context):
            return CudaSession(self, plan)

    def function(self, kernel: str) -> Any:
        return self._functions[kernel]

    def weight_address(self, name: str) -> int:
        weight = self.artifact.weights[name]
        return self._weights.address + address_of(weight) - self._weights_start if weight.nbytes else 0

    def close(self) -> None:
        """Memory is freed with the last reference to the device and its sessions."""

    def _load_code(self) -> dict[str, Any]:
        kernels = self.artifact.manifest.kernels
        files = {entry.file: bytes(self.artifact.member(entry.file)) for entry in kernels.values()}
        gpu = f"{self.name} {self.capability} {call('cuDriverGetVersion')} {_driver_build()}"
        modules = {}
        for file, cubin in compile_modules(self.context, gpu, files).items():
            modules[file] = call("cuModuleLoadData", cubin, file=file)
            release_with(self, self.context, "cuModuleUnload", modules[file])
        functions = {}
        for name, entry in kernels.items():
            function = call("cuModuleGetFunction", modules[entry.file], entry.symbol.encode(), kernel=name)
            if entry.shared_bytes > DEFAULT_SHARED_BYTES:
                self._allow_shared(function, name, entry.shared_bytes)
            with contextlib.suppress(LumirError):  # drivers before 12.4 load functions at their first launch
                call("cuFuncLoad", function)
            functions[name] = function
        return functions

    def _allow_shared(self, function: Any, kernel: str, nbytes: int) -> None:
        limit = _attribute(self._handle, "MAX_SHARED_MEMORY_PER_BLOCK_OPTIN")
        if nbytes > limit:
            raise UserError(
                f"kernel {kernel!r} needs more shared memory than {self.name} has",
                code="wrong-target",
                values={"bytes needed": nbytes, "bytes of a block": limit},
                hint="compile the model for this GPU",
            )
        attribute = enum("CUfunction_attribute", "CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES")
        call("cuFuncSetAttribute", function, attribute, nbytes, kernel=kernel)

    def _upload_weights(self) -> DeviceMemory:
        """Copy the member as it lies in the file; its tensors are aligned for the GPU already."""
        member = np.frombuffer(self.artifact.member(WEIGHTS), np.uint8)
        self._weights_start = address_of(member)
        memory = DeviceMemory(self.context, member.nbytes, "weights")
        call("cuMemcpyHtoD", memory.address, self._weights_start, member.nbytes)
        call("cuCtxSynchronize")  # the copy may still be on its way, and the stream of the runs does not wait for it
        return memory


def device_capability(ordinal: int = 0) -> tuple[int, int]:
    """The compute capability of a GPU of this machine.

    Raises:
        UserError: `no-gpu`.
    """
    return _capability(_device(ordinal))


def _device(ordinal: int) -> Any:
    call("cuInit", 0)
    count = call("cuDeviceGetCount")
    if ordinal >= count:
        raise UserError(
            f"there is no GPU {ordinal}",
            code="no-gpu",
            values={"GPUs found": count},
            hint="check nvidia-smi and CUDA_VISIBLE_DEVICES",
        )
    return call("cuDeviceGet", ordinal)


def _device_name(handle: Any) -> str:
    return call("cuDeviceGetName", 128, handle).partition(b"\0")[0].decode()


def _capability(handle: Any) -> tuple[int, int]:
    return _attribute(handle, "COMPUTE_CAPABILITY_MAJOR"), _attribute(handle, "COMPUTE_CAPABILITY_MINOR")


def _attribute(handle: Any, name: str) -> int:
    return call("cuDeviceGetAttribute", enum("CUdevice_attribute", f"CU_DEVICE_ATTRIBUTE_{name}"), handle)


@cache
def _driver_build() -> str:
    """The exact driver, where the system tells it; the API's version alone changes too rarely."""
    try:
        return Path("/proc/driver/nvidia/version").read_text().splitlines()[0]
    except (OSError, IndexError):
        return ""


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
