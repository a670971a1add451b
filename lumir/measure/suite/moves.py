"""Transposes and element-wise work: nothing but memory."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from lumir.dialects import build
from lumir.measure.suite.benchmark import Benchmark
from lumir.measure.suite.torch_function import function_peers
from lumir.measure.texts import dispatch, gelu, silu
from lumir.mlir import ir


def transpose(shape: Sequence[int], order: Sequence[int], dtype: str) -> str:
    return dispatch(lambda x: build("transpose", x, permutation=list(order)), (shape, dtype))


def _transpose(torch: Any, x: Any, order: Sequence[int]) -> Any:
    return x.permute(*order).contiguous()


TRANSPOSES = {
    "8192x8192": ((8192, 8192), (1, 0)),
    "4096x1024": ((4096, 1024), (1, 0)),
    "4097x1023": ((4097, 1023), (1, 0)),
    "inner": ((8, 2048, 512), (0, 2, 1)),
    "heads": ((4, 4096, 32, 128), (0, 2, 1, 3)),
    "to-channels-last": ((32, 256, 56, 56), (0, 2, 3, 1)),
    "to-channels-first": ((32, 56, 56, 256), (0, 3, 1, 2)),
    "attention-keys": ((8, 32, 2048, 64), (0, 1, 3, 2)),
}


def transposes() -> list[Benchmark]:
    return [
        Benchmark(
            "transpose",
            name,
            partial(transpose, shape, order, "float16"),
            function_peers(partial(_transpose, order=order)),
        )
        for name, (shape, order) in TRANSPOSES.items()
    ]


def bias_gelu(shape: Sequence[int], dtype: str) -> str:
    return dispatch(lambda x, b: gelu(build("add", x, b)), (shape, dtype), (shape[-1:], dtype))


def gated(shape: Sequence[int], dtype: str) -> str:
    return dispatch(lambda x, y: build("mul", silu(x), y), (shape, dtype), (shape, dtype))


def residual(shape: Sequence[int], dtype: str) -> str:
    def body(x: ir.Value, r: ir.Value, b: ir.Value) -> ir.Value:
        return build("add", build("add", x, b), r)

    return dispatch(body, (shape, dtype), (shape, dtype), (shape[-1:], dtype))


def _bias_gelu(torch: Any, x: Any, b: Any) -> Any:
    return torch.nn.functional.gelu(x + b)


def _gated(torch: Any, x: Any, y: Any) -> Any:
    return torch.nn.functional.silu(x) * y


def _residual(torch: Any, x: Any, r: Any, b: Any) -> Any:
    return x + b + r


def elementwise() -> list[Benchmark]:
    kinds = {"bias-gelu": (bias_gelu, _bias_gelu), "silu-mul": (gated, _gated), "residual": (residual, _residual)}
    return [
        Benchmark("map", f"{name}-{m}x{n}", partial(text, (m, n), "bfloat16"), function_peers(peer))
        for name, (text, peer) in kinds.items()
        for m, n in ((256, 4096), (8192, 4096))
    ]
