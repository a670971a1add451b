"""all-MiniLM-L6-v2, one sentence of 128 random tokens, against onnxruntime measured in the same run.

    python benchmarks/minilm.py [--batch 1] [--seq 128] [--threads N] [--precision fp16]     # `make bench`

Prints a table and writes it to benchmarks/results/minilm-<target>.json.
"""

import datetime
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import click
import numpy as np
from fetch_models import fetch_minilm
from rich.console import Console
from rich.table import Table
from sentence_model import Feeds, OnnxRuntime, medians

import lumir
from lumir.diagnostics import LumirError
from lumir.runtime.pool import default_threads
from lumir.target import host, local_gpu

RESULTS = Path(__file__).parent / "results"
OUTPUT = "sentence_embedding"
VOCABULARY = 30522


@dataclass(frozen=True)
class Result:
    """One target's numbers; times in seconds, sizes in bytes.

    Args:
        latency, peer_latency: medians of one run, with copies to and from a GPU; the peer is onnxruntime on the CPU.
        max_abs_error, cosine: of the embedding, against the peer's.
        compile_seconds, compile_peak_bytes: of a process that imports lumir, compiles and writes the artifact.
        first_load_seconds, load_seconds: from opening the artifact to the end of the first run, in a process that finds
            the driver's cache of machine code empty, and in one that finds it filled.
        load_peak_bytes: of a process that loads the artifact and runs it once.
    """

    target: str
    precision: str
    batch: int
    seq: int
    threads: int
    latency: float
    peer_latency: float
    max_abs_error: float
    cosine: float
    compile_seconds: float
    compile_peak_bytes: int
    first_load_seconds: float
    load_seconds: float
    load_peak_bytes: int
    artifact_bytes: int


@click.command()
@click.option("--batch", default=1, show_default=True)
@click.option("--seq", default=128, show_default=True)
@click.option("--threads", default=default_threads(), show_default=True, help="Of the CPU, for both.")
@click.option("--precision", default=None, help="fp32, fp16 or bf16.  [default: fp32 on a CPU, fp16 on a GPU]")
@click.option("--folder", default=".demo", type=click.Path(path_type=Path), help="Where the model is kept.")
def main(batch: int, seq: int, threads: int, precision: str | None, folder: Path) -> None:
    """Measure on the CPU, and on the GPU where there is one."""
    model = fetch_minilm(folder)
    console = Console(highlight=False)
    for target, default in _targets():
        result = measure(model, target, precision or default, batch, seq, threads)
        _print(console, result)
        console.print(f"[dim]wrote {_write(result)}[/]\n")


def _targets() -> list[tuple[str, str]]:
    try:
        return [("cpu", "fp32"), (local_gpu().name, "fp16")]
    except LumirError:
        return [("cpu", "fp32")]


def measure(model: Path, target: str, precision: str, batch: int, seq: int, threads: int) -> Result:
    """Compile and load in processes of their own, for their memory; then time both in this one."""
    with tempfile.TemporaryDirectory() as folder:
        artifact = Path(folder) / "minilm.lumir"
        compile_seconds, compile_peak = _in_process("compile", model, target, precision, batch, seq, artifact)
        first_load_seconds, _ = _in_process("load", artifact, threads, cache=Path(folder) / "cache")
        load_seconds, load_peak = _in_process("load", artifact, threads, cache=Path(folder) / "cache")
        executable = lumir.load(artifact, threads=threads)
        peer, feeds = OnnxRuntime(model, threads), random_feeds(batch, seq, seed=0)
        latency, peer_latency = medians([lambda: executable.run(feeds), lambda: peer(feeds)], rounds=20)
        fresh = random_feeds(batch, seq, seed=1)
        found, expected = executable.run(fresh)[OUTPUT], peer(fresh)[OUTPUT]
        return Result(
            target=target,
            precision=precision,
            batch=batch,
            seq=seq,
            threads=threads,
            latency=latency,
            peer_latency=peer_latency,
            max_abs_error=float(np.abs(found - expected).max()),
            cosine=float(_cosines(found, expected).min()),
            compile_seconds=compile_seconds,
            compile_peak_bytes=compile_peak,
            first_load_seconds=first_load_seconds,
            load_seconds=load_seconds,
            load_peak_bytes=load_peak,
            artifact_bytes=artifact.stat().st_size,
        )


