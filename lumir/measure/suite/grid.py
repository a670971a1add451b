"""Products of the widths that transformers have: what lumir-tune measures besides the benchmark set."""

from functools import partial

from lumir.measure.suite.benchmark import Benchmark
from lumir.measure.suite.gemm import cublas, product

WIDTHS = (768, 1024, 2048, 4096, 5120, 8192)
ROWS = (64, 256, 1024, 4096)


def grid() -> list[Benchmark]:
    """Square weights, and those of a layer that is four times as wide and back, for some numbers of tokens."""
    shapes = [(n * w, k * w) for w in WIDTHS for n, k in ((1, 1), (4, 1), (1, 4))]
    return [
        Benchmark("grid", f"{m}x{n}x{k}-bfloat16", partial(product, m, n, k, "bfloat16"), {"cublas": cublas})
        for n, k in shapes
        for m in ROWS
    ]
