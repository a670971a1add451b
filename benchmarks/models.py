"""Every small model under tests/models against onnxruntime: error, determinism, latency.

    python benchmarks/models.py [--target cpu|cuda] [--only bert,llama]

Each model runs at its first default shape in fp32, fp16 and bf16 and at its second in fp32, on random inputs. The error
is the largest difference over the largest magnitude of the output. Writes benchmarks/results/models-<target>.json.
"""

import sys
import time
from pathlib import Path
from statistics import median

import click
import onnxruntime
from against_onnxruntime import compare, report

import lumir

ROOT = Path(__file__).parent.parent
MODELS = ROOT / "tests" / "models"
sys.path.insert(0, str(MODELS))


def measure(path: Path, target: str, dims: dict[str, int], precision: str) -> dict[str, object]:
    """Compile, run twice, compare with onnxruntime on the CPU, and time."""
    from catalog import random_inputs

    start = time.perf_counter()
    executable = lumir.compile(path, target=target, dims=dims, precision=precision)
    compile_seconds = time.perf_counter() - start
    inputs = random_inputs(path, 0, dims)
    found = compare(executable, onnxruntime.InferenceSession(str(path)), inputs)
    times = []
    for _ in range(20):
        start = time.perf_counter()
        executable.run(inputs)
        times.append(time.perf_counter() - start)
    return {
        "model": path.stem,
        "precision": precision,
        "dims": dims,
        "max_rel_to_scale": found.error,
        "deterministic": found.deterministic,
        "run_ms": median(times) * 1e3,
        "launches": len(executable.artifact.plans[0].launches),
        "compile_s": compile_seconds,
    }


@click.command()
@click.option("--target", default="cpu", show_default=True)
@click.option("--only", default="", help="Names, separated by commas.")
def main(target: str, only: str) -> None:
    """Measure, print a table, write the numbers."""
    from catalog import default_dims

    rows = []
    for path in sorted(MODELS.glob("*.onnx")):
        if only and path.stem not in only.split(","):
            continue
        first, second = default_dims(path)[:2]
        for dims, precision in ((first, "fp32"), (second, "fp32"), (first, "fp16"), (first, "bf16")):
            rows.append(measure(path, target, dims, precision))
    columns = ("model", "precision", "dims", "error", "same bits", "ms", "launches", "compile s")
    report("models", target, columns, rows, not only)


if __name__ == "__main__":
    main()
