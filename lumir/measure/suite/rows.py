"""Normalisations and softmax over rows: what moves through memory once."""

from collections.abc import Callable
from functools import partial
from typing import Any

from lumir.dialects import build
from lumir.dtypes import mlir_type
from lumir.measure.suite.benchmark import Benchmark
from lumir.measure.suite.torch_function import function_peers
from lumir.measure.texts import dispatch, scalar
from lumir.mlir import ir

SHAPES = ((16, 4096), (512, 4096), (4096, 1024), (4096, 4096), (16384, 4096), (8192, 8192))

LONG = ((64, 131072), (8, 262144))


def rms_norm(rows: int, columns: int, dtype: str) -> str:
    def body(x: ir.Value, scale: ir.Value) -> ir.Value:
        wide = build("cast", x, to=mlir_type("float32"))
        y = build("normalize", wide, axis=1, epsilon=1e-5, center=False)
        return build("mul", build("cast", y, to=mlir_type(dtype)), scale)

    return dispatch(body, ((rows, columns), dtype), ((columns,), dtype))


def layer_norm(rows: int, columns: int, dtype: str) -> str:
    def body(x: ir.Value, scale: ir.Value, shift: ir.Value) -> ir.Value:
        y = build("normalize", x, axis=1, epsilon=1e-5, center=True)
        return build("add", build("mul", y, scale), shift)

    return dispatch(body, ((rows, columns), dtype), ((columns,), dtype), ((columns,), dtype))


def softmax(rows: int, columns: int, dtype: str) -> str:
    return dispatch(lambda x: build("softmax", x, axis=1, log=False), ((rows, columns), dtype))


def norm_quantise(rows: int, columns: int, dtype: str, to: str) -> str:
    """A residual sum, its RMS norm in `to` (int8 or an 8-bit float) by a scale for each row, and the scales."""
    limit = {"int8": 127.0, "float8_e4m3fn": 448.0}[to]

    def body(x: ir.Value, residual: ir.Value, scale: ir.Value) -> list[ir.Value]:
        total = build("add", x, residual)
        norm = build("normalize", build("cast", total, to=mlir_type("float32")), axis=1, epsilon=1e-5, center=False)
        norm = build("mul", norm, build("cast", scale, to=mlir_type("float32")))
        peak = build("reduce", build("abs", norm), axes=[1], kind="max")
        steps = build("mul", peak, scalar(1 / limit, peak))
        y = build("div", norm, build("reshape", steps, shape=[rows, 1]))
        if to == "int8":
            y = build("min", build("max", build("round", y), scalar(-limit, y)), scalar(limit, y))
        return [total, build("cast", y, to=mlir_type(to)), steps]

    return dispatch(body, ((rows, columns), dtype), ((rows, columns), dtype), ((columns,), dtype))


def _norm_quantise(torch: Any, x: Any, residual: Any, scale: Any, to: str) -> Any:
    total = x + residual
    norm = torch.nn.functional.rms_norm(total.float(), (x.shape[-1],), scale.float(), 1e-5)
    limit = 127.0 if to == "int8" else 448.0
    steps = norm.abs().amax(-1) / limit
    y = norm / steps[:, None]
    quantised = y.round().clamp(-limit, limit).to(torch.int8) if to == "int8" else y.to(torch.float8_e4m3fn)
    return total, quantised, steps


def _rms_norm(torch: Any, x: Any, scale: Any) -> Any:
    return torch.nn.functional.rms_norm(x, (x.shape[-1],), scale, 1e-5)


def _layer_norm(torch: Any, x: Any, scale: Any, shift: Any) -> Any:
    return torch.nn.functional.layer_norm(x, (x.shape[-1],), scale, shift, 1e-5)


def _softmax(torch: Any, x: Any) -> Any:
    return torch.softmax(x, -1)


def _group(name: str, text: Callable[..., str], function: Callable[..., Any]) -> list[Benchmark]:
    return [Benchmark(name, f"{m}x{n}", partial(text, m, n, "bfloat16"), function_peers(function)) for m, n in SHAPES]


def _long_rows() -> list[Benchmark]:
    """Rows that no workgroup has registers for."""
    kinds = {"rmsnorm": (rms_norm, _rms_norm), "layernorm": (layer_norm, _layer_norm), "softmax": (softmax, _softmax)}
    return [
        Benchmark("long", f"{name}-{m}x{n}", partial(text, m, n, "bfloat16"), function_peers(function))
        for name, (text, function) in kinds.items()
        for m, n in LONG
    ]


def _quantised() -> list[Benchmark]:
    return [
        Benchmark(
            "quantised",
            f"{m}x{n}-{to}",
            partial(norm_quantise, m, n, "bfloat16", to),
            function_peers(partial(_norm_quantise, to=to)),
        )
        for to in ("int8", "float8_e4m3fn")
        for m, n in ((16, 4096), (4096, 4096), (8192, 8192))
    ]


def rows() -> list[Benchmark]:
    return [
        *_group("rmsnorm", rms_norm, _rms_norm),
        *_group("layernorm", layer_norm, _layer_norm),
        *_group("softmax", softmax, _softmax),
        *_long_rows(),
        *_quantised(),
    ]
