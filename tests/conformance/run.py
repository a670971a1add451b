"""ONNX's own back-end tests through lumir.

    python -m tests.conformance.run --target cpu [--only REGEX] [--jobs 2] [--json FILE] [--write-coverage]

The exit status is 1 when a case is wrong, crashes or hangs; refused cases are no error.
"""

import json
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from tests.conformance import report
from tests.conformance.cases import Facts, NotAvailable, all_cases, facts_of
from tests.conformance.outcome import Outcome
from tests.conformance.workers import run_all

DOCS = Path(__file__).parents[2] / "docs"
COVERAGE = {"cpu": DOCS / "coverage.md", "cuda": DOCS / "coverage-cuda.md"}


def run_cases(names: Sequence[str], target: str, jobs: int, timeout: float) -> list[Outcome]:
    """Outcomes in the order of the names; the real models get five times the timeout."""
    limit = lambda name: timeout * (5 if name.startswith("real/") else 1)  # noqa: E731
    found: dict[str, Outcome] = {}
    with click.progressbar(length=len(names), label=f"{len(names)} cases", file=sys.stderr) as bar:
        for outcome in run_all(names, target, jobs, limit):
            found[outcome.name] = outcome
            bar.update(1)
    return [found[name] for name in names]


def facts(names: Sequence[str]) -> dict[str, Facts]:
    found = {}
    for name in names:
        try:
            found[name] = facts_of(name)
        except NotAvailable:
            found[name] = Facts((), 0, False)
    return found


@click.command()
@click.option("--target", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--only", default="", help="only cases whose group/name matches this regular expression")
@click.option("--jobs", default=2, show_default=True, help="processes")
@click.option("--timeout", default=60.0, show_default=True, help="seconds a case may take")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="write every outcome here")
@click.option(
    "--write-coverage", is_flag=True, help="write docs/coverage.md (coverage-cuda.md); needs a run of all cases"
)
@click.option("--verbose", is_flag=True, help="also list each refused case")
def main(
    target: str, only: str, jobs: int, timeout: float, json_file: Path | None, write_coverage: bool, verbose: bool
):
    """Run ONNX's back-end tests and report."""
    names = [name for name in all_cases() if re.search(only, name)]
    if write_coverage and only:
        raise click.UsageError("--write-coverage needs all cases: drop --only")
    start = time.monotonic()
    outcomes = run_cases(names, target, jobs, timeout)
    about = facts(names)
    _print(outcomes, about, verbose, time.monotonic() - start)
    if json_file:
        rows = [asdict(o) | asdict(about[o.name]) for o in outcomes]
        json_file.write_text(json.dumps(rows, indent=1) + "\n")
    if write_coverage:
        report.write_coverage(outcomes, about, target, COVERAGE[target])
    sys.exit(1 if report.defects(outcomes) else 0)


def _print(outcomes: list[Outcome], about: dict[str, Facts], verbose: bool, seconds: float) -> None:
    if verbose:
        for outcome in outcomes:
            if outcome.verdict == "refused":
                click.echo(f"refused  {outcome.name}: {'; '.join(outcome.reasons)}")
    click.echo("refused, by reason:")
    for reason, count in report.refusals(outcomes):
        click.echo(f"{count:6}  {reason}")
    for outcome in report.defects(outcomes):
        click.echo(f"{outcome.verdict:8} {outcome.name}: {'; '.join(outcome.reasons)}")
    click.echo(report.totals(outcomes, about))
    click.echo(f"{report.summary(outcomes)}; {seconds:.0f} s")


if __name__ == "__main__":
    main()
