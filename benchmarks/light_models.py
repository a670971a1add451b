"""ONNX's nine light models with seeded random weights against onnxruntime: error, determinism, compile time.

    python benchmarks/light_models.py [--target cpu|cuda] [--only resnet50,vgg19] [--jobs N]

The error is the largest difference over the largest magnitude, of the last Softmax and of what it reads. Writes
benchmarks/results/light-models-<target>.json.
"""

import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import click
import onnxruntime
from against_onnxruntime import compare, report

import lumir

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests" / "models"))


def measure(name: str, target: str) -> dict[str, object]:
    """Compile, run twice, and compare with onnxruntime on the CPU."""
    from light_models import filled_model, image

    model = filled_model(name)
    inputs = image(model)
    start = time.perf_counter()
    executable = lumir.compile(model, target=target)
    seconds = time.perf_counter() - start
    found = compare(executable, onnxruntime.InferenceSession(model.SerializeToString()), inputs)
    return {
        "model": name,
        "max_rel_to_scale": found.error,
        "spread": found.spread,
        "deterministic": found.deterministic,
        "launches": len(executable.artifact.plans[0].launches),
        "compile_s": seconds,
    }


@click.command()
@click.option("--target", default="cpu", show_default=True)
@click.option("--only", default="", help="Names, separated by commas.")
@click.option("--jobs", default=1, show_default=True, help="Models at a time; compile times are then not theirs alone.")
def main(target: str, only: str, jobs: int) -> None:
    """Measure, print a table, write the numbers."""
    from light_models import NAMES

    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        rows = list(pool.map(partial(measure, target=target), only.split(",") if only else NAMES))
    report("light-models", target, ("model", "error", "spread", "same bits", "launches", "compile s"), rows, not only)


if __name__ == "__main__":
    main()
