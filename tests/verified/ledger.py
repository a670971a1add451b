"""The ledger of verified kernels, `verified.json`: what was run, on which GPU, and how far it was off.

    {"complete": true, "kernels": {
     "<dispatch> <arch> <family> <schedule>": {"ptx_sha256": "...", "error": 3.1e-4, "device": "NVIDIA H200",
                                               "date": "2026-11-26"}}}

`device` is "ptxas" for an architecture that no GPU at hand runs: its kernels are assembled, and not run. Once every
case of the corpus has been verified, `complete` is true, and a kernel that is not verified fails the tests.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

LEDGER = Path(__file__).parent / "verified.json"
ASSEMBLED = "ptxas"


@dataclass(frozen=True)
class Verified:
    """One entry: `error` is relative, against float64, in the Euclidean norm; None where nothing was run."""

    ptx_sha256: str
    error: float | None
    device: str
    date: str


@dataclass
class Ledger:
    """Entries by the key of their case."""

    complete: bool = False
    kernels: dict[str, Verified] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path = LEDGER) -> "Ledger":
        data = json.loads(path.read_text()) if path.exists() else {"complete": False, "kernels": {}}
        return cls(data["complete"], {key: Verified(**value) for key, value in data["kernels"].items()})

    def write(self, path: Path = LEDGER) -> None:
        """One line an entry, sorted."""
        lines = [f"{json.dumps(key)}: {json.dumps(asdict(entry))}" for key, entry in sorted(self.kernels.items())]
        complete = json.dumps(self.complete)
        path.write_text(f'{{"complete": {complete}, "kernels": {{\n' + ",\n".join(lines) + "\n}}\n")


def sha256_of(ptx: str) -> str:
    return hashlib.sha256(ptx.encode()).hexdigest()
