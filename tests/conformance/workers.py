"""Cases in processes of their own: a crash or a hang ends one case, and the run goes on."""

import multiprocessing
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from tests.conformance.outcome import Outcome, run_case

CONTEXT = multiprocessing.get_context("spawn")


@dataclass
class Worker:
    """A process that runs one case after the other; what it prints goes to `log`.

    `case` is the name of the case that runs, since the time `since`; the first one waits for the process to start.
    """

    process: BaseProcess
    pipe: Connection
    log: Path
    case: str = ""
    since: float = 0.0
    started: bool = False

    def give(self, case: str) -> None:
        self.case, self.since = case, time.monotonic()
        self.pipe.send(case)

    def stop(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


def run_all(
    names: Sequence[str],
    target: str,
    jobs: int,
    limit: Callable[[str], float],
    run: Callable[[str, str], Outcome] = run_case,
) -> Iterator[Outcome]:
    """Outcomes in the order in which the cases end.

    Args:
        jobs: the number of processes.
        limit: the seconds that a case may take.
        run: what runs a case, by its name and the target; a function of a module.
    """
    waiting = list(reversed(names))
    with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
        workers: list[Worker] = []
        try:
            while waiting or any(worker.case for worker in workers):
                while waiting and len(workers) < min(jobs, len(names)):
                    workers.append(_start(run, target, Path(folder) / f"{len(waiting)}.log"))
                    workers[-1].give(waiting.pop())
                wait([worker.pipe for worker in workers if worker.case], timeout=0.5)
                for worker in list(workers):
                    outcome = _collect(worker, limit)
                    if outcome is None:
                        continue
                    yield outcome
                    if outcome.verdict == "timeout" or not worker.process.is_alive():
                        worker.stop()
                        workers.remove(worker)
                    elif waiting:
                        worker.give(waiting.pop())
        finally:
            for worker in workers:
                worker.stop()


def _start(run: Callable[[str, str], Outcome], target: str, log: Path) -> Worker:
    ours, theirs = CONTEXT.Pipe()
    process = CONTEXT.Process(target=_serve, args=(theirs, run, target, str(log)), daemon=True)
    process.start()
    theirs.close()
    return Worker(process, ours, log)


def _collect(worker: Worker, limit: Callable[[str], float]) -> Outcome | None:
    """The outcome of the worker's case, if it has one by now."""
    case, elapsed = worker.case, time.monotonic() - worker.since
    if not case:
        return None
    try:
        while worker.pipe.poll():
            outcome = worker.pipe.recv()
            if outcome is not None:
                worker.case = ""
                return outcome
            worker.started, worker.since = True, time.monotonic()
    except (EOFError, ConnectionResetError):
        worker.process.join()
        worker.case = ""
        return Outcome(case, "crashed", (_cause(worker),), seconds=elapsed)
    if worker.started and elapsed > limit(case):
        worker.case = ""
        return Outcome(case, "timeout", (f"more than {limit(case):g} s",), seconds=elapsed)
    return None


def _cause(worker: Worker) -> str:
    code = worker.process.exitcode or 0
    name = signal.Signals(-code).name if code < 0 else f"exit status {code}"
    last = worker.log.read_text(errors="replace").strip().splitlines()[-6:] if worker.log.exists() else []
    return " | ".join([name, *last])


def _serve(pipe: Connection, run: Callable[[str, str], Outcome], target: str, log: str) -> None:
    """The worker's process: says that it is ready with None, then an outcome for each case it gets."""
    import faulthandler

    from tests.conformance.cases import all_cases

    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file, 2)
    faulthandler.enable(file)
    all_cases()
    pipe.send(None)
    while True:
        case = pipe.recv()
        os.ftruncate(file, 0)
        pipe.send(run(case, target))
