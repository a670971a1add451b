"""Matrix products on Hopper's tensor cores: the best of the schedules that cost least by the model, beside the peers.

python benchmarks/gemm.py                      # the groups gemm and fp8 of lumir-bench, and products of few tiles
python benchmarks/gemm.py --only 4096x4096x4096 --choices 40 --json gemm.json

Every schedule is held against the reference before it counts. The peers, the two best schedules and the model's first
are then timed in turns, on inputs that rotate past the L2 cache, in CUDA graphs.
"""

import json
from pathlib import Path
from typing import Any

import click

from lumir.measure import Bench
from lumir.measure.kernel import schedules_of
from lumir.measure.peer import PeerReplay, peer_calls, torch_or_none
from lumir.measure.search import search
from lumir.measure.suite.benchmark import Benchmark
from lumir.measure.suite.gemm import fp8, gemm
from lumir.measure.suite.grid import few_tiles
from lumir.measure.timing import time_together
from lumir.measure.workers import Workers

ARCH = "sm_90a"


def measured(bench: Bench, item: Benchmark, workers: Workers, choices: int) -> dict[str, Any]:
    """One benchmark: seconds of the best schedule, of the model's first and of each peer, and the errors."""
    torch, text = torch_or_none(), item.text()
    case = bench.case(text)
    offered = [choice for choice in schedules_of(text, ARCH) if choice.family == "wgmma"][:choices]
    found = search(case, [(choice, workers.compile(text, ARCH, choice)) for choice in offered], keep=offered[:1])
    first = found.of(offered[0])
    kept = [*found.ranked[:2], *([first] if first and first not in found.ranked[:2] else [])]
    calls = {name: peer_calls(torch, peer, case.operands) for name, peer in item.peers.items()}
    peers = [PeerReplay(torch, name, made) for name, made in calls.items()] if torch else []
    timings = time_together([*peers, *(candidate.loaded for candidate in kept)], 20)
    times = [timing.median for timing in timings]
    own = dict(zip([candidate.choice for candidate in kept], times[len(peers) :], strict=True))
    best = min(own, key=lambda choice: own[choice])
    return {
        "name": item.full_name,
        "seconds": own[best],
        "model_seconds": own.get(offered[0]),
        "schedule": dict(best.schedule),
        "error": max(candidate.error.relative for candidate in kept),
        "peers": dict(zip(calls, times)),
        "choices": len(offered),
    }


def shown(row: dict[str, Any]) -> str:
    peers = ", ".join(f"{row['peers'][name] / row['seconds']:.3f} of {name}" for name in row["peers"])
    return f"{row['name']:45} {row['seconds'] * 1e6:8.1f} us  {peers or 'no peer'}  {row['schedule']}"


@click.command()
@click.option("--only", multiple=True, help="Benchmarks whose name holds this text.")
@click.option("--choices", default=14, show_default=True, help="Schedules to measure of each.")
@click.option("--json", "path", type=click.Path(path_type=Path), help="Where the measurements go.")
def main(only: tuple[str, ...], choices: int, path: Path | None) -> None:
    """Measure the products of lumir-bench's groups gemm and fp8, and those of few tiles."""
    items = [
        item for item in (*gemm(), *fp8(), *few_tiles()) if not only or any(text in item.full_name for text in only)
    ]
    bench, rows = Bench(), []
    with Workers() as workers:
        for item in items:
            rows.append(measured(bench, item, workers, choices))
            click.echo(shown(rows[-1]))
    if path:
        path.write_text(json.dumps({"device": bench.gpu.name, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
