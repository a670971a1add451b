"""Convolutions on a GPU: several schedules of every family that takes one, beside cuDNN.

python benchmarks/convolution.py                        # the groups conv, depthwise and grouped of lumir-bench
python benchmarks/convolution.py --only 3x3 --choices 20 --json convolution.json

Every schedule is held against the reference before it counts. cuDNN, in benchmark mode, and the best of each family
are then timed in turns, on inputs that rotate past the L2 cache, in CUDA graphs.
"""

import json
from pathlib import Path
from typing import Any

import click

from lumir.measure import Bench
from lumir.measure.kernel import Choice, schedules_of
from lumir.measure.peer import PeerReplay, peer_calls, torch_or_none
from lumir.measure.search import search
from lumir.measure.suite.benchmark import Benchmark
from lumir.measure.suite.convolution import conv, grouped_conv
from lumir.measure.timing import time_together
from lumir.measure.workers import Workers

ARCH = "sm_90a"
MOST_SETS_OF_PEERS = 24


def offered(text: str, choices: int) -> list[Choice]:
    """The cheapest schedules of each family by its model."""
    found: dict[str, list[Choice]] = {}
    for choice in schedules_of(text, ARCH):
        found.setdefault(choice.family, []).append(choice)
    return [choice for of_family in found.values() for choice in of_family[:choices]]


def measured(bench: Bench, item: Benchmark, workers: Workers, choices: int) -> dict[str, Any]:
    """One benchmark: seconds of cuDNN and of every schedule, those of each family's best in turns with cuDNN's."""
    torch, text = torch_or_none(), item.text()
    case = bench.case(text)
    if item.inputs:
        item.inputs(case.inputs)
    outcome = search(case, [(choice, workers.compile(text, ARCH, choice)) for choice in offered(text, choices)])
    best = {candidate.choice.family: candidate for candidate in reversed(outcome.ranked)}
    sets = min(case.operands.sets, MOST_SETS_OF_PEERS)
    peers = item.peers.items() if torch else ()
    replays = [PeerReplay(torch, name, peer_calls(torch, peer, case.operands, sets)) for name, peer in peers]
    times = [t.median for t in time_together([*replays, *(c.loaded for c in best.values())], 10)]
    return {
        "name": item.full_name,
        "peer_seconds": min(times[: len(replays)], default=None),
        "families": dict(zip(best, times[len(replays) :], strict=True)),
        "kernels": [
            {"family": c.choice.family, "schedule": dict(c.choice.schedule), "model_seconds": c.choice.cost}
            | {"seconds": c.seconds, "error": c.error.relative}
            for c in outcome.ranked
        ],
    }


def shown(row: dict[str, Any]) -> str:
    peer = row["peer_seconds"]
    times = (f"{f} {s * 1e6:.2f} us" + (f" ({peer / s:.2f})" if peer else "") for f, s in row["families"].items())
    return f"{row['name']:32} {f'cuDNN {peer * 1e6:.2f} us  ' if peer else ''}{'  '.join(times)}"


@click.command()
@click.option("--only", multiple=True, help="Benchmarks whose name holds this text.")
@click.option("--choices", default=8, show_default=True, help="Schedules to measure of each family.")
@click.option("--json", "path", type=click.Path(path_type=Path), help="Where the measurements go.")
def main(only: tuple[str, ...], choices: int, path: Path | None) -> None:
    """Measure the convolutions of lumir-bench."""
    items = [item for item in (*conv(), *grouped_conv()) if not only or any(text in item.full_name for text in only)]
    bench, rows = Bench(), []
    with Workers() as workers:
        for item in items:
            rows.append(measured(bench, item, workers, choices))
            click.echo(shown(rows[-1]))
    if path:
        path.write_text(json.dumps({"device": bench.gpu.name, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
