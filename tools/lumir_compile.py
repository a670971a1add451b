"""`lumir-compile`: a model in, one `.lumir` artifact out, or the text of any step in between."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from lumir import __version__
from lumir.step_files import IR_STEPS
from lumir.target import NVIDIA_ARCHS
from lumir.tools import compile_run
from lumir.tools.compile_flags import profiles_of
from lumir.tools.failures import run_tool

_EXISTING = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command(
    context_settings={"max_content_width": 120, "help_option_names": ["--help", "-h"]},
    epilog="Status: 0; 1 when the model or the request is wrong or unsupported; 2 for wrong usage; 70 for a defect of "
    "lumir, which leaves a reproducer behind.",
)
@click.argument("model", metavar="MODEL", type=click.Path(path_type=Path))
@click.option("-o", "output", metavar="FILE", type=click.Path(path_type=Path), help="[default: MODEL.lumir, here]")
@click.option(
    "--target", metavar="TARGET", help=f"cpu, cuda (this machine's GPU), {', '.join(NVIDIA_ARCHS)}.  [default: cpu]"
)
@click.option(
    "--precision",
    metavar="P",
    help="fp32, tf32, fp16 or bf16: what float32 is computed in; tf32 concerns products.  [default: as the model]",
)
@click.option(
    "--dim",
    "dims",
    metavar="NAME=SIZE",
    multiple=True,
    help="The size of a symbolic dimension, or the range that is served: 128, 1..512, 8..512:8 (multiples of 8).",
)
@click.option(
    "--profile",
    "profiles",
    metavar="NAME=SIZE,...",
    multiple=True,
    help="Sizes and ranges of one specialisation; give it several times for code that is made for each. They share "
    "weights, and a run takes the tightest.",
)
@click.option(
    "--to",
    "last",
    metavar="STEP",
    type=click.Choice(IR_STEPS),
    help=f"Stop after {', '.join(IR_STEPS)}; write its text.",
)
@click.option(
    "--weights", metavar="DIR", type=_EXISTING, help="Where weight paths of a step's file start.  [default: beside it]"
)
@click.option("--dump", metavar="DIR", type=click.Path(path_type=Path), help="Write every step's text here.")
@click.option("--override", metavar="DIR", type=_EXISTING, help="Use DIR/STEP.mlir in place of what that step gives.")
@click.option(
    "--tuning-db",
    metavar="PATH",
    type=click.Path(exists=True, path_type=Path),
    help="A tuning database that lumir-tune wrote, used before the one that ships.  [default: $LUMIR_TUNING_DB]",
)
@click.option(
    "--schedules",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Schedules by dispatch, in the form of an artifact's schedules.json.",
)
@click.option("--verify", is_flag=True, help="Run the artifact on random inputs and hold it against onnxruntime.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors and warnings.")
@click.version_option(__version__, prog_name="lumir-compile")
def command(model: Path, **flags: Any) -> None:
    """Compile MODEL: an .onnx file, a Hugging Face directory, or a step's .mlir file, from where it goes on."""
    flags["profiles"] = profiles_of(flags.pop("dims"), flags["profiles"])
    quiet = flags.pop("quiet")
    progress = Console(stderr=True, quiet=quiet, highlight=False)
    if flags["last"]:
        compile_run.write_step(model, progress, flags)
        return
    report = Console(quiet=quiet, highlight=False, soft_wrap=not sys.stdout.isatty())
    compile_run.write_model(model, progress, report, flags)


def main(arguments: Sequence[str] | None = None) -> None:
    """The console script."""
    sys.exit(run_tool(command, "lumir-compile", sys.argv[1:] if arguments is None else arguments))


if __name__ == "__main__":
    main()
