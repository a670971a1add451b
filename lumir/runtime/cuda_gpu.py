"""One GPU of this machine: its context, a stream, and kernels loaded on it."""

import contextlib
from collections.abc import Mapping
from typing import Any

from lumir.artifact.manifest import KernelEntry
from lumir.diagnostics import LumirError, UserError
from lumir.runtime.cuda_driver import call, enum
from lumir.runtime.cuda_memory import current, release_with
from lumir.runtime.cuda_modules import load_modules

DEFAULT_SHARED_BYTES = 48 << 10
"""Dynamic shared memory that a kernel may use without asking for more."""


class Gpu:
    """A GPU's context, retained, with a stream of its own.

    Raises:
        UserError: `no-gpu`, `old-driver`.
    """

    def __init__(self, ordinal: int = 0):
        self.ordinal = ordinal
        self._handle = _device(ordinal)
        self.name = _device_name(self._handle)
        self.capability = _capability(self._handle)
        self.context = call("cuDevicePrimaryCtxRetain", self._handle)
        with current(self.context):
            self.stream = call("cuStreamCreate", enum("CUstream_flags", "CU_STREAM_NON_BLOCKING").value)
            release_with(self, self.context, "cuStreamDestroy", self.stream)

    @property
    def shared_limit(self) -> int:
        """Bytes of shared memory that a block may ask for."""
        return _attribute(self._handle, "MAX_SHARED_MEMORY_PER_BLOCK_OPTIN")

    @property
    def l2_bytes(self) -> int:
        return _attribute(self._handle, "L2_CACHE_SIZE")

    @property
    def multiprocessors(self) -> int:
        return _attribute(self._handle, "MULTIPROCESSOR_COUNT")

    @property
    def clock(self) -> float:
        """The highest clock of the multiprocessors, in Hz."""
        return _attribute(self._handle, "CLOCK_RATE") * 1e3

    def load(self, kernels: Mapping[str, KernelEntry], files: Mapping[str, bytes]) -> "Code":
        """Kernels ready to be launched; wants the context current.

        Args:
            files: the PTX files that the kernels' entries name.

        Raises:
            UserError: `bad-ptx`, `old-driver`, `wrong-target`.
        """
        return Code(self, kernels, files)


class Code:
    """Loaded kernels; unloaded with the object.

    Attributes:
        functions: the driver's handle of each kernel, by name.
    """

    def __init__(self, gpu: Gpu, kernels: Mapping[str, KernelEntry], files: Mapping[str, bytes]):
        self.kernels, self.functions = kernels, {}
        modules = load_modules(self, gpu.context, files)
        for name, entry in kernels.items():
            function = call("cuModuleGetFunction", modules[entry.file], entry.symbol.encode(), kernel=name)
            if entry.shared_bytes > DEFAULT_SHARED_BYTES:
                _allow_shared(gpu, function, name, entry.shared_bytes)
            with contextlib.suppress(LumirError):  # drivers before 12.4 load functions at their first launch
                call("cuFuncLoad", function)
            self.functions[name] = function


def _allow_shared(gpu: Gpu, function: Any, kernel: str, nbytes: int) -> None:
    if nbytes > gpu.shared_limit:
        raise UserError(
            f"kernel {kernel!r} needs more shared memory than {gpu.name} has",
            code="wrong-target",
            values={"bytes needed": nbytes, "bytes of a block": gpu.shared_limit},
            hint="compile the model for this GPU",
        )
    attribute = enum("CUfunction_attribute", "CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES")
    call("cuFuncSetAttribute", function, attribute, nbytes, kernel=kernel)


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
