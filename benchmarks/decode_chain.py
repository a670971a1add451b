"""Attention of one token in a chain of dependent kernels, as a decoding step has it, against torch in the same process.

    python benchmarks/decode_chain.py [--tries 1] [--only b1] [--written] [--output FILE] [--database FILE]

Each link multiplies with a weight, attends over a cache of its own, and multiplies with another weight; its result is
the next link's input. Weights and caches are more than the L2 cache holds. A chain is one CUDA graph; of ours a kernel
may start before the one ahead of it is done, and reads the cache, which no kernel of the run writes, at once (not with
`--written`). Times are medians of replays in turns, on random data: of a link, and of its attention, which is what a
link takes more than in the same chain without it. The peer's attention is cuDNN's or FlashAttention 2, whichever is
faster. What a chain leaves is held against float64, and against the same kernels launched one after the other.
"""

import argparse
import datetime
import json
import math
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from lumir.kernels.nvidia.decode import DecodeFamily
from lumir.measure import Bench, CompiledDispatch, compile_dispatch, schedules_of
from lumir.measure.kernel import key_of_text
from lumir.measure.on_torch import TorchKernel
from lumir.measure.peer import PeerReplay
from lumir.measure.reference import Reference
from lumir.measure.suite.attention import attention
from lumir.measure.suite.gemm import product
from lumir.measure.timing import time_together
from lumir.schedule.tuning import Database, Entry, version_of

ARCH, HEADS, GROUPS, DEPTH = "sm_90a", 32, 8, 128
WIDTH = HEADS * DEPTH
CACHED = 3e8
"""Bytes that a chain goes through before it comes back to the first link's."""
SAMPLES, MOST_ERROR, SAME = 10, 6e-3, 1.005


@dataclass(frozen=True)
class Problem:
    """b tokens, each against `context` keys of 8 heads of 128, in bfloat16."""

    b: int
    context: int

    def __str__(self) -> str:
        return f"b{self.b} kv{self.context}"

    @property
    def cache_bytes(self) -> int:
        return 4 * self.b * GROUPS * self.context * DEPTH

    def text(self, written: bool) -> str:
        text = attention(self.b, HEADS, GROUPS, 1, self.context, DEPTH, "bfloat16")
        return text.replace(" {lumir.unwritten}", "") if written else text


