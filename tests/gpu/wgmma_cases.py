"""Dispatches and schedules for the NVIDIA family wgmma: layouts, types, ragged sizes, fused consumers."""

from collections.abc import Callable, Mapping

import cases
from contraction_cases import gated, heads, linear, product, products_of_bytes, transposed_result

from lumir.dialects import build
from lumir.dtypes import mlir_type
from lumir.kernels.nvidia.wgmma_schedule import WgmmaSchedule
from lumir.measure.suite.gemm import linear_gelu
from lumir.mlir import ir
from lumir.size_text import declare
from lumir.sizes import Dim, size_of
from lumir.symbols import Symbol

LAYOUTS = ("mk,kn->mn", "mk,nk->mn", "km,kn->mn", "km,nk->mn")
RAGGED = {"b": 3, "m": 296, "n": 264, "k": 200}
FEW_TILES = {"m": 140, "n": 264, "k": 1536}
SMALL = {"b": 2, "m": 8, "n": 8, "k": 8}


def sliced(m: int, n: int, k: int, dtype: str) -> str:
    """A slice of x times a slice of a transposed w."""

    def body(x: ir.Value, w: ir.Value) -> ir.Value:
        left = build("slice", x, starts=[8, 16], sizes=[m, k], steps=[1, 1])
        right = build("slice", build("transpose", w, permutation=[1, 0]), starts=[0, 3], sizes=[k, n], steps=[1, 2])
        return build("contract", left, right, equation="mk,kn->mn", to=mlir_type(dtype))

    return cases.dispatch(body, ((m + 9, k + 24), dtype), ((2 * n + 5, k), dtype))


def unheads(b: int, s: int, h: int, d: int, n: int, dtype: str) -> str:
    """[b, h, s, d] transposed to [b, s, h d], times w: what follows attention."""

    def body(x: ir.Value, w: ir.Value) -> ir.Value:
        x = build("reshape", build("transpose", x, permutation=[0, 2, 1, 3]), shape=[b, s, h * d])
        return build("contract", x, w, equation="bsk,kn->bsn", to=mlir_type(dtype))

    return cases.dispatch(body, ((b, h, s, d), dtype), ((h * d, n), dtype))


def scaled(m: int, n: int, k: int, dtype: str, to: str) -> str:
    """Scaled by a scalar and by a factor for each row, then cast."""

    def body(x: ir.Value, w: ir.Value, scale: ir.Value, rows: ir.Value) -> ir.Value:
        y = build("contract", x, w, equation="mk,nk->mn", to=mlir_type("float32"))
        return build("cast", build("mul", build("mul", y, scale), rows), to=mlir_type(to))

    return cases.dispatch(body, ((m, k), dtype), ((n, k), dtype), ((), "float32"), ((m, 1), "float32"))


def three_bands(m: int, n: int, k: int, dtype: str) -> str:
    """a * b - c of three bands of a product, plus a residual; and without it, transposed."""

    def body(x: ir.Value, w: ir.Value, residual: ir.Value) -> list[ir.Value]:
        y = build("contract", x, w, equation="mk,nk->mn", to=mlir_type("float32"))
        a, b, c = (build("slice", y, starts=[0, start], sizes=[m, n], steps=[1, 1]) for start in (0, n, 2 * n))
        z = build("sub", build("mul", a, b), c)
        return [
            build("cast", build("add", z, residual), to=mlir_type(dtype)),
            build("transpose", z, permutation=[1, 0]),
        ]

    return cases.dispatch(body, ((m, k), dtype), ((3 * n, k), dtype), ((m, n), "float32"))


def bands_of_runs(m: int, h: int, d: int, k: int, dtype: str) -> str:
    """The product of two bands of h d columns, whose weight has them as [d, h]."""

    def body(x: ir.Value, w: ir.Value) -> ir.Value:
        y = build("contract", x, w, equation="mk,dhk->mhd", to=mlir_type(dtype))
        y, n = build("reshape", y, shape=[m, h * d]), h * d // 2
        a, b = (build("slice", y, starts=[0, start], sizes=[m, n], steps=[1, 1]) for start in (0, n))
        return build("mul", a, b)

    return cases.dispatch(body, ((m, k), dtype), ((d, h, k), dtype))


def mixed(sizes: Mapping[str, int], left: str, right: str, to: str) -> str:
    """x w of two types."""
    m, n, k = (sizes[label] for label in "mnk")
    return cases.op("contract", ((m, k), left), ((n, k), right), equation="mk,nk->mn", to=to)


