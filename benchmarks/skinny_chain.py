"""Products of a few rows in chains of dependent kernels, as a decoding step is one, against cuBLAS in the same process.

    python benchmarks/skinny_chain.py [--tries 1] [--only 4096x4096] [--json FILE]

Each product reads what the one before it wrote, and a weight of its own: as many weights as the L2 cache cannot hold
several times over. All of a chain is one CUDA graph; a kernel may start before the one ahead of it is done. Times are
of one product, medians of replays, on random data. `--tries` measures that many of the schedules that the cost model
likes best, and reports the fastest beside the first. What a chain leaves behind is compared, bit by bit, with the same
kernels launched one after the other.
"""

import datetime
import json
import statistics
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import click
import torch  # pyright: ignore[reportMissingImports]
from rich.console import Console
from rich.table import Table

from lumir.artifact.launches import Launch
from lumir.measure import Bench, CompiledDispatch, compile_dispatch, schedules_of
from lumir.measure.operands import Scratch
from lumir.measure.suite.gemm import product
from lumir.measure.suite.skinny import GROUP, ROWS, WEIGHTS, nbits
from lumir.runtime.cuda_driver import call, enum
from lumir.runtime.cuda_kernel import launch_kernel
from lumir.runtime.cuda_memory import current

ARCH, LINKS, REPLAYS = "sm_90a", 24, 15
MOST_ERROR = 4e-3
"""What rounding a result to bfloat16 makes, and as much again."""
CACHED = 4e8
"""Bytes of weights that a chain goes through before it comes back to the first."""


@dataclass(frozen=True)
class Problem:
    """x [m, k] times w [n, k]^T, in bfloat16; in float16 with weights of 4 or 8 bits, by `bits`."""

    m: int
    n: int
    k: int
    bits: int = 16

    def __str__(self) -> str:
        return f"{'' if self.bits == 16 else f'int{self.bits} '}{self.m}x{self.n}x{self.k}"

    @property
    def packed(self) -> bool:
        return self.bits < 16

    @property
    def dtype(self) -> str:
        return "float16" if self.packed else "bfloat16"

    @property
    def text(self) -> str:
        sizes = self.m, self.n, self.k, self.dtype
        return nbits(*sizes, self.bits) if self.packed else product(*sizes)


