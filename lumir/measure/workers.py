"""Kernels compiled in other processes while this one measures."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Any, Self, TypeVar

from lumir.measure.kernel import Choice, CompiledDispatch, compile_dispatch

T = TypeVar("T")


class Workers:
    """A pool of compilers. Processes are forked from a server that has lumir loaded and no GPU context."""

    def __init__(self, count: int | None = None):
        self.count = count or max((os.cpu_count() or 2) - 1, 1)
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["lumir.measure.workers"])
        self._pool = ProcessPoolExecutor(self.count, context, initializer=_ignore_interrupts)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def call(self, function: Callable[..., T], *arguments: Any) -> Future[T]:
        return self._pool.submit(function, *arguments)

    def compile(self, text: str, arch: str, choice: Choice) -> Future[CompiledDispatch]:
        return self._pool.submit(compile_dispatch, text, arch, choice.family, choice.schedule)


def _ignore_interrupts() -> None:
    """Ctrl-C is for the process that measures: it ends the pool, and says what it has."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
