"""The IR after each step as files, written as the compiler goes, so that a crash leaves them behind.

    00-input.mlir            what the first pass gets
    01-canonicalize.mlir     after the first pass
    02-linalg.mlir           after a step that has passes of its own,
    02-linalg/01-cse.mlir    which are here
    steps.txt                a line when a step starts and one when it ends: the last line names the one that crashed

The first line of a pass's file is the `lumir-opt` command that runs the passes after it.
"""

import re
from pathlib import Path


class DumpDirectory:
    """Numbers and writes the files; `enter` and `leave` nest like the steps."""

    def __init__(self, root: Path):
        self.root = root
        self._log = root / "steps.txt"
        self._folders: list[Path] = [root]
        self._counts: list[int] = [0]
        root.mkdir(parents=True, exist_ok=True)
        self._log.write_text("")

    def enter(self, name: str) -> Path:
        """Start a step: the path, without suffix, of its file, which is also its folder."""
        self._counts[-1] += 1
        path = self._folders[-1] / f"{self._counts[-1]:02}-{file_name(name)}"
        self._folders.append(path)
        self._counts.append(0)
        self._note(path, "started")
        return path

    def leave(self, outcome: str, text: str | None) -> None:
        """End the step: `outcome` goes to the log, the text (if any) to its file."""
        path = self._folders.pop()
        self._counts.pop()
        if text is not None:
            _write(path.with_name(path.name + ".mlir"), text)
        self._note(path, outcome)

    def write_input(self, text: str) -> None:
        """Write the input of the current step's first pass."""
        if self._counts[-1] == 0:
            _write(self._folders[-1] / "00-input.mlir", text)

    def _note(self, path: Path, what: str) -> None:
        with self._log.open("a") as log:
            log.write(f"{path.relative_to(self.root)} {what}\n")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def file_name(name: str) -> str:
    """The step's name with what a file name should not have replaced by `-`."""
    return re.sub(r"[^\w.-]+", "-", name).strip("-.") or "step"
