"""Attention of one token against a cache in pages, in random order, beside the same against one that lies in one piece.

    python benchmarks/paged_decode.py

32 query heads on 8 key heads of 128, bfloat16; a page is [keys, heads, 128]. Kernels are held against the reference in
float64, twice for the same bits, and timed in CUDA graphs over caches that rotate past the L2 cache.
"""

import sys
from pathlib import Path

import ml_dtypes
import numpy as np

from lumir.measure import Bench, CompiledDispatch, compile_dispatch
from lumir.measure.suite.attention import attention

sys.path.append(str(Path(__file__).parents[1] / "tests" / "gpu"))
import harness
from decode_cases import Paged

HEADS, GROUPS, DEPTH = 32, 8, 128
WORKS = [(b, keys, page) for b, keys in ((1, 8192), (16, 2048)) for page in (16, 32, 64)]


def random(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Normal numbers, the same million again and again."""
    numbers = rng.standard_normal(1 << 20, np.float32).astype(ml_dtypes.bfloat16)
    return np.resize(numbers, int(np.prod(shape))).reshape(shape)


def microseconds(bench: Bench, kernel: CompiledDispatch, inputs: list[np.ndarray]) -> float:
    case = bench.case(kernel.text)
    case.set_inputs(inputs)
    case.check(kernel, whole=True)
    return case.time(kernel, 10).median * 1e6


def main() -> None:
    bench, rng = Bench(), np.random.default_rng(0)
    for b, keys, page in WORKS:
        whole = compile_dispatch(attention(b, HEADS, GROUPS, 1, keys, DEPTH, "bfloat16"), "sm_90a")
        dense = [random(rng, b, heads, n, DEPTH) for heads, n in ((HEADS, 1), (GROUPS, keys), (GROUPS, keys))]
        case = Paged("bfloat16", b, HEADS, GROUPS, DEPTH, page, pages=b * keys // page, table=keys // page)
        with harness.kernel_context():
            text = case.text()
        paged = compile_dispatch(text, "sm_90a")
        direct = compile_dispatch(text, "sm_90a", "decode", {**paged.schedule, "stages": 0, "warps": 8, "keys": 16})
        cache = [random(rng, case.pages, page, GROUPS, DEPTH) for _ in range(2)]
        table = rng.permutation(case.pages).reshape(b, case.table).astype(np.int64)
        times = [microseconds(bench, kernel, [dense[0], *cache, table]) for kernel in (paged, direct)]
        in_one = microseconds(bench, whole, dense)
        print(
            f"b{b}, {keys} keys in pages of {page}: {times[0]:.2f} us by TMA, {times[1]:.2f} without;"
            f" in one piece {in_one:.2f} us",
            flush=True,
        )


if __name__ == "__main__":
    main()
