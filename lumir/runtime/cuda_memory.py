"""GPU memory, pinned host memory, and arrays that stay on the GPU."""

import contextlib
import weakref
from typing import Any

import numpy as np

from lumir.artifact.dtypes import numpy_dtype
from lumir.diagnostics import UserError
from lumir.runtime.cuda_driver import call
from lumir.runtime.dlpack import CUDA, to_dlpack
from lumir.runtime.memory import address_of, array_at

ALIGNMENT = 256


def aligned(nbytes: int) -> int:
    return nbytes + -nbytes % ALIGNMENT


@contextlib.contextmanager
def current(context: Any):
    """Make `context` this thread's for the block."""
    call("cuCtxPushCurrent", context)
    try:
        yield
    finally:
        call("cuCtxPopCurrent")


def _release(context: Any, name: str, handle: Any) -> None:
    with contextlib.suppress(Exception), current(context):  # the driver may be gone already
        call(name, handle)


def release_with(owner: Any, context: Any, name: str, handle: Any) -> None:
    """Have the driver's function `name` free `handle` once `owner` is gone."""
    weakref.finalize(owner, _release, context, name, handle)


class DeviceMemory:
    """Uninitialised GPU memory, freed with the object.

    Raises:
        UserError: `gpu-memory`, with the bytes asked for and the bytes free.
    """

    def __init__(self, context: Any, nbytes: int, what: str):
        self.nbytes, self.address = nbytes, 0
        if not nbytes:
            return
        try:
            self.address = int(call("cuMemAlloc", nbytes))
        except UserError as error:
            if error.code != "gpu-memory":
                raise
            free, total = call("cuMemGetInfo")
            raise UserError(
                f"the GPU has no room for the {what}",
                code="gpu-memory",
                values={"bytes needed": nbytes, "bytes free": free, "bytes in all": total},
                hint="free GPU memory, or compile the model for smaller shapes",
            ) from error
        release_with(self, context, "cuMemFree", self.address)


class PinnedMemory:
    """Page-locked host memory, freed with the object, which the views of it keep alive."""

    def __init__(self, context: Any, nbytes: int):
        self.address = int(call("cuMemHostAlloc", nbytes, 0)) if nbytes else 0
        if nbytes:
            release_with(self, context, "cuMemFreeHost", self.address)

    def view(self, offset: int, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
        return array_at(self.address + offset, dtype, shape)


class DeviceArray:
    """A dense array in GPU memory; `torch.from_dlpack(array)` and its like share it without a copy.

    Its contents are complete: no stream needs to be waited for.
    """

    def __init__(self, context: Any, ordinal: int, memory: DeviceMemory, dtype: str, shape: tuple[int, ...]):
        self._context, self._ordinal, self._memory = context, ordinal, memory
        self.dtype, self.shape = numpy_dtype(dtype), shape

    @property
    def address(self) -> int:
        return self._memory.address

    def __dlpack_device__(self) -> tuple[int, int]:
        return CUDA, self._ordinal

    def __dlpack__(self, **_: Any) -> Any:
        return to_dlpack(self.address, self.dtype.name, self.shape, (CUDA, self._ordinal), owner=self._memory)

    def numpy(self) -> np.ndarray:
        """A copy in host memory."""
        array = np.empty(self.shape, self.dtype)
        if array.nbytes:
            with current(self._context):
                call("cuMemcpyDtoH", address_of(array), self.address, array.nbytes)
        return array
