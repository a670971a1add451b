"""Resampling of one axis as a table: which input elements each output element reads, with which weights.

The formulas are those of ONNX's Resize operator, https://onnx.ai/onnx/operators/onnx__Resize.html.
"""

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Sampling:
    """How an axis is resampled.

    Attributes:
        mode: nearest, linear or cubic.
        coordinates: how output positions map to input positions (`coordinate_transformation_mode`).
        rounding: how nearest picks a neighbour (`nearest_mode`); `simple` is `ceil` where it shrinks, else `floor`.
        cubic: the cubic kernel's coefficient a.
        antialias: stretch linear and cubic kernels when shrinking.
        exclude_outside: drop taps outside the input and renormalise, instead of repeating the edge.
    """

    mode: str
    coordinates: str = "half_pixel"
    rounding: str = "round_prefer_floor"
    cubic: float = -0.75
    antialias: bool = False
    exclude_outside: bool = False


@dataclass(frozen=True)
class Taps:
    """For each output position: input indices and weights, both [out, taps], and whether it lies outside the input."""

    indices: np.ndarray
    weights: np.ndarray
    outside: np.ndarray


def taps(size: int, out: int, scale: float, sampling: Sampling, region: tuple[float, float] = (0, 1)) -> Taps:
    """The table for an axis of `size` elements resampled to `out` by factor `scale`.

    `region` is the part of the axis that `tf_crop_and_resize` reads, as fractions of its length.
    """
    x = _positions(size, out, scale, sampling.coordinates, region).astype(np.float64)
    crop = sampling.coordinates == "tf_crop_and_resize"
    outside = ((x < 0) | (x > size - 1)) & crop
    if sampling.mode == "nearest":
        indices = np.clip(_nearest(x, _rounding(sampling, scale)), 0, size - 1)[:, None]
        return Taps(indices.astype(np.int64), np.ones((out, 1)), outside)
    left = np.ceil(x) - 1
    offsets, weights = _kernel(x - left, scale if sampling.antialias else 1.0, sampling)
    indices = left[:, None].astype(np.int64) + offsets
    if sampling.exclude_outside:
        weights = np.where((indices < 0) | (indices >= size), 0, weights)
        weights = weights / weights.sum(axis=1, keepdims=True)
    return Taps(np.clip(indices, 0, size - 1), weights, outside)


def _positions(size: int, out: int, factor: float, mode: str, region: tuple[float, float]) -> np.ndarray:
    """In float32, as the scales are given: `floor` and `ceil` of a position depend on its last bit."""
    x, scale = np.arange(out, dtype=np.float32), np.float32(factor)
    match mode:
        case "half_pixel":
            return (x + 0.5) / scale - 0.5
        case "half_pixel_symmetric":
            return size / 2 * (1 - out / (scale * size)) + (x + 0.5) / scale - 0.5
        case "pytorch_half_pixel":
            return (x + 0.5) / scale - 0.5 if out > 1 else np.zeros(out)
        case "align_corners":
            return x * (size - 1) / (scale * size - 1) if out > 1 else np.zeros(out)
        case "asymmetric":
            return x / scale
        case "tf_crop_and_resize":
            start, end = region
            if out == 1:
                return np.full(1, 0.5 * (start + end) * (size - 1))
            return start * (size - 1) + x * (end - start) * (size - 1) / (out - 1)
        case "tf_half_pixel_for_nn":
            return (x + 0.5) / scale
    raise ValueError(f"unknown coordinate_transformation_mode '{mode}'")


def _rounding(sampling: Sampling, scale: float) -> str:
    if sampling.rounding != "simple":
        return sampling.rounding
    return "ceil" if scale < 1 else "floor"


def _nearest(x: np.ndarray, rounding: str) -> np.ndarray:
    match rounding:
        case "round_prefer_floor":
            return np.ceil(x - 0.5)
        case "round_prefer_ceil":
            return np.floor(x + 0.5)
        case "floor":
            return np.floor(x)
        case "ceil":
            return np.ceil(x)
    raise ValueError(f"unknown nearest_mode '{rounding}'")


def _kernel(ratio: np.ndarray, scale: float, sampling: Sampling) -> tuple[np.ndarray, np.ndarray]:
    """Offsets [taps] from the left neighbour and their weights [out, taps]; `ratio` in (0, 1] is the distance to it."""
    scale = min(scale, 1.0)
    reach = 1 if sampling.mode == "linear" else 2
    first = math.floor(-reach / scale) + 1
    offsets = np.arange(first, 2 - first)
    distance = np.abs(offsets[None, :] - ratio[:, None]) * scale
    weights = np.clip(1 - distance, 0, 1) if sampling.mode == "linear" else _cubic(distance, sampling.cubic)
    return offsets, weights / weights.sum(axis=1, keepdims=True)


def _cubic(d: np.ndarray, a: float) -> np.ndarray:
    """Keys' cubic convolution kernel (Keys, 1981)."""
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0))
