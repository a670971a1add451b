"""Dispatches with one contraction or convolution, by name: layouts, ragged sizes, fused producers and consumers."""

from collections.abc import Callable, Mapping

import cases
import numpy as np

from lumir.dialects import build
from lumir.dialects.constants import constant
from lumir.dtypes import mlir_type
from lumir.measure.texts import silu
from lumir.mlir import ir
from lumir.sizes import Dim

RAGGED: dict[str, int] = {"b": 3, "m": 45, "n": 67, "k": 38}
ALIGNED: dict[str, int] = {"b": 2, "m": 136, "n": 72, "k": 64}


def product(equation: str, sizes: Mapping[str, Dim], dtype: str, to: str | None = None) -> str:
    """Einsum of two operands of one dtype."""
    lhs, rhs, _ = equation.replace("->", ",").split(",")
    shapes = [tuple(sizes[label] for label in labels) for labels in (lhs, rhs)]
    return cases.op("contract", *((shape, dtype) for shape in shapes), equation=equation, to=to or dtype)


def linear(m: Dim, n: Dim, k: Dim, dtype: str) -> str:
    """gelu-like(x w + bias) + residual, returned in float32 too."""

    def body(x: ir.Value, w: ir.Value, bias: ir.Value, residual: ir.Value) -> list[ir.Value]:
        y = build("contract", x, w, equation="mk,kn->mn", to=mlir_type(dtype))
        z = build("add", y, bias)
        out = build("add", build("mul", z, build("erf", z)), residual)
        return [out, build("cast", z, to=mlir_type("float32"))]

    return cases.dispatch(body, ((m, k), dtype), ((k, n), dtype), ((n,), dtype), ((m, n), dtype))


def gated(m: Dim, n: int, k: int, dtype: str, equation: str = "mk,nk->mn") -> str:
    """silu(x w + b) * (x v + c) of one weight that holds w and v, one after the other."""

    def body(x: ir.Value, w: ir.Value, bias: ir.Value) -> ir.Value:
        y = build("add", build("contract", x, w, equation=equation, to=mlir_type(dtype)), bias)
        gate, up = (build("slice", y, starts=[0, start], sizes=[m, n], steps=[1, 1]) for start in (0, n))
        return build("mul", silu(gate), up)

    weight = (2 * n, k) if equation.endswith("nk->mn") else (k, 2 * n)
    return cases.dispatch(body, ((m, k), dtype), (weight, dtype), ((2 * n,), dtype))


def heads(b: Dim, s: Dim, h: int, d: int, k: int, dtype: str) -> str:
    """x w, split into heads and transposed: [b, s, k] -> [b, h, s, d]."""

    def body(x: ir.Value, w: ir.Value) -> ir.Value:
        y = build("contract", x, w, equation="bsk,kn->bsn", to=mlir_type(dtype))
        y = build("reshape", y, shape=[b, s, h, d])
        return build("transpose", y, permutation=[0, 2, 1, 3])

    return cases.dispatch(body, ((b, s, k), dtype), ((k, h * d), dtype))


def transposed_result(m: Dim, n: Dim, k: Dim, dtype: str) -> str:
    def body(x: ir.Value, w: ir.Value) -> ir.Value:
        y = build("contract", x, w, equation="mk,kn->mn", to=mlir_type(dtype))
        return build("transpose", y, permutation=[1, 0])

    return cases.dispatch(body, ((m, k), dtype), ((k, n), dtype))


def computed_operands(m: int, n: int, k: int, dtype: str) -> str:
    """exp(x) in another dtype, times a slice of a transposed and broadcast weight."""

    def body(x: ir.Value, w: ir.Value, scale: ir.Value) -> ir.Value:
        left = build("cast", build("exp", x), to=mlir_type(dtype))
        right = build("slice", build("transpose", w, permutation=[1, 0]), starts=[3, 0], sizes=[k, n], steps=[1, 1])
        right = build("mul", right, scale)
        return build("contract", left, right, equation="mk,kn->mn", to=mlir_type(dtype))

    return cases.dispatch(body, ((m, k), "float32"), ((n, k + 5), dtype), ((n,), dtype))


