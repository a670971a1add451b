"""The kernel report as a table, as JSON, and as a roofline plot."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lumir.diagnostics import UserError
from lumir.measure.report import Ceiling, Row, geometric_mean

_HEADINGS = (
    *("kernel", "us", "+-%", "GB/s", "TFLOP/s", "roof", "peer us", "by", "ratio", "error", "peer's", "compile"),
    "family and schedule",
)


def print_rows(console: Console, device: str, roof: Ceiling, rows: Sequence[Row]) -> None:
    """One line a benchmark, and the geometric means of each group."""
    matrix = f", matrix rate {roof.operations / 1e12:.0f} TFLOP/s" if roof.operations else ""
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
            f"{geometric_mean(ratios):.3f}",
            f"{min(ratios, default=float('nan')):.2f}",
            f"{members[0].goal:g}",
            f"{geometric_mean(models):.3f} (lowest {min(models, default=float('nan')):.2f})",
            f"{max((row.compile_seconds for row in members), default=0):.2f} s",
        )
    console.print(table)


def write_json(path: Path, record: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(record, indent=1) + "\n")


def write_plot(path: Path, device: str, roof: Ceiling, rows: Sequence[Row]) -> None:
    """Operations a second over operations for each byte, under this card's measured roof.

    Raises:
        UserError: `no-matplotlib`.
    """
    try:
        import matplotlib  # pyright: ignore[reportMissingImports]

        matplotlib.use("Agg")
        from matplotlib import pyplot  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        hint = "pip install 'lumir[bench]'"
        raise UserError("matplotlib is not installed", code="no-matplotlib", hint=hint) from error
    figure, axes = pyplot.subplots(figsize=(9, 6))
    measured = [row for row in rows if row.seconds and row.flops]
    for group in dict.fromkeys(row.group for row in measured):
        members = [row for row in measured if row.group == group]
        intensity = [row.flops / row.nbytes for row in members]
        (points,) = axes.plot(intensity, [row.flops / (row.seconds or 1) for row in members], "o", label=group)
        peers = [(i, row.flops / row.peer_seconds) for i, row in zip(intensity, members) if row.peer_seconds]
        axes.plot([i for i, _ in peers], [rate for _, rate in peers], "x", color=points.get_color(), alpha=0.6)
    top = roof.operations or max((row.flops / (row.seconds or 1) for row in measured), default=1e12)
    span = [0.5, 8192.0]
    bend = top / roof.bytes
    axes.plot([span[0], bend, max(span[1], bend)], [span[0] * roof.bytes, top, top], color="black")
    axes.set(xscale="log", yscale="log", xlabel="operations for each byte", ylabel="operations a second", title=device)
    axes.legend(title="x: the peer", fontsize="small")
    axes.grid(True, which="both", alpha=0.2)
    figure.savefig(path, dpi=150, bbox_inches="tight")