def random_feeds(batch: int, seq: int, seed: int) -> Feeds:
    """Random tokens; each sentence but the first ends early."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, seq + 1, batch)
    lengths[0] = seq
    return {
        "input_ids": rng.integers(0, VOCABULARY, (batch, seq)),
        "attention_mask": (np.arange(seq) < lengths[:, None]).astype(np.int64),
        "token_type_ids": np.zeros((batch, seq), np.int64),
    }


def _cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = a.astype(np.float64), b.astype(np.float64)
    return (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)


def _in_process(step: str, *arguments: object, cache: Path | None = None) -> tuple[float, int]:
    """Run a step below in a new process: its seconds and its peak memory in bytes.

    Args:
        cache: the folder that a GPU's driver keeps machine code in.
    """
    command = [sys.executable, __file__, f"--{step}", *map(str, arguments)]
    environment = os.environ | ({"CUDA_CACHE_PATH": str(cache)} if cache else {})
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
    seconds, peak = json.loads(done.stdout.splitlines()[-1])
    return seconds, peak


def _compile(model: str, target: str, precision: str, batch: str, seq: str, output: str) -> None:
    from lumir.compile import Request, compile_to, write

    dims = {"batch": int(batch), "seq": int(seq)}
    write(compile_to(Request(Path(model), target, [dims], precision)), Path(output))


def _load(path: str, threads: str) -> None:
    executable = lumir.load(path, threads=int(threads))
    executable.run({spec.name: np.ones(spec.dims, np.int64) for spec in executable.inputs})


def _report(step: str, arguments: list[str]) -> None:
    start = time.perf_counter()
    {"--compile": _compile, "--load": _load}[step](*arguments)
    seconds = time.perf_counter() - start
    print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024]))


def _print(console: Console, result: Result) -> None:
    what = f"{result.target} {result.precision}, batch {result.batch}, {result.seq} tokens, {result.threads} threads"
    console.print(f"[bold]all-MiniLM-L6-v2[/], {what}")
    table = Table(box=None, show_header=False, padding=(0, 3, 0, 0))
    ratio = result.peer_latency / result.latency
    for row in (
        ("latency", f"{result.latency * 1e3:.2f} ms"),
        ("onnxruntime, CPU", f"{result.peer_latency * 1e3:.2f} ms ({ratio:.2f} x lumir's)"),
        ("max abs error", f"{result.max_abs_error:.2e}"),
        ("cosine", f"{result.cosine:.9f}"),
        ("compile", f"{result.compile_seconds:.2f} s, peak memory {result.compile_peak_bytes / 2**20:.0f} MiB"),
        ("first load and run", f"{result.first_load_seconds:.3f} s"),
        ("load and first run", f"{result.load_seconds:.3f} s, peak memory {result.load_peak_bytes / 2**20:.0f} MiB"),
        ("artifact", f"{result.artifact_bytes / 2**20:.1f} MiB"),
    ):
        table.add_row(*row)
    console.print(table)


def _write(result: Result) -> Path:
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"minilm-{result.target}-{result.precision}.json"
    packages = ("onnxruntime", "onnx", "numpy", "llvmlite", "torch-mlir")
    about = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "command": f"python benchmarks/{Path(__file__).name} {' '.join(sys.argv[1:])}".strip(),
        "versions": {
            "python": platform.python_version(),
            "lumir": lumir.__version__,
            **{name: version(name) for name in packages},
        },
        "cpu": host().arch,
    }
    path.write_text(json.dumps(about | asdict(result), indent=1) + "\n")
    return path


if __name__ == "__main__":
    if sys.argv[1:2] in (["--compile"], ["--load"]):
        _report(sys.argv[1], sys.argv[2:])
    else:
        main()