def tf32_linear(m: int, n: int, k: int) -> str:
    """max(x w + bias, 0)"""

    def body(x: ir.Value, w: ir.Value, bias: ir.Value, zero: ir.Value) -> ir.Value:
        y = build("contract", x, w, equation="mk,nk->mn", to=mlir_type("float32"))
        return build("max", build("add", y, bias), zero)

    return cases.dispatch(body, *((shape, "float32") for shape in ((m, k), (n, k), (n,), ())))


def rounded_to_tf32(text: str) -> str:
    """The dispatch, whose contraction may round its factors."""
    return text.replace("{equation =", "{lumir.allow_tf32, equation =")


CASES: dict[str, Callable[[], str]] = {
    **{
        f"{equation}-{dtype}": lambda e=equation, d=dtype: product(e, RAGGED, d)
        for equation in (*LAYOUTS, "mk,kn->nm", "bmk,bkn->bmn", "bmk,kn->bmn", "mbk,bnk->mbn")
        for dtype in ("float16", "bfloat16")
    },
    **{f"{equation}-small": lambda e=equation: product(e, SMALL, "float16") for equation in LAYOUTS},
    "row": lambda: product("mk,nk->mn", {"m": 1, "n": 200, "k": 136}, "float16"),
    "column": lambda: product("mk,nk->mn", {"m": 200, "n": 1, "k": 136}, "float16"),
    "odd-result": lambda: product("mk,nk->mn", {"m": 131, "n": 67, "k": 64}, "float16"),
    "even-result": lambda: product("mk,nk->mn", {"m": 131, "n": 270, "k": 72}, "bfloat16"),
    "one-row-of-odd-columns": lambda: product("mk,nk->mn", {"m": 1, "n": 67, "k": 64}, "float16"),
    "odd-result-of-whole-tiles": lambda: product("bmk,bnk->bmn", {"b": 3, "m": 384, "n": 67, "k": 72}, "float16"),
    "long": lambda: product("mk,nk->mn", {"m": 140, "n": 136, "k": 2000}, "bfloat16"),
    "large": lambda: product("mk,kn->mn", {"m": 1500, "n": 1800, "k": 504}, "float16"),
    "float32-result": lambda: product("mk,kn->mn", RAGGED, "bfloat16", "float32"),
    "float8_e4m3fn": lambda: product("mk,nk->mn", RAGGED | {"k": 336}, "float8_e4m3fn", "float32"),
    "float8_e5m2": lambda: product("mk,nk->mn", RAGGED | {"k": 336}, "float8_e5m2", "float16"),
    "int8": lambda: product("mk,nk->mn", RAGGED | {"k": 336}, "int8", "int32"),
    "uint8": lambda: mixed(RAGGED | {"k": 336}, "uint8", "uint8", "int32"),
    "uint8-int8": lambda: mixed(RAGGED | {"k": 336}, "uint8", "int8", "int32"),
    "int8-uint8": lambda: mixed(RAGGED | {"k": 336}, "int8", "uint8", "int32"),
    "requantised": lambda: products_of_bytes(296, 264, 336, "uint8", "int8"),
    "float8_e4m3fn-float8_e5m2": lambda: mixed(RAGGED | {"k": 336}, "float8_e4m3fn", "float8_e5m2", "float32"),
    "float8_e5m2-float8_e4m3fn": lambda: mixed(RAGGED | {"k": 336}, "float8_e5m2", "float8_e4m3fn", "bfloat16"),
    "gated-float16": lambda: gated(296, 264, 200, "float16"),
    "gated-bfloat16": lambda: gated(300, 192, 136, "bfloat16", "mk,kn->mn"),
    "gated-odd": lambda: gated(131, 67, 64, "float16"),
    "three-bands": lambda: three_bands(200, 72, 136, "bfloat16"),
    "tf32": lambda: rounded_to_tf32(product("mk,nk->mn", RAGGED, "float32")),
    "tf32-batched": lambda: rounded_to_tf32(product("bmk,bnk->bmn", RAGGED | {"k": 36}, "float32")),
    "tf32-linear": lambda: rounded_to_tf32(tf32_linear(130, 56, 72)),
    "scaled-float8": lambda: scaled(296, 264, 336, "float8_e4m3fn", "bfloat16"),
    "to-float8": lambda: scaled(296, 272, 16, "float16", "float8_e4m3fn"),
    "linear-float16": lambda: linear(300, 264, 136, "float16"),
    "linear-bfloat16": lambda: linear(130, 56, 72, "bfloat16"),
    "gelu-float16": lambda: linear_gelu(300, 264, 136, "float16"),
    "gelu-odd": lambda: linear_gelu(131, 67, 72, "bfloat16"),
    "heads": lambda: heads(2, 128, 4, 64, 80, "float16"),
    "heads-ragged": lambda: heads(2, 50, 4, 24, 80, "float16"),
    "unheads": lambda: unheads(2, 128, 4, 64, 72, "float16"),
    "transposed": lambda: transposed_result(296, 136, 64, "float16"),
    "sliced": lambda: sliced(200, 136, 72, "float16"),
    "few-tiles": lambda: product("mk,nk->mn", FEW_TILES, "bfloat16"),
    "few-tiles-linear": lambda: linear(FEW_TILES["m"], FEW_TILES["n"], FEW_TILES["k"], "float16"),
}

