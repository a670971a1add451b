"""`lumir-bench`: how fast this machine's GPU runs lumir's kernels, against its roofline and against others."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from lumir import __version__
from lumir.tools.failures import WIDE, check_output, run_tool

KERNELS = "kernels"


@click.command(
    context_settings={"max_content_width": 120, "help_option_names": ["--help", "-h"]},
    epilog="Status: 0; 1 when a kernel is wrong, or the request is; 2 for wrong usage; 130 after Ctrl-C, once what was "
    "measured is written.",
)
@click.argument("what", metavar="kernels|MODEL")
@click.argument("groups", metavar="[GROUP]...", nargs=-1)
@click.option("--list", "list_only", is_flag=True, help="List the benchmarks and what is chosen for each.")
@click.option("--only", metavar="TEXT", multiple=True, help="Benchmarks (or dispatches) whose name holds TEXT.")
@click.option("--samples", default=30, show_default=True, help="Samples of each time.")
@click.option("--peer/--no-peer", default=True, help="Measure torch in the same run, where it is installed.")
@click.option("--cost/--no-cost", default=True, help="Measure also what the cost model alone would choose.")
@click.option("--tuning-db", metavar="PATH", type=click.Path(exists=True, path_type=Path), help="As for lumir-compile.")
@click.option("--workers", type=int, help="Processes that compile.  [default: the CPUs but one]")
@click.option("--precision", metavar="P", help="For a model that is not compiled yet: as for lumir-compile.")
@click.option("--dim", "dims", metavar="NAME=SIZE", multiple=True, help="For a model that is not compiled yet.")
@click.option("--json", "json_path", metavar="FILE", type=click.Path(path_type=Path), help="Write every number.")
@click.option("--plot", "plot_path", metavar="FILE.png", type=click.Path(path_type=Path), help="Draw the roofline.")
@click.version_option(__version__, prog_name="lumir-bench")
def command(what: str, groups: Sequence[str], **flags: Any) -> None:
    """Measure the benchmark set (`lumir-bench kernels gemm skinny`), or each dispatch of MODEL.

    MODEL is a .lumir artifact, or a model that is compiled for this GPU first. Times are medians by the GPU's clock,
    under a CUDA graph, on random operands that are not in its L2 cache; every kernel is held against the reference
    before its time counts.
    """
    for option in ("json", "plot"):
        if path := flags[f"{option}_path"]:
            check_output(path, f"--{option}")
    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDE)
    if what == KERNELS:
        from lumir.tools.bench_kernels import bench_kernels, list_kernels

        (list_kernels if flags["list_only"] else bench_kernels)(groups, console, flags)
        return
    from lumir.tools.bench_model import bench_model

    if groups:
        raise click.UsageError("groups are of the benchmark set: lumir-bench kernels GROUP...")
    if flags["plot_path"]:
        raise click.UsageError("--plot is of the benchmark set: lumir-bench kernels --plot FILE.png")
    if flags["list_only"]:
        raise click.UsageError("--list is of the benchmark set; lumir-tune MODEL --list names a model's dispatches")
    bench_model(Path(what), console, flags)


def main(arguments: Sequence[str] | None = None) -> None:
    """The console script."""
    sys.exit(run_tool(command, "lumir-bench", sys.argv[1:] if arguments is None else arguments))


if __name__ == "__main__":
    main()
