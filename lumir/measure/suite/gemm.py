"""Matrix products: large and of a transformer's shapes, plain and with bias and GELU; 8-bit floats."""

from collections.abc import Callable
from functools import partial
from typing import Any

from lumir.dialects import build
from lumir.dialects.contraction import ALLOW_TF32
from lumir.dtypes import mlir_type
from lumir.measure.suite.benchmark import Benchmark
from lumir.measure.texts import dispatch, gelu
from lumir.mlir import ir


def product(m: int, n: int, k: int, dtype: str) -> str:
    """x [m, k] w [n, k]^T, as a linear layer has its weights."""

    def body(x: ir.Value, w: ir.Value) -> ir.Value:
        return build("contract", x, w, equation="mk,nk->mn", to=mlir_type(dtype))

    return dispatch(body, ((m, k), dtype), ((n, k), dtype), unwritten=[1])


def linear_gelu(m: int, n: int, k: int, dtype: str) -> str:
    """gelu(x [m, k] w [n, k]^T + bias [n])"""

    def body(x: ir.Value, w: ir.Value, bias: ir.Value) -> ir.Value:
        return gelu(build("add", build("contract", x, w, equation="mk,nk->mn", to=mlir_type(dtype)), bias))

    return dispatch(body, ((m, k), dtype), ((n, k), dtype), ((n,), dtype), unwritten=[1, 2])


def scaled(m: int, n: int, k: int) -> str:
    """x [m, k] w [n, k]^T in float8_e4m3fn, times a scale, as bfloat16."""

    def body(x: ir.Value, w: ir.Value, scale: ir.Value) -> ir.Value:
        y = build("contract", x, w, equation="mk,nk->mn", to=mlir_type("float32"))
        return build("cast", build("mul", y, scale), to=mlir_type("bfloat16"))

    return dispatch(body, ((m, k), "float8_e4m3fn"), ((n, k), "float8_e4m3fn"), ((), "float32"), unwritten=[1, 2])


def product_of_bytes(m: int, n: int, k: int) -> str:
    """x [m, k] w [n, k]^T in int8, summed in int32."""

    def body(x: ir.Value, w: ir.Value) -> ir.Value:
        return build("contract", x, w, equation="mk,nk->mn", to=mlir_type("int32"))

    return dispatch(body, ((m, k), "int8"), ((n, k), "int8"), unwritten=[1])


def cublas(torch: Any, x: Any, w: Any) -> Callable[[], Any]:
    return lambda: torch.nn.functional.linear(x, w)


def _eager_gelu(torch: Any, x: Any, w: Any, bias: Any) -> Callable[[], Any]:
    return lambda: torch.nn.functional.gelu(torch.nn.functional.linear(x, w, bias))


def _fused_gelu(torch: Any, x: Any, w: Any, bias: Any) -> Callable[[], Any]:
    """cuBLASLt's own epilogue, with GELU by tanh."""
    return lambda: torch._addmm_activation(bias, x, w.t(), use_gelu=True)


def _scaled_mm(torch: Any, x: Any, w: Any, scale: Any) -> Callable[[], Any]:
    one = torch.ones((), device="cuda")
    scale = scale.reshape(())
    return lambda: torch._scaled_mm(x, w.t(), scale_a=scale, scale_b=one, out_dtype=torch.bfloat16)


def _int_mm(torch: Any, x: Any, w: Any) -> Callable[[], Any]:
    return lambda: torch._int_mm(x, w.t())


def _tf32(torch: Any, x: Any, w: Any) -> Callable[[], Any]:
    """cuBLAS, allowed to round; the setting is read when the product is recorded."""

    def run() -> Any:
        before = torch.backends.cuda.matmul.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = True
        try:
            return x @ w.t()
        finally:
            torch.backends.cuda.matmul.allow_tf32 = before

    return run


def product_of_rounded(m: int, n: int, k: int) -> str:
    """x [m, k] w [n, k]^T in float32, whose factors may be rounded to tf32."""

    def body(x: ir.Value, w: ir.Value) -> ir.Value:
        y = build("contract", x, w, equation="mk,nk->mn", to=mlir_type("float32"))
        y.owner.attributes[ALLOW_TF32] = ir.UnitAttr.get()
        return y

    return dispatch(body, ((m, k), "float32"), ((n, k), "float32"), unwritten=[1])


def tf32() -> list[Benchmark]:
    shapes = ((4096, 4096, 4096), (2048, 2048, 2048), (512, 4096, 4096), (128, 14336, 4096))
    return [
        Benchmark("tf32", f"{m}x{n}x{k}", partial(product_of_rounded, m, n, k), {"cublas tf32": _tf32})
        for m, n, k in shapes
    ]


SHAPES = (
    *((size, size, size) for size in (8192, 4096, 2048, 1024)),
    *((m, n, k) for n, k in ((4096, 4096), (14336, 4096)) for m in (128, 256, 512, 1024, 2048)),
)


def gemm() -> list[Benchmark]:
    """Every second shape has a bias and GELU; bfloat16 and float16 alternate too."""
    found = []
    for number, (m, n, k) in enumerate(SHAPES):
        dtype, fused = ("bfloat16", "float16")[number % 2], number % 4 in (1, 2)
        name = f"{m}x{n}x{k}-{dtype}{'-gelu' if fused else ''}"
        text = partial(linear_gelu if fused else product, m, n, k, dtype)
        peers = {"cublas+gelu": _eager_gelu, "cublaslt": _fused_gelu} if fused else {"cublas": cublas}
        found.append(Benchmark("gemm", name, text, peers))
    return found


def fp8() -> list[Benchmark]:
    return [
        Benchmark("fp8", f"{n}x{n}x{n}", partial(scaled, n, n, n), {"_scaled_mm": _scaled_mm}, goal=0.95)
        for n in (4096, 8192)
    ]


def int8() -> list[Benchmark]:
    shapes = ((1024, 1024, 1024), (2048, 2048, 2048), (4096, 4096, 4096), (128, 4096, 4096), (1024, 14336, 4096))
    return [
        Benchmark("int8", f"{m}x{n}x{k}", partial(product_of_bytes, m, n, k), {"_int_mm": _int_mm})
        for m, n, k in shapes
    ]
