"""Attention kernels against torch's scaled_dot_product_attention, on one GPU in one process.

    python benchmarks/attention.py decode          # one query, long contexts
    python benchmarks/attention.py prefill         # many queries, heads of 128
    python benchmarks/attention.py shapes          # other heads, masks, encoders
    python benchmarks/attention.py decode --tune .   # schedules of the space that match, not only the one chosen

Each work runs over inputs that rotate past the L2 cache, in CUDA graphs, and is held against float64 first. The peer is
the fastest of torch's backends, on the same inputs.
"""

import argparse
import json
import os
import re
import statistics
import sys
import zlib
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "tests" / "gpu"))


@dataclass(frozen=True)
class Work:
    """b batches, h query heads on g key heads, m queries, n keys, depth d."""

    b: int
    h: int
    g: int
    m: int
    n: int
    d: int
    dtype: str = "bfloat16"
    causal: bool = False
    mask: str = ""

    def __str__(self) -> str:
        shape = f"b{self.b} h{self.h}/{self.g} q{self.m} kv{self.n} d{self.d} {self.dtype}"
        return shape + " causal" * self.causal + (f" mask {self.mask}" if self.mask else "")

    @property
    def text(self) -> str:
        import attention_cases

        c = attention_cases.Attention(
            self.dtype,
            self.b,
            self.h,
            self.g,
            self.m,
            self.n,
            self.d,
            self.d,
            causal=self.causal,
            offset=self.n - self.m,
            mask=self.mask,
        )
        return c.text()

    @property
    def kv_bytes(self) -> int:
        return 4 * self.b * self.g * self.n * self.d

    @property
    def flops(self) -> float:
        pairs = self.m * self.n if not self.causal else self.m * (self.n - self.m) + self.m * (self.m + 1) / 2
        return 4.0 * self.b * self.h * pairs * self.d


