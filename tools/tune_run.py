"""What `lumir-tune` does once its command line is read."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from lumir.compile import Request, compile_to
from lumir.context import make_context
from lumir.diagnostics import UserError
from lumir.dims import Dims
from lumir.measure import Bench
from lumir.measure.bench import Case
from lumir.measure.dispatches import DispatchText, dispatch_texts
from lumir.measure.kernel import schedules_of
from lumir.measure.search import Candidate
from lumir.measure.suite import benchmarks, few_tiles, grid
from lumir.measure.tune import Compiling, Plan, Tuned, compile_all, plan, tune
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
    """Tune every dispatch that the database does not have yet, and write the database after each."""
    items = _selected(dispatches_of(model, dims, flags["precision"], arch), flags["only"])
    path: Path = flags["tuning_db"]
    path = path if path.suffix == ".json" else path / f"{arch}.json"
    database = Database.read(path) if path.exists() else Database()
    bench, start = Bench(), time.perf_counter()
    copy = bench.copy_rate()
    results: dict[str, Tuned] = {}
    with Workers(flags["workers"]) as workers, _bar(console) as bar:
        known = Database() if flags["again"] else database
        for item, todo, kernels in _ahead(items, arch, workers, flags["choices"], known):
            case = bench.case(item.text)
            tuned = results[item.name] = _tune_one(case, item.name, todo, kernels, bar, copy)
            database = database.with_entries({todo.key: tuned.entry})
            database.write(path)
            console.print(_line(item, tuned, case, copy))
    console.print(f"{len(results)} dispatch(es) in {time.perf_counter() - start:.1f} s -> {path}")
    if flags["json_path"]:
        data = {name: _record(tuned) for name, tuned in results.items()}
        flags["json_path"].write_text(json.dumps(data, indent=1) + "\n")


def _ahead(
    items: Sequence[DispatchText], arch: str, workers: Workers, most: int, known: Database
) -> Iterator[tuple[DispatchText, Plan, Compiling]]:
    """Each dispatch that is not known yet with its kernels, while those of the next are compiled already."""
    plans = [(item, workers.call(plan, item.text, arch, most)) for item in items]
    ready: tuple[DispatchText, Plan, Compiling] | None = None
    for item, planned in plans:
        todo = planned.result()
        if todo.key in known.entries:
            continue
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


def _tune_one(case: Case, name: str, todo: Plan, kernels: Compiling, bar: Progress, copy: float) -> Tuned:
    task = bar.add_task(name, total=None, best="")

    def tell(done: int, total: int, best: Candidate | None) -> None:
        text = f"{best.seconds * 1e6:.1f} us, {_share(case, best.seconds, copy)} ({best.choice})" if best else ""
        bar.update(task, completed=done, total=total, best=text)

    tuned = tune(case, todo, kernels, tell)
    bar.remove_task(task)
    return tuned


def _share(case: Case, seconds: float, copy: float) -> str:
    """What is reached, in the unit of what limits a kernel: bytes, or operations where there are many for each."""
    reference = case.reference
    rate = f"{reference.nbytes / seconds / copy:.0%} of the copy bandwidth"
    return f"{reference.flops / seconds / 1e12:.0f} TFLOP/s" if reference.flops > 200 * reference.nbytes else rate


def _line(item: DispatchText, tuned: Tuned, case: Case, copy: float) -> str:
    entry, outcome = tuned.entry, tuned.outcome
    ratio = entry.microseconds / entry.model_microseconds if entry.model_microseconds else float("nan")
    return (
        f"{item.name}: {entry.microseconds:.2f} us, {_share(case, entry.microseconds / 1e6, copy)}, "
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
