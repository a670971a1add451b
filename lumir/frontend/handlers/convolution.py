"""Convolutions, and the padding rules that they share with pooling."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lumir.dialects import build
from lumir.frontend import emit
from lumir.frontend.context import NodeContext
from lumir.frontend.registry import Result, handler
from lumir.mlir import ir


@dataclass(frozen=True)
class Window:
    """A sliding window: one entry a spatial dimension."""

    size: list[int]
    strides: list[int]
    dilations: list[int]
    low: list[int]
    high: list[int]

    @property
    def span(self) -> list[int]:
        """The extent of a window with its dilation."""
        return [(k - 1) * d + 1 for k, d in zip(self.size, self.dilations, strict=True)]


def window_of(ctx: NodeContext, spatial: Sequence[int], size: Sequence[int]) -> Window:
    """The window that a node's attributes describe over an input of `spatial` dimensions."""
    rank = len(spatial)
    strides, dilations = (ctx.ints_attribute(name, [1] * rank) for name in ("strides", "dilations"))
    pads = ctx.ints_attribute("pads", [0] * (2 * rank))
    if not len(size) == len(strides) == len(dilations) == rank or len(pads) != 2 * rank:
        ctx.malformed(f"kernel_shape, strides, dilations and pads must fit the {rank} spatial dimensions")
    window = Window(list(size), strides, dilations, pads[:rank], pads[rank:])
    auto = ctx.attribute("auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        return _same(window, spatial, auto == "SAME_UPPER")
    if auto == "VALID":
        return Window(window.size, strides, dilations, [0] * rank, [0] * rank)
    return window


def _same(window: Window, spatial: Sequence[int], upper: bool) -> Window:
    """Pads that make the output ceil(input / stride); an odd one goes to the end (`upper`) or the start."""
    low, high = [], []
    for d, span, stride in zip(spatial, window.span, window.strides, strict=True):
        total = max((-(-d // stride) - 1) * stride + span - d, 0)
        small, large = total // 2, total - total // 2
        low.append(small if upper else large)
        high.append(large if upper else small)
    return Window(window.size, window.strides, window.dilations, low, high)


def convolve(x: ir.Value, w: ir.Value, window: Window, groups: int, to: ir.Type | None = None) -> ir.Value:
    return build(
        "conv",
        x,
        w,
        strides=window.strides,
        dilations=window.dilations,
        low=window.low,
        high=window.high,
        groups=groups,
        to=to or emit.element(x),
    )


@handler("Conv")
def conv(ctx: NodeContext) -> Result:
    x, w = ctx.value(0), ctx.value(1)
    window = window_of(ctx, emit.shape(x)[2:], ctx.ints_attribute("kernel_shape", emit.shape(w)[2:]))
    if window.size != emit.shape(w)[2:]:
        ctx.malformed(f"kernel_shape {window.size} must equal the filter's {emit.shape(w)[2:]}")
    return _biased(ctx, convolve(x, w, window, ctx.attribute("group", 1)))


def _biased(ctx: NodeContext, result: ir.Value) -> ir.Value:
    bias = ctx.optional(2)
    return result if bias is None else emit.add(result, emit.reshape(bias, _per_channel(result)))


def _per_channel(x: ir.Value) -> list[int]:
    """The shape in which a vector over channels broadcasts to x, [n, c, spatial...]."""
    return [emit.shape(x)[1]] + [1] * (emit.rank(x) - 2)


@handler("ConvTranspose")
def conv_transpose(ctx: NodeContext) -> Result:
    """Spread the input by the strides, and convolve with the filter turned around and its channels exchanged."""
    x, w = ctx.value(0), ctx.value(1)
    groups, spatial, rank = ctx.attribute("group", 1), emit.shape(x)[2:], emit.rank(x)
    window = window_of(ctx, spatial, emit.shape(w)[2:])
    extra = ctx.ints_attribute("output_padding", [0] * len(spatial))
    window = _transposed_pads(ctx, window, spatial, extra)
    low = [s - 1 - p for s, p in zip(window.span, window.low, strict=True)]
    high = [s - 1 - p + e for s, p, e in zip(window.span, window.high, extra, strict=True)]
    spread = emit.pad(x, [0, 0, *low], [0, 0, *high], interior=[0, 0, *(s - 1 for s in window.strides)])
    channels, per_group, *size = emit.shape(w)
    turned = emit.reshape(emit.reverse(w, range(2, rank)), [groups, channels // groups, per_group, *size])
    turned = emit.transpose(turned, [0, 2, 1, *range(3, rank + 1)])
    turned = emit.reshape(turned, [groups * per_group, channels // groups, *size])
    zeros, ones = [0] * len(size), [1] * len(size)
    return _biased(ctx, convolve(spread, turned, Window(size, ones, window.dilations, zeros, zeros), groups))


def _transposed_pads(ctx: NodeContext, window: Window, spatial: Sequence[int], extra: Sequence[int]) -> Window:
    """Pads from `output_shape` or `auto_pad`, which demand an output size.

    `auto_pad` only ever takes away: where a window is shorter than its stride, the output stays short of that.
    """
    auto = ctx.attribute("auto_pad", "NOTSET")
    wanted, least = ctx.attribute("output_shape"), None
    if wanted is None and auto.startswith("SAME"):
        wanted, least = [d * s for d, s in zip(spatial, window.strides, strict=True)], 0
    if wanted is None:
        return window
    wanted = list(wanted)[-len(spatial) :]
    full = [s * (d - 1) + e + k for s, d, e, k in zip(window.strides, spatial, extra, window.span, strict=True)]
    totals = [f - w if least is None else max(f - w, least) for f, w in zip(full, wanted, strict=True)]
    small, large = [t // 2 for t in totals], [t - t // 2 for t in totals]
    low, high = (small, large) if auto == "SAME_UPPER" else (large, small)
    return Window(window.size, window.strides, window.dilations, low, high)


def output_extent(window: Window, spatial: Sequence[int], ceil: bool = False) -> list[int]:
    """The number of window positions along each spatial dimension; with `ceil` a last partial window counts."""
    extent = []
    for d, span, stride, low, high in zip(spatial, window.span, window.strides, window.low, window.high, strict=True):
        room = d + low + high - span
        count = (math.ceil(room / stride) if ceil else room // stride) + 1
        if ceil and (count - 1) * stride >= d + low:
            count -= 1
        extent.append(count)
    return extent
