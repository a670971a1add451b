"""Random ONNX graphs, lumir against onnxruntime.

    python -m tests.fuzz.run --graphs 2000 --seed 1 --target cpu [--only REGEX] [--out DIR] [--record FILE]

The exit status is 1 when a graph is computed wrongly, crashes or hangs. Refused graphs are counted, and are no error.
"""

import itertools
import re
import sys
import time
from collections import Counter
from pathlib import Path

import click
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.fuzz.campaign import Campaign, Totals
from tests.fuzz.check import Verdict
from tests.fuzz.child import Child
from tests.fuzz.report import append_run, node_table, write_finding
from tests.fuzz.strategy import Case

_DETAIL = re.compile(r"\S*_\d+\b|'[^']*'|\[[^\]]*\]|\b\d+\b")


@click.command()
@click.option("--graphs", default=2000, show_default=True, help="how many graphs to run")
@click.option("--seed", default=0, show_default=True, help="where the random choices start")
@click.option("--target", default="cpu", show_default=True, help="what to compile for")
@click.option("--only", default="", help="only recipes whose group/name matches this regular expression")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="write each finding into a folder here")
@click.option("--record", type=click.Path(dir_okay=False, path_type=Path), help="append the run to this JSON file")
@click.option("--most-findings", default=20, show_default=True, help="stop after so many findings")
@click.option("--shrink-seconds", default=40.0, show_default=True, help="how long a finding may be shrunk")
@click.option("--verbose", is_flag=True, help="also list the operators and the nodes that were not added")
def main(
    graphs: int,
    seed: int,
    target: str,
    only: str,
    out: Path | None,
    record: Path | None,
    most_findings: int,
    shrink_seconds: float,
    verbose: bool,
) -> None:
    """Compile random graphs and compare their results with onnxruntime's."""
    console, start = Console(width=None if sys.stdout.isatty() else 160), time.monotonic()
    numbers = itertools.count()
    columns = (TextColumn("{task.description}"), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress, Child(target) as child:
        task = progress.add_task("graphs", total=graphs)

        def show(totals: Totals) -> None:
            text = ", ".join(f"{count} {kind}" for kind, count in totals.verdicts.most_common())
            progress.update(task, completed=totals.graphs, description=text)

        def found(case: Case, verdict: Verdict) -> None:
            number = next(numbers)
            _print_finding(console, number, case, verdict)
            if out is not None:
                write_finding(case, verdict, out / f"seed-{seed}-{number:03}", target)

        totals = Campaign(child, only, shrink_seconds, show, found).run(graphs, seed, most_findings)
    _print(console, totals, verbose)
    if record is not None:
        append_run(record, totals, seed, target, time.monotonic() - start)
    console.print(f"{totals.graphs} graphs in {time.monotonic() - start:.0f} s: {_line(totals.verdicts)}")
    sys.exit(1 if totals.findings else 0)


def _print_finding(console: Console, number: int, case: Case, verdict: Verdict) -> None:
    console.rule(f"finding {number}: {verdict.kind}")
    console.print(node_table(case))
    for line in verdict.reasons:
        console.print(line, markup=False, highlight=False)


def _print(console: Console, totals: Totals, verbose: bool) -> None:
    nodes = totals.operators.total()
    console.print(f"compared {nodes} nodes of {len(totals.operators)} operators", highlight=False)
    _list(console, "refused, by reason", _merged(totals.refused))
    skipped = _merged(totals.skipped)
    shown = (
        skipped if verbose else Counter({k: n for k, n in skipped.items() if k.startswith(("excl", "onnxruntime rej"))})
    )
    _list(console, "nodes not added, by reason", shown)
    console.print(f"{skipped.total()} nodes were drawn and not added", highlight=False)
    if verbose:
        _list(console, "operators compared", totals.operators)


def _list(console: Console, title: str, rows: Counter[str]) -> None:
    if rows:
        console.print(f"{title}:", highlight=False)
    for reason, count in rows.most_common():
        console.print(f"{count:6}  {reason[:300]}", markup=False, highlight=False)


def _merged(rows: Counter[str]) -> Counter[str]:
    """Reasons without names, shapes and numbers."""
    found: Counter[str] = Counter()
    for reason, count in rows.items():
        found[_DETAIL.sub("…", reason)] += count
    return found


def _line(verdicts: Counter[str]) -> str:
    return ", ".join(f"{verdicts[kind]} {kind}" for kind in ("equal", "refused", "mismatched", "crashed"))


if __name__ == "__main__":
    main()
