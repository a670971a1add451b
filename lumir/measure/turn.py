"""Turns at the GPU: of all processes of a run, one measures at a time."""

import fcntl
import os
from pathlib import Path


class Turn:
    """A lock on a file, entered before something is timed; may be entered again by who has it.

    Args:
        path: the file, which is made. Processes that name the same one take turns.
    """

    def __init__(self, path: Path):
        self.path, self._depth = path, 0
        self._file = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)

    def __enter__(self) -> None:
        if not self._depth:
            fcntl.flock(self._file, fcntl.LOCK_EX)
        self._depth += 1

    def __exit__(self, *exception: object) -> None:
        self._depth -= 1
        if not self._depth:
            fcntl.flock(self._file, fcntl.LOCK_UN)