def works(kind: str) -> list[Work]:
    if kind == "decode":
        found = [Work(b, 32, 8, 1, n, 128) for b in (1, 16) for n in (512, 2048, 8192, 32768)]
        return [*found, Work(1, 32, 8, 1, 8000, 128, "float16"), Work(4, 32, 8, 1, 4096, 128, "float16")]
    if kind == "prefill":
        lengths = (2048, 4096, 8192, 16384)
        found = [Work(16384 // n, 16, 16, n, n, 128, causal=causal) for causal in (False, True) for n in lengths]
        return [*found, Work(4, 32, 8, 4096, 4096, 128, causal=True), Work(1, 32, 8, 2048, 2048, 128, causal=True)]
    heads = [Work(8, 16, 16, 2048, 2048, d, causal=causal) for d in (64, 96) for causal in (False, True)]
    wide = [Work(4, 8, 8, 4096, 4096, 256, causal=causal) for causal in (False, True)]
    masks = [Work(8, 16, 16, 2048, 2048, 128, mask=mask) for mask in ("keys", "bool", "float")]
    encoders = [Work(b, 12, 12, n, n, 64, "float16") for b, n in ((1, 128), (32, 128), (1, 512), (16, 512))]
    return [*heads, *wide, *masks, *encoders]


@dataclass(frozen=True)
class Kernel:
    """Machine code of one schedule, or why there is none."""

    family: str
    schedule: str
    code: Any = None
    ptx: str = ""
    cubin: bytes = b""
    registers: int = 0
    spills: int = 0
    warnings: tuple[str, ...] = ()
    error: str = ""


def build(work: Work, family_name: str, number: int, pattern: str, arch: str) -> Kernel | None:
    """The kernel of one schedule of the family's space, of those that the pattern matches; None past the last."""
    import harness

    with harness.kernel_context():
        family = family_called(family_name)
        schedules = [s for s in harness.legal_schedules(work.text, family) if re.search(pattern, str(s))]
        if number >= len(schedules):
            return None
        name = str(schedules[number])
        try:
            built = harness.build(work.text, family, arch, schedules[number])
            report = built.assemble()
        except Exception as error:
            return Kernel(family_name, name, error=str(error)[:300])
        return Kernel(
            family_name, name, built.code, built.ptx, report.cubin, report.registers, report.spills, report.warnings
        )


def family_called(name: str) -> Any:
    from lumir.kernels.nvidia.attention import AttentionFamily
    from lumir.kernels.nvidia.decode import DecodeFamily
    from lumir.kernels.nvidia.prefill import PrefillFamily

    return next(f for f in (DecodeFamily(), PrefillFamily(), AttentionFamily()) if f.name == name)


def family_of(work: Work, arch: str) -> str:
    import harness

    from lumir.kernels.families import choose
    from lumir.target import target_named

    with harness.kernel_context():
        _module, dispatch = harness.lowered(work.text)
        return choose(dispatch, target_named(arch))[0].name


class Bench:
    """Inputs of one work in GPU memory, several sets of them, and the time of what runs on them."""

    def __init__(self, work: Work, repeats: int):
        import torch  # pyright: ignore[reportMissingImports]

        self.torch, self.work = torch, work
        torch.manual_seed(zlib.crc32(str(work).encode()))
        sets = max(1, min(128, -(-200_000_000 // work.kv_bytes)))
        self.repeats = max(repeats, sets)
        dtype = getattr(torch, work.dtype)

        def random(heads: int, length: int) -> Any:
            return torch.randn(work.b, heads, length, work.d, device="cuda", dtype=dtype)

        self.inputs = [(random(work.h, work.m), random(work.g, work.n), random(work.g, work.n)) for _ in range(sets)]
        masks = {
            "bool": (work.b, 1, work.m, work.n),
            "keys": (work.b, 1, 1, work.n),
            "float": (1, work.h, work.m, work.n),
        }
        self.masks = []
        if work.mask:
            m = torch.randn(masks[work.mask], device="cuda", dtype=dtype)
            self.masks = [m if work.mask == "float" else m > -1]
        self.out = torch.empty_like(self.inputs[0][0])
        self.peer_out: Any = None
        self.peer_error = float("nan")

    def seconds(self, run: Any, budget: float = 0.03) -> float:
        """The median time of `run(inputs)` among enough of them in a graph."""
        torch = self.torch
        run(self.inputs[0])
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            for i in range(self.repeats):
                run(self.inputs[i % len(self.inputs)])
        graph.replay()
        times = []
        spent = 0.0
        while len(times) < 3 or (spent < budget and len(times) < 11):
            before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            before.record()
            graph.replay()
            after.record()
            torch.cuda.synchronize()
            times.append(before.elapsed_time(after) / 1000 / self.repeats)
            spent += times[-1] * self.repeats
        return statistics.median(times)

    def peers(self) -> dict[str, float]:
        from torch.nn.attention import SDPBackend, sdpa_kernel  # pyright: ignore[reportMissingImports]
        from torch.nn.functional import scaled_dot_product_attention  # pyright: ignore[reportMissingImports]

        w, found, torch = self.work, {}, self.torch

        def run(inputs: Any) -> None:
            causal = w.causal and w.m == w.n
            self.peer_out = scaled_dot_product_attention(
                *inputs,
                *[m.expand(w.b, w.h, w.m, w.n) if m.dtype != torch.bool else m for m in self.masks],
                is_causal=causal,
                enable_gqa=w.g != w.h,
            )

        for backend in (SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION, SDPBackend.EFFICIENT_ATTENTION):
            try:
                with sdpa_kernel(backend):
                    found[backend.name.split("_")[0].lower()] = self.seconds(run)
                    self.peer_error = self.error(self.inputs[0], run, lambda: self.peer_out)
            except RuntimeError as error:
                found[backend.name.split("_")[0].lower() + ": " + str(error).splitlines()[0][:40]] = float("inf")
        return found

    def launcher(self, kernel: Kernel) -> Any:
        """A function that launches the kernel on the current stream."""
        from cuda.bindings import driver  # pyright: ignore[reportAttributeAccessIssue]

        from lumir.runtime.cuda_kernel import launch_kernel

        torch, code = self.torch, kernel.code
        module = _ok(driver.cuModuleLoadData(kernel.cubin))
        function = _ok(driver.cuModuleGetFunction(module, b"kernel"))
        if code.shared_bytes:
            limit = driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
            _ok(driver.cuFuncSetAttribute(function, limit, code.shared_bytes))
        workspace = torch.empty(max(code.workspace_bytes, 4), dtype=torch.uint8, device="cuda")
        counters = torch.zeros(max(code.counters, 1), dtype=torch.int32, device="cuda")
        extras = [workspace] * bool(code.workspace_bytes) + [counters] * bool(code.counters)

        def run(inputs: Any) -> None:
            addresses = [t.data_ptr() for t in (*inputs, *self.masks, self.out, *extras)]
            stream = torch.cuda.current_stream().cuda_stream
            launch_kernel(function, code, code.grid, code.tensor_maps, addresses, (), stream)

        return run

    def error(self, inputs: Any, run: Any, result: Any) -> float:
        """Norm of the difference to float64 over the norm, on fresh inputs of the same shapes, of a few heads."""
        torch, w = self.torch, self.work
        for tensor in inputs:
            tensor.normal_()
        self.out.fill_(float("nan"))
        run(inputs)
        q, k, v = (t[:1].double() for t in inputs)
        heads = max(1, min(w.h, 8, 2**29 // (w.m * w.n)))
        k, v = (t.repeat_interleave(w.h // w.g, 1)[:, :heads] for t in (k, v))
        scores = q[:, :heads] @ k.transpose(-1, -2) * w.d**-0.5
        if w.causal:
            scores = scores.masked_fill(
                ~torch.ones(w.m, w.n, dtype=torch.bool, device="cuda").tril(w.n - w.m), float("-inf")
            )
        for m in self.masks:
            m = m[:1, :heads]
            scores = scores + m.double() if m.dtype != torch.bool else scores.masked_fill(~m, float("-inf"))
        expected = scores.softmax(-1) @ v
        found = result()[:1, :heads].double()
        assert torch.isfinite(result()).all(), "unwritten results"
        return float((found - expected).norm() / expected.norm())


def _ok(answer: Any) -> Any:
    status, *results = answer
    if int(status) != 0:
        raise RuntimeError(str(status))
    return results[0] if results else None


def read_bandwidth() -> float:
    """Bytes a second that torch's sum over 2 GiB reads."""
    import torch  # pyright: ignore[reportMissingImports]

    x = torch.randn(1 << 29, device="cuda")
    times = []
    for _ in range(6):
        before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        before.record()
        x.sum()
        after.record()
        torch.cuda.synchronize()
        times.append(before.elapsed_time(after) / 1000)
    return 4 * x.numel() / min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("kind", choices=["decode", "prefill", "shapes"])
    parser.add_argument("--tune", default="", help="time the schedules of the space that match this pattern")
    parser.add_argument("--limit", type=int, default=40, help="schedules of the space at most")
    parser.add_argument("--only", default="", help="works whose name has this in it")
    parser.add_argument("--family", default="", help="the kernel family; by default the one that is chosen")
    parser.add_argument("--no-peer", action="store_true", help="do not time torch")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    args = parser.parse_args()
    chosen = [w for w in works(args.kind) if args.only in str(w)]
    pool = ProcessPoolExecutor(min(os.cpu_count() or 1, 16), mp_context=get_context("spawn"))
    families = {w: args.family or family_of(w, "sm_90a") for w in chosen}
    numbers = range(args.limit if args.tune else 1)
    pending = {w: [pool.submit(build, w, families[w], i, args.tune, "sm_90a") for i in numbers] for w in chosen}
    import torch  # pyright: ignore[reportMissingImports]

    peak = read_bandwidth()
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, reads {peak / 1e12:.2f} TB/s", flush=True)
    rows = [measure(w, [f.result() for f in pending[w]], peak, not args.no_peer) for w in chosen]
    if args.output:
        args.output.write_text(
            json.dumps({"device": torch.cuda.get_device_name(), "read": peak, "rows": rows}, indent=1)
        )


def measure(work: Work, kernels: list[Kernel | None], peak: float, with_peer: bool) -> dict[str, Any]:
    """Time a work's kernels and its peers, and print them."""
    bench = Bench(work, repeats=max(4, min(60, int(2e12 / work.flops) + 4)) if work.m > 1 else 40)
    peers = bench.peers() if with_peer else {"none": 1.0}
    best_peer, peer = min(peers.items(), key=lambda item: item[1])
    found = []
    for kernel in filter(None, kernels):
        if kernel.error:
            print("   ", kernel.schedule, kernel.error)
            continue
        run = bench.launcher(kernel)
        error = bench.error(bench.inputs[0], run, lambda: bench.out)
        found.append((bench.seconds(run), error, kernel))
    rate = f"{peer * 1e6:9.2f} us {best_peer}"
    others = ", ".join(f"{name} {seconds * 1e6:.1f}" for name, seconds in peers.items())
    print(f"{work}: {rate} error {bench.peer_error:.2e} ({others})")
    for number, (seconds, error, kernel) in enumerate(found):
        best = " best" * (seconds == min(s for s, _, _ in found))
        speed = (
            f"{work.flops / seconds / 1e12:6.0f} TFLOP/s" if work.m > 1 else f"{work.kv_bytes / seconds / peak:5.1%}"
        )
        print(
            f"    {seconds * 1e6:9.2f} us  {peer / seconds:5.2f}x {speed} error {error:.2e} regs {kernel.registers}"
            f" spills {kernel.spills} {kernel.family} {kernel.schedule}{best}{' chosen' * (not number)}"
            f" {kernel.warnings or ''}",
            flush=True,
        )
    return {
        "work": str(work),
        "peer": best_peer,
        "peer_us": peer * 1e6,
        "kernels": [{"us": s * 1e6, "error": e, "schedule": k.schedule} for s, e, k in found],
    }


if __name__ == "__main__":
    main()
