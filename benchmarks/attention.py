"""Attention kernels against torch's, on one GPU in one process.

    python benchmarks/attention.py decode          # one query, long contexts
    python benchmarks/attention.py few             # a few queries, long contexts
    python benchmarks/attention.py prefill         # many queries, heads of 128
    python benchmarks/attention.py windows         # sliding windows
    python benchmarks/attention.py shapes          # other heads, masks, soft caps, encoders
    python benchmarks/attention.py decode --tune .   # schedules of the space that match, not only the one chosen

Each work runs over inputs that rotate past the L2 cache, in CUDA graphs, in turns with its peers, and is held against
float64 first. The peer is the fastest of cuDNN, FlashAttention 2 and, under a mask, the memory-efficient kernel of
scaled_dot_product_attention, and flex_attention, compiled with a block mask, for windows and soft caps.
"""

import argparse
import json
import os
import re
import sys
import zlib
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from lumir.measure.peer import PeerReplay
from lumir.measure.timing import time_together

sys.path.append(str(Path(__file__).parents[1] / "tests" / "gpu"))
SAMPLES = 10


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
    window: int = 0
    softcap: float = 0.0

    def __str__(self) -> str:
        shape = f"b{self.b} h{self.h}/{self.g} q{self.m} kv{self.n} d{self.d} {self.dtype}"
        more = [f" {name} {value}" for name in ("mask", "window", "softcap") if (value := getattr(self, name))]
        return shape + " causal" * self.causal + "".join(more)

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
            window=self.window,
            softcap=self.softcap,
            unwritten=self.m == 1,
        )
        return c.text()

    @property
    def kv_bytes(self) -> int:
        return 4 * self.b * self.g * self.n * self.d

    @property
    def flops(self) -> float:
        """Of the products that count."""
        pairs = self.m * self.n if not self.causal else self.m * (self.n - self.m) + self.m * (self.m + 1) / 2
        if self.window:
            unseen = max(self.n - self.window, 0)
            pairs -= unseen * (unseen + 1) / 2
        return 4.0 * self.b * self.h * pairs * self.d


