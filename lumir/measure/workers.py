"""Kernels compiled in other processes while this one measures."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import forkserver
from multiprocessing.context import BaseContext
from typing import Any, Self, TypeVar

from lumir.measure.kernel import Choice, CompiledDispatch, compile_dispatch

T = TypeVar("T")
_BLAS_THREADS = "OPENBLAS_NUM_THREADS"


class Workers:
    """A pool of compilers. Processes are forked from a server that has lumir loaded and no GPU context."""

    def __init__(self, count: int | None = None):
        self.count = count or max((os.cpu_count() or 2) - 1, 1)
        self._pool = ProcessPoolExecutor(self.count, forking(), initializer=step_back)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        end(self._pool)

    def call(self, function: Callable[..., T], *arguments: Any) -> Future[T]:
        return self._pool.submit(function, *arguments)

    def compile(self, text: str, arch: str, choice: Choice) -> Future[CompiledDispatch]:
        return self._pool.submit(compile_dispatch, text, arch, choice.family, choice.schedule)


def forking() -> BaseContext:
    """Processes that are forked from a server; each multiplies matrices on one thread, since they are many."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["lumir.measure.workers"])
    before = os.environ.get(_BLAS_THREADS)
    os.environ[_BLAS_THREADS] = "1"
    try:
        forkserver.ensure_running()
    finally:
        os.environ.pop(_BLAS_THREADS)
        if before is not None:
            os.environ[_BLAS_THREADS] = before
    return context


def end(pool: ProcessPoolExecutor) -> None:
    """End a pool's processes now: what they are still at is not wanted any more."""
    processes = list((pool._processes or {}).values())
    pool.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.terminate()


def step_back(niceness: int = 2) -> None:
    """Leave the processor, and Ctrl-C, to the process that measures: it ends the pool, and says what it has."""
    os.nice(niceness)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
