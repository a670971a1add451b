"""PTX -> machine code by the driver, once for each PTX, driver and GPU: the result is kept on disk."""

import contextlib
import ctypes
import hashlib
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from lumir.artifact.archive import replace_file
from lumir.diagnostics import LumirError, UserError
from lumir.runtime.cuda_driver import call, enum
from lumir.runtime.cuda_memory import current

_LOG_BYTES = 16 << 10
_DIGEST_BYTES = 32


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/lumir/cubin`, by default under `~/.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lumir" / "cubin"


def compile_modules(context: Any, gpu: str, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The cubin of each PTX file, compiled in parallel where the cache has none.

    Args:
        gpu: what the machine code depends on beside the PTX: the GPU's name and the driver's version.

    Raises:
        UserError: `bad-ptx` or `old-driver`, with the driver's log.
    """
    workers = max(1, min(len(files), len(os.sched_getaffinity(0)), 16))
    with ThreadPoolExecutor(workers) as pool:
        cubins = pool.map(lambda item: _cached(context, gpu, *item), files.items())
        return dict(zip(files, cubins))


def _cached(context: Any, gpu: str, name: str, ptx: bytes) -> bytes:
    key = hashlib.sha256(gpu.encode() + b"\0" + hashlib.sha256(ptx).digest()).hexdigest()
    path = cache_folder() / f"{key}.cubin"
    with contextlib.suppress(OSError):
        data = path.read_bytes()
        if hashlib.sha256(data[_DIGEST_BYTES:]).digest() == data[:_DIGEST_BYTES]:
            return data[_DIGEST_BYTES:]
    cubin = _compile(context, name, ptx)
    with contextlib.suppress(OSError):  # a cache that cannot be written costs time, and nothing else
        path.parent.mkdir(parents=True, exist_ok=True)
        with replace_file(path) as temporary:
            temporary.write_bytes(hashlib.sha256(cubin).digest() + cubin)
    return cubin


def _compile(context: Any, name: str, ptx: bytes) -> bytes:
    log = bytearray(_LOG_BYTES)
    options = [enum("CUjit_option", f"CU_JIT_ERROR_LOG_BUFFER{suffix}") for suffix in ("", "_SIZE_BYTES")]
    text = ptx.rstrip(b"\0") + b"\0"
    ptx_type = enum("CUjitInputType", "CU_JIT_INPUT_PTX")
    with current(context):
        state = call("cuLinkCreate", len(options), options, [log, len(log)])
        try:
            call("cuLinkAddData", state, ptx_type, text, len(text), name.encode(), 0, [], [])
            address, nbytes = call("cuLinkComplete", state)
            return ctypes.string_at(int(address), nbytes)
        except LumirError as error:
            raise UserError(
                f"the driver cannot compile {name}: {error.message}",
                code=error.code if isinstance(error, UserError) else "bad-ptx",
                values={**error.values, "log": log.partition(b"\0")[0].decode(errors="replace").strip() or "empty"},
                hint=error.hint,
            ) from error
        finally:
            call("cuLinkDestroy", state)
