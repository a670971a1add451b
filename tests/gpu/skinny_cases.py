"""Dispatches with a few rows of activations and a weight that is read along k, by name; some with packed weights."""

import re
from collections.abc import Callable

import cases
from contraction_cases import gated, product

from lumir.dialects import build
from lumir.dtypes import mlir_type, numpy_dtype
from lumir.mlir import ir


def weight(text: str, number: int = 1) -> str:
    """The dispatch with its argument `number` marked as a weight."""
    return re.sub(rf"(%arg{number}: tensor<[^>]*>)", r"\1 {lumir.unwritten}", text, count=1)


def skinny(m: int, n: int, k: int, dtype: str, equation: str = "mk,nk->mn", b: int = 1, to: str | None = None) -> str:
    return weight(product(equation, {"m": m, "n": n, "k": k, "b": b}, dtype, to))


def linear(m: int, n: int, k: int, dtype: str) -> str:
    """(x w^T + bias) erf(...) + residual, transposed to [n, m], and in float32 as [m, n]."""

    def body(x: ir.Value, w: ir.Value, bias: ir.Value, residual: ir.Value) -> list[ir.Value]:
        z = build("add", build("contract", x, w, equation="mk,nk->mn", to=mlir_type(dtype)), bias)
        out = build("add", build("mul", z, build("erf", z)), residual)
        return [build("transpose", out, permutation=[1, 0]), build("cast", z, to=mlir_type("float32"))]

    return weight(cases.dispatch(body, ((m, k), dtype), ((n, k), dtype), ((n,), dtype), ((m, n), dtype)))


def computed(m: int, n: int, k: int, dtype: str) -> str:
    """exp(x) of a float32 x, times a weight that is a slice of a larger one, doubled."""

    def body(x: ir.Value, w: ir.Value) -> ir.Value:
        left = build("cast", build("exp", x), to=mlir_type(dtype))
        right = build("slice", w, starts=[3, 0], sizes=[n, k], steps=[1, 1])
        return build("contract", left, build("add", right, right), equation="mk,nk->mn", to=mlir_type(dtype))

    return weight(cases.dispatch(body, ((m, k), "float32"), ((n + 5, k), dtype)))


