"""Peers that torch compiles, compiled ahead in other processes.

`torch.compile` with max-autotune takes some eight seconds for one function and shape, nearly all of them on one core.
What it finds goes into torch's own cache on disk, from which the process that measures then takes it. Its trials are
timed in turns with everything else that is timed, so that they find what they would find alone.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Any, Self

from lumir.measure.bench import Bench
from lumir.measure.peer import peer_calls, torch_or_none
from lumir.measure.suite.benchmark import Benchmark, Peer
from lumir.measure.suite.torch_function import is_compiled
from lumir.measure.turn import Turn
from lumir.measure.workers import end, forking, step_back

_MOST, _NICENESS = 8, 10
_THREADS = "2"
"""Compilers that each process starts."""


def compiled_peers(item: Benchmark) -> list[Peer]:
    return [peer for peer in item.peers.values() if is_compiled(peer)]


class PeersAhead:
    """Processes that compile the peers of benchmarks.

    Args:
        turn: taken while torch measures.
    """

    def __init__(self, turn: Turn, items: Sequence[Benchmark]):
        todo = [item for item in items if compiled_peers(item)]
        count = max(1, min(_MOST, (os.cpu_count() or 2) // 2, len(todo)))
        self._pool = ProcessPoolExecutor(count, forking(), initializer=_start, initargs=(turn.path,))
        self._futures = {item.full_name: self._pool.submit(_compile, item.text, compiled_peers(item)) for item in todo}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        end(self._pool)

    def wait(self, item: Benchmark) -> None:
        """Return when a benchmark's peers are compiled; what did not compile will say so where it is measured."""
        future: Future[None] | None = self._futures.get(item.full_name)
        if future:
            future.exception()


def _start(path: Path) -> None:
    step_back(_NICENESS)
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", _THREADS)
    if torch_or_none():
        _take_turns(Turn(path))


def _take_turns(turn: Turn) -> None:
    """Have torch's own measurements take the turn; newer versions offer that."""
    from torch._inductor.runtime import benchmarking  # pyright: ignore[reportMissingImports]

    if hook := getattr(benchmarking, "set_gpu_benchmark_lock_context", None):
        hook(lambda: turn)
        return
    for found in list(vars(benchmarking).values()):
        if isinstance(found, type) and "benchmark_gpu" in vars(found):
            found.benchmark_gpu = _in_turn(found.benchmark_gpu, turn)


def _in_turn(function: Callable[..., Any], turn: Turn) -> Callable[..., Any]:
    @wraps(function)
    def taking_the_turn(*arguments: Any, **options: Any) -> Any:
        with turn:
            return function(*arguments, **options)

    return taking_the_turn


def _compile(text: Callable[[], str], peers: Sequence[Peer]) -> None:
    """Run each peer once; the first run compiles and tunes."""
    if torch := torch_or_none():
        operands = Bench().case(text(), sets=1).operands
        with torch.no_grad():
            for peer in peers:
                with suppress(Exception):  # the process that measures meets it too, and reports it
                    peer_calls(torch, peer, operands)[0]()
                    torch.cuda.synchronize()
        torch.cuda.empty_cache()
