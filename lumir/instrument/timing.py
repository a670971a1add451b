"""Wall time by step, as a tree; a step that runs again under the same parent adds to its first entry."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

_RULE = "===" + "-" * 73 + "==="


@dataclass
class Entry:
    """A step: seconds in total, how often it ran, and the steps inside it."""

    name: str
    seconds: float = 0.0
    count: int = 0
    children: dict[str, "Entry"] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        children = [child.to_dict() for child in self.children.values()]
        return {"name": self.name, "seconds": self.seconds, "count": self.count, "children": children}


class Timing:
    """The tree, and the step that runs now."""

    def __init__(self) -> None:
        self.root = Entry("total")
        self._current = self.root

    @contextmanager
    def measure(self, name: str) -> Iterator[Entry]:
        """Add the time spent inside the `with` to the step `name` under the current step."""
        parent = self._current
        entry = parent.children.setdefault(name, Entry(name))
        self._current, start = entry, time.perf_counter()
        try:
            yield entry
        finally:
            entry.seconds += time.perf_counter() - start
            entry.count += 1
            self._current = parent

    def report(self) -> str:
        """The tree as a table in the form of MLIR's execution time report: seconds, share and name."""
        total = sum(entry.seconds for entry in self.root.children.values())
        lines = [_RULE, "... Execution time report ...".center(79), _RULE]
        lines += [f"  Total Execution Time: {total:.4f} seconds", "", "  ----Wall Time----  ----Name----"]
        for entry in self.root.children.values():
            lines += _rows(entry, total, 0)
        return "\n".join(lines)


def _rows(entry: Entry, total: float, depth: int) -> Iterator[str]:
    share = 100 * entry.seconds / total if total else 0.0
    times = f" (x{entry.count})" if entry.count > 1 else ""
    yield f"  {entry.seconds:8.4f} ({share:5.1f}%)  {'  ' * depth}{entry.name}{times}"
    for child in entry.children.values():
        yield from _rows(child, total, depth + 1)
