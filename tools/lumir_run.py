"""`lumir-run`: inspect an artifact, run it, time it, and hold it against onnxruntime."""

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console

from lumir import __version__
from lumir.artifact.read import Artifact
from lumir.diagnostics import LumirError, UserError
from lumir.runtime import load
from lumir.tools import run_report
from lumir.tools.run_inputs import make_inputs, plan_for

OK, DIFFERS, FAILED = 0, 1, 2
_NO_WRAP = 4096
"""Columns of an output that is no terminal: lines stay whole there, for `grep`."""


@click.command(
    context_settings={"max_content_width": 120, "help_option_names": ["--help", "-h"]},
    epilog="Status: 0, 1 when --verify finds a difference, 2 on an error.",
)
@click.argument("path", metavar="MODEL.lumir", type=click.Path(path_type=Path))
@click.option(
    "--input",
    "inputs",
    metavar="NAME=VALUE",
    multiple=True,
    help="VALUE is @file.npy, random, random:LOW:HIGH, zeros or ones. Inputs that are not named are random: floats "
    "normal, integers 0 or 1.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the random inputs.")
@click.option("--output-dir", metavar="DIR", type=click.Path(path_type=Path), help="Write each output here as .npy.")
@click.option("--dim", "dims", metavar="NAME=SIZE", multiple=True, help="A size for inputs that lumir-run makes.")
@click.option("--verify", "model", metavar="MODEL.onnx", type=click.Path(path_type=Path), help="Compare outputs.")
@click.option("--every-dispatch", is_flag=True, help="With --verify: compare after each launch.")
@click.option("--rtol", type=float, help="With --verify: relative tolerance.  [default: by element type]")
@click.option("--atol", type=float, help="With --verify: absolute tolerance.  [default: by element type]")
@click.option("--bench", is_flag=True, help="Print latency percentiles.")
@click.option("--iterations", type=click.IntRange(1), default=100, show_default=True, help="With --bench.")
@click.option("--warmup", type=click.IntRange(0), default=10, show_default=True, help="With --bench.")
@click.option("--inspect", is_flag=True, help="Print what the artifact holds, and run nothing. Needs no GPU.")
@click.option("--device", metavar="DEVICE", help="cpu, cuda or cuda:N.  [default: the artifact's]")
@click.option("--threads", type=int, help="CPU threads.  [default: LUMIR_NUM_THREADS, else all]")
@click.option("--check-weights", is_flag=True, help="Hold weights of any size against their checksum.")
@click.version_option(__version__, prog_name="lumir-run")
def command(path: Path, **flags: Any) -> int:
    """Run MODEL.lumir once and print a summary of its outputs."""
    if flags["every_dispatch"] and not flags["model"]:
        raise UserError("--every-dispatch needs --verify MODEL.onnx", code="bad-option")
    console = Console(width=None if sys.stdout.isatty() else _NO_WRAP, highlight=False)
    artifact = Artifact.open(path, verify=flags["check_weights"] or None)
    if flags["inspect"]:
        run_report.print_artifact(console, artifact)
        return OK
    executable = load(artifact, flags["device"], threads=flags["threads"])
    plan = plan_for(artifact.plans, flags["inputs"], flags["dims"])
    inputs = make_inputs(plan, flags["inputs"], flags["seed"])
    outputs = executable.run(inputs)
    run_report.print_outputs(console, outputs)
    if flags["output_dir"]:
        _write_outputs(console, flags["output_dir"], outputs)
    if flags["bench"]:
        latency = executable.bench(inputs, iterations=flags["iterations"], warmup=flags["warmup"])
        console.print(f"latency on {executable.device.name}: {latency}")
    return _verify(console, executable, inputs, flags) if flags["model"] else OK


def _verify(console: Console, executable: Any, inputs: Mapping[str, np.ndarray], flags: Mapping[str, Any]) -> int:
    from lumir.tools.run_verify import verify, verify_each

    check = verify_each if flags["every_dispatch"] else verify
    comparisons = check(executable, flags["model"], inputs, flags["rtol"], flags["atol"])
    return OK if run_report.print_comparisons(console, comparisons) else DIFFERS


def _write_outputs(console: Console, folder: Path, outputs: Mapping[str, np.ndarray]) -> None:
    """One `.npy` for each output; characters that no file name takes become `_`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for i, (name, array) in enumerate(outputs.items()):
            stem = re.sub(r"[^\w.-]", "_", name)
            taken = [re.sub(r"[^\w.-]", "_", other) for other in outputs].count(stem) > 1
            file = folder / f"{stem}{f'.{i}' if taken else ''}.npy"
            np.save(file, array)
            console.print(f"wrote {file}")
    except OSError as error:
        raise UserError(f"{folder} cannot be written: {error.strerror or error}", code="unwritable") from error


def main(arguments: Sequence[str] | None = None) -> None:
    """The console script."""
    try:
        status = command.main(args=arguments, prog_name="lumir-run", standalone_mode=False)
    except LumirError as error:
        click.echo(str(error), err=True)
        status = FAILED
    except click.ClickException as error:
        error.show()
        status = FAILED
    except click.Abort:
        status = FAILED
    sys.exit(status)


if __name__ == "__main__":
    main()
