"""Compiled models against onnxruntime on the same inputs, and the report of several."""

import datetime
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from rich.console import Console
from rich.table import Table

import lumir
from lumir.runtime.cuda_gpu import Gpu

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Comparison:
    """What two runs of a model gave.

    Args:
        error: the largest difference to onnxruntime over the largest magnitude, of the worst output.
        spread: the largest less the smallest element over the largest magnitude, of the most uniform output.
        deterministic: both runs gave the same bits.
    """

    error: float
    spread: float
    deterministic: bool


def compare(
    executable: lumir.Executable, session: onnxruntime.InferenceSession, inputs: Mapping[str, np.ndarray]
) -> Comparison:
    """Run the model twice, and onnxruntime's once."""
    found, again = executable.run(inputs), executable.run(inputs)
    names = [output.name for output in session.get_outputs()]
    expected = dict(zip(names, map(np.asarray, session.run(None, dict(inputs))), strict=True))
    scales = {name: np.abs(expected[name]).max() for name in names}
    errors = [np.abs(found[name].astype(np.float64) - expected[name]).max() / scales[name] for name in names]
    return Comparison(
        error=float(max(errors)),
        spread=float(min(np.ptp(expected[name]) / scales[name] for name in names)),
        deterministic=all(np.array_equal(found[name], again[name]) for name in names),
    )


def report(name: str, target: str, columns: Sequence[str], rows: Sequence[Mapping[str, object]], whole: bool) -> None:
    """Print a table of measurements; of the whole set, write `benchmarks/results/<name>-<target>.json` too.

    Args:
        name: of the script, with dashes.
        columns: a heading for each value of a row.
    """
    table = Table(*columns, box=None)
    for row in rows:
        table.add_row(*(f"{v:.3g}" if isinstance(v, float) else str(v) for v in row.values()))
    Console(width=140).print(table)
    if whole:
        found = {
            "date": datetime.date.today().isoformat(),
            "command": f"python benchmarks/{name.replace('-', '_')}.py --target {target}",
            "device": Gpu(0).name if target == "cuda" else "CPU",
            "onnxruntime": onnxruntime.__version__,
            "rows": rows,
        }
        (RESULTS / f"{name}-{target}.json").write_text(json.dumps(found, indent=1) + "\n")
