"""Attention: prompts of 2k to 16k tokens, decoding against caches of 512 to 32k, and other shapes, masks and caps."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from lumir.dialects import build
from lumir.measure.suite.attention_peers import flex_peer, lengths_peers, sdpa_peers
from lumir.measure.suite.benchmark import Benchmark, Peer
from lumir.measure.texts import Argument, dispatch
from lumir.mlir import ir

HEADS, DEPTH, TOKENS, GROUPS = 32, 128, 16384, 4


@dataclass(frozen=True)
class Attention:
    """Queries [b, h, m, d] on keys and values [b, g, n, d]; one query's are a cache that no kernel writes.

    Args:
        window: the last keys of a causal attention that count; 0 for all.
        mask: "keys" for bools [b, 1, 1, n], "bool" for [b, 1, m, n], "float" for addends [1, h, m, n], "lengths" for
            numbers of keys [b, 1, 1, 1], from whose end the places of a causal attention are counted.
    """

    b: int
    h: int
    g: int
    m: int
    n: int
    d: int = DEPTH
    dtype: str = "bfloat16"
    causal: bool = False
    window: int = 0
    softcap: float = 0.0
    mask: str = ""

    def text(self) -> str:
        offset = -self.m if self.mask == "lengths" else self.n - self.m if self.causal else 0
        band = {"causal": self.causal, "offset": offset, "window": self.window}

        def body(q: ir.Value, k: ir.Value, v: ir.Value, *mask: ir.Value) -> ir.Value:
            return build("attention", q, k, v, *mask, scale=self.d**-0.5, **band, softcap=self.softcap)

        operands = [((self.b, heads, length, self.d), self.dtype) for heads, length in self._lengths]
        operands += [self._mask] if self.mask else []
        return dispatch(body, *operands, unwritten=range(1, len(operands)) if self.m == 1 else ())

    @property
    def _mask(self) -> Argument:
        return {
            "keys": ((self.b, 1, 1, self.n), "bool"),
            "bool": ((self.b, 1, self.m, self.n), "bool"),
            "float": ((1, self.h, self.m, self.n), self.dtype),
            "lengths": ((self.b, 1, 1, 1), "int32"),
        }[self.mask]

    @property
    def _lengths(self) -> tuple[tuple[int, int], ...]:
        return (self.h, self.m), (self.g, self.n), (self.g, self.n)

    @property
    def flops(self) -> int:
        """Of the products that count."""
        pairs = self.m * self.n
        if self.causal:
            pairs = self.m * (self.n - self.m) + self.m * (self.m + 1) // 2
        if self.window:
            unseen = max(self.n - self.window, 0)
            pairs -= unseen * (unseen + 1) // 2
        return 4 * self.b * self.h * pairs * self.d

    def fill_lengths(self, inputs: list[np.ndarray]) -> None:
        """From 500 keys, or as many as there are queries, to a quarter of all."""
        inputs[3][...] = np.random.default_rng(0).integers(max(500, self.m), self.n // 4 + 1, inputs[3].shape)

    @property
    def peers(self) -> Mapping[str, Peer]:
        if self.mask == "lengths":
            return lengths_peers(self.causal)
        if self.window or self.softcap:
            return flex_peer(self.window, self.softcap)
        return sdpa_peers(self.causal, masked=bool(self.mask))

    def benchmark(self, group: str, name: str, goal: float = 1.0) -> Benchmark:
        inputs = self.fill_lengths if self.mask == "lengths" else None
        return Benchmark(group, name, self.text, self.peers, self.flops, goal, inputs)


def attention(b: int, h: int, g: int, m: int, n: int, d: int, dtype: str, causal: bool = False) -> str:
    """The text of a dispatch; see `Attention`."""
    return Attention(b, h, g, m, n, d, dtype, causal).text()


def prefill() -> list[Benchmark]:
    return [
        Attention(TOKENS // length, HEADS, HEADS, length, length, causal=causal).benchmark(
            "prefill", f"b{TOKENS // length}-s{length}{'-causal' if causal else ''}"
        )
        for length in (2048, 4096, 8192, 16384)
        for causal in (False, True)
    ]


def decode() -> list[Benchmark]:
    return [
        Attention(batch, HEADS, HEADS // GROUPS, 1, length).benchmark("decode", f"b{batch}-ctx{length}", goal=1.5)
        for batch in (1, 16)
        for length in (512, 2048, 8192, 32768)
    ]


def few_queries() -> list[Benchmark]:
    """Drafts that are verified, short chunks: all keys for all of them."""
    return [
        Attention(batch, HEADS, HEADS // GROUPS, m, length).benchmark("few-queries", f"b{batch}-q{m}-ctx{length}")
        for batch, length in ((1, 8192), (16, 2048))
        for m in (2, 4, 8, 16)
    ]


def valid_keys() -> list[Benchmark]:
    """Caches of 8192 keys of which 500 to 2048 count, by batch: one token, drafts, chunks of prompts."""
    works = {f"b{b}-q{m}": Attention(b, 32, 8, m, 8192, causal=m > 1, mask="lengths") for b, m in _STEPS}
    return [work.benchmark("valid-keys", name) for name, work in works.items()]


_STEPS = ((1, 1), (16, 1), (16, 4), (4, 256))


def other_attention() -> list[Benchmark]:
    """Windows, soft caps, masks, other heads, encoders."""
    long = Attention(1, HEADS, HEADS // GROUPS, TOKENS, TOKENS, causal=True)
    square = partial(Attention, 8, 16, 16, 2048, 2048)
    wide = partial(Attention, 4, 8, 8, 4096, 4096, 256)
    encoder = partial(Attention, h=12, g=12, d=64, dtype="float16")
    works = {
        **{f"window-{w}": Attention(1, long.h, long.g, long.m, long.n, causal=True, window=w) for w in (1024, 4096)},
        **{f"softcap-d{d}": square(d, softcap=30.0) for d in (64, 128, 256)},
        **{f"mask-{mask}": square(mask=mask) for mask in ("keys", "bool", "float")},
        **{f"d{d}{'-causal' * c}": square(d, causal=c) for d in (64, 96) for c in (False, True)},
        **{f"d256{'-causal' * c}": wide(causal=c) for c in (False, True)},
        **{f"grouped-b{b}-s{n}-causal": Attention(b, 32, 8, n, n, causal=True) for b, n in ((1, 2048), (4, 4096))},
        **{f"encoder-b{b}-s{n}": encoder(b=b, m=n, n=n) for b, n in ((1, 128), (32, 128), (1, 512), (16, 512))},
    }
    return [work.benchmark("attention", name) for name, work in works.items()]
