"""`lumir-tune`: measure the schedules of a model's dispatches on this machine's GPU and keep the fastest."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from lumir import __version__
from lumir.target import local_gpu
from lumir.tools.compile_flags import profiles_of
from lumir.tools.failures import WIDE, check_output, run_tool


def default_database() -> Path:
    """`$XDG_DATA_HOME/lumir/tuning`, by default under `~/.local/share`: a file for each architecture."""
    home = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(home) / "lumir" / "tuning"


@click.command(
    context_settings={"max_content_width": 120, "help_option_names": ["--help", "-h"]},
    epilog="Status: 0; 1 when the model or the request is wrong, or no right kernel was found; 2 for wrong usage.",
)
@click.argument("model", metavar="MODEL|kernels", type=click.Path(path_type=Path))
@click.option("--precision", metavar="P", help="fp32, tf32, fp16 or bf16, as for lumir-compile.")
@click.option("--dim", "dims", metavar="NAME=SIZE", multiple=True, help="The size of a symbolic dimension.")
@click.option(
    "--only", metavar="TEXT", multiple=True, help="Tune the dispatches whose name holds this text; --list names them."
)
@click.option("--list", "list_only", is_flag=True, help="List the dispatches and how many schedules each has.")
@click.option(
    "--tuning-db",
    metavar="PATH",
    type=click.Path(path_type=Path),
    help="The database to add to, a file or a folder.  [default: ~/.local/share/lumir/tuning]",
)
@click.option("--choices", default=128, show_default=True, help="Schedules to measure of each dispatch, at most.")
@click.option("--again", is_flag=True, help="Measure also what the database has already.")
@click.option("--workers", type=int, help="Processes that compile.  [default: the CPUs but one]")
@click.option("--json", "json_path", metavar="FILE", type=click.Path(path_type=Path), help="Write every measurement.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors and warnings.")
@click.version_option(__version__, prog_name="lumir-tune")
def command(model: Path, dims: Sequence[str], **flags: Any) -> None:
    """Tune MODEL (an .onnx file, a Hugging Face directory, an .mlir file of step graph or dispatch), or the set of
    lumir-bench kernels.

    Each dispatch's legal schedules are pruned by the cost model, compiled in parallel, held against the reference, and
    measured; the fastest goes into a tuning database, which lumir-compile --tuning-db uses.
    """
    from lumir.tools.tune_run import list_dispatches, tune_model

    console = Console(quiet=flags.pop("quiet"), highlight=False, stderr=True)
    (sizes,) = profiles_of(dims, ())
    if flags.pop("list_only"):
        shown = Console(highlight=False, width=None if sys.stdout.isatty() else WIDE)
        list_dispatches(model, sizes, flags["precision"], flags["only"], shown)
        return
    if flags["json_path"]:
        check_output(flags["json_path"], "--json")
    # Thousands of kernels that are used once would push those of models out of the driver's cache on disk.
    os.environ.setdefault("CUDA_CACHE_DISABLE", "1")
    flags["tuning_db"] = flags["tuning_db"] or Path(os.environ.get("LUMIR_TUNING_DB") or default_database())
    tune_model(model, sizes, local_gpu().name, console, flags)


def main(arguments: Sequence[str] | None = None) -> None:
    """The console script."""
    sys.exit(run_tool(command, "lumir-tune", sys.argv[1:] if arguments is None else arguments))


if __name__ == "__main__":
    main()
