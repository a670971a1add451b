"""Attention: prompts of 2k to 16k tokens, and decoding against caches of 512 to 32k."""

from collections.abc import Callable
from functools import partial
from typing import Any

from lumir.dialects import build
from lumir.measure.suite.benchmark import Benchmark
from lumir.measure.texts import dispatch
from lumir.mlir import ir

HEADS, DEPTH, TOKENS, GROUPS = 32, 128, 16384, 4


def attention(b: int, h: int, g: int, m: int, n: int, d: int, dtype: str, causal: bool = False) -> str:
    """Queries [b, h, m, d] on keys and values [b, g, n, d]; one query's are a cache that no kernel writes."""

    def body(q: ir.Value, k: ir.Value, v: ir.Value) -> ir.Value:
        return build("attention", q, k, v, scale=d**-0.5, causal=causal, offset=0, window=0, softcap=0.0)

    cache = (1, 2) if m == 1 else ()
    return dispatch(body, ((b, h, m, d), dtype), ((b, g, n, d), dtype), ((b, g, n, d), dtype), unwritten=cache)


def _sdpa(torch: Any, q: Any, k: Any, v: Any, causal: bool) -> Callable[[], Any]:
    grouped = q.shape[1] != k.shape[1]
    sdpa = torch.nn.functional.scaled_dot_product_attention
    return lambda: sdpa(q, k, v, is_causal=causal, enable_gqa=grouped)


def _backend(name: str) -> Callable[..., Callable[[], Any]]:
    """One of SDPA's kernels, whatever it would choose itself."""

    def peer(torch: Any, q: Any, k: Any, v: Any, causal: bool) -> Callable[[], Any]:
        from torch.nn.attention import SDPBackend, sdpa_kernel  # pyright: ignore[reportMissingImports]

        run = _sdpa(torch, q, k, v, causal)

        def restricted() -> Any:
            with sdpa_kernel(getattr(SDPBackend, name)):
                return run()

        return restricted

    return peer


def _peers(causal: bool) -> dict[str, Any]:
    found = {"sdpa": _sdpa, "cudnn": _backend("CUDNN_ATTENTION"), "flash": _backend("FLASH_ATTENTION")}
    return {name: partial(peer, causal=causal) for name, peer in found.items()}


def prefill() -> list[Benchmark]:
    found = []
    for length in (2048, 4096, 8192, 16384):
        batch = TOKENS // length
        for causal in (False, True):
            flops = 4 * batch * HEADS * length * length * DEPTH // (2 if causal else 1)
            text = partial(attention, batch, HEADS, HEADS, length, length, DEPTH, "bfloat16", causal)
            name = f"b{batch}-s{length}{'-causal' if causal else ''}"
            found.append(Benchmark("prefill", name, text, _peers(causal), flops))
    return found


def decode() -> list[Benchmark]:
    return [
        Benchmark(
            "decode",
            f"b{batch}-ctx{length}",
            partial(attention, batch, HEADS, HEADS // GROUPS, 1, length, DEPTH, "bfloat16"),
            _peers(False),
            goal=1.5,
        )
        for batch in (1, 16)
        for length in (512, 2048, 8192, 32768)
    ]
