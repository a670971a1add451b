"""What `lumir-run` prints."""

from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lumir.artifact.launches import Launch
from lumir.artifact.plan import Plan
from lumir.artifact.read import Artifact
from lumir.artifact.tensors import TensorSpec
from lumir.sizes import high
from lumir.tools.run_verify import Comparison


def human_bytes(nbytes: int) -> str:
    """A size in binary units: `17.3 MiB`."""
    if nbytes < 1024:
        return f"{nbytes} B"
    size, units = nbytes / 1024, ["KiB", "MiB", "GiB", "TiB"]
    while size >= 1024 and len(units) > 1:
        size, units = size / 1024, units[1:]
    return f"{size:.1f} {units[0]}"


def _table(title: str, *columns: str, right: Iterable[str] = ()) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="dim")
    for column in columns:
        table.add_column(column, justify="right" if column in set(right) else "left", overflow="fold")
    return table


def print_artifact(console: Console, artifact: Artifact) -> None:
    """The manifest, plans, kernels, weights and memory; needs no device."""
    manifest = artifact.manifest
    target = ", ".join(_target_item(key, value) for key, value in manifest.target.items())
    console.print(f"[bold]{escape(str(artifact.path))}[/]: {human_bytes(artifact.nbytes)}")
    console.print(f"lumir {manifest.lumir}, schema {manifest.schema}; target {escape(target)}")
    console.print(_specs("inputs", manifest.inputs), _specs("outputs", manifest.outputs))
    for name, plan in zip(manifest.plans, artifact.plans):
        console.print(_plan(name, plan))
    console.print(_kernels(artifact), _weights(artifact), _members(artifact), sep="\n")


def _target_item(key: str, value: object) -> str:
    return f"{key}={len(value)} instruction sets" if isinstance(value, list) else f"{key}={value}"


def _specs(title: str, specs: Iterable[TensorSpec]) -> Table:
    table = _table(f"\n{title}", "name", "type", "shape")
    for spec in specs:
        table.add_row(escape(spec.name), spec.dtype, escape(str(list(spec.shape))))
    return table


def _plan(name: str, plan: Plan) -> Table:
    symbols = ", ".join(f"{symbol}={size}" for symbol, size in plan.symbols.items())
    copies = sum(1 for launch in plan.launches if not isinstance(launch, Launch))
    table = _table(f"\n{name}" + (f" ({symbols})" if symbols else ""), "", "")
    table.show_header = False
    table.add_row("launches", f"{len(plan.launches) - copies}, and {copies} copies")
    table.add_row("arena", human_bytes(plan.arena_bytes))
    table.add_row("inputs and outputs", human_bytes(_largest(plan)))
    for spec in (*plan.inputs, *plan.outputs):
        table.add_row("", escape(str(spec)))
    return table


def _largest(plan: Plan) -> int:
    """Bytes of the inputs and outputs at the largest sizes."""
    return sum(high(spec.nbytes) for spec in (*plan.inputs, *plan.outputs))


def _kernels(artifact: Artifact) -> Table:
    launches = (launch for plan in artifact.plans for launch in plan.launches)
    used = Counter(launch.kernel for launch in launches if isinstance(launch, Launch))
    table = _table("\nkernels", "name", "family", "launches", "block", "shared", "file", right=["launches", "block"])
    for name, entry in sorted(artifact.manifest.kernels.items()):
        shared = human_bytes(entry.shared_bytes)
        table.add_row(escape(name), escape(entry.family), str(used[name]), str(entry.block), shared, escape(entry.file))
    return table


def _weights(artifact: Artifact) -> Table:
    total = sum(weight.nbytes for weight in artifact.weights.values())
    table = _table(f"\nweights: {len(artifact.weights)}, {human_bytes(total)}", "name", "type", "shape", "size")
    for name, weight in sorted(artifact.weights.items(), key=lambda item: -item[1].nbytes):
        shape = escape(str(list(weight.shape)))
        table.add_row(escape(name), weight.dtype.name, shape, human_bytes(weight.nbytes))
    return table


def _members(artifact: Artifact) -> Table:
    table = _table("\nmembers", "name", "size", "sha256")
    for name, member in artifact.manifest.members.items():
        table.add_row(escape(name), human_bytes(member.nbytes), member.sha256[:16])
    return table


def print_outputs(console: Console, outputs: Mapping[str, np.ndarray]) -> None:
    table = _table("outputs", "name", "type", "shape", "min", "max", "mean", "NaN", right=["min", "max", "mean", "NaN"])
    for name, array in outputs.items():
        table.add_row(escape(name), array.dtype.name, escape(str(list(array.shape))), *_statistics(array))
    console.print(table)


def _statistics(array: np.ndarray) -> list[str]:
    if not array.size or "complex" in array.dtype.name:
        return ["", "", "", ""]
    values = array.astype(np.float64)
    numbers = values[~np.isnan(values)]
    if not numbers.size:
        return ["", "", "", str(values.size)]
    with np.errstate(invalid="ignore"):
        shown = [f"{value:.6g}" for value in (numbers.min(), numbers.max(), numbers.mean())]
    return [*shown, str(values.size - numbers.size)]


def print_comparisons(console: Console, comparisons: Iterable[Comparison]) -> bool:
    """Print one line for each tensor; True when all that could be compared agree."""
    items = list(comparisons)
    table = _table(
        "against onnxruntime", "tensor", "launch", "max abs", "max rel", "verdict", right=["max abs", "max rel"]
    )
    for item in items:
        numbers = [f"{item.max_abs:.3g}", f"{item.max_rel:.3g}"] if item.compared else ["", ""]
        table.add_row(escape(item.name), escape(item.where), *numbers, _verdict(item))
    console.print(table)
    compared = [item for item in items if item.compared]
    wrong = [item for item in compared if not item.ok]
    rest = f"; {len(items) - len(compared)} not compared" if len(compared) < len(items) else ""
    if wrong:
        place = f" after launch {wrong[0].where}" if wrong[0].where else ""
        first = escape(wrong[0].name + place)
        console.print(f"[red]{len(wrong)} of {len(compared)} differ{rest}[/], first {first}")
    else:
        console.print(f"[green]all {len(compared)} agree{rest}[/]")
    return not wrong


def _verdict(item: Comparison) -> str:
    if not item.compared:
        return f"[dim]not compared: {escape(item.note)}[/]"
    return "[green]ok[/]" if item.ok else f"[red]differs[/] {escape(item.note)}"
