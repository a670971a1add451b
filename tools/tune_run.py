"""What `lumir-tune` does once its command line is read."""

import json
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from lumir.compile import Request, compile_to
from lumir.context import make_context
from lumir.diagnostics import UserError
from lumir.dims import Dims
from lumir.measure import Bench
from lumir.measure.bench import Case
from lumir.measure.ceiling import nominal_rate
from lumir.measure.dispatches import DispatchText, dispatch_texts
from lumir.measure.kernel import schedules_of
from lumir.measure.report import Ceiling, rate_of
from lumir.measure.search import Candidate
from lumir.measure.suite import benchmarks, few_tiles, grid
from lumir.measure.tune import Compiling, Plan, Tuned, compile_all, current_keys, plan, tune
from lumir.measure.workers import Workers
from lumir.mlir import ir
from lumir.module import symbols
from lumir.schedule.tuning import Database
from lumir.step_files import parse

KERNELS = "kernels"
"""Stands for the benchmark set and a grid of common products, in place of a model."""


def dispatches_of(model: Path, dims: Dims, precision: str | None, target: str) -> list[DispatchText]:
    """The dispatches of a model after step 3, those in a file of dispatch functions alone, or those of `KERNELS`."""
    if str(model) == KERNELS:
        return [DispatchText(item.full_name, item.text(), 1) for item in (*benchmarks(), *few_tiles(), *grid())]
    if model.suffix == ".mlir":
        with make_context(), ir.Location.unknown():
            module = parse(model)
            if "main" not in symbols(module):
                return dispatch_texts(module)
    compiled = compile_to(Request(model, target, [dims], precision), last="dispatch")
    with compiled.context:
        return dispatch_texts(compiled.specialisations[0].module)


def list_dispatches(model: Path, dims: Dims, precision: str | None, only: tuple[str, ...], console: Console) -> None:
    """Print what could be tuned."""
    from lumir.measure.reference import Reference

    table = Table("dispatch", "calls", "schedules", "family of the first", "computes", box=None)
    for item in _selected(dispatches_of(model, dims, precision, "sm_90a"), only):
        choices = schedules_of(item.text, "sm_90a")
        table.add_row(item.name, str(item.calls), str(len(choices)), choices[0].family, Reference(item.text).summary)
    console.print(table)


def tune_model(model: Path, dims: Dims, arch: str, console: Console, flags: Mapping[str, Any]) -> None:
    """Tune every dispatch that the database does not have yet, and write the database after each.

    Raises:
        UserError: `no-right-kernel`, at the end, where no schedule of a dispatch computes what the reference does.
        KeyboardInterrupt: once what was tuned until then has been reported.
    """
    items = _selected(dispatches_of(model, dims, flags["precision"], arch), flags["only"])
    path: Path = flags["tuning_db"]
    path = path if path.suffix == ".json" else path / f"{arch}.json"
    database = Database.read(path) if path.exists() else Database()
    bench, start = Bench(), time.perf_counter()
    roof = Ceiling(bench.copy_rate(), nominal_rate(bench.gpu))
    results: dict[str, Tuned] = {}
    failed: dict[str, UserError] = {}
    try:
        with Workers(flags["workers"]) as workers, _bar(console) as bar:
            known = set() if flags["again"] else current_keys(database.entries, arch)
            for item, todo, kernels in _ahead(items, arch, workers, flags["choices"], known):
                case = bench.case(item.text)
                try:
                    tuned = results[item.name] = _tune_one(case, item.name, todo, kernels, bar, roof)
                except UserError as error:
                    failed[item.name] = error
                    console.print(f"{item.name}: {escape(error.message)}")
                    continue
                database = database.with_entries({todo.key: tuned.entry})
                database.write(path)
                console.print(_line(item, tuned, case, roof))
    except KeyboardInterrupt:
        console.print("interrupted; the same command goes on where this one ended, unless it says --again")
        raise
    finally:
        console.print(f"{len(results)} dispatch(es) in {time.perf_counter() - start:.1f} s -> {path}")
        if flags["json_path"]:
            data = {name: _record(tuned) for name, tuned in results.items()}
            flags["json_path"].write_text(json.dumps(data, indent=1) + "\n")
    _require_none(failed)


