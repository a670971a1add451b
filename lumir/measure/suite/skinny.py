"""Few rows times a large weight: what decoding a token does. Plain, and with weights of 4 bits."""

from collections.abc import Callable
from functools import partial
from typing import Any

from lumir.dialects import build
from lumir.dtypes import mlir_type
from lumir.measure.suite.benchmark import Benchmark
from lumir.measure.suite.gemm import cublas, product
from lumir.measure.texts import dispatch, scalar
from lumir.mlir import ir

WEIGHTS = ((4096, 4096), (14336, 4096), (4096, 14336), (128256, 4096))
ROWS = (1, 4, 16)
GROUP = 128


def nbits(m: int, n: int, k: int, dtype: str, bits: int = 4) -> str:
    """x [m, k] times the transpose of weights [n, k] in 4 or 8 bits, groups of 128: MatMulNBits, imported.

    Value q of a group with scale s stands for (q - 8) s, of 8 bits for (q - 128) s.
    """
    blocks, middle = k // GROUP, float(1 << (bits - 1))

    def body(x: ir.Value, q: ir.Value, scale: ir.Value) -> ir.Value:
        real = build("cast", q, to=mlir_type(dtype))
        real = build("mul", build("sub", real, scalar(middle, real)), scale)
        return build("contract", x, build("reshape", real, shape=[n, k]), equation="mk,nk->mn", to=mlir_type(dtype))

    arguments = (((m, k), dtype), ((n, blocks, GROUP), f"uint{bits}"), ((n, blocks, 1), dtype))
    return dispatch(body, *arguments, unwritten=[1, 2])


def _unpacked(torch: Any, x: Any, packed: Any, scales: Any) -> Callable[[], Any]:
    """The same product with bfloat16 weights: what 4 bits should be faster than."""
    w = torch.randn(packed.shape[0], x.shape[1], dtype=x.dtype, device="cuda")
    return lambda: torch.nn.functional.linear(x, w)


def skinny() -> list[Benchmark]:
    return [
        Benchmark("skinny", f"{m}x{n}x{k}", partial(product, m, n, k, "bfloat16"), {"cublas": cublas}, goal=1.2)
        for n, k in WEIGHTS
        for m in ROWS
    ]


def int4() -> list[Benchmark]:
    return [
        Benchmark("int4", f"{m}x{n}x{k}", partial(nbits, m, n, k, "bfloat16"), {"bf16 cublas": _unpacked}, goal=2.5)
        for n, k in WEIGHTS
        for m in ROWS
    ]
