"""The ledger of verified kernels, `verified.json`: what was run, on which GPU, and how far it was off.

    {"<dispatch> <arch> <family> <schedule>": {"ptx_sha256": "...", "error": 3.1e-4, "device": "NVIDIA H200",
                                               "date": "2026-11-26"}}

`device` is "ptxas" for an architecture that no GPU at hand runs: its kernels are assembled, and not run.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
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


def sha256_of(ptx: str) -> str:
    return hashlib.sha256(ptx.encode()).hexdigest()


def read(path: Path = LEDGER) -> dict[str, Verified]:
    if not path.exists():
        return {}
    return {key: Verified(**value) for key, value in json.loads(path.read_text()).items()}


def write(entries: Mapping[str, Verified], path: Path = LEDGER) -> None:
    lines = [f"{json.dumps(key)}: {json.dumps(asdict(entry))}" for key, entry in sorted(entries.items())]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")