def works(kind: str) -> list[Work]:
    if kind == "decode":
        found = [Work(b, 32, 8, 1, n, 128) for b in (1, 16) for n in (512, 2048, 8192, 32768)]
        return [*found, Work(1, 32, 8, 1, 8000, 128, "float16"), Work(4, 32, 8, 1, 4096, 128, "float16")]
    if kind == "few":
        return [Work(b, 32, 8, m, n, 128) for b, n in ((1, 8192), (16, 2048)) for m in (2, 4, 8, 16)]
    if kind == "windows":
        return [
            Work(1, h, g, 16384, 16384, 128, causal=True, window=window)
            for h, g in ((16, 16), (32, 8))
            for window in (1024, 4096)
        ]
    if kind == "prefill":
        lengths = (2048, 4096, 8192, 16384)
        found = [Work(16384 // n, 16, 16, n, n, 128, causal=causal) for causal in (False, True) for n in lengths]
        return [*found, Work(4, 32, 8, 4096, 4096, 128, causal=True), Work(1, 32, 8, 2048, 2048, 128, causal=True)]
    heads = [Work(8, 16, 16, 2048, 2048, d, causal=causal) for d in (64, 96) for causal in (False, True)]
    wide = [Work(4, 8, 8, 4096, 4096, 256, causal=causal) for causal in (False, True)]
    masks = [Work(8, 16, 16, 2048, 2048, 128, mask=mask) for mask in ("keys", "bool", "float")]
    encoders = [Work(b, 12, 12, n, n, 64, "float16") for b, n in ((1, 128), (32, 128), (1, 512), (16, 512))]
    caps = [Work(8, 16, 16, 2048, 2048, d, softcap=30.0) for d in (64, 128, 256)]
    return [*heads, *wide, *masks, *caps, *encoders]


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

    def __init__(self, work: Work):
        import torch  # pyright: ignore[reportMissingImports]

        self.torch, self.work = torch, work
        torch.manual_seed(zlib.crc32(str(work).encode()))
        sets = max(1, min(128, -(-200_000_000 // work.kv_bytes)))
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
        self.peer_errors: dict[str, float] = {}

    def replay(self, name: str, run: Any) -> PeerReplay:
        """Calls of `run(inputs)` on all sets of inputs in turns."""
        return PeerReplay(self.torch, name, [partial(run, inputs) for inputs in self.inputs])

    def peers(self) -> list[PeerReplay]:
        """The peers that can run the work, the error of each held against float64."""
        from torch.nn.attention import SDPBackend, sdpa_kernel  # pyright: ignore[reportMissingImports]

        w, found = self.work, []
        runs: dict[str, Any] = {"flex": self._flex()} if w.window or w.softcap else {}
        if not w.softcap:
            slow = [SDPBackend.EFFICIENT_ATTENTION] if w.mask else []
            for backend in (SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION, *slow):
                restricted = partial(_inside, partial(sdpa_kernel, backend), self._sdpa())
                runs[backend.name.split("_")[0].lower()] = restricted
        for name, run in runs.items():
            try:
                found.append(self.replay(name, run))
                self.peer_errors[name] = self.error(self.inputs[0], run, lambda: self.peer_out)
            except RuntimeError as error:
                print(f"    {w}: {name} cannot run it: {str(error).splitlines()[0][:60]}")
        return found

    def _sdpa(self) -> Any:
        from torch.nn.functional import scaled_dot_product_attention  # pyright: ignore[reportMissingImports]

        w, torch = self.work, self.torch
        masks = [m.expand(w.b, w.h, w.m, w.n) if m.dtype != torch.bool else m for m in self.masks]
        if w.window:
            masks = [self.seen]

        def run(inputs: Any) -> None:
            causal = w.causal and not w.window
            self.peer_out = scaled_dot_product_attention(*inputs, *masks, is_causal=causal, enable_gqa=w.g != w.h)

        return run

    def _flex(self) -> Any:
        """flex_attention, compiled: the window leaves out blocks of keys, the soft cap changes scores."""
        from torch.nn.attention.flex_attention import (  # pyright: ignore[reportMissingImports]
            create_block_mask,
            flex_attention,
        )

        w, torch, more = self.work, self.torch, {}
        if w.window:

            def seen(_b: Any, _h: Any, i: Any, j: Any) -> Any:
                return (j <= i) & (j > i - w.window)

            more["block_mask"] = create_block_mask(seen, None, None, w.m, w.n)
        if w.softcap:
            more["score_mod"] = lambda score, _b, _h, _i, _j: w.softcap * torch.tanh(score / w.softcap)
        compiled = torch.compile(flex_attention, dynamic=False)

        def run(inputs: Any) -> None:
            self.peer_out = compiled(*inputs, enable_gqa=w.g != w.h, **more)

        return run

    @cached_property
    def seen(self) -> Any:
        """The keys of each query that causality and window leave, as bools [m, n]."""
        w, torch = self.work, self.torch
        distance = torch.arange(w.n, device="cuda") - torch.arange(w.m, device="cuda")[:, None] - (w.n - w.m)
        seen = distance <= 0 if w.causal else torch.ones_like(distance, dtype=torch.bool)
        return seen & (distance > -w.window) if w.window else seen

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
        if w.softcap:
            scores = w.softcap * torch.tanh(scores / w.softcap)
        if w.causal:
            scores = scores.masked_fill(~self.seen, float("-inf"))
        for m in self.masks:
            m = m[:1, :heads]
            scores = scores + m.double() if m.dtype != torch.bool else scores.masked_fill(~m, float("-inf"))
        expected = scores.softmax(-1) @ v
        found = result()[:1, :heads].double()
        assert torch.isfinite(result()).all(), "unwritten results"
        return float((found - expected).norm() / expected.norm())


def _inside(context: Callable[[], AbstractContextManager[Any]], run: Any, inputs: Any) -> None:
    with context():
        run(inputs)


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
    parser.add_argument("kind", choices=["decode", "few", "prefill", "windows", "shapes"])
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
    bench = Bench(work)
    peers = bench.peers() if with_peer else []
    good, replays = [], []
    for kernel in filter(None, kernels):
        if kernel.error:
            print("   ", kernel.schedule, kernel.error)
            continue
        run = bench.launcher(kernel)
        good.append((kernel, bench.error(bench.inputs[0], run, lambda: bench.out)))
        replays.append(bench.replay(kernel.schedule, run))
    times = [timing.median for timing in time_together([*peers, *replays], samples=SAMPLES, warmup=1)]
    found = [(seconds, error, kernel) for seconds, (kernel, error) in zip(times[len(peers) :], good, strict=True)]
    by_peer = dict(zip([p.name for p in peers], times)) or {"none": 1.0}
    best_peer, peer = min(by_peer.items(), key=lambda item: item[1])
    peer_error = bench.peer_errors.get(best_peer, float("nan"))
    rate = f"{peer * 1e6:9.2f} us {best_peer}"
    others = ", ".join(f"{name} {seconds * 1e6:.1f}" for name, seconds in by_peer.items())
    print(f"{work}: {rate} error {peer_error:.2e} ({others})")
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
        "peer_error": peer_error,
        "peer_us": peer * 1e6,
        "kernels": [{"us": s * 1e6, "error": e, "schedule": k.schedule} for s, e, k in found],
    }


if __name__ == "__main__":
    main()
