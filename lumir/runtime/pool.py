"""The threads of the CPU runtime: native code runs the launches, Python only starts the threads."""

import contextlib
import ctypes
import os
import threading
import weakref
from math import ceil
from pathlib import Path

import numpy as np

from lumir.diagnostics import UserError
from lumir.runtime.memory import LoadedImage, address_of, aligned_empty

PATIENCE_CYCLES = 400_000
"""How long an idle worker looks for the next run before it sleeps: some 150 us, more than passes between two runs."""

_RUN = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
_WORKER = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)
_BYTES = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)
_INIT = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64)
_STOP = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


def default_threads() -> int:
    """`LUMIR_NUM_THREADS`, else the CPUs this process may use, by its affinity and its control group's quota.

    Raises:
        UserError: `bad-threads`, when the variable is not a number from 1 to 1024.
    """
    value = os.environ.get("LUMIR_NUM_THREADS", "")
    if value:
        return check_threads(value, "LUMIR_NUM_THREADS")
    threads = len(os.sched_getaffinity(0))
    with contextlib.suppress(OSError, ValueError):
        quota, period = map(int, Path("/sys/fs/cgroup/cpu.max").read_text().split())
        threads = min(threads, ceil(quota / period))
    return max(threads, 1)


def check_threads(value: str | int, name: str = "threads") -> int:
    text = str(value)
    if not text.isdecimal() or not 1 <= int(text) <= 1024:
        raise UserError(f"{name} is {text!r}", code="bad-threads", rule="a number from 1 to 1024")
    return int(text)


class Pool:
    """`threads` threads, of which the one that calls `run` is the first; the others start with the first run.

    Not reentrant: one `run` at a time.
    """

    def __init__(self, image: LoadedImage, threads: int):
        self.threads, self._image, self._pid = threads, image, 0
        self._run = _RUN(image.symbol("lumir_run"))
        self._state = np.empty(0, np.uint8)
        self._address = 0

    def run(self, records: int, n: int) -> None:
        """Run the `n` launch records at address `records`, in order."""
        if self._pid != os.getpid():
            self._start()
        self._run(self._address, records, n)

    def _start(self) -> None:
        """Start the workers; a forked child does so again, since threads do not survive a fork."""
        self._pid = os.getpid()
        nbytes = _BYTES(self._image.symbol("lumir_pool_bytes"))(self.threads)
        state = aligned_empty(np.dtype(np.uint8), (nbytes,))
        state[:] = 0
        self._state, self._address = state, address_of(state)
        syscall = ctypes.cast(ctypes.CDLL(None).syscall, ctypes.c_void_p)
        _INIT(self._image.symbol("lumir_pool_init"))(self._address, self.threads, syscall, PATIENCE_CYCLES)
        worker = _WORKER(self._image.symbol("lumir_worker"))
        threads = [
            threading.Thread(target=worker, args=(self._address, i), daemon=True, name=f"lumir-{i}")
            for i in range(1, self.threads)
        ]
        for thread in threads:
            thread.start()
        stop = _STOP(self._image.symbol("lumir_stop"))
        weakref.finalize(self, _stop, stop, state, threads, self._image, self._pid)


def _stop(stop, state: np.ndarray, threads: list[threading.Thread], image: LoadedImage, pid: int) -> None:
    """Let the workers return before their code and state (`image`, `state`) are freed."""
    if os.getpid() != pid:
        return
    stop(address_of(state))
    for thread in threads:
        thread.join()
    del image
