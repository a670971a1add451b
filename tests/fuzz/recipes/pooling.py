"""Convolutions and pooling over one to three spatial dimensions."""

from dataclasses import dataclass
from typing import Any

from tests.fuzz.grower import Domain, Grower
from tests.fuzz.recipes.table import recipe
from tests.fuzz.values import FLOATS, Value

SMALL = Domain(-100, 100)
EXTENTS = {1: (5, 1, 3, 8, 16, 17, 33), 2: (5, 1, 3, 7, 8), 3: (3, 1, 4, 5)}


@dataclass(frozen=True)
class Window:
    """Attributes of a sliding window, and its size."""

    size: list[int]
    attributes: dict[str, Any]


def window(g: Grower, spatial: tuple[int, ...], pads: bool = True, dilations: bool = True) -> Window:
    """A window that fits at least once into an input of these sizes."""
    size, rates, low, high = [], [], [], []
    for d in spatial:
        k = g.integer(1, min(d, 3))
        rate = g.integer(1, 2) if dilations and (k - 1) * 2 < d else 1
        size.append(k)
        rates.append(rate)
        low.append(g.integer(0, k - 1))
        high.append(g.integer(0, k - 1))
    strides = [g.integer(1, 3) for _ in spatial]
    auto = g.choose((None, "SAME_UPPER", "SAME_LOWER", "VALID")) if pads and g.flag(4) else None
    given: dict[str, Any] = {"strides": strides if any(s > 1 for s in strides) or g.flag() else None, "auto_pad": auto}
    if dilations and (any(r > 1 for r in rates) or g.flag(8)):
        given["dilations"] = rates
    if pads and auto is None and any(low + high):
        given["pads"] = low + high
    return Window(size, given)


def image(g: Grower, dtypes: tuple[str, ...], channels: int | None = None, domain: Domain = SMALL) -> Value:
    """A value [n, c, spatial...] without empty dimensions."""

    def shape() -> list[int]:
        rank = g.choose((2, 1, 3))
        return [
            g.choose((1, 2)),
            channels or g.choose((4, 1, 2, 3, 6)),
            *(g.choose(EXTENTS[rank]) for _ in range(rank)),
        ]

    fits = lambda v: v.array.size > 0 and v.shape[0] <= 8 and v.shape[1] <= 17 and channels in (None, v.shape[1])  # noqa: E731
    return g.pick(dtypes, (3, 5), domain, fits, shape)


def bias(g: Grower, dtype: str, channels: int) -> list[Value]:
    return [g.like(dtype, [channels], SMALL)] if g.flag() else []


def divisor(g: Grower, number: int) -> int:
    """A divisor: 1, the number itself, or another."""
    return g.choose([1, number, *(d for d in range(2, number) if number % d == 0)])


@recipe("window", "Conv")
def conv(g: Grower, op: str) -> None:
    x = image(g, ("float32", "float32", "float64", "float16"))
    groups = divisor(g, x.shape[1])
    out = groups * g.choose((1, 2, 4, 5))
    w = window(g, x.shape[2:])
    filters = g.like(x.dtype, [out, x.shape[1] // groups, *w.size], SMALL)
    shape = w.size if g.flag() else None
    inputs = [x, filters, *bias(g, x.dtype, out)]
    g.add("Conv", inputs, group=groups if groups > 1 else None, kernel_shape=shape, **w.attributes)


@recipe("window", "ConvTranspose")
def conv_transpose(g: Grower, op: str) -> None:
    x = image(g, ("float32",))
    groups = divisor(g, x.shape[1])
    per_group = g.choose((1, 2, 3))
    w = window(g, x.shape[2:])
    strides = w.attributes["strides"] or [1] * (x.rank - 2)
    extra = [g.integer(0, s - 1) for s in strides]
    filters = g.like(x.dtype, [x.shape[1], per_group, *w.size], SMALL)
    inputs = [x, filters, *bias(g, x.dtype, per_group * groups)]
    auto = w.attributes["auto_pad"] is not None
    g.add(
        "ConvTranspose", inputs, group=groups if groups > 1 else None, kernel_shape=w.size,
        output_padding=extra if any(extra) and not auto else None, **w.attributes,
    )  # fmt: skip


@recipe("window", "MaxPool")
def max_pool(g: Grower, op: str) -> None:
    x = image(g, ("float32", "float64", "int8", "uint8", "float16"))
    w = window(g, x.shape[2:])
    indices = g.flag(3)
    options: dict[str, Any] = {"ceil_mode": g.choose((None, 0, 1))}
    if indices:
        options["storage_order"] = g.choose((None, 0, 1))
    g.add("MaxPool", [x], 2 if indices else 1, exact=True, kernel_shape=w.size, **options, **w.attributes)


@recipe("window", "AveragePool")
def average_pool(g: Grower, op: str) -> None:
    x = image(g, FLOATS)
    w = window(g, x.shape[2:], dilations=g.opset >= 19)
    options = {name: g.choose((None, 0, 1)) for name in ("ceil_mode", "count_include_pad")}
    g.add("AveragePool", [x], kernel_shape=w.size, **options, **w.attributes)


@recipe("window", "LpPool")
def lp_pool(g: Grower, op: str) -> None:
    x = image(g, ("float32",))
    w = window(g, x.shape[2:], dilations=g.opset >= 18)
    options = {"ceil_mode": g.choose((None, 0, 1))} if g.opset >= 18 else {}
    g.add("LpPool", [x], kernel_shape=w.size, p=g.choose((None, 1, 2, 3)), absolute=1e-5, **options, **w.attributes)


@recipe("window", "GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def global_pool(g: Grower, op: str) -> None:
    x = image(g, FLOATS)
    g.add(op, [x], exact=op == "GlobalMaxPool", p=g.choose((None, 1, 2, 3)) if op == "GlobalLpPool" else None)


@recipe("window", "MaxUnpool")
def max_unpool(g: Grower, op: str) -> None:
    """Of what MaxPool gives, without windows that overlap: two of them could name the same place."""
    x = image(g, ("float32",))
    size = [min(d, g.choose((2, 1, 3))) for d in x.shape[2:]]
    pooled, places = g.add("MaxPool", [x], 2, exact=True, kernel_shape=size, strides=size)
    same = all(d % k == 0 for d, k in zip(x.shape[2:], size))
    shape = [] if same else [g.fixed(x.shape)]
    g.add("MaxUnpool", [pooled, places, *shape], exact=True, kernel_shape=size, strides=size)
