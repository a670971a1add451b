"""Dispatches for the family `map`: name -> function that gives the text."""

from collections.abc import Callable
from functools import partial

import cases

from lumir.dialects import build
from lumir.dtypes import mlir_type
from lumir.measure.texts import gelu
from lumir.mlir import ir

CONV = {"strides": [1, 2], "dilations": [1, 1], "low": [1, 0], "high": [1, 2], "groups": 1, "to": "float32"}
POOL = {"window": [3, 2], "strides": [2, 1], "dilations": [1, 2], "low": [1, 0], "high": [1, 1]}
DTYPES = ("float32", "float16", "bfloat16", "float64", "int64", "int32", "int16", "int8", "uint8")


def depthwise(x: tuple[int, ...], window: int, stride: int, dtype: str) -> str:
    """relu(conv + bias) of [n, h, w, c], each channel by itself; filters as `lumir-pack-weights` lays them."""
    channels, around = x[-1], [window // 2] * 2

    def body(image: ir.Value, filters: ir.Value, bias: ir.Value, zero: ir.Value) -> ir.Value:
        where = {"strides": [stride] * 2, "dilations": [1, 1], "low": around, "high": around}
        filters = build("transpose", filters, permutation=[3, 0, 1, 2])
        y = build("conv", image, filters, **where, groups=channels, to=mlir_type(dtype), channels_last=True)
        return build("max", build("add", y, bias), zero)

    return cases.dispatch(body, (x, dtype), ((window, window, 1, channels), dtype), ((channels,), dtype), ((), dtype))


def _cases() -> dict[str, Callable[[], str]]:
    found: dict[str, Callable[[], str]] = {}
    for dtype in DTYPES:
        found[f"add-{dtype}"] = partial(cases.op, "add", ((33, 64), dtype), ((64,), dtype))
        found[f"ragged-{dtype}"] = partial(cases.op, "mul", ((5, 7, 11), dtype), ((5, 7, 11), dtype))
        found[f"less-{dtype}"] = partial(cases.op, "lt", ((16, 96), dtype), ((16, 1), dtype))
        found[f"scalar-{dtype}"] = partial(cases.op, "add", ((), dtype), ((), dtype))
    for dtype in ("float32", "float16", "float64"):
        found[f"gelu-{dtype}"] = partial(cases.bias_gelu, (2, 5, 7, 7), (5, 1, 1), dtype)
        found[f"gelu-wide-{dtype}"] = partial(cases.bias_gelu, (300, 256), (256,), dtype)
        found[f"tanh-{dtype}"] = partial(cases.op, "tanh", ((1000,), dtype))
    return found | {
        "whole-gelu-float16": partial(cases.dispatch, gelu, ((41, 97), "float16")),
        "bool": partial(cases.op, "xor", ((7, 130), "bool"), ((130,), "bool")),
        "mixed": partial(cases.mixed, (40, 96)),
        "mixed-ragged": partial(cases.mixed, (41, 97)),
        "one-past-a-group": partial(cases.op, "neg", ((4097,), "int8")),
        "fewer-than-a-group": partial(cases.op, "neg", ((3,), "int8")),
        "empty": partial(cases.op, "neg", ((0, 5), "float32")),
        "large": partial(cases.op, "add", ((1027, 4096), "float16"), ((4096,), "float16")),
        "middle-one": partial(cases.op, "xor", ((1, 5), "bool"), ((3, 1, 5), "bool")),
        "transpose": partial(cases.op, "transpose", ((37, 70), "float32"), permutation=[1, 0]),
        "heads": partial(cases.op, "transpose", ((2, 16, 3, 32), "float16"), permutation=[0, 2, 1, 3]),
        "reshaped": partial(cases.scaled_reshape, (2, 32), (2, 32, 1, 1), "float32"),
        "regrouped": partial(cases.scaled_reshape, (6, 40), (4, 5, 12), "float16"),
        "concat": partial(cases.op, "concat", ((20, 64), "float32"), ((20, 32), "float32"), axis=1),
        "concat-ragged": partial(cases.op, "concat", ((20, 5), "int8"), ((20, 6), "int8"), axis=1),
        "slice": partial(cases.op, "slice", ((9, 40), "float32"), starts=[1, 39], steps=[2, -3], sizes=[4, 13]),
        "gather": partial(cases.op, "gather", ((12, 48), "float16"), ((3, 7), "int64"), axis=0),
        "broadcast": partial(cases.op, "broadcast", ((3, 1, 4), "float64"), shape=[2, 3, 5, 4]),
        "matmul": partial(cases.matmul, 19, 40, 33, "float32"),
        "matmul-half": partial(cases.matmul, 32, 48, 64, "bfloat16"),
        "max-pool": partial(cases.op, "window_reduce", ((2, 3, 9, 10), "float32"), kind="max", **POOL),
        "conv": partial(cases.op, "conv", ((2, 3, 9, 10), "float32"), ((4, 3, 3, 3), "float32"), **CONV),
        "depthwise": partial(depthwise, (2, 9, 11, 72), 3, 1, "float16"),
        "depthwise-strided": partial(depthwise, (3, 14, 13, 40), 5, 2, "bfloat16"),
        "scan": partial(cases.op, "scan", ((6, 40), "float32"), kind="sum", axis=1, exclusive=False, reverse=True),
        "top-k": partial(cases.op, "top_k", ((5, 30), "float32"), k=7, largest=True),
        "softmax": partial(cases.softmax, (6, 24), 1, "float32"),
        "reduce": partial(cases.reduce, "sum", (5, 6, 7), [1], "float32"),
    }


CASES = _cases()
