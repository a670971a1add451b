"""The kernel report as a table and as JSON."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lumir.measure.report import Ceiling, Row, geometric_mean

_HEADINGS = (
    *("kernel", "us", "+-%", "GB/s", "TFLOP/s", "roof", "peer us", "by", "ratio", "error", "peer's", "compile"),
    "family and schedule",
)


def print_rows(console: Console, device: str, roof: Ceiling, rows: Sequence[Row]) -> None:
    """One line a benchmark, and the geometric means of each group."""
    matrix = f", bfloat16 product {roof.operations / 1e12:.0f} TFLOP/s" if roof.operations else ""
    table = Table(title=f"{device}: copy {roof.bytes / 1e9:.0f} GB/s{matrix}", title_justify="left", box=None)
    for number, heading in enumerate(_HEADINGS):
        table.add_column(heading, justify="right" if 0 < number < len(_HEADINGS) - 1 else "left")
    for row in rows:
        table.add_row(*_cells(row))
    console.print(table)
    print_means(console, rows)


def _cells(row: Row) -> list[str]:
    name = f"{row.group}/{row.name}"
    peer = [_us(row.peer_seconds), escape(row.peer), _colour(row)]
    if row.seconds is None:
        return [name, "-", "", "", "", "", *peer, "[red]wrong[/]", "", "", escape(row.note[:60])]
    return [
        name,
        _us(row.seconds),
        f"{row.spread * 50:.1f}",
        f"{row.nbytes / row.seconds / 1e9:.0f}",
        f"{row.flops / row.seconds / 1e12:.1f}" if row.flops else "",
        f"{row.share:.0%}",
        *peer,
        f"{row.error:.1e}",
        f"{row.peer_error:.1e}" if row.peer else "",
        f"{row.compile_seconds:.2f}",
        f"{row.family} {row.schedule}",
    ]


def _us(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds * 1e6:.2f}"


def _colour(row: Row) -> str:
    if row.ratio is None:
        return ""
    return f"[{'green' if row.ratio >= row.goal else 'yellow'}]{row.ratio:.2f}[/]"


def print_means(console: Console, rows: Sequence[Row]) -> None:
    table = Table("group", "kernels", "ratio", "lowest", "goal", "model / chosen", "slowest compile", box=None)
    for group in dict.fromkeys(row.group for row in rows):
        members = [row for row in rows if row.group == group]
        ratios = [row.ratio for row in members if row.ratio]
        models = [row.model_ratio for row in members if row.model_ratio]
        table.add_row(
            group,
            f"{sum(row.seconds is not None for row in members)} of {len(members)}",
            f"{geometric_mean(ratios):.3f}" if ratios else "",
            f"{min(ratios):.2f}" if ratios else "",
            f"{members[0].goal:g}",
            f"{geometric_mean(models):.3f} (lowest {min(models):.2f})" if models else "",
            f"{max((row.compile_seconds for row in members), default=0):.2f} s",
        )
    console.print(table)


def write_json(path: Path, record: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(record, indent=1) + "\n")
