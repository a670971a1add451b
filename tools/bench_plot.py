"""The kernel report as a picture: the roofline, and each group's share of it and ratio to its peers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lumir.diagnostics import UserError
from lumir.measure.report import RATES, Ceiling, Row, geometric_mean

_SIZE, _DOTS = (16, 7.5), 140
_INK, _PALE = "#222222", "#999999"


def require_matplotlib() -> Any:
    """Its pyplot, for files.

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
    return pyplot


def write_plot(path: Path, device: str, roof: Ceiling, rows: Sequence[Row]) -> None:
    """Three panels over the kernels that are right: operations a second, share of the roof, ratio to the peer.

    Raises:
        UserError: `no-matplotlib`.
    """
    pyplot = require_matplotlib()
    measured = [row for row in rows if row.seconds]
    groups = list(dict.fromkeys(row.group for row in measured))
    colours = {group: pyplot.get_cmap("tab20")(i % 20) for i, group in enumerate(groups)}
    figure, (left, middle, right) = pyplot.subplots(
        1, 3, figsize=_SIZE, gridspec_kw={"width_ratios": [2.2, 1, 1]}, layout="constrained"
    )
    _draw_roofline(left, roof, measured, colours)
    shares = {group: [row.share for row in measured if row.group == group] for group in groups}
    ratios = {group: [row.ratio for row in measured if row.group == group and row.ratio] for group in groups}
    _draw_groups(middle, shares, colours, "share of the roof")
    _draw_groups(right, ratios, colours, "fastest peer's time / ours")
    middle.set_xlim(0, max([1.1, *(1.05 * row.share for row in measured)]))
    if any(ratios.values()):
        right.set_xscale("log", base=2)
        right.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    right.set_yticklabels([])
    figure.suptitle(
        f"{device}: {len(measured)} kernels; copy {roof.bytes / 1e12:.2f} TB/s; bars are geometric means", color=_INK
    )
    figure.savefig(path, dpi=_DOTS)
    pyplot.close(figure)


def _draw_roofline(axes: Any, roof: Ceiling, rows: Sequence[Row], colours: dict[str, Any]) -> None:
    """TFLOP/s over operations for each byte, of kernels that multiply; a line leads to the peer."""
    multiplying = [row for row in rows if row.flops]
    for row in multiplying:
        place, ours = row.flops / row.nbytes, row.flops / (row.seconds or 1) / 1e12
        if row.peer_seconds:
            theirs = row.flops / row.peer_seconds / 1e12
            axes.plot([place, place], [ours, theirs], color=colours[row.group], linewidth=0.8, alpha=0.6)
            axes.plot(place, theirs, "x", color=colours[row.group], markersize=5)
        axes.plot(place, ours, "o", color=colours[row.group], markersize=5)
    for rate in sorted({row.rate for row in multiplying}):
        _draw_roof(axes, roof, rate)
    for group in dict.fromkeys(row.group for row in multiplying):
        axes.plot([], [], "o", color=colours[group], label=group)
    axes.plot([], [], "x", color=_INK, label="fastest peer")
    axes.set(xlabel="operations for each byte", ylabel="TFLOP/s")
    if multiplying:
        axes.set(xscale="log", yscale="log")
    axes.legend(fontsize="small", loc="upper left", ncols=2)
    axes.grid(True, which="major", alpha=0.25)


def _draw_roof(axes: Any, roof: Ceiling, rate: float) -> None:
    top = roof.operations * rate / 1e12
    if not top:
        return
    bend, slope = top * 1e12 / roof.bytes, roof.bytes / 1e12
    axes.plot(
        [0.5, bend, 16384], [0.5 * slope, top, top], color=_INK, linewidth=1.2, linestyle="-" if rate == 1 else ":"
    )
    axes.text(16384, top * 1.03, f"{RATES[rate]} {top:.0f}", ha="right", va="bottom", fontsize="small", color=_INK)


def _draw_groups(axes: Any, values: dict[str, list[float]], colours: dict[str, Any], label: str) -> None:
    """A dot for each kernel, a line of its group, a bar at the geometric mean."""
    axes.axvline(1, color=_INK, linewidth=1)
    for line, (group, numbers) in enumerate(values.items()):
        axes.plot(numbers, [line] * len(numbers), "o", color=colours[group], markersize=5, alpha=0.75)
        if numbers:
            axes.plot(geometric_mean(numbers), line, "|", color=_INK, markersize=14, markeredgewidth=1.8)
    axes.set_yticks(range(len(values)), list(values))
    axes.set_ylim(max(len(values), 1) - 0.5, -0.5)
    axes.set_xlabel(label)
    axes.grid(True, axis="x", alpha=0.25)
