"""Few rows times a large weight: what decoding a token does. Plain, and with weights of 4 bits."""

from collections.abc import Callable
from functools import partial
from typing import Any

from lumir.dialects import build
from lumir.dtypes import mlir_type
from lumir.measure.suite.benchmark import Benchmark
from lumir.measure.suite.gemm import product
from lumir.measure.texts import dispatch, scalar
from lumir.mlir import ir

WEIGHTS = ((4096, 4096), (14336, 4096), (4096, 14336), (128256, 4096))
ROWS = (1, 4, 16)
GROUP = 128


def nbits(m: int, n: int, k: int, dtype: str) -> str:
    """x [m, k] times the transpose of weights [n, k] in 4 bits, groups of 128, as com.microsoft's MatMulNBits has them.

    Bytes hold two values, the low one first; value q of a group with scale s stands for (q - 8) s.
    """
    blocks = k // GROUP

    def body(x: ir.Value, packed: ir.Value, scales: ir.Value) -> ir.Value:
        byte = build("reshape", packed, shape=[n, blocks, GROUP // 2])
        four, mask = _constant(4, byte), _constant(15, byte)
        halves = [build("and", part, mask) for part in (byte, build("shr", byte, four))]
        halves = [build("reshape", half, shape=[n, blocks, GROUP // 2, 1]) for half in halves]
        values = build("reshape", build("concat", *halves, axis=3), shape=[n, blocks, GROUP])
        real = build("cast", values, to=mlir_type(dtype))
        real = build("mul", build("sub", real, scalar(8.0, real)), build("reshape", scales, shape=[n, blocks, 1]))
        return build("contract", x, build("reshape", real, shape=[n, k]), equation="mk,nk->mn", to=mlir_type(dtype))

    return dispatch(body, ((m, k), dtype), ((n, k // 2), "uint8"), ((n, blocks), dtype))


def _constant(value: int, like: ir.Value) -> ir.Value:
    element = ir.RankedTensorType(like.type).element_type
    splat = ir.DenseElementsAttr.get_splat(ir.RankedTensorType.get([], element), ir.IntegerAttr.get(element, value))
    return build("constant", value=splat)


def _cublas(torch: Any, x: Any, w: Any) -> Callable[[], Any]:
    return lambda: torch.nn.functional.linear(x, w)


def _unpacked(torch: Any, x: Any, packed: Any, scales: Any) -> Callable[[], Any]:
    """The same product with bfloat16 weights: what 4 bits should be faster than."""
    w = torch.randn(packed.shape[0], 2 * packed.shape[1], dtype=x.dtype, device="cuda")
    return lambda: torch.nn.functional.linear(x, w)


def skinny() -> list[Benchmark]:
    return [
        Benchmark("skinny", f"{m}x{n}x{k}", partial(product, m, n, k, "bfloat16"), {"cublas": _cublas}, goal=1.2)
        for n, k in WEIGHTS
        for m in ROWS
    ]


def int4() -> list[Benchmark]:
    return [
        Benchmark("int4", f"{m}x{n}x{k}", partial(nbits, m, n, k, "bfloat16"), {"bf16 cublas": _unpacked}, goal=2.5)
        for n, k in WEIGHTS
        for m in ROWS
    ]
