"""Products and convolutions on a GPU: several schedules of every family that takes one, beside the peers.

python benchmarks/schedules.py gemm fp8 few-tiles         # any groups of lumir-bench, and products of few tiles
python benchmarks/schedules.py conv depthwise grouped --choices 24 --json convolutions.json
python benchmarks/schedules.py --only 4096x4096x4096 --family wgmma --choices 40

Every schedule is held against the reference before it counts. The peers, the best of each family and what the cost
models choose are then timed in turns, on inputs that rotate past the L2 cache, in CUDA graphs.
"""

import datetime
import json
import math
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import click

from lumir.measure import Bench
from lumir.measure.kernel import Choice, model_choice, schedules_of
from lumir.measure.peer import PeerReplay, peer_calls, torch_or_none
from lumir.measure.search import Outcome, pruned, search
from lumir.measure.suite import Benchmark, benchmarks, few_tiles
from lumir.measure.timing import time_together
from lumir.measure.tune import Compiling
from lumir.measure.workers import Workers

ARCH = "sm_90a"
GROUPS = tuple(dict.fromkeys(item.group for item in (*benchmarks(), *few_tiles())))
UNLESS_NAMED = ("gemm", "fp8", "few-tiles", "gated", "conv", "depthwise", "grouped")
MOST_SETS_OF_PEERS = 24
SAMPLES = 15


Offered = tuple[str, list[Choice]]
"""A dispatch, and schedules to measure, the one that is chosen first."""


def offered(make: Callable[[], str], families: tuple[str, ...], most: int) -> Offered:
    """What the cost models expect to be fastest."""
    text = make()
    chosen, every = model_choice(text, ARCH), schedules_of(text, ARCH)
    found = pruned([choice for choice in every if not families or choice.family in families], most)
    return text, [chosen, *(choice for choice in found if choice != chosen)]


def measured(bench: Bench, item: Benchmark, text: str, compiling: Compiling) -> dict[str, Any]:
    """One benchmark: seconds of the peers, of what is chosen, of each family's best, and of every schedule."""
    torch, case = torch_or_none(), bench.case(text)
    if item.inputs:
        item.inputs(case.inputs)
    chosen = compiling[0][0]
    outcome = search(case, compiling, keep=[chosen])
    best = {candidate.choice.family: candidate for candidate in reversed(outcome.ranked)}
    kept = [*best.values(), *(c for c in outcome.ranked if c.choice == chosen and c not in best.values())]
    sets = min(case.operands.sets, MOST_SETS_OF_PEERS)
    peers = {name: peer_calls(torch, peer, case.operands, sets) for name, peer in item.peers.items()} if torch else {}
    replays = [PeerReplay(torch, name, calls) for name, calls in peers.items()]
    times = [t.median for t in time_together([*replays, *(candidate.loaded for candidate in kept)], SAMPLES)]
    own = times[len(replays) :]
    seconds, fastest = min(zip(own, (c.choice for c in kept), strict=True), key=lambda pair: pair[0])
    return {
        "name": item.full_name,
        "peers": dict(zip(peers, times[: len(replays)], strict=True)),
        "chosen_seconds": next((s for s, c in zip(own, kept, strict=True) if c.choice == chosen), None),
        "seconds": seconds,
        "family": fastest.family,
        "schedule": dict(fastest.schedule),
        "families": dict(zip(best, own)),
        "kernels": kernels_of(outcome),
        "wrong": [f"{choice}: {error.message}" for choice, error in outcome.failed],
    }


def kernels_of(outcome: Outcome) -> list[dict[str, Any]]:
    return [
        {"family": c.choice.family, "schedule": dict(c.choice.schedule), "model_seconds": c.choice.cost}
        | {"seconds": c.seconds, "error": c.error.relative}
        for c in outcome.ranked
    ]


def shown(row: dict[str, Any]) -> str:
    peer, chosen = min(row["peers"].values(), default=math.nan), row["chosen_seconds"] or math.nan
    wrong = f"  {len(row['wrong'])} WRONG: {row['wrong'][0]}" if row["wrong"] else ""
    times = f"{row['seconds'] * 1e6:8.2f} us  {peer / row['seconds']:5.2f} of the peer, chosen {peer / chosen:5.2f}"
    return f"{row['name']:34} {times}  {row['family']} {' '.join(map(str, row['schedule'].values()))}{wrong}"


def summary(rows: list[dict[str, Any]]) -> str:
    """Geometric means of the ratios to the fastest peer."""
    rows = [row for row in rows if row["peers"] and row["chosen_seconds"]]
    logs = [[math.log(min(row["peers"].values()) / row[key]) for row in rows] for key in ("seconds", "chosen_seconds")]
    best, chosen = (math.exp(sum(each) / max(len(each), 1)) for each in logs)
    return f"{len(rows)} with a peer: geometric mean {best:.3f}, of what is chosen {chosen:.3f}"


@click.command()
@click.argument("groups", nargs=-1, type=click.Choice(GROUPS))
@click.option("--only", multiple=True, help="Benchmarks whose name holds this text.")
@click.option("--family", "families", multiple=True, help="Schedules of this family only, and what is chosen.")
@click.option("--choices", default=14, show_default=True, help="Schedules to measure of each.")
@click.option("--json", "path", type=click.Path(path_type=Path), help="Where the measurements go.")
def main(
    groups: tuple[str, ...], only: tuple[str, ...], families: tuple[str, ...], choices: int, path: Path | None
) -> None:
    """Measure benchmarks of some GROUPS; of products and convolutions, if none is named."""
    every = [item for item in (*benchmarks(), *few_tiles()) if item.group in (groups or UNLESS_NAMED)]
    items = [item for item in every if not only or any(text in item.full_name for text in only)]
    bench, rows = Bench(), []
    with Workers() as workers:
        offers = [workers.call(offered, item.text, families, choices) for item in items]
        todo = [
            (text, [(c, workers.compile(text, ARCH, c)) for c in found]) for text, found in map(Future.result, offers)
        ]
        for item, (text, compiling) in zip(items, todo, strict=True):
            rows.append(measured(bench, item, text, compiling))
            click.echo(shown(rows[-1]))
    click.echo(summary(rows))
    if path:
        head = {"device": bench.gpu.name, "date": datetime.date.today().isoformat(), "choices": choices}
        path.write_text(json.dumps({**head, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
