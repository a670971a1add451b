"""PTX -> modules of the driver, which compiles each for the GPU and keeps the machine code in a cache of its own."""

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from lumir.diagnostics import LumirError, UserError
from lumir.runtime.cuda_driver import call, enum
from lumir.runtime.cuda_memory import current, release_with

_LOG_BYTES = 16 << 10
_THREADS = 16


def load_modules(owner: object, context: Any, files: Mapping[str, bytes]) -> dict[str, Any]:
    """The module of each PTX file, compiled in parallel and unloaded with `owner`.

    Of the driver's three ways to compile PTX only libraries are whole programs that compile in parallel.
    `cuModuleLoadData` takes one at a time, and `cuLinkAddData` compiles for callers that it does not know: it ignores
    `setmaxnreg` and lets one wgmma wait for the other.

    Raises:
        UserError: `bad-ptx` or `old-driver`, with the driver's log.
    """
    workers = max(1, min(len(files), len(os.sched_getaffinity(0)), _THREADS))
    with ThreadPoolExecutor(workers) as pool:
        return dict(zip(files, pool.map(lambda item: _load(owner, context, *item), files.items())))


def _load(owner: object, context: Any, name: str, ptx: bytes) -> Any:
    log = bytearray(_LOG_BYTES)
    options = [enum("CUjit_option", f"CU_JIT_ERROR_LOG_BUFFER{suffix}") for suffix in ("", "_SIZE_BYTES")]
    text = ptx.rstrip(b"\0") + b"\0"
    with current(context):
        try:
            library = call("cuLibraryLoadData", text, options, [log, len(log)], len(options), [], [], 0)
            release_with(owner, context, "cuLibraryUnload", library)
            return call("cuLibraryGetModule", library)  # what cannot be compiled may be found out only here
        except LumirError as error:
            raise UserError(
                f"the driver cannot compile {name}: {error.message}",
                code=error.code if isinstance(error, UserError) else "bad-ptx",
                values={**error.values, "log": log.partition(b"\0")[0].decode(errors="replace").strip() or "empty"},
                hint=error.hint,
            ) from error
