"""The CUDA driver, with every call checked and its failures said in the user's terms."""

from functools import lru_cache
from types import ModuleType
from typing import Any

from lumir.diagnostics import InternalError, LumirError, UserError

_OLD_DRIVER = "update the NVIDIA driver, or compile the model for an older GPU architecture"
_USER_ERRORS: dict[str, tuple[str, str, str | None]] = {
    "CUDA_ERROR_NO_DEVICE": ("no-gpu", "there is no NVIDIA GPU", "check nvidia-smi and CUDA_VISIBLE_DEVICES"),
    "CUDA_ERROR_NOT_INITIALIZED": ("no-gpu", "the NVIDIA driver does not start", "check nvidia-smi"),
    "CUDA_ERROR_SYSTEM_NOT_READY": ("no-gpu", "the GPU is not ready", "check nvidia-smi and the fabric manager"),
    "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH": ("old-driver", "the driver's library and kernel module differ", "restart"),
    "CUDA_ERROR_STUB_LIBRARY": (
        "no-gpu",
        "libcuda is a stub, not the driver's",
        "remove the stub from the library path",
    ),
    "CUDA_ERROR_DEVICE_UNAVAILABLE": ("no-gpu", "the GPU is in use exclusively", "check nvidia-smi's compute mode"),
    "CUDA_ERROR_CALL_REQUIRES_NEWER_DRIVER": ("old-driver", "the NVIDIA driver is too old", _OLD_DRIVER),
    "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE": ("old-driver", "the NVIDIA driver is too old", _OLD_DRIVER),
    "CUDA_ERROR_JIT_COMPILER_NOT_FOUND": ("no-gpu", "the driver's PTX compiler is missing", "reinstall the driver"),
    "CUDA_ERROR_UNSUPPORTED_PTX_VERSION": ("old-driver", "the NVIDIA driver is too old for this PTX", _OLD_DRIVER),
    "CUDA_ERROR_NO_BINARY_FOR_GPU": ("wrong-target", "the code does not fit this GPU", "compile it for this GPU"),
    "CUDA_ERROR_OUT_OF_MEMORY": ("gpu-memory", "the GPU's memory is full", "free memory, or compile a smaller profile"),
    "CUDA_ERROR_INVALID_PTX": ("bad-ptx", "the driver rejects the PTX", _OLD_DRIVER),
}


@lru_cache(maxsize=1)
def api() -> ModuleType:
    """The bindings of the driver.

    Raises:
        UserError: `no-cuda-bindings`.
    """
    try:
        from cuda.bindings import driver  # pyright: ignore[reportAttributeAccessIssue]
    except ImportError as error:
        hint = "pip install 'lumir[cuda]'"
        raise UserError("the package cuda-bindings is not installed", code="no-cuda-bindings", hint=hint) from error
    return driver


def call(name: str, *args: Any, **values: Any) -> Any:
    """Call a function of the driver and return what it gives beside its status.

    Args:
        values: shown in the error, by name.

    Raises:
        UserError: `no-gpu`, `old-driver`, `gpu-memory`, `wrong-target`, `bad-ptx`.
        InternalError: `driver`, for every other failure, such as a kernel that reads out of bounds.
    """
    try:
        status, *results = getattr(api(), name)(*args)
    except RuntimeError as error:  # the bindings find the library, or one function of it, only when it is called
        hint = "install or update the NVIDIA driver"
        raise UserError("the NVIDIA driver cannot be used", code="no-gpu", values={name: error}, hint=hint) from error
    if int(status):
        raise failure(name, status, values)
    return results[0] if len(results) == 1 else tuple(results)


def failure(name: str, status: Any, values: dict[str, Any]) -> LumirError:
    """The error for a status other than success."""
    values = {"driver call": f"{name}: {getattr(status, 'name', status)}", **values}
    if getattr(status, "name", "") in _USER_ERRORS:
        code, message, hint = _USER_ERRORS[status.name]
        return UserError(message, code=code, values=values, hint=hint)
    hint = "a kernel failed, or the GPU did; run with lumir-run --every-dispatch to find the launch"
    return InternalError("the CUDA driver reports a failure", code="driver", values=values, hint=hint)


def enum(group: str, name: str) -> Any:
    """A constant of the driver: `enum("CUresult", "CUDA_SUCCESS")`."""
    return getattr(getattr(api(), group), name)
