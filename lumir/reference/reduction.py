"""Rules of reductions, scans, and ops that order elements."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from lumir.reference.rules import Call, highest, lowest, narrow, rule, widen


def _sum(x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    return np.sum(x, axes, dtype=x.dtype)


def _prod(x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    return np.prod(x, axes, dtype=x.dtype)


def _max(x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    return np.max(x, axes, initial=lowest(x.dtype))


def _min(x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    return np.min(x, axes, initial=highest(x.dtype))


REDUCE: dict[str, Callable[..., Any]] = {"sum": _sum, "prod": _prod, "max": _max, "min": _min}


@rule("reduce")
def reduce(call: Call, x: np.ndarray) -> np.ndarray:
    return narrow(np.asarray(REDUCE[call["kind"]](widen(x), tuple(call["axes"]))), call.dtypes[0])


@rule("arg_reduce")
def arg_reduce(call: Call, x: np.ndarray) -> np.ndarray:
    x, axis = widen(x), call["axis"]
    find = np.argmax if call["kind"] == "max" else np.argmin
    if not call["last"]:
        return np.asarray(find(x, axis=axis), np.int64)
    return np.asarray(x.shape[axis] - 1 - find(np.flip(x, axis), axis=axis), np.int64)


def windows(x: np.ndarray, fill: Any, call: Call, window: tuple[int, ...]) -> np.ndarray:
    """A view [n, c, out..., window...] of every window of `x` [n, c, spatial...], with `fill` outside the input."""
    spatial = len(window)
    low, high = ((0, 0, *call[side]) for side in ("low", "high"))
    grown = np.pad(x, [(max(lo, 0), max(hi, 0)) for lo, hi in zip(low, high, strict=True)], constant_values=fill)
    cropped = grown[
        tuple(slice(max(-lo, 0), n - max(-hi, 0)) for lo, hi, n in zip(low, high, grown.shape, strict=True))
    ]
    reach = [(k - 1) * d + 1 for k, d in zip(window, call["dilations"], strict=True)]
    view = sliding_window_view(cropped, reach, axis=tuple(range(2, 2 + spatial)))
    steps = [slice(None)] * 2 + [slice(None, None, s) for s in (*call["strides"], *call["dilations"])]
    return view[tuple(steps)]


@rule("window_reduce")
def window_reduce(call: Call, x: np.ndarray) -> np.ndarray:
    last = call["channels_last"]
    wide, window = widen(np.moveaxis(x, -1, 1) if last else x), tuple(call["window"])
    fill = lowest(wide.dtype) if call["kind"] == "max" else 0
    seen = windows(wide, fill, call, window)
    axes = tuple(range(-len(window), 0))
    reduced = np.asarray(REDUCE[call["kind"]](seen, axes))
    return narrow(np.moveaxis(reduced, 1, -1) if last else reduced, call.dtypes[0])


ACCUMULATE: dict[str, np.ufunc] = {"sum": np.add, "prod": np.multiply, "max": np.maximum}


@rule("scan")
def scan(call: Call, x: np.ndarray) -> np.ndarray:
    wide, axis = widen(x), call["axis"]
    wide = np.flip(wide, axis) if call["reverse"] else wide
    if call["exclusive"] and wide.shape[axis]:
        neutral = {"sum": 0, "prod": 1, "max": lowest(wide.dtype)}[call["kind"]]
        first = np.full_like(np.take(wide, [0], axis), neutral)
        kept = np.take(wide, range(wide.shape[axis] - 1), axis)
        wide = np.concatenate([first, kept], axis)
    total = ACCUMULATE[call["kind"]].accumulate(wide, axis=axis, dtype=wide.dtype)
    return narrow(np.flip(total, axis) if call["reverse"] else total, call.dtypes[0])


@rule("top_k")
def top_k(call: Call, x: np.ndarray) -> list[np.ndarray]:
    wide, size = widen(x), x.shape[-1]
    if call["largest"]:
        order = size - 1 - np.argsort(wide[..., ::-1], axis=-1, kind="stable")[..., ::-1]
    else:
        order = np.argsort(wide, axis=-1, kind="stable")
    indices = order[..., : call["k"]].astype(np.int64)
    return [np.take_along_axis(x, indices, -1), indices]
