"""Products besides the benchmark set: of the widths that transformers have, and of few tiles."""

from collections.abc import Iterable
from functools import partial

from lumir.measure.suite.benchmark import Benchmark
from lumir.measure.suite.gemm import cublas, product

WIDTHS = (768, 1024, 2048, 4096, 5120, 8192)
ROWS = (64, 256, 1024, 4096)
FEW_TILES = (
    (64, 1024, 1024),
    (64, 4096, 14336),
    (128, 4096, 14336),
    (256, 4096, 4096),
    (392, 512, 4608),
    (512, 1024, 4096),
    (1568, 512, 2048),
)
"""Rows, columns and sums; those of 392 and 1568 rows are ResNet's last layers."""


def grid() -> list[Benchmark]:
    """Square weights, and those of a layer that is four times as wide and back, for some numbers of tokens."""
    weights = [(n * w, k * w) for w in WIDTHS for n, k in ((1, 1), (4, 1), (1, 4))]
    return _products("grid", ((m, n, k) for n, k in weights for m in ROWS))


def few_tiles() -> list[Benchmark]:
    """Products that have fewer tiles than a GPU multiprocessors, or only narrow ones."""
    return _products("few-tiles", FEW_TILES)


def _products(group: str, shapes: Iterable[tuple[int, int, int]]) -> list[Benchmark]:
    return [
        Benchmark(group, f"{m}x{n}x{k}-bfloat16", partial(product, m, n, k, "bfloat16"), {"cublas": cublas})
        for m, n, k in shapes
    ]