def packed(m: int, n: int, k: int, dtype: str, bits: str, block: int, zero: str | None) -> str:
    """x times (q - zero) * scale, with a scale and a zero point for every `block` of each row's k.

    Args:
        bits: the integers' type: "uint4", "int4", "uint8", "int8".
        zero: the type of the zero points; None for the middle of the range.
    """
    blocks, kind = -(-k // block), mlir_type(dtype)

    def body(x: ir.Value, q: ir.Value, scale: ir.Value, *zeros: ir.Value) -> ir.Value:
        if zeros:
            middle = build("cast", build("slice", *zeros, starts=[0, 0], sizes=[n, blocks], steps=[1, 1]), to=kind)
            middle = build("reshape", middle, shape=[n, blocks, 1])
        else:
            middle = _scalar({"uint4": 8.0, "uint8": 128.0}.get(bits, 0.0), dtype)
        real = build("mul", build("sub", build("cast", q, to=kind), middle), scale)
        real = build("reshape", real, shape=[n, blocks * block])
        if blocks * block > k:
            real = build("slice", real, starts=[0, 0], sizes=[n, k], steps=[1, 1])
        return build("contract", x, real, equation="mk,nk->mn", to=kind)

    zeros = [((n, blocks + blocks % 2), zero)] if zero else []
    arguments = [((m, k), dtype), ((n, blocks, block), bits), ((n, blocks, 1), dtype), *zeros]
    return weight(cases.dispatch(body, *arguments))


def per_channel(m: int, n: int, k: int, dtype: str) -> str:
    """As DequantizeLinear: int8 less an int32 zero point, times a float32 scale, both of a row."""

    def body(x: ir.Value, q: ir.Value, scale: ir.Value, zero: ir.Value) -> ir.Value:
        centered = build("sub", build("cast", q, to=mlir_type("int32")), build("cast", zero, to=mlir_type("int32")))
        real = build("cast", build("mul", build("cast", centered, to=mlir_type("float32")), scale), to=mlir_type(dtype))
        return build("contract", x, real, equation="mk,nk->mn", to=mlir_type(dtype))

    return weight(cases.dispatch(body, ((m, k), dtype), ((n, k), "int8"), ((n, 1), "float32"), ((n, 1), "int8")))


def _scalar(value: float, dtype: str) -> ir.Value:
    from lumir.frontend import emit

    return emit.constant(numpy_dtype(mlir_type(dtype)).type(value))


SHAPES = ((1, 256, 512), (1, 77, 1080), (3, 40, 96), (5, 130, 4104), (8, 64, 64), (13, 31, 328), (16, 512, 1024))

CASES: dict[str, Callable[[], str]] = {
    **{
        f"{dtype}-{m}x{n}x{k}": lambda m=m, n=n, k=k, d=dtype: skinny(m, n, k, d)
        for dtype in ("bfloat16", "float32")
        for m, n, k in (
            (1, 256, 512),
            (1, 77, 1080),
            (3, 40, 96),
            (5, 130, 4104),
            (8, 64, 64),
            (13, 31, 328),
            (16, 512, 1024),
        )
    },
    "float16": lambda: skinny(2, 1000, 1536, "float16"),
    "bfloat16-9x512x4104": lambda: skinny(9, 512, 4104, "bfloat16"),
    "bfloat16-40x1000x1032": lambda: skinny(40, 1000, 1032, "bfloat16"),
    "gated-float16-40x200x1032": lambda: weight(gated(40, 200, 1032, "float16")),
    "float64": lambda: skinny(3, 100, 700, "float64"),
    "int8": lambda: skinny(2, 90, 640, "int8", to="int32"),
    "swapped": lambda: skinny(300, 4, 256, "float16"),
    "result-transposed": lambda: skinny(4, 300, 264, "float16", "mk,nk->nm"),
    "batched-float16": lambda: skinny(2, 50, 136, "float16", "bmk,bnk->bmn", b=3),
    "batched-float32": lambda: skinny(1, 33, 140, "float32", "bmk,bnk->bmn", b=5),
    "small": lambda: skinny(1, 1, 8, "float16"),
    "gated-float16": lambda: weight(gated(5, 72, 136, "float16")),
    "gated-bfloat16": lambda: weight(gated(16, 67, 200, "bfloat16")),
    "gated-float32": lambda: weight(gated(1, 43, 96, "float32")),
    "linear-float16": lambda: linear(4, 200, 264, "float16"),
    "linear-float32": lambda: linear(2, 75, 132, "float32"),
    "computed-bfloat16": lambda: computed(3, 120, 520, "bfloat16"),
    "computed-float32": lambda: computed(3, 20, 44, "float32"),
    "uint4-float16": lambda: packed(1, 200, 1024, "float16", "uint4", 128, "uint4"),
    "uint4-float16-middle": lambda: packed(4, 64, 640, "float16", "uint4", 128, None),
    "uint4-float16-blocks-of-32": lambda: packed(2, 50, 416, "float16", "uint4", 32, "uint4"),
    "uint4-float16-blocks-of-16": lambda: packed(2, 50, 416, "float16", "uint4", 16, "uint4"),
    "uint4-float16-real-zero": lambda: packed(2, 72, 512, "float16", "uint4", 64, "float16"),
    "uint4-bfloat16": lambda: packed(16, 130, 1152, "bfloat16", "uint4", 128, "uint4"),
    "uint4-padded": lambda: packed(3, 40, 1120, "float16", "uint4", 128, "uint4"),
    "uint4-float32": lambda: packed(3, 40, 256, "float32", "uint4", 128, "uint4"),
    "int4-float16": lambda: packed(9, 100, 768, "float16", "int4", 128, None),
    "int4-bfloat16": lambda: packed(1, 100, 768, "bfloat16", "int4", 256, "int4"),
    "uint8-float16": lambda: packed(1, 100, 768, "float16", "uint8", 128, "uint8"),
    "uint8-bfloat16": lambda: packed(5, 61, 576, "bfloat16", "uint8", 64, "uint8"),
    "int8-float16": lambda: packed(2, 61, 192, "float16", "int8", 32, "int8"),
    "int8-bfloat16": lambda: packed(16, 61, 576, "bfloat16", "int8", 64, None),
    "uint4-padded-bfloat16": lambda: packed(13, 70, 1120, "bfloat16", "uint4", 128, "uint4"),
    "uint4-float16-16x300x2304": lambda: packed(16, 300, 2304, "float16", "uint4", 128, None),
    "int8-bfloat16-12x200x1152": lambda: packed(12, 200, 1152, "bfloat16", "int8", 128, "int8"),
    "uint4-float16-20x300x2304": lambda: packed(20, 300, 2304, "float16", "uint4", 128, "uint4"),
    "int8-bfloat16-61x200x1152": lambda: packed(61, 200, 1152, "bfloat16", "int8", 128, "int8"),
    "per-channel-float16": lambda: per_channel(1, 200, 1040, "float16"),
    "per-channel-bfloat16": lambda: per_channel(12, 90, 528, "bfloat16"),
}
