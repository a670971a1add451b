"""Pooling."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lumir.dialects import build
from lumir.frontend import emit
from lumir.frontend.context import NodeContext
from lumir.frontend.handlers.convolution import Window, output_extent, window_of
from lumir.frontend.registry import Result, handler
from lumir.mlir import ir


def pool_window(ctx: NodeContext) -> tuple[Window, list[int]]:
    """The node's window, with its high pads grown to cover the last partial window under `ceil_mode`; output sizes."""
    spatial = list(ctx.tensor(0).shape[2:])
    window = window_of(ctx, spatial, ctx.ints_attribute("kernel_shape", []))
    extent = output_extent(window, spatial, bool(ctx.attribute("ceil_mode", 0)))
    high = [
        max((count - 1) * stride + span - d - low, 0) if ctx.attribute("ceil_mode", 0) else old
        for count, stride, span, d, low, old in zip(
            extent, window.strides, window.span, spatial, window.low, window.high, strict=True
        )
    ]
    return replace(window, high=high), extent


def reduce_window(x: ir.Value, kind: str, window: Window) -> ir.Value:
    return build(
        "window_reduce",
        x,
        kind=kind,
        window=window.size,
        strides=window.strides,
        dilations=window.dilations,
        low=window.low,
        high=window.high,
    )


@handler("MaxPool")
def max_pool(ctx: NodeContext) -> list[Result]:
    window, extent = pool_window(ctx)
    result = reduce_window(ctx.value(0), "max", window)
    if not ctx.wants(1):
        return [result]
    return [result, _max_indices(ctx, window, extent)]


def _max_indices(ctx: NodeContext, window: Window, extent: Sequence[int]) -> ir.Value:
    """The flat index, over the whole input, of each window's first largest element.

    Every window is gathered out of the flattened spatial dimensions; places in the padding hold the least value.
    """
    x = ctx.value(0)
    n, c, *spatial = emit.shape(x)
    places, inside = _window_places(window, extent, spatial)
    order = "F" if ctx.attribute("storage_order", 0) else "C"
    flat = emit.reshape(x, [n, c, int(np.prod(spatial))])
    taken = emit.gather(flat, ctx.constant(places), 2)
    least = _least(emit.dtype(x))
    taken = emit.select(ctx.constant(inside), taken, least)
    best = build("arg_reduce", taken, kind="max", axis=3, last=False)
    rows = emit.broadcast(ctx.constant(_renumbered(places, spatial, order)), [n, c, *places.shape])
    local = emit.reshape(build("gather_elements", rows, emit.unsqueeze(best, [3]), axis=3), [n, c, *extent])
    planes = np.arange(n * c, dtype=np.int64).reshape(n, c, *[1] * len(spatial)) * int(np.prod(spatial))
    return emit.add(local, ctx.constant(planes))


