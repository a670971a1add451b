"""`lumir-bench kernels`: the benchmark set, compiled in parallel, measured one after the other."""

import datetime
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from lumir.diagnostics import InternalError, UserError
from lumir.measure import Bench
from lumir.measure.kernel import compile_dispatch, schedules_of
from lumir.measure.peer import torch_or_none
from lumir.measure.peers_ahead import PeersAhead, compiled_peers
from lumir.measure.prepared import batches, prepared
from lumir.measure.report import Ceiling, Reporter, Row, ceiling
from lumir.measure.suite import Benchmark, benchmarks
from lumir.measure.turn import Turn
from lumir.measure.workers import Workers
from lumir.target import local_gpu
from lumir.tools.bench_plot import require_matplotlib, write_plot
from lumir.tools.bench_report import print_rows, write_json

LISTED_FOR = "sm_90a"


def selected(groups: Sequence[str], only: Sequence[str]) -> list[Benchmark]:
    """The benchmarks of these groups (all, where none is named) whose name holds one of the texts.

    Raises:
        UserError: `unknown-group`; `unknown-benchmark`, where no name holds one of the texts.
    """
    items = benchmarks()
    known = list(dict.fromkeys(item.group for item in items))
    if unknown := [group for group in groups if group not in known]:
        raise UserError(f"there is no group {', '.join(unknown)}", code="unknown-group", hint=f"use {', '.join(known)}")
    chosen = [item for item in items if not groups or item.group in groups]
    if missing := [text for text in only if not any(text in item.full_name for item in chosen)]:
        raise UserError(
            f"there is no benchmark whose name holds {', '.join(missing)}",
            code="unknown-benchmark",
            hint="lumir-bench kernels --list names them",
        )
    return [item for item in chosen if not only or any(text in item.full_name for text in only)]


def list_kernels(groups: Sequence[str], console: Console, flags: Mapping[str, Any]) -> None:
    """Print the benchmarks and what the compiler chooses for each."""
    table = Table("benchmark", "schedules", "chosen", "compile s", box=None)
    for item in selected(groups, flags["only"]):
        text = item.text()
        kernel = compile_dispatch(text, LISTED_FOR, tuning_db=flags["tuning_db"])
        count = len(schedules_of(text, LISTED_FOR))
        table.add_row(item.full_name, str(count), f"{kernel.family} {kernel.schedule}", f"{kernel.seconds:.2f}")
    console.print(table)


def bench_kernels(groups: Sequence[str], console: Console, flags: Mapping[str, Any]) -> None:
    """Measure, print a table, and write what is asked for; after Ctrl-C, of what was measured until then.

    Raises:
        InternalError: `wrong-kernel`, at the end, where one computes something else than the reference.
        KeyboardInterrupt: at the end, where not all were measured.
    """
    items = selected(groups, flags["only"])
    if flags["plot_path"]:
        require_matplotlib()
    bench = Bench()
    with tempfile.TemporaryDirectory() as folder:
        rows, roof = _measured(items, bench, Turn(Path(folder) / "turn"), console, flags)
    print_rows(console, bench.gpu.name, roof, rows)
    record = {
        "command": " ".join(["lumir-bench", *sys.argv[1:]]),
        "date": datetime.date.today().isoformat(),
        "device": bench.gpu.name,
        "ceiling": vars(roof),
        "rows": [row.to_json() for row in rows],
    }
    if flags["json_path"]:
        write_json(flags["json_path"], record)
    if flags["plot_path"]:
        write_plot(flags["plot_path"], bench.gpu.name, roof, rows)
    if wrong := [row for row in rows if row.seconds is None]:
        raise InternalError(
            f"{len(wrong)} of {len(rows)} benchmarks have no right kernel",
            code="wrong-kernel",
            values={f"{row.group}/{row.name}": row.note for row in wrong[:12]},
        )
    if len(rows) < len(items):
        raise KeyboardInterrupt


def _measured(
    items: Sequence[Benchmark], bench: Bench, turn: Turn, console: Console, flags: Mapping[str, Any]
) -> tuple[list[Row], Ceiling]:
    """The rows, in the order of the items; measured last are those whose peers torch compiles meanwhile."""
    order = sorted(items, key=lambda item: bool(compiled_peers(item)))
    rows: dict[str, Row] = {}
    with ExitStack() as stack:
        workers = stack.enter_context(Workers(flags["workers"]))
        kernels = prepared(order, local_gpu().name, workers, flags["tuning_db"], flags["cost"])
        ahead = stack.enter_context(PeersAhead(turn, order)) if flags["peer"] and torch_or_none() else None
        with turn:
            roof = ceiling(bench, flags["peer"])
        reporter = Reporter(bench, roof, flags["peer"], flags["samples"], turn)
        with Progress(console=Console(stderr=True), transient=True) as bar, _interruptible(console, items, rows):
            task = bar.add_task("compiling", total=len(items))
            for batch in batches(kernels, ahead.wait if ahead else lambda item: None):
                for row, one in zip(reporter.rows(batch), batch, strict=True):
                    rows[one.item.full_name] = row
                    bar.update(task, advance=1, description=one.item.full_name)
    return [rows[item.full_name] for item in items if item.full_name in rows], roof


@contextmanager
def _interruptible(console: Console, items: Sequence[Benchmark], rows: Mapping[str, Row]) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        console.print(f"interrupted after {len(rows)} of {len(items)} kernels")
