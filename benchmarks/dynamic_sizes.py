"""One artifact for ranges of sizes against one made for each size, on all-MiniLM-L6-v2, measured in turns.

    python benchmarks/dynamic_sizes.py [--target cuda] [--precision fp16] [--threads N]

Prints a table and writes it to benchmarks/results/dynamic-sizes-<target>.json.
"""

import json
import platform
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from fetch_models import fetch_minilm
from rich.console import Console
from rich.table import Table
from sentence_model import medians

import lumir

RESULTS = Path(__file__).parent / "results"
RANGES = {"batch": "1..16", "seq": "1..512"}
SHAPES = [(1, 1), (1, 16), (1, 37), (1, 128), (1, 512), (4, 37), (8, 128), (16, 64)]
VOCABULARY = 30522


@dataclass(frozen=True)
class Row:
    """Medians of one run in seconds, and of the first run of the artifact for ranges at this shape.

    Args:
        served: by the artifact for ranges.
        pinned: by an artifact that is made for this shape alone.
        difference: largest difference of any output, relative to its largest magnitude.
    """

    batch: int
    seq: int
    served: float
    pinned: float
    first: float
    difference: float


def feeds(batch: int, seq: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    ids = rng.integers(0, VOCABULARY, (batch, seq))
    return {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}


def measure(model: Path, served: lumir.Executable, shape: tuple[int, int], options: dict[str, Any]) -> Row:
    batch, seq = shape
    pinned = lumir.compile(model, dims={"batch": batch, "seq": seq}, **options)
    inputs = feeds(batch, seq, np.random.default_rng(batch * 1000 + seq))
    start = time.perf_counter()
    found = served.run(inputs)
    first = time.perf_counter() - start
    expected = pinned.run(inputs)
    errors = [np.abs(found[name] - value).max() / np.abs(value).max() for name, value in expected.items()]
    ranges, alone = medians([lambda: served.run(inputs), lambda: pinned.run(inputs)])
    pinned.close()
    return Row(batch, seq, ranges, alone, first, float(max(errors)))


@click.command()
@click.option("--target", default="cpu", show_default=True)
@click.option("--precision", default=None)
@click.option("--threads", type=int, default=None)
def command(target: str, precision: str | None, threads: int | None) -> None:
    """Measure, print and write the table."""
    model = fetch_minilm(Path(".demo"))
    options: dict[str, Any] = {"target": target, "precision": precision}
    options |= {"threads": threads} if target == "cpu" else {}
    start = time.perf_counter()
    served = lumir.compile(model, dims=RANGES, **options)
    compiled = time.perf_counter() - start
    rows = [measure(model, served, shape, options) for shape in SHAPES]
    table = Table("batch", "seq", "ranges, ms", "pinned, ms", "ratio", "first run, ms", "difference")
    for r in rows:
        ratio = f"{r.served / r.pinned:.2f}"
        milliseconds = [f"{1e3 * s:.3f}" for s in (r.served, r.pinned)]
        table.add_row(str(r.batch), str(r.seq), *milliseconds, ratio, f"{1e3 * r.first:.1f}", f"{r.difference:.1e}")
    Console().print(table, f"ranges {RANGES}, compiled once in {compiled:.1f} s on {served.device.name}")
    record = {"ranges": RANGES, "precision": precision, "compile_seconds": compiled, "device": served.device.name}
    record |= {"machine": platform.processor() or platform.machine(), "rows": [asdict(r) for r in rows]}
    (RESULTS / f"dynamic-sizes-{target}.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    command()
