"""`make demo`: a real sentence encoder from its Hugging Face directory to a semantic search, in a few seconds.

python benchmarks/demo.py [FOLDER]     # everything is kept in FOLDER, .demo by default
"""

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from fetch_models import fetch_minilm
from rich.console import Console
from rich.table import Table
from sentence_model import Feeds, OnnxRuntime, Tokenizer, medians

import lumir
from lumir.artifact.read import Artifact
from lumir.compile import Request, compile_to, write
from lumir.diagnostics import LumirError
from lumir.runtime.pool import default_threads
from lumir.target import local_gpu
from lumir.tools.run_report import human_bytes

SEQ = 32
SENTENCES = (
    "The kettle whistled while she ground the coffee.",
    "A compiler turns a program into machine code.",
    "Tomatoes need six hours of sun and regular water.",
    "The night train to Lisbon leaves from platform nine.",
    "Gradient descent follows the slope of the loss.",
    "He tuned the cello before the concert began.",
    "Glaciers carve valleys over thousands of years.",
    "Backpropagation tells each weight its share of the error.",
    "The goalkeeper saved a penalty in the last minute.",
    "Whales sing across hundreds of kilometres of ocean.",
    "Compost and mulch keep the garden's soil moist.",
    "Registers are faster than the cache, and fewer.",
)
QUESTIONS = ("How do I grow vegetables?", "making a neural network learn", "What limits the speed of a processor?")


def main(folder: Path) -> None:
    console = Console(highlight=False)
    console.print("[bold]all-MiniLM-L6-v2[/], a sentence encoder, through [bold]lumir[/]\n")
    model = fetch_minilm(folder)
    folder.mkdir(parents=True, exist_ok=True)
    target, precision = _best_target()
    steps = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    steps.add_row("compiled for", *_compile(model, target, precision, folder / "minilm.lumir"))
    steps.add_row("and for", *_compile(model, "sm_90a", "fp16", folder / "minilm.sm_90a.lumir"))
    console.print(steps)
    executable = lumir.load(folder / "minilm.lumir")
    tokenizer = Tokenizer(model, SEQ)

    def embed(texts: Sequence[str]) -> np.ndarray:
        return executable.run(tokenizer(texts))["sentence_embedding"]

    _search(console, embed)
    _compare(console, executable, model, tokenizer)
    console.print(f"\n[dim]look inside: lumir-run --inspect {folder / 'minilm.lumir'}[/]")


def _best_target() -> tuple[str, str | None]:
    """The GPU of this machine in half precision if there is one, else its CPU in the model's own."""
    try:
        return local_gpu().name, "fp16"
    except LumirError:
        return "cpu", None


def _compile(model: Path, target: str, precision: str | None, output: Path) -> tuple[str, ...]:
    """Compile for one sentence and for all of them at once; a row about it."""
    start = time.perf_counter()
    profiles = [{"batch": 1, "seq": SEQ}, {"batch": len(SENTENCES), "seq": SEQ}]
    compiled = compile_to(Request(model, target, profiles, precision))
    write(compiled, output)
    seconds = time.perf_counter() - start
    artifact = Artifact.open(output, verify=False)
    name = "this CPU" if target == "cpu" else f"{target}, {precision}"
    kernels = f"{len(artifact.manifest.kernels)} kernels"
    return f"[bold]{name}[/]", f"in {seconds:.1f} s", kernels, human_bytes(artifact.nbytes)


def _search(console: Console, embed: Callable[[Sequence[str]], np.ndarray]) -> None:
    corpus = embed(SENTENCES)
    for question in QUESTIONS:
        scores = corpus @ embed([question])[0]
        console.print(f"\n[bold cyan]{question}[/]")
        for i in np.argsort(-scores)[:2]:
            console.print(f"  {scores[i]:.2f}  {SENTENCES[i]}")


def _compare(console: Console, executable: lumir.Executable, model: Path, tokenizer: Tokenizer) -> None:
    """Latency and error beside onnxruntime's on the same inputs, measured in turns."""
    onnxruntime = OnnxRuntime(model, default_threads())
    table = Table(box=None, header_style="dim", padding=(0, 3, 0, 0))
    for column in ("", "lumir", "onnxruntime, CPU", "largest difference"):
        table.add_column(column, justify="right" if column else "left")
    for texts in (QUESTIONS[:1], SENTENCES):
        table.add_row(f"{len(texts)} x {SEQ} tokens", *_row(executable, onnxruntime, tokenizer(texts)))
    console.print("", table)


def _row(executable: lumir.Executable, onnxruntime: OnnxRuntime, feeds: Feeds) -> list[str]:
    ours, theirs = medians([lambda: executable.run(feeds), lambda: onnxruntime(feeds)])
    found, expected = executable.run(feeds)["sentence_embedding"], onnxruntime(feeds)["sentence_embedding"]
    return [f"{ours * 1e3:.2f} ms", f"{theirs * 1e3:.2f} ms", f"{np.abs(found - expected).max():.1e}"]


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1] if len(sys.argv) > 1 else ".demo"))
    except (LumirError, RuntimeError) as error:
        sys.exit(str(error))
