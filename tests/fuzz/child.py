"""lumir in a process of its own: a crash or a hang is a reply like any other."""

import multiprocessing
import os
import signal
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.fuzz.values import Array

CONTEXT = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Reply:
    """What became of a model: `ran`, with outputs; `refused`, with reasons; or `crashed`, with what was said last."""

    kind: str
    outputs: dict[str, Array] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()


class Child:
    """A process that compiles and runs one model after the other.

    Args:
        target: what to compile for.
        timeout: the seconds a model may take; after that it counts as crashed.
        lifetime: the number of models after which a fresh process takes over.
    """

    def __init__(self, target: str, timeout: float = 120.0, lifetime: int = 400):
        self.target, self.timeout, self.lifetime = target, timeout, lifetime
        self.log = Path(tempfile.mkstemp(prefix="lumir-fuzz-", suffix=".log")[1])
        self._process, self._pipe, self._served = None, None, 0

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()
        self.log.unlink(missing_ok=True)

    def run(self, model: bytes, inputs: dict[str, Array], dims: dict[str, int]) -> Reply:
        """Compile the model for these sizes, and run it on the inputs."""
        if self._process is None or self._served >= self.lifetime or not self._process.is_alive():
            self._start()
        assert self._pipe is not None
        self._served += 1
        try:
            self._pipe.send((model, inputs, dims))
            if self._pipe.poll(self.timeout):
                return self._pipe.recv()
            reason = f"hangs: more than {self.timeout:g} s"
        except (EOFError, OSError):
            reason = self._last_words()
        self._stop()
        return Reply("crashed", reasons=(reason,))

    def _start(self) -> None:
        self._stop()
        self._pipe, theirs = CONTEXT.Pipe()
        self._process = CONTEXT.Process(target=_serve, args=(theirs, self.target, str(self.log)), daemon=True)
        self._process.start()
        theirs.close()
        self._served = 0

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
        if self._pipe is not None:
            self._pipe.close()
        self._process = self._pipe = None

    def _last_words(self) -> str:
        assert self._process is not None
        self._process.join()
        code = self._process.exitcode or 0
        name = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        return " | ".join([name, *self.log.read_text(errors="replace").strip().splitlines()[-12:]])


def _serve(pipe: Any, target: str, log: str) -> None:
    """The child's process: a reply for each model."""
    import faulthandler

    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file, 2)
    faulthandler.enable(file)
    while True:
        model, inputs, dims = pipe.recv()
        os.ftruncate(file, 0)
        pipe.send(reply_of(model, inputs, dims, target))


def reply_of(model: bytes, inputs: dict[str, Array], dims: dict[str, int], target: str) -> Reply:
    """Compile and run in this process."""
    import traceback

    import onnx

    import lumir.api
    from lumir.diagnostics import UnsupportedError

    try:
        executable = lumir.api.compile(onnx.ModelProto.FromString(model), target=target, dims=dims)
        return Reply("ran", {name: array.copy() for name, array in executable.run(inputs).items()})
    except UnsupportedError as error:
        return Reply("refused", reasons=tuple(error.problems or [error.message]))
    except Exception:
        return Reply("crashed", reasons=(traceback.format_exc(limit=-6),))
