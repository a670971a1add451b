"""What `lumir-compile` prints: a bar while it works, a summary at the end."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from lumir.artifact.launches import Launch
from lumir.artifact.plan import Plan
from lumir.artifact.read import Artifact
from lumir.step_files import IR_STEPS
from lumir.target import Target
from lumir.tools.run_report import human_bytes


class StepBar:
    """A bar on the terminal that names the step and its seconds; it vanishes at the end."""

    def __init__(self, console: Console, profiles: int, last: str = "artifact"):
        count = IR_STEPS.index(last) + 1 if last in IR_STEPS else len(IR_STEPS)
        self._progress = Progress(
            TextColumn("[bold]{task.description:<9}"),
            BarColumn(32),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=console.quiet or not console.is_terminal,
        )
        self._task = self._progress.add_task("", total=count * profiles + (last == "artifact"), completed=-1)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()

    def start(self, step: str) -> None:
        """The step starts now, and the one before it is done."""
        self._progress.update(self._task, description=step, advance=1, refresh=True)


def print_summary(
    console: Console,
    path: Path,
    artifact: Artifact,
    plans: Sequence[Plan],
    target: Target,
    flops: Mapping[int, int],
    seconds: float,
    steps: Mapping[str, float],
    verified: str | None,
) -> None:
    """What was made, how large it is and how long it took."""
    described = target.arch if target.kind == "nvidia" else f"cpu ({target.arch})"
    weight_bytes = sum(weight.nbytes for weight in artifact.weights.values())
    slowest = sorted(steps.items(), key=lambda item: -item[1])[:3]
    console.print(f"[bold]{escape(str(path))}[/]  {human_bytes(artifact.nbytes)} for {escape(described)}")
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for number, plan in enumerate(plans):
        table.add_row(escape(_sizes(plan, number, len(plans))), _plan(plan, flops.get(number)))
    table.add_row("dispatches", str(len(artifact.manifest.kernels)))
    table.add_row("weights", f"{len(artifact.weights)}, {human_bytes(weight_bytes)}")
    table.add_row("compiled", f"in {seconds:.2f} s ({', '.join(f'{name} {value:.2f}' for name, value in slowest)})")
    if verified:
        table.add_row("verified", f"[green]{escape(verified)}[/]")
    console.print(table)


def _sizes(plan: Plan, number: int, count: int) -> str:
    return ", ".join(f"{name}={size}" for name, size in plan.symbols.items()) or (
        "plan" if count == 1 else f"plan {number}"
    )


def _plan(plan: Plan, flops: int | None) -> str:
    launches = sum(1 for launch in plan.launches if isinstance(launch, Launch))
    copies = len(plan.launches) - launches
    parts = [_count(launches, "launch", "launches")]
    parts += [_count(copies, "copy", "copies")] if copies else []
    parts += [f"arena {human_bytes(plan.arena_bytes)}"]
    return ", ".join([*parts, *([human_flops(flops)] if flops is not None else [])])


def _count(number: int, singular: str, plural: str) -> str:
    return f"{number} {singular if number == 1 else plural}"


def human_flops(count: int) -> str:
    """A number of operations in decimal units: `1.42 GFLOP`."""
    size, units = float(count), ["FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP", "PFLOP"]
    while size >= 1000 and len(units) > 1:
        size, units = size / 1000, units[1:]
    return f"{size:.3g} {units[0]}"
