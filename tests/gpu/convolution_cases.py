"""Convolutions with the channels last, for the families that multiply them on tensor cores."""

from collections.abc import Callable, Mapping

import cases

from lumir.dialects import build
from lumir.dtypes import mlir_type
from lumir.kernels.nvidia.wgmma_schedule import WgmmaSchedule
from lumir.mlir import ir
from lumir.size_text import declare
from lumir.sizes import Dim, size_of
from lumir.symbols import Symbol

Sizes = tuple[int, ...]


def convolution(
    x: tuple[Dim, ...],
    w: Sizes,
    dtype: str = "float16",
    *,
    strides: int | Sizes = 1,
    low: int | Sizes = 0,
    high: int | Sizes | None = None,
    dilations: int | Sizes = 1,
    groups: int = 1,
    residual: bool = False,
    to: str | None = None,
) -> str:
    """relu(conv + bias (+ residual)) of [n, spatial..., c] and [o, window..., c]; `high` is `low` by default."""
    rank = len(x) - 2

    def sizes(of: int | Sizes) -> list[int]:
        return [of] * rank if isinstance(of, int) else list(of)

    where = {
        "strides": sizes(strides), "dilations": sizes(dilations), "low": sizes(low),
        "high": sizes(low if high is None else high),
    }  # fmt: skip
    places = [
        (size + lo + hi - (window - 1) * dilation - 1) // stride + 1
        for size, window, lo, hi, stride, dilation in zip(
            x[1:-1], w[1:-1], where["low"], where["high"], where["strides"], where["dilations"], strict=True
        )
    ]

    def body(image: ir.Value, filters: ir.Value, bias: ir.Value, zero: ir.Value, *rest: ir.Value) -> ir.Value:
        y = build("conv", image, filters, **where, groups=groups, to=mlir_type(to or dtype), channels_last=True)
        y = build("add", y, bias)
        for other in rest:
            y = build("add", y, other)
        return build("max", y, zero)

    kind = to or dtype
    others = [((x[0], *places, w[0]), kind)] if residual else []
    return cases.dispatch(body, (x, dtype), (w, dtype), ((w[0],), kind), ((), kind), *others)