SYMBOLS = {"b": Symbol("b", 0, 5), "m": Symbol("m", 1, 700)}
"""Of `OPEN`; b may be 0."""

OPEN: dict[str, Callable[[Mapping[str, Dim]], str]] = {
    **{
        f"{equation}-{dtype}": lambda sizes, e=equation, d=dtype: product(e, {"n": 264, "k": 200, **sizes}, d)
        for equation, dtype in (
            ("mk,nk->mn", "float16"),
            ("mk,kn->mn", "bfloat16"),
            ("bmk,bkn->bmn", "float16"),
            ("bmk,kn->bmn", "bfloat16"),
            ("mbk,bnk->mbn", "float16"),
        )
    },
    "linear": lambda sizes: linear(sizes["m"], 264, 136, "float16"),
    "gated": lambda sizes: gated(sizes["m"], 264, 136, "float16"),
    "heads": lambda sizes: heads(sizes["b"], sizes["m"], 4, 64, 80, "bfloat16"),
    "scores": lambda sizes: product("bmk,bnk->bmn", {**sizes, "n": sizes["m"], "k": 64}, "float16"),
    "transposed": lambda sizes: transposed_result(sizes["m"], 136, 64, "float16"),
    "columns-of-eight": lambda sizes: product("mk,kn->mn", {"m": 130, "n": 8 * sizes["m"], "k": 72}, "float16"),
    "sums-of-eight": lambda sizes: product("mk,nk->mn", {"m": 130, "n": 72, "k": 8 * sizes["m"]}, "bfloat16"),
}
"""Dispatches with sizes that are known when they run."""


def open_text(name: str) -> str:
    with declare(SYMBOLS):
        return OPEN[name]({symbol: size_of(s) for symbol, s in SYMBOLS.items()})


BINDINGS = [{"b": 1, "m": 1}, {"b": 2, "m": 129}, {"b": 5, "m": 64}, {"b": 3, "m": 700}]

TOLERANCES = {
    "float8_e4m3fn": 2e-3,
    "float8_e4m3fn-float8_e5m2": 2e-3,
    "to-float8": 0.0626,
    "tf32": 1e-3,
    "tf32-batched": 1e-3,
    "tf32-linear": 1e-3,
}
"""Products of 8-bit floats are added to sums of about 14 bits; a float8_e4m3fn has steps of 1/8 of its magnitude; tf32
rounds factors by up to 2^-11."""

SCHEDULES = [
    WgmmaSchedule(128, 256, 4),
    WgmmaSchedule(128, 256, 3, cluster=2),
    WgmmaSchedule(128, 128, 4, cluster=4, group=1),
    WgmmaSchedule(256, 128, 3, group=3),
    WgmmaSchedule(256, 128, 3, cluster=2),
    WgmmaSchedule(256, 192, 2),
    WgmmaSchedule(128, 128, 4, pingpong=True),
    WgmmaSchedule(128, 192, 3, pingpong=True),
    WgmmaSchedule(64, 256, 3, pingpong=True),
    WgmmaSchedule(64, 128, 4, pingpong=True, cluster=2),
    WgmmaSchedule(192, 128, 3, consumers=3),
    WgmmaSchedule(128, 192, 3),
    WgmmaSchedule(64, 64, 2, consumers=1),
    WgmmaSchedule(64, 16, 5, consumers=1),
    WgmmaSchedule(128, 48, 3),
    WgmmaSchedule(128, 256, 4, parts=2),
    WgmmaSchedule(64, 64, 3, consumers=1, parts=4),
    WgmmaSchedule(192, 48, 3, consumers=3, parts=2),
    WgmmaSchedule(128, 128, 3, parts=2, cluster=2),
    WgmmaSchedule(64, 64, 3, consumers=1, parts=4, cluster=4),
]
