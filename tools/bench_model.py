"""`lumir-bench MODEL`: each kernel of a compiled model by itself, and the model as a whole."""

import datetime
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from lumir.artifact.read import Artifact
from lumir.compile import Request, compile_to, write
from lumir.diagnostics import UserError
from lumir.measure.ceiling import copy_rate
from lumir.measure.model import LaunchBench, LaunchTime
from lumir.module import dispatches, name_of
from lumir.pipelines.steps import Tuning
from lumir.plan.flops import op_flops
from lumir.runtime.cuda import CudaDevice
from lumir.tools.bench_report import write_json
from lumir.tools.compile_flags import profiles_of
from lumir.tools.run_inputs import make_inputs


def bench_model(path: Path, console: Console, flags: Mapping[str, Any]) -> None:
    """Print a table of the kernels, the longest first, and the time of the model's graph against their sum."""
    with tempfile.TemporaryDirectory() as folder:
        artifact, flops = _artifact(path, Path(folder), flags)
    if artifact.target["kind"] != "cuda":
        raise UserError(f"{path} was compiled for a CPU", code="wrong-target", hint="compile it with --target cuda")
    device, plan = CudaDevice(artifact), artifact.plans[0]
    session = device.session(plan)
    inputs = list(make_inputs(plan, [], 0).values())
    bench, copy = LaunchBench(device, session, plan), copy_rate(device.gpu, 1 << 30)
    kinds = artifact.manifest.kernels
    rows = [row for row in bench.measure(inputs, flags["samples"]) if _wanted(row, flags["only"])]
    rows.sort(key=lambda row: -row.timing.median * row.calls)
    whole = session.graph_seconds(flags["samples"])
    total = sum(row.timing.median * row.calls for row in rows)
    table = Table(
        "kernel", "calls", "us each", "+-%", "share", "GB/s", "of copy", "TFLOP/s", "family", "nodes", box=None
    )
    for row in rows:
        table.add_row(*_cells(row, total, copy, flops.get(row.kernel, 0), kinds[row.kernel].family))
    console.print(table)
    launches = sum(row.calls for row in rows)
    console.print(
        f"{device.name}, copy {copy / 1e9:.0f} GB/s: {launches} launches of {total * 1e6:.1f} us in all, "
        f"the model's graph {whole * 1e6:.1f} us"
    )
    if flags["json_path"]:
        record = {
            "command": " ".join(["lumir-bench", *sys.argv[1:]]),
            "date": datetime.date.today().isoformat(),
            "device": device.name,
            "copy_bytes_per_second": copy,
            "graph_seconds": whole,
            "kernels": [_record(row, flops.get(row.kernel, 0), kinds[row.kernel]) for row in rows],
        }
        write_json(flags["json_path"], record)


def _artifact(path: Path, folder: Path, flags: Mapping[str, Any]) -> tuple[Artifact, dict[str, int]]:
    """The artifact, and each dispatch's operations where the model is compiled here."""
    if path.suffix == ".lumir":
        return Artifact.open(path), {}
    flops: dict[str, int] = {}

    def observe(step: str, _number: int, module: Any, _store: Any) -> None:
        if step == "dispatch":
            for function in dispatches(module):
                flops[name_of(function)] = sum(op_flops(op) for op in function.regions[0].blocks[0].operations)

    (sizes,) = profiles_of(flags["dims"], ())
    tuning = Tuning(str(flags["tuning_db"] or ""))
    write(compile_to(Request(path, "cuda", [sizes], flags["precision"], tuning=tuning, observe=observe)), folder / "m")
    return Artifact.open(folder / "m"), flops


def _wanted(row: LaunchTime, only: tuple[str, ...]) -> bool:
    return not only or any(text in row.kernel for text in only)


def _cells(row: LaunchTime, total: float, copy: float, flops: int, family: str) -> list[str]:
    seconds = row.timing.median
    nodes = row.nodes[0] + (f" and {len(row.nodes) - 1} more" if len(row.nodes) > 1 else "") if row.nodes else ""
    return [
        row.kernel,
        str(row.calls),
        f"{seconds * 1e6:.2f}",
        f"{row.timing.spread * 50:.1f}",
        f"{seconds * row.calls / total:.1%}",
        f"{row.nbytes / seconds / 1e9:.0f}",
        f"{row.nbytes / seconds / copy:.0%}",
        f"{flops / seconds / 1e12:.1f}" if flops else "",
        family,
        nodes,
    ]


def _record(row: LaunchTime, flops: int, entry: Any) -> dict[str, Any]:
    return {
        "kernel": row.kernel,
        "calls": row.calls,
        "seconds": row.timing.median,
        "spread": row.timing.spread,
        "bytes": row.nbytes,
        "flops": flops,
        "family": entry.family,
        "schedule": entry.schedule,
        "nodes": row.nodes,
    }
