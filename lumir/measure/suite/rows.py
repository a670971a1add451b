"""Normalisations and softmax over rows: what moves through memory once."""

from collections.abc import Callable
from functools import partial
from typing import Any

from lumir.dialects import build
from lumir.dtypes import mlir_type
from lumir.measure.suite.benchmark import Benchmark
from lumir.measure.texts import dispatch
from lumir.mlir import ir

SHAPES = ((16, 4096), (512, 4096), (4096, 1024), (4096, 4096), (16384, 4096), (8192, 8192))


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


def compiled_peer(function: Callable[..., Any]) -> Callable[..., Callable[[], Any]]:
    """`torch.compile` of a function of torch and the operands."""

    def peer(torch: Any, *operands: Any) -> Callable[[], Any]:
        compiled = _compile(torch, function)
        return lambda: compiled(*operands)

    return peer


_COMPILED: dict[Callable[..., Any], Any] = {}


def _compile(torch: Any, function: Callable[..., Any]) -> Any:
    if function not in _COMPILED:
        _COMPILED[function] = torch.compile(partial(function, torch), dynamic=False)
    return _COMPILED[function]


def _rms_norm(torch: Any, x: Any, scale: Any) -> Any:
    return torch.nn.functional.rms_norm(x, (x.shape[-1],), scale, 1e-5)


def _layer_norm(torch: Any, x: Any, scale: Any, shift: Any) -> Any:
    return torch.nn.functional.layer_norm(x, (x.shape[-1],), scale, shift, 1e-5)


def _softmax(torch: Any, x: Any) -> Any:
    return torch.softmax(x, -1)


def _group(name: str, text: Callable[..., str], function: Callable[..., Any]) -> list[Benchmark]:
    return [
        Benchmark(name, f"{m}x{n}", partial(text, m, n, "bfloat16"), {"torch.compile": compiled_peer(function)})
        for m, n in SHAPES
    ]


def rows() -> list[Benchmark]:
    return [
        *_group("rmsnorm", rms_norm, _rms_norm),
        *_group("layernorm", layer_norm, _layer_norm),
        *_group("softmax", softmax, _softmax),
    ]
