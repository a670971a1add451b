"""Memory of the CPU runtime: aligned arrays, the arena, and pages of machine code."""

import ctypes
import mmap
from math import prod

import numpy as np

from lumir.artifact.image import HostImage
from lumir.diagnostics import UserError

ALIGNMENT = 64
"""What a kernel may assume of every buffer, in bytes."""

_PAGE = mmap.PAGESIZE


def address_of(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def aligned_empty(dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    """An uninitialised C-contiguous array that starts on a multiple of `ALIGNMENT` bytes."""
    nbytes = prod(shape) * dtype.itemsize
    raw = np.empty(nbytes + ALIGNMENT, np.uint8)
    start = -address_of(raw) % ALIGNMENT
    return np.ndarray(shape, dtype, raw, start)


def aligned_copy(array: np.ndarray) -> np.ndarray:
    copy = aligned_empty(array.dtype, array.shape)
    np.copyto(copy, array)
    return copy


def array_at(address: int, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    """A view of `shape` at `address`; the caller keeps the memory alive."""
    nbytes = prod(shape) * dtype.itemsize
    if not nbytes:
        return np.empty(shape, dtype)
    return np.ndarray(shape, dtype, memoryview((ctypes.c_uint8 * nbytes).from_address(address)))


class Arena:
    """Zeroed pages, in huge pages where the system has them."""

    def __init__(self, nbytes: int):
        self._pages = mmap.mmap(-1, max(nbytes, 1))
        if hasattr(mmap, "MADV_HUGEPAGE"):
            self._pages.madvise(mmap.MADV_HUGEPAGE)
        self.address = address_of(np.frombuffer(self._pages, np.uint8))


class LoadedImage:
    """A host image mapped as read-only, executable pages."""

    def __init__(self, image: HostImage):
        size = len(image.code) + -len(image.code) % _PAGE
        self._pages = mmap.mmap(-1, max(size, _PAGE))
        self.address = address_of(np.frombuffer(self._pages, np.uint8))
        self._symbols = image.symbols
        self._pages[: len(image.code)] = image.code
        for at in image.relocations:
            word = ctypes.c_int64.from_address(self.address + at)
            word.value += self.address
        self._protect(len(self._pages))

    def _protect(self, nbytes: int) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
        if libc.mprotect(self.address, nbytes, mmap.PROT_READ | mmap.PROT_EXEC):
            raise UserError(
                "the system does not let this process run the artifact's machine code",
                code="no-exec-memory",
                values={"mprotect": f"errno {ctypes.get_errno()}"},
                hint="a security policy forbids executable memory; ask for an exception for this program",
            )

    def symbol(self, name: str) -> int:
        """The address of a function.

        Raises:
            UserError: `bad-artifact`, when the image has none of that name.
        """
        if name not in self._symbols:
            raise UserError(f"the artifact's code has no function {name!r}", code="bad-artifact")
        return self.address + self._symbols[name]