class Chain:
    """The tensors of a chain on the GPU.

    Args:
        torch: the module.
    """

    def __init__(self, torch: Any, problem: Problem):
        self.torch, self.problem = torch, problem
        b, n = problem.b, problem.context
        self.links = max(2, min(24, math.ceil(CACHED / (problem.cache_bytes + 4 * WIDTH * WIDTH))))

        def random(*shape: int, scale: float = 1.0) -> Any:
            return (torch.randn(*shape, device="cuda") * scale).bfloat16()

        self.caches = [[random(b, GROUPS, n, DEPTH) for _ in range(2)] for _ in range(self.links)]
        self.weights = [[random(WIDTH, WIDTH, scale=WIDTH**-0.5) for _ in range(2)] for _ in range(self.links)]
        for _, out in self.weights:
            out *= n**0.5 / 2  # what attention averages is small: the numbers would vanish along the chain
        self.x = random(b, WIDTH)
        self.query, self.attended, *self.results = (torch.empty_like(self.x) for _ in range(4))

    def run(self, multiply: Any, attend: Any) -> Any:
        """All links: `multiply(x, weight, to)`, and `attend(query, key, value, to)`, if any, which gives the result."""
        x = self.x
        for i, ((into, out), (key, value)) in enumerate(zip(self.weights, self.caches, strict=True)):
            multiply(x, into, self.query)
            attended = self.query if attend is None else attend(self.query, key, value, self.attended)
            x = self.results[i % 2]
            multiply(attended, out, x)
        return x

    def expected(self) -> Any:
        """The first link's attention in float64."""
        b, n = self.problem.b, self.problem.context
        (into, _), (key, value) = self.weights[0], self.caches[0]
        query = (self.x.double() @ into.double().t()).bfloat16().double().view(b, GROUPS, HEADS // GROUPS, DEPTH)
        scores = query @ key.double().transpose(-1, -2) * DEPTH**-0.5
        assert scores.shape[-1] == n
        return (scores.softmax(-1) @ value.double()).reshape(b, WIDTH)


def torch_multiply(torch: Any, x: Any, weight: Any, to: Any) -> None:
    torch.matmul(x, weight.t(), out=to)


def torch_attend(torch: Any, backend: str, query: Any, key: Any, value: Any, _to: Any) -> Any:
    from torch.nn.attention import SDPBackend, sdpa_kernel  # pyright: ignore[reportMissingImports]

    with sdpa_kernel(getattr(SDPBackend, backend)):
        found = torch.nn.functional.scaled_dot_product_attention(
            query.view(-1, HEADS, 1, DEPTH), key, value, enable_gqa=True
        )
    return found.reshape(-1, WIDTH)


def check(torch: Any, chain: Chain, multiply: TorchKernel, attend: TorchKernel) -> float:
    """The error of the first link's attention; and a chain at once leaves the bits of its kernels apart.

    Raises:
        SystemExit: it does not, or the error is too large.
    """
    query, result = chain.query, chain.attended
    result.fill_(float("nan"))
    multiply(chain.x, chain.weights[0][0], query)
    attend(query, *chain.caches[0], result)
    torch.cuda.synchronize()
    wanted = chain.expected()
    error = ((result.double() - wanted).norm() / wanted.norm()).item()
    together = chain.run(multiply, attend).clone()

    def apart(kernel: TorchKernel, *tensors: Any) -> Any:
        torch.cuda.synchronize()
        kernel(*tensors)
        torch.cuda.synchronize()
        return tensors[-1]

    alone = chain.run(partial(apart, multiply), partial(apart, attend))
    if not error < MOST_ERROR or not torch.equal(together.view(torch.int16), alone.view(torch.int16)):
        raise SystemExit(f"{chain.problem}: error {error:.2e}, or a chain gives other bits than its kernels apart")
    return error


def compiled(text: str, tries: int) -> list[CompiledDispatch]:
    """What the compiler chooses, and the next schedules by its cost model."""
    first = compile_dispatch(text, ARCH)
    rest = [c.schedule for c in schedules_of(text, ARCH) if c.family == first.family and c.schedule != first.schedule]
    return [first, *(compile_dispatch(text, ARCH, first.family, schedule) for schedule in rest[: tries - 1])]


def measure(
    torch: Any,
    bench: Bench,
    problem: Problem,
    products: CompiledDispatch,
    attends: list[CompiledDispatch],
    rate: float,
) -> dict[str, Any]:
    """Times of a link and of its attention, ours and torch's; seconds."""
    torch.manual_seed(problem.context + problem.b)
    chain = Chain(torch, problem)
    multiply = TorchKernel(torch, bench, products)
    kernels = [TorchKernel(torch, bench, each) for each in attends]
    errors = [check(torch, chain, multiply, kernel) for kernel in kernels]
    runs: dict[str, Callable[[], Any]] = {"products": partial(chain.run, multiply, None)}
    theirs = partial(torch_multiply, torch)
    runs["torch products"] = partial(chain.run, theirs, None)
    for backend in ("CUDNN_ATTENTION", "FLASH_ATTENTION"):
        runs[backend] = partial(chain.run, theirs, partial(torch_attend, torch, backend))
    for number, kernel in enumerate(kernels):
        runs[str(number)] = partial(chain.run, multiply, kernel)
    replays = [PeerReplay(torch, name, [run]) for name, run in runs.items()]
    times = {
        replay.name: timing.median / chain.links
        for replay, timing in zip(replays, time_together(replays, SAMPLES, 1), strict=True)
    }
    peer = min(times["CUDNN_ATTENTION"], times["FLASH_ATTENTION"])
    rows = [
        {
            "schedule": dict(each.schedule),
            "error": error,
            "link": times[str(i)],
            "attention": times[str(i)] - times["products"],
        }
        for i, (each, error) in enumerate(zip(attends, errors, strict=True))
    ]
    return {
        "work": str(problem),
        "floor": problem.cache_bytes / rate,
        "peer link": peer,
        "peer attention": peer - times["torch products"],
        "products": times["products"],
        "torch products": times["torch products"],
        "kernels": rows,
    }


def show(row: dict[str, Any]) -> None:
    us = {name: f"{row[name] * 1e6:.2f}" for name in ("floor", "peer link", "peer attention")}
    print(
        f"{row['work']}: torch link {us['peer link']} us, attention {us['peer attention']} us; floor {us['floor']} us"
        f" (products {row['products'] * 1e6:.2f}, torch {row['torch products'] * 1e6:.2f})"
    )
    for number, k in enumerate(row["kernels"]):
        best = " best" * (k["link"] == min(each["link"] for each in row["kernels"]))
        print(
            f"    link {k['link'] * 1e6:7.2f} us {row['peer link'] / k['link']:5.2f}x"
            f"  attention {k['attention'] * 1e6:7.2f} us {row['peer attention'] / k['attention']:5.2f}x"
            f" floor {row['floor'] / k['attention']:5.1%} error {k['error']:.1e}"
            f" {' '.join(map(str, k['schedule'].values()))}{' chosen' * (not number)}{best}",
            flush=True,
        )


def entry_of(problem: Problem, row: Mapping[str, Any], device: str) -> tuple[str, Entry]:
    """The fastest in the chain, or the model's choice where that is as fast, as an entry of a database, and its key."""
    text, model = problem.text(written=False), row["kernels"][0]
    best = min(row["kernels"], key=lambda each: each["link"])
    best = model if model["link"] < SAME * best["link"] else best
    entry = Entry(
        dispatch=Reference(text).summary,
        family="decode",
        version=version_of(DecodeFamily()),
        schedule=best["schedule"],
        microseconds=round(best["attention"] * 1e6, 3),
        model_microseconds=round(model["attention"] * 1e6, 3),
        choices=len(row["kernels"]),
        error=float(f"{best['error']:.3g}"),
        device=device,
        date=datetime.date.today().isoformat(),
    )
    return key_of_text(text), entry


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--tries", type=int, default=1, help="schedules of the attention to measure")
    parser.add_argument("--only", default="", help="works whose name has this in it")
    parser.add_argument("--written", action="store_true", help="as if kernels wrote the caches")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    parser.add_argument("--database", type=Path, help="tuning database that gets the fastest schedules")
    args = parser.parse_args()
    works = [Problem(b, n) for b in (1, 16) for n in (512, 2048, 8192, 32768)]
    works = [work for work in works if args.only in str(work)]
    pool = ProcessPoolExecutor(mp_context=get_context("spawn"))
    attends = [pool.submit(compiled, work.text(args.written), args.tries) for work in works]
    products = {b: pool.submit(compile_dispatch, product(b, WIDTH, WIDTH, "bfloat16"), ARCH) for b in (1, 16)}
    import torch  # pyright: ignore[reportMissingImports]

    x = torch.randn(1 << 29, device="cuda")
    replay = PeerReplay(torch, "sum", [x.sum])
    rate = 4 * x.numel() / time_together([replay], 10)[0].median
    del x
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, reads {rate / 1e12:.2f} TB/s", flush=True)
    bench, rows = Bench(), []
    for work, each in zip(works, attends, strict=True):
        rows.append(measure(torch, bench, work, products[work.b].result(), each.result(), rate))
        show(rows[-1])
    if args.database:
        found = dict(entry_of(w, row, torch.cuda.get_device_name()) for w, row in zip(works, rows, strict=True))
        Database.read(args.database).with_entries(found).write(args.database)
    if args.output:
        args.output.write_text(
            json.dumps({"device": torch.cuda.get_device_name(), "read": rate, "rows": rows}, indent=1)
        )


if __name__ == "__main__":
    main()