CASES: dict[str, Callable[[], str]] = {
    "3x3": lambda: convolution((2, 14, 14, 64), (64, 3, 3, 64), low=1),
    "3x3-residual": lambda: convolution((3, 9, 11, 64), (72, 3, 3, 64), "bfloat16", low=1, residual=True),
    "3x3-one-image": lambda: convolution((1, 13, 13, 128), (40, 3, 3, 128), low=1),
    "3x3-strided": lambda: convolution((3, 15, 17, 72), (64, 3, 3, 72), strides=2, low=1),
    "3x3-strided-even": lambda: convolution((2, 16, 16, 64), (64, 3, 3, 64), strides=2, low=1),
    "3x3-strides-differ": lambda: convolution((2, 15, 21, 64), (64, 3, 3, 64), strides=(2, 3), low=1),
    "3x3-dilated": lambda: convolution((2, 15, 17, 64), (64, 3, 3, 64), low=2, dilations=2),
    "3x3-dilations-differ": lambda: convolution((2, 15, 17, 64), (64, 3, 3, 64), low=(2, 3), dilations=(2, 3)),
    "3x3-unpadded": lambda: convolution((2, 12, 13, 64), (64, 3, 3, 64)),
    "3x3-padded-behind": lambda: convolution((2, 14, 14, 64), (64, 3, 3, 64), strides=2, low=0, high=1),
    "3x3-padded-unevenly": lambda: convolution((2, 13, 12, 64), (64, 3, 3, 64), low=(3, 0), high=(0, 4)),
    "3x3-cropped": lambda: convolution((2, 15, 16, 64), (64, 3, 3, 64), low=(-1, 1), high=(1, -2)),
    "3x3-few-channels": lambda: convolution((2, 14, 14, 8), (24, 3, 3, 8), low=1),
    "3x3-ragged-channels": lambda: convolution((2, 11, 10, 200), (56, 3, 3, 200), low=1),
    "3x3-many": lambda: convolution((4, 28, 28, 128), (264, 3, 3, 128), low=1),
    "5x5": lambda: convolution((3, 12, 13, 40), (48, 5, 5, 40), "bfloat16", low=2),
    "5x3": lambda: convolution((2, 12, 13, 64), (64, 5, 3, 64), low=(2, 1)),
    "1x1-strided": lambda: convolution((3, 14, 15, 64), (128, 1, 1, 64), strides=2),
    "1x1-strided-residual": lambda: convolution((2, 28, 28, 136), (72, 1, 1, 136), strides=2, residual=True),
    "1x3": lambda: convolution((2, 9, 20, 64), (64, 1, 3, 64), low=(0, 1)),
    "grouped": lambda: convolution((2, 12, 13, 192), (120, 3, 3, 64), low=1, groups=3, residual=True),
    "grouped-strided": lambda: convolution((3, 14, 14, 256), (64, 3, 3, 128), strides=2, low=1, groups=2),
    "grouped-1x1-strided": lambda: convolution((3, 14, 14, 256), (64, 1, 1, 64), strides=2, groups=4),
    "runs-of-four": lambda: convolution((2, 30, 34, 8), (64, 7, 4, 8), strides=(2, 1), low=(3, 2), high=(3, 1)),
    "runs-of-two": lambda: convolution(
        (3, 15, 16, 8), (24, 3, 2, 8), "bfloat16", strides=(2, 1), low=(1, 1), high=(1, 0)
    ),
    "runs-of-eight": lambda: convolution((2, 9, 150, 8), (40, 3, 8, 8), low=(1, 4), high=(1, 3), residual=True),
    "runs-by-two": lambda: convolution((2, 20, 270, 4), (32, 5, 8, 4), strides=(3, 2), low=(2, 2), dilations=(2, 1)),
    "runs-in-many-turns": lambda: convolution((11, 131, 24, 8), (24, 2, 4, 8), low=(0, 1), high=(1, 2)),
    "runs-in-one-dimension": lambda: convolution((3, 300, 8), (72, 4, 8), low=2, high=1),
    "whole-image": lambda: convolution((5, 7, 7, 64), (64, 7, 7, 64)),
    "one-pixel": lambda: convolution((3, 1, 1, 64), (64, 3, 3, 64), low=1),
    "one-dimensional": lambda: convolution((2, 200, 64), (64, 5, 64), strides=2, low=2),
    "three-dimensional": lambda: convolution((2, 5, 6, 7, 64), (64, 2, 3, 3, 64), low=(0, 1, 1)),
    "one-filter": lambda: convolution((2, 10, 10, 64), (1, 3, 3, 64), low=1),
    "float32-result": lambda: convolution((2, 10, 10, 64), (64, 3, 3, 64), low=1, to="float32"),
    "float8_e4m3fn": lambda: convolution((2, 10, 10, 160), (64, 3, 3, 160), "float8_e4m3fn", low=1, to="float32"),
}

SYMBOLS = {"b": Symbol("b", 0, 9)}
"""Of `OPEN`."""

OPEN: dict[str, Callable[[Mapping[str, Dim]], str]] = {
    "3x3": lambda sizes: convolution((sizes["b"], 14, 14, 64), (64, 3, 3, 64), low=1, residual=True),
    "1x1-strided": lambda sizes: convolution((sizes["b"], 14, 15, 64), (128, 1, 1, 64), strides=2),
}
"""Dispatches of images whose number is known when they run."""


def open_text(name: str) -> str:
    with declare(SYMBOLS):
        return OPEN[name]({symbol: size_of(s) for symbol, s in SYMBOLS.items()})


BINDINGS = [{"b": 1}, {"b": 2}, {"b": 9}]

SCHEDULES = [
    WgmmaSchedule(128, 256, 4),
    WgmmaSchedule(128, 64, 3, cluster=2),
    WgmmaSchedule(256, 64, 4),
    WgmmaSchedule(128, 128, 4, pingpong=True),
    WgmmaSchedule(64, 64, 8, pingpong=True, cluster=2),
    WgmmaSchedule(192, 64, 3, consumers=3),
    WgmmaSchedule(64, 16, 8, consumers=1),
    WgmmaSchedule(64, 64, 6, consumers=1, parts=3),
]