def _window_places(window: Window, extent: Sequence[int], spatial: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """For each output position and window element: its flat place in the input, and whether it is inside.

    Those inside come first, so that an element which equals the padding is found before it.
    """
    rank = len(spatial)
    coordinates = []
    for axis in range(rank):
        start = np.arange(extent[axis]) * window.strides[axis] - window.low[axis]
        grid = start[:, None] + np.arange(window.size[axis]) * window.dilations[axis]
        shape = [1] * (2 * rank)
        shape[axis], shape[rank + axis] = grid.shape
        coordinates.append(grid.reshape(shape))
    full = np.broadcast_arrays(*coordinates)
    inside = np.logical_and.reduce([(g >= 0) & (g < d) for g, d in zip(full, spatial, strict=True)])
    clipped = [np.clip(g, 0, d - 1) for g, d in zip(full, spatial, strict=True)]
    places = np.ravel_multi_index(clipped, tuple(spatial)).astype(np.int64)
    flat = (int(np.prod(extent)), int(np.prod(window.size)))
    places, inside = places.reshape(flat), inside.reshape(flat)
    order = np.argsort(~inside, axis=1, kind="stable")
    return np.take_along_axis(places, order, axis=1), np.take_along_axis(inside, order, axis=1)


def _renumbered(places: np.ndarray, spatial: Sequence[int], order: str) -> np.ndarray:
    if order == "C":
        return places
    return np.ravel_multi_index(np.unravel_index(places, tuple(spatial)), tuple(spatial), order="F").astype(np.int64)


def _least(dtype: np.dtype) -> float | int:
    return int(np.iinfo(dtype).min) if dtype.kind in "iu" else -np.inf


@handler("AveragePool", since=7)
def average_pool(ctx: NodeContext) -> Result:
    window, extent = pool_window(ctx)
    x = ctx.value(0)
    total = reduce_window(emit.widen(x), "sum", window)
    counts = _counts(ctx, window, extent).astype(emit.dtype(total))
    mean = emit.div(total, counts.flat[0].item()) if np.ptp(counts) == 0 else emit.div(total, ctx.constant(counts))
    return emit.cast(mean, emit.element(x))


def _counts(ctx: NodeContext, window: Window, extent: Sequence[int]) -> np.ndarray:
    """How many elements each window averages: those inside the input, with `count_include_pad` also pads."""
    spatial = ctx.tensor(0).shape[2:]
    padded = window_of(ctx, spatial, window.size)
    include = bool(ctx.attribute("count_include_pad", 0))
    counts = np.ones([1] * len(spatial))
    for axis, d in enumerate(spatial):
        start = np.arange(extent[axis]) * window.strides[axis] - window.low[axis]
        places = start[:, None] + np.arange(window.size[axis]) * window.dilations[axis]
        first, last = (-padded.low[axis], d + padded.high[axis]) if include else (0, d)
        row = ((places >= first) & (places < last)).sum(axis=1)
        counts = counts * row.reshape([-1 if i == axis else 1 for i in range(len(spatial))])
    return counts


@handler("LpPool", since=2)
def lp_pool(ctx: NodeContext) -> Result:
    """(sum |x|^p)^(1/p) over each window."""
    window, _ = pool_window(ctx)
    x = ctx.value(0)
    return emit.cast(
        _lp(emit.widen(x), ctx.attribute("p", 2), lambda y: reduce_window(y, "sum", window)), emit.element(x)
    )


def _lp(x: ir.Value, p: int, total) -> ir.Value:
    if p == 1:
        return total(build("abs", x))
    if p == 2:
        return build("sqrt", total(emit.mul(x, x)))
    return emit.binary("pow", total(emit.binary("pow", build("abs", x), p)), 1 / p)


@handler("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def global_pool(ctx: NodeContext) -> Result:
    x = ctx.value(0)
    axes = list(range(2, emit.rank(x)))
    if ctx.op == "GlobalMaxPool":
        return emit.reduce(x, "max", axes, True)
    wide = emit.widen(x)
    if ctx.op == "GlobalAveragePool":
        return emit.cast(emit.mean(wide, axes, True), emit.element(x))
    return emit.cast(_lp(wide, ctx.attribute("p", 2), lambda y: emit.reduce(y, "sum", axes, True)), emit.element(x))


@handler("MaxUnpool", since=9)
def max_unpool(ctx: NodeContext) -> Result:
    """Zeros with each element at its flat index in the result."""
    x, indices = ctx.value(0), ctx.value(1)
    window = window_of(ctx, emit.shape(x)[2:], ctx.ints_attribute("kernel_shape", []))
    plain = [
        (d - 1) * stride - low - high + k
        for d, stride, low, high, k in zip(
            emit.shape(x)[2:], window.strides, window.low, window.high, window.size, strict=True
        )
    ]
    dims = [*emit.shape(x)[:2], *plain]
    flat = emit.broadcast(emit.scalar(0, emit.element(x)), [int(np.prod(dims))])
    count = [int(np.prod(emit.shape(x)))]
    filled = build("scatter_elements", flat, emit.reshape(indices, count), emit.reshape(x, count), axis=0, kind="set")
    result = emit.reshape(filled, dims)
    if not ctx.has(2):
        return result
    wanted = ctx.ints(2, "output_shape")
    return emit.pad(result, [0] * len(dims), [w - d for w, d in zip(wanted, dims, strict=True)])