def convolution(
    x: tuple[int, ...],
    w: tuple[int, ...],
    dtype: str,
    stride: int = 1,
    pad: int = 0,
    dilation: int = 1,
    groups: int = 1,
) -> str:
    """[n, c, spatial...] with [o, c / groups, window...], then bias and relu."""
    rank = len(x) - 2

    def body(image: ir.Value, filters: ir.Value, bias: ir.Value, zero: ir.Value) -> ir.Value:
        y = build(
            "conv", image, filters, strides=[stride] * rank, dilations=[dilation] * rank, low=[pad] * rank,
            high=[pad] * rank, groups=groups, to=ir.RankedTensorType(image.type).element_type,
        )  # fmt: skip
        return build("max", build("add", y, bias), zero)

    return cases.dispatch(body, (x, dtype), (w, dtype), ((w[0], *(1,) * rank), dtype), ((), dtype))


def channels_last(n: int, c: int, size: int, o: int, window: int, dtype: str) -> str:
    """A convolution whose image, filters and result lie with the channels last."""

    def body(image: ir.Value, filters: ir.Value) -> ir.Value:
        image = build("transpose", image, permutation=[0, 3, 1, 2])
        filters = build("transpose", filters, permutation=[0, 3, 1, 2])
        pad = [window // 2] * 2
        to = ir.RankedTensorType(image.type).element_type
        y = build("conv", image, filters, strides=[1, 1], dilations=[1, 1], low=pad, high=pad, groups=1, to=to)
        return build("transpose", y, permutation=[0, 2, 3, 1])

    return cases.dispatch(body, ((n, size, size, c), dtype), ((o, window, window, c), dtype))


def products_of_bytes(m: int, n: int, k: int, left: str, right: str, turned: bool = False) -> str:
    """x w, corrected for a zero point, scaled by columns, with a bias, and quantised."""

    def body(x: ir.Value, w: ir.Value, sums: ir.Value, scale: ir.Value, bias: ir.Value) -> ir.Value:
        total = build("contract", x, w, equation=f"mk,{'kn' if turned else 'nk'}->mn", to=mlir_type("int32"))
        real = build("cast", build("sub", total, sums), to=mlir_type("float32"))
        rounded = build("round", build("add", build("mul", real, scale), bias))
        low, high = (constant(np.asarray(v, np.float32)) for v in (-128, 127))
        return build("cast", build("min", build("max", rounded, low), high), to=mlir_type("int8"))

    weight = (k, n) if turned else (n, k)
    return cases.dispatch(body, ((m, k), left), (weight, right), ((n,), "int32"), ((n,), "float32"), ((n,), "float32"))


def convolution_of_bytes(x: tuple[int, ...], w: tuple[int, ...], pad: int) -> str:
    pads = [pad] * (len(x) - 2)
    ones = [1] * len(pads)
    options = {"strides": ones, "dilations": ones, "low": pads, "high": pads, "groups": 1, "to": "int32"}
    return cases.op("conv", (x, "uint8"), (w, "int8"), **options)


_EQUATIONS = (
    "mk,kn->mn",
    "mk,nk->mn",
    "km,kn->mn",
    "km,nk->mn",
    "mk,kn->nm",
    "bmk,bkn->bmn",
    "bmk,kn->bmn",
    "mbk,bnk->mbn",
)

CASES: dict[str, Callable[[], str]] = {
    **{
        f"{equation}-{dtype}-{name}": lambda e=equation, d=dtype, s=sizes: product(e, s, d)
        for equation in _EQUATIONS
        for dtype in ("float16", "float32")
        for name, sizes in (("ragged", RAGGED), ("aligned", ALIGNED))
    },
    "bfloat16-aligned": lambda: product("mk,kn->mn", ALIGNED, "bfloat16"),
    "bfloat16-ragged": lambda: product("mk,kn->mn", RAGGED, "bfloat16"),
    "float64-aligned": lambda: product("mk,kn->mn", ALIGNED, "float64"),
    "float64-ragged": lambda: product("km,nk->mn", RAGGED, "float64"),
    "int8-ragged": lambda: product("mk,kn->mn", RAGGED, "int8", "int32"),
    "uint8-aligned": lambda: product("mk,nk->mn", ALIGNED, "uint8", "int32"),
    "int64-ragged": lambda: product("mk,kn->mn", RAGGED, "int64"),
    "int16-aligned": lambda: product("mk,kn->mn", ALIGNED, "int16"),
    "int32-to-float32": lambda: product("mk,kn->mn", ALIGNED, "int32", "float32"),
    "float16-to-float32": lambda: product("mk,kn->mn", ALIGNED, "float16", "float32"),
    "two-summed": lambda: product("bmk,bkn->mn", RAGGED, "float16"),
    "row": lambda: product("mk,kn->mn", {"m": 1, "n": 200, "k": 130}, "float16"),
    "column": lambda: product("mk,kn->mn", {"m": 200, "n": 1, "k": 130}, "float32"),
    "inner": lambda: product("k,k->", {"k": 1000}, "float32"),
    "long": lambda: product("mk,kn->mn", {"m": 40, "n": 40, "k": 1100}, "float16"),
    "short": lambda: product("mk,kn->mn", {"m": 100, "n": 90, "k": 3}, "float16"),
    "large": lambda: product("mk,kn->mn", {"m": 1000, "n": 1032, "k": 200}, "float16"),
    "linear-float16": lambda: linear(100, 96, 64, "float16"),
    "linear-bfloat16": lambda: linear(130, 50, 70, "bfloat16"),
    "linear-float32": lambda: linear(37, 33, 29, "float32"),
    "heads-float16": lambda: heads(2, 50, 4, 24, 80, "float16"),
    "heads-float32": lambda: heads(2, 17, 3, 5, 40, "float32"),
    "transposed-float16": lambda: transposed_result(96, 50, 64, "float16"),
    "transposed-float32": lambda: transposed_result(31, 64, 40, "float32"),
    "computed-float16": lambda: computed_operands(70, 64, 48, "float16"),
    "computed-float32": lambda: computed_operands(33, 21, 19, "float32"),
    "conv-float16": lambda: convolution((2, 16, 14, 14), (24, 16, 3, 3), "float16", pad=1),
    "conv-wide": lambda: convolution((2, 64, 9, 9), (40, 64, 3, 3), "float16", pad=1),
    "conv-strided": lambda: convolution((2, 12, 15, 17), (20, 12, 3, 3), "float16", stride=2, pad=1),
    "conv-dilated": lambda: convolution((1, 8, 16, 16), (9, 8, 3, 3), "float32", pad=2, dilation=2),
    "conv-grouped": lambda: convolution((2, 12, 10, 10), (20, 6, 3, 3), "bfloat16", pad=1, groups=2),
    "conv-depthwise": lambda: convolution((1, 8, 9, 9), (8, 1, 3, 3), "float32", pad=1, groups=8),
    "conv-pointwise": lambda: convolution((2, 32, 14, 14), (48, 32, 1, 1), "float16"),
    "conv-stem": lambda: convolution((1, 3, 30, 30), (16, 3, 7, 7), "float16", stride=2, pad=3),
    "conv-1d": lambda: convolution((2, 7, 40), (11, 7, 5), "float32", stride=3, pad=2),
    "conv-3d": lambda: convolution((1, 4, 6, 7, 8), (6, 4, 2, 3, 3), "float16", pad=1),
    "bytes-signed": lambda: product("mk,nk->mn", RAGGED, "int8", to="int32"),
    "bytes-unsigned": lambda: product("mk,kn->mn", ALIGNED, "uint8", to="int32"),
    "bytes-batched": lambda: product("bkm,bnk->bmn", ALIGNED, "int8", to="int32"),
    "bytes-long": lambda: product("mk,nk->mn", {"m": 70, "n": 50, "k": 1100}, "uint8", to="int32"),
    "bytes-large": lambda: product("mk,nk->mn", {"m": 1000, "n": 1032, "k": 256}, "int8", to="int32"),
    "bytes-mixed": lambda: products_of_bytes(100, 96, 64, "uint8", "int8"),
    "bytes-other-way": lambda: products_of_bytes(33, 70, 130, "int8", "uint8", turned=True),
    "bytes-conv": lambda: convolution_of_bytes((2, 32, 9, 9), (24, 32, 3, 3), 1),
    "bytes-pointwise": lambda: convolution_of_bytes((1, 16, 7, 9), (20, 16, 1, 1), 0),
    "channels-last-float16": lambda: channels_last(2, 32, 12, 40, 3, "float16"),
    "channels-last-float32": lambda: channels_last(1, 20, 9, 12, 3, "float32"),
}
