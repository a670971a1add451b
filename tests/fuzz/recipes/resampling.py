# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
"""Resize, GridSample, Col2Im, LRN."""

from typing import Any

import numpy as np

from tests.fuzz.grower import Domain, Grower
from tests.fuzz.recipes.table import recipe
from tests.fuzz.values import Value

COORDINATES = ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
NEAREST = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
SCALES = (1.0, 2.0, 0.5, 1.5, 3.0, 0.75)


@recipe("resampling", "Resize")
def resize(g: Grower, op: str) -> None:
    """The spatial dimensions of an image, by scales or to sizes."""
    mode = g.choose(("nearest", "linear", "cubic"))
    x = _image(g, 2, 2) if mode == "cubic" else _image(g, 1, 3 if mode == "linear" else 2)
    options: dict[str, Any] = {"mode": mode, "coordinate_transformation_mode": g.choose((None, *COORDINATES))}
    if mode == "nearest":
        options["nearest_mode"] = g.choose((None, *NEAREST))
    if mode == "cubic":
        options["cubic_coeff_a"] = g.choose((None, -0.5))
        options["exclude_outside"] = g.choose((None, 0, 1))
    if mode != "nearest" and g.opset >= 18:
        options["antialias"] = g.choose((None, 0, 1))
    factors = [g.choose(SCALES) for _ in x.shape[2:]]
    sizes = [max(int(d * f), 1) for d, f in zip(x.shape[2:], factors)]
    if g.flag():
        inputs = [x, None, None, g.fixed([*x.shape[:2], *sizes])]
    else:
        scales = [1.0, 1.0, *(f if int(d * f) >= 1 else 1.0 for d, f in zip(x.shape[2:], factors))]
        inputs = [x, None, g.fixed(scales, "float32")]
    g.add("Resize", inputs, exact=mode == "nearest", absolute=1e-5, **options)


def _image(g: Grower, low: int, high: int) -> Value:
    return g.pick(
        ("float32", "float32", "uint8", "int8"), (2 + low, 2 + high), Domain(0, 100), filled=True,
        shape=lambda: [
            g.choose((1, 2)), g.choose((1, 3)), *(g.choose((4, 1, 3, 7)) for _ in range(g.integer(low, high)))
        ],
    )  # fmt: skip


@recipe("resampling", "GridSample")
def grid_sample(g: Grower, op: str) -> None:
    if g.opset < 16:
        return
    x = g.pick(
        ("float32",), (4, 4), Domain(-100, 100), filled=True,
        shape=lambda: [g.choose((1, 2)), g.choose((1, 3)), g.choose((4, 1, 5)), g.choose((3, 1, 6))],
    )  # fmt: skip
    grid = g.fresh("float32", [x.shape[0], g.choose((3, 1)), g.choose((2, 5)), 2], Domain(-1.2, 1.2))
    modes = ("linear", "nearest", "cubic") if g.opset >= 20 else ("bilinear", "nearest", "bicubic")
    padding = g.choose((None, "zeros", "border", "reflection"))
    align = g.choose((None, 0, 1))
    g.add("GridSample", [x, grid], absolute=1e-5, mode=g.choose(modes), padding_mode=padding, align_corners=align)


@recipe("resampling", "LRN")
def lrn(g: Grower, op: str) -> None:
    x = g.pick(
        ("float32",), (4, 4), Domain(-100, 100), filled=True,
        shape=lambda: [g.choose((1, 2)), g.choose((3, 1, 5)), g.choose((4, 1)), g.choose((3, 2))],
    )  # fmt: skip
    options = {"alpha": g.choose((None, 0.5)), "beta": g.choose((None, 0.5)), "bias": g.choose((None, 2.0))}
    g.add("LRN", [x], absolute=1e-5, size=g.choose((1, 3, 5)), **options)


@recipe("resampling", "Col2Im")
def col2im(g: Grower, op: str) -> None:
    if g.opset < 18:
        return
    rank = g.choose((2, 1))
    size = [g.choose((4, 3, 6)) for _ in range(rank)]
    block = [g.integer(1, 3) for _ in range(rank)]
    strides = [g.integer(1, 2) for _ in range(rank)]
    pads = [g.integer(0, 1) for _ in range(2 * rank)]
    counts = [(d + pads[i] + pads[rank + i] - block[i]) // strides[i] + 1 for i, d in enumerate(size)]
    channels = g.choose((1, 2))
    x = g.like("float32", [g.choose((1, 2)), channels * int(np.prod(block)), int(np.prod(counts))], Domain(-100, 100))
    g.add("Col2Im", [x, g.fixed(size), g.fixed(block)], pads=pads, strides=strides)