@dataclass
class Chain:
    """Two buffers that take turns as activations and result, and the weights that a chain goes through."""

    problem: Problem
    arguments: list[list[Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        m, n, k = self.problem.m, self.problem.n, self.problem.k
        self.dtype = getattr(torch, self.problem.dtype)
        self.start = [torch.randn(m * max(n, k), device="cuda").to(self.dtype) for _ in range(2)]
        self.buffers = [x.clone() for x in self.start]
        nbytes = n * k * self.problem.bits // 8
        sets = max(2, min(LINKS, round(CACHED / nbytes)))
        self.arguments = [self._weights(n, k) for _ in range(sets)]
        self.links = sets * max(1, LINKS // sets) if nbytes < CACHED else 3 * sets

    def _weights(self, n: int, k: int) -> list[Any]:
        if not self.problem.packed:
            return [torch.randn(n, k, device="cuda", dtype=self.dtype) * k**-0.5]
        packed = torch.randint(0, 256, (n, k * self.problem.bits // 8), device="cuda", dtype=torch.uint8)
        size = 0.2 * k**-0.5 * 2.0 ** (4 - self.problem.bits)
        return [packed, ((torch.rand(n, k // GROUP, device="cuda") + 0.5) * size).to(self.dtype)]

    def reset(self) -> None:
        for buffer, start in zip(self.buffers, self.start, strict=True):
            buffer.copy_(start)
        torch.cuda.synchronize()

    def cublas(self) -> Callable[[], Any]:
        """The chain in torch, as a graph's replay."""
        m, n, k = self.problem.m, self.problem.n, self.problem.k

        def run() -> None:
            for i in range(self.links):
                x, y = self.buffers[i % 2][: m * k].view(m, k), self.buffers[1 - i % 2][: m * n].view(m, n)
                torch.matmul(x, self.arguments[i % len(self.arguments)][0].t(), out=y)

        run()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            run()
        return graph.replay

    @cached_property
    def expected(self) -> Any:
        """The first product in float64."""
        m, n, k = self.problem.m, self.problem.n, self.problem.k
        x, (w, *scales) = self.start[0][: m * k].view(m, k).double(), self.arguments[0]
        parts = []
        for first in range(0, n, 8192):
            part = w[first : first + 8192]
            if scales:
                q = torch.stack([part & 15, part >> 4], -1) if self.problem.bits == 4 else part
                real = q.reshape(-1, k // GROUP, GROUP).double() - (1 << (self.problem.bits - 1))
                part = (real * scales[0][first : first + 8192, :, None].double()).reshape(-1, k)
            parts.append(x @ part.double().t())
        return torch.cat(parts, 1)

    def ours(self, bench: Bench, kernel: CompiledDispatch) -> "OurChain":
        return OurChain(bench, kernel, self)


class OurChain:
    """A chain of one kernel, recorded."""

    def __init__(self, bench: Bench, kernel: CompiledDispatch, chain: Chain):
        self._stream, self._chain, self._bench = bench.gpu.stream, chain, bench
        with current(bench.gpu.context):
            self._code = bench.gpu.load(kernel.kernels, kernel.files)
            self._scratch = Scratch(bench.gpu.context, kernel.plan)
            (self._launch,) = (launch for launch in kernel.plan.launches if isinstance(launch, Launch))
            mode = enum("CUstreamCaptureMode", "CU_STREAM_CAPTURE_MODE_RELAXED")
            call("cuStreamBeginCapture", self._stream, mode)
            for i in range(chain.links):
                self._enqueue(i)
            graph = call("cuStreamEndCapture", self._stream)
            self._graph = call("cuGraphInstantiate", graph, 0)

    def _enqueue(self, i: int) -> None:
        weights = self._chain.arguments[i % len(self._chain.arguments)]
        tensors = [self._chain.buffers[i % 2], *weights, self._chain.buffers[1 - i % 2]]
        name = self._launch.kernel
        besides = self._launch.args[len(tensors) :]
        addresses = [tensor.data_ptr() for tensor in tensors]
        addresses += [getattr(self._scratch, ref.space).address + ref.offset for ref in besides]
        function, entry, launch = self._code.functions[name], self._code.kernels[name], self._launch
        launch_kernel(function, entry, launch.grid, launch.tensor_maps, addresses, (), self._stream)

    def replay(self) -> None:
        call("cuGraphLaunch", self._graph, self._stream)

    def seconds(self) -> float:
        with current(self._bench.gpu.context):
            before, after = (call("cuEventCreate", 0) for _ in range(2))
            times = []
            for _ in range(REPLAYS):
                call("cuEventRecord", before, self._stream)
                self.replay()
                call("cuEventRecord", after, self._stream)
                call("cuStreamSynchronize", self._stream)
                times.append(call("cuEventElapsedTime", before, after) / 1000)
            return statistics.median(times[3:]) / self._chain.links

    def error(self) -> float:
        """Of the first product, as a norm relative to the result's; its place was poisoned before."""
        self._chain.reset()
        self._chain.buffers[1].fill_(float("nan"))
        torch.cuda.synchronize()
        with current(self._bench.gpu.context):
            self._enqueue(0)
            call("cuStreamSynchronize", self._stream)
        wanted = self._chain.expected
        found = self._chain.buffers[1][: wanted.numel()].view(wanted.shape).double()
        return ((found - wanted).norm() / wanted.norm()).item()

    def check(self) -> float:
        """The error; and that the chain at once leaves the bits of its kernels one after the other."""
        if not (error := self.error()) < MOST_ERROR:
            raise SystemExit(f"{self._chain.problem}: the error is {error:.2e}")
        results = []
        for together in (False, True):
            self._chain.reset()
            with current(self._bench.gpu.context):
                if together:
                    self.replay()
                for i in range(0 if together else self._chain.links):
                    self._enqueue(i)
                    call("cuStreamSynchronize", self._stream)
                call("cuStreamSynchronize", self._stream)
            results.append([buffer.clone() for buffer in self._chain.buffers])
        if not all(torch.equal(a.view(torch.int16), b.view(torch.int16)) for a, b in zip(*results, strict=True)):
            raise SystemExit(f"{self._chain.problem}: the chain and its kernels apart give different bits")
        return error


def torch_seconds(replay: Callable[[], Any], links: int) -> float:
    times = []
    for _ in range(REPLAYS):
        before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        before.record()
        replay()
        after.record()
        after.synchronize()
        times.append(before.elapsed_time(after) / 1000)
    return statistics.median(times[3:]) / links


def read_rate() -> float:
    """Bytes a second of torch's fastest reduction of 2 GiB."""
    data = torch.randn(1 << 29, device="cuda")
    rates = [data.nbytes / torch_seconds(lambda f=f: f(data), 1) for f in (torch.sum, torch.amax)]
    return max(rates)


def compiled(job: tuple[str, int]) -> list[CompiledDispatch]:
    """The compiler's choice, and the next ones by its cost model."""
    text, tries = job
    first = compile_dispatch(text, ARCH)
    chosen = first.family, dict(first.schedule)
    others = [(c.family, dict(c.schedule)) for c in schedules_of(text, ARCH)[:tries]] if tries > 1 else []
    rest = [other for other in others if other != chosen][: tries - 1]
    return [first, *(compile_dispatch(text, ARCH, *other) for other in rest)]


def measured(bench: Bench, problem: Problem, kernels: list[CompiledDispatch], rate: float) -> dict[str, Any]:
    chain = Chain(problem)
    peer = None if problem.packed else torch_seconds(chain.cublas(), chain.links)
    found = []
    for kernel in kernels:
        ours = chain.ours(bench, kernel)
        error = ours.check()
        found.append((ours.seconds(), {"family": kernel.family, **kernel.schedule}, error))
    best = min(found, key=lambda each: each[0])
    nbytes = problem.n * problem.k * problem.bits // 8
    return {
        "problem": str(problem), "tried": len(found), "error": found[0][2],
        "seconds": found[0][0], "schedule": found[0][1],
        "best seconds": best[0], "best schedule": best[1], "cublas seconds": peer,
        "of read": nbytes / found[0][0] / rate,
    }  # fmt: skip


@click.command()
@click.option("--tries", default=1, help="Schedules to measure of each product.")
@click.option("--only", default="", help="Products whose name holds this.")
@click.option("--json", "path", type=click.Path(path_type=Path), help="Write the numbers here.")
def main(tries: int, only: str, path: Path | None) -> None:
    problems = [Problem(m, n, k) for n, k in WEIGHTS for m in (*ROWS, 32, 64)]
    problems += [Problem(m, n, k, bits) for bits in (4, 8) for n, k in WEIGHTS for m in ROWS]
    problems = [problem for problem in problems if only in str(problem)]
    with ProcessPoolExecutor() as pool:
        kernels = list(pool.map(compiled, [(problem.text, tries) for problem in problems]))
    bench, rate = Bench(), read_rate()
    rows = [measured(bench, problem, each, rate) for problem, each in zip(problems, kernels, strict=True)]
    show(rows, f"{torch.cuda.get_device_name(0)}, {datetime.date.today()}, reads {rate / 1e12:.2f} TB/s")
    if path:
        path.write_text(
            json.dumps({"device": torch.cuda.get_device_name(0), "read rate": rate, "rows": rows}, indent=1)
        )


def show(rows: list[dict[str, Any]], title: str) -> None:
    table = Table("product", "us", "of read", "best us", "cuBLAS us", "ratio", "schedule", title=title, box=None)
    plain = {row["problem"]: row["seconds"] for row in rows}
    for row in rows:
        peer = row["cublas seconds"] or plain.get(row["problem"].split()[-1])
        cells = [
            row["problem"],
            f"{row['seconds'] * 1e6:.2f}",
            f"{row['of read']:.2f}",
            f"{row['best seconds'] * 1e6:.2f}",
        ]
        cells += [f"{peer * 1e6:.2f}" if peer else "", f"{peer / row['seconds']:.2f}" if peer else ""]
        table.add_row(*cells, " ".join(f"{v}" for v in row["best schedule"].values()))
    Console(width=200).print(table)
    few = [row for row in rows if row["cublas seconds"] and int(row["problem"].split("x")[0]) in ROWS]
    ratios = [row["cublas seconds"] / row["seconds"] for row in few]
    if ratios:
        print(f"geometric mean of the ratios to cuBLAS, up to {ROWS[-1]} rows: {statistics.geometric_mean(ratios):.3f}")


if __name__ == "__main__":
    main()