def _require_none(failed: Mapping[str, UserError]) -> None:
    if failed:
        raise UserError(
            f"{len(failed)} dispatch(es) have no right kernel",
            code="no-right-kernel",
            values={name: next(iter(error.values.items()), error.message) for name, error in [*failed.items()][:6]},
        )


def _ahead(
    items: Sequence[DispatchText], arch: str, workers: Workers, most: int, known: set[str]
) -> Iterator[tuple[DispatchText, Plan, Compiling]]:
    """Each different dispatch that is not known yet with its kernels, while those of the next are compiled already."""
    waiting, planned = iter(items), deque()
    ready: tuple[DispatchText, Plan, Compiling] | None = None
    while True:
        room = workers.count - len(planned)
        planned.extend((item, workers.call(plan, item.text, arch, most, known)) for item in islice(waiting, room))
        if not planned:
            break
        item, future = planned.popleft()
        todo = future.result()
        if todo is None or todo.key in known:
            continue
        known.add(todo.key)
        following = (item, todo, compile_all(todo, workers))
        if ready:
            yield ready
        ready = following
    if ready:
        yield ready


def _selected(items: list[DispatchText], only: tuple[str, ...]) -> list[DispatchText]:
    """Those whose name holds one of the texts.

    Raises:
        UserError: `unknown-dispatch`, where a text is in no name.
    """
    if unknown := [text for text in only if not any(text in item.name for item in items)]:
        raise UserError(
            f"the model has no dispatch {', '.join(unknown)}",
            code="unknown-dispatch",
            values={"dispatches": ", ".join(item.name for item in items[:40])},
        )
    return [item for item in items if not only or any(text in item.name for text in only)]


def _bar(console: Console) -> Progress:
    columns = (TextColumn("[bold]{task.description}"), BarColumn(32), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, TextColumn("{task.fields[best]}"), console=console, transient=True)


def _tune_one(case: Case, name: str, todo: Plan, kernels: Compiling, bar: Progress, roof: Ceiling) -> Tuned:
    task = bar.add_task(name, total=None, best="")

    def tell(done: int, total: int, best: Candidate | None) -> None:
        text = f"{best.seconds * 1e6:.1f} us, {_share(case, best.seconds, roof)} ({best.choice})" if best else ""
        bar.update(task, completed=done, total=total, best=text)

    tuned = tune(case, todo, kernels, tell)
    bar.remove_task(task)
    return tuned


def _share(case: Case, seconds: float, roof: Ceiling) -> str:
    """What is reached of the roof, and the rate of what limits a kernel: bytes or operations, whichever take longer."""
    reference = case.reference
    flops, nbytes, rate = reference.flops, reference.nbytes, rate_of(reference.inputs[0].dtype)
    computes = roof.operations and flops / roof.operations / rate > nbytes / roof.bytes
    reached = f"{flops / seconds / 1e12:.0f} TFLOP/s" if computes else f"{nbytes / seconds / 1e9:.0f} GB/s"
    return f"{roof.share(flops, nbytes, seconds, rate):.0%} of the roof, {reached}"


def _line(item: DispatchText, tuned: Tuned, case: Case, roof: Ceiling) -> str:
    entry, outcome = tuned.entry, tuned.outcome
    ratio = entry.microseconds / entry.model_microseconds if entry.model_microseconds else float("nan")
    return (
        f"{item.name}: {entry.microseconds:.2f} us, {_share(case, entry.microseconds / 1e6, roof)}, "
        f"{entry.family} {outcome.ranked[0].choice}; {entry.choices} of {tuned.plan.legal} schedules"
        f"{f', {len(outcome.failed)} failed' if outcome.failed else ''}; the cost model's choice has {ratio:.2f} of it"
    )


def _record(tuned: Tuned) -> dict[str, Any]:
    return {
        "key": tuned.plan.key,
        "entry": asdict(tuned.entry),
        "measured": [
            {
                "family": c.choice.family,
                "schedule": dict(c.choice.schedule),
                "model_seconds": c.choice.cost,
                "seconds": c.seconds,
                "error": c.error.relative,
                "compile_seconds": c.loaded.kernel.seconds,
            }
            for c in tuned.outcome.ranked
        ],
        "failed": [{"choice": str(choice), "error": error.message} for choice, error in tuned.outcome.failed],
    }
