"""`lumir-bench kernels`: the benchmark set, compiled in parallel, measured one after the other."""

import datetime
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from lumir.diagnostics import InternalError, LumirError, UserError
from lumir.measure import Bench
from lumir.measure.kernel import CompiledDispatch, compile_dispatch, model_choice, schedules_of
from lumir.measure.report import Reporter, ceiling
from lumir.measure.suite import Benchmark, benchmarks
from lumir.measure.workers import Workers
from lumir.target import local_gpu
from lumir.tools.bench_report import print_rows, write_json, write_plot

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
    """
    items, arch = selected(groups, flags["only"]), local_gpu().name
    bench = Bench()
    roof = ceiling(bench, flags["peer"])
    reporter = Reporter(bench, roof, flags["peer"], flags["samples"])
    rows = []
    with Workers(flags["workers"]) as workers:
        compiled = compile_all(items, arch, workers, flags["tuning_db"], flags["cost"])
        try:
            for item, kernel, model in _tracked(compiled, len(items)):
                rows.append(reporter.row(item, kernel, model))
        except KeyboardInterrupt:
            console.print(f"interrupted after {len(rows)} of {len(items)} kernels")
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
    if flags["plot"]:
        write_plot(flags["plot"], bench.gpu.name, roof, rows)
    if wrong := [row for row in rows if row.seconds is None]:
        raise InternalError(
            f"{len(wrong)} of {len(rows)} benchmarks have no right kernel",
            code="wrong-kernel",
            values={f"{row.group}/{row.name}": row.note for row in wrong[:12]},
        )


def _tracked(compiled: Iterator["Compiled"], count: int) -> Iterator["Compiled"]:
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("measuring", total=count)
        for found in compiled:
            bar.update(task, description=found[0].full_name)
            yield found
            bar.advance(task)


Compiled = tuple[Benchmark, CompiledDispatch | LumirError, CompiledDispatch | None]


def compile_all(
    items: Sequence[Benchmark], arch: str, workers: Workers, tuning_db: Path | None, with_model: bool
) -> Iterator[Compiled]:
    """Every benchmark with its kernel, and with that of the cost model's choice where it is another."""
    futures = [(item, workers.call(_compile, item.text, arch, tuning_db, with_model)) for item in items]
    for item, future in futures:
        yield (item, *_result(future))


def _compile(
    make: Callable[[], str], arch: str, tuning_db: Path | None, with_model: bool
) -> tuple[CompiledDispatch, CompiledDispatch | None]:
    text = make()
    kernel = compile_dispatch(text, arch, tuning_db=tuning_db)
    choice = model_choice(text, arch) if with_model else None
    if choice is None or (choice.family, choice.schedule) == (kernel.family, kernel.schedule):
        return kernel, None
    return kernel, compile_dispatch(text, arch, choice.family, choice.schedule)


def _result(
    future: Future[tuple[CompiledDispatch, CompiledDispatch | None]],
) -> tuple[CompiledDispatch | LumirError, CompiledDispatch | None]:
    try:
        return future.result()
    except LumirError as error:
        return error, None
