# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
"""Operators that move elements."""

import numpy as np

from tests.fuzz.grower import ANY, Grower
from tests.fuzz.recipes.table import recipe
from tests.fuzz.values import ALL, Value


def any_value(g: Grower, low: int = 0, high: int = 4) -> Value:
    """A value of any type and a rank in [low, high]."""
    return g.pick(ALL, (low, high), ANY)


def factors(g: Grower, size: int, most: int = 5) -> list[int]:
    """A shape of `size` elements."""
    dims: list[int] = []
    while size > 1 and len(dims) < most - 1:
        divisors = [d for d in range(1, size + 1) if size % d == 0]
        dims.append(g.choose(divisors[::-1]))
        size //= dims[-1]
    return [*dims, size] if size != 1 or g.flag(4) else dims


@recipe("shaping", "Reshape")
def reshape(g: Grower, op: str) -> None:
    x = any_value(g)
    if x.array.size == 0:
        g.add("Reshape", [x, g.fixed([0] * x.rank)], exact=True)
        return
    dims = factors(g, x.array.size)
    if dims and g.flag(3):
        dims[g.integer(0, len(dims) - 1)] = -1
    written = [0 if i < x.rank and d == x.shape[i] and g.flag(4) else d for i, d in enumerate(dims)]
    g.add("Reshape", [x, g.fixed(written)], exact=True)


@recipe("shaping", "Transpose")
def transpose(g: Grower, op: str) -> None:
    x = any_value(g)
    rest, order = list(range(x.rank)), []
    while rest:
        order.append(rest.pop(g.integer(0, len(rest) - 1)))
    g.add("Transpose", [x], exact=True, perm=order if x.rank and not g.flag(4) else None)


@recipe("shaping", "Flatten")
def flatten(g: Grower, op: str) -> None:
    x = any_value(g)
    g.add("Flatten", [x], exact=True, axis=g.integer(-x.rank, x.rank))


@recipe("shaping", "Squeeze", "Unsqueeze")
def squeeze(g: Grower, op: str) -> None:
    if op == "Squeeze":
        x = g.pick(ALL, (1, 4), ANY, lambda v: 1 in v.shape, lambda: (*g.shape(0, 2), 1, *g.shape(0, 1)))
        axes = [i - x.rank if g.flag() else i for i, d in enumerate(x.shape) if d == 1 and not g.flag(4)]
    else:
        x = any_value(g, 0, 3)
        rank = x.rank + g.integer(1, 2)
        axes = sorted({g.integer(0, rank - 1) for _ in range(rank - x.rank)})
        axes = axes if len(axes) == rank - x.rank else [0]
    g.add(op, [x, g.fixed(axes)] if axes else [x], exact=True)


@recipe("shaping", "Expand")
def expand(g: Grower, op: str) -> None:
    x = any_value(g)
    dims = [g.choose((1, 3, 2)) if d == 1 and x.array.size < 1000 else g.choose((d, 1)) for d in x.shape]
    dims = [2, *dims] if x.array.size < 1000 and g.flag(3) else dims
    g.add("Expand", [x, g.fixed(dims)], exact=True)


@recipe("shaping", "Tile")
def tile(g: Grower, op: str) -> None:
    x = any_value(g)
    repeats = [g.choose((1, 2, 3)) for _ in x.shape]
    g.add("Tile", [x, g.fixed(repeats)], exact=True)


@recipe("shaping", "Concat")
def concat(g: Grower, op: str) -> None:
    x = any_value(g, 1)
    axis = g.integer(0, x.rank - 1)

    def fits(v: Value) -> bool:
        return v.rank == x.rank and all(i == axis or a == b for i, (a, b) in enumerate(zip(v.shape, x.shape)))

    def other() -> list[int]:
        return [g.choose((d, 1, 2, 3)) if i == axis else d for i, d in enumerate(x.shape)]

    others = [g.pick((x.dtype,), (x.rank,) * 2, ANY, fits, other) for _ in range(g.integer(0, 3))]
    g.add("Concat", [x, *others], exact=True, axis=axis - x.rank if g.flag() else axis)


@recipe("shaping", "Slice")
def slice_(g: Grower, op: str) -> None:
    """Any starts, ends and steps, those that reach beyond the ends included."""
    x = any_value(g, 1)
    axes = [i for i in range(x.rank) if i == 0 or g.flag()]
    starts, ends, steps = [], [], []
    for axis in axes:
        d, step = x.shape[axis], g.choose((1, 2, -1, -2, 3))
        first = 0 if step > 0 else d - 1
        starts.append(g.choose((first, 1, -2, -d - 5, d + 5)))
        ends.append(g.choose(((d if step > 0 else -d - 1), d - 1, -1, 2**31 - 1 if step > 0 else -(2**31))))
        steps.append(step)
    index = g.choose(("int64", "int32"))
    order = [a - x.rank if g.flag() else a for a in axes]
    g.add("Slice", [x, *(g.fixed(v, index) for v in (starts, ends, order, steps))], exact=True)


@recipe("shaping", "Split")
def split(g: Grower, op: str) -> None:
    x = any_value(g, 1)
    axis = g.integer(0, x.rank - 1)
    size = x.shape[axis]
    parts = g.integer(1, min(max(size, 1), 4))
    if g.flag() or size % parts:
        cuts = sorted(g.integer(0, size) for _ in range(parts - 1))
        sizes = np.diff([0, *cuts, size])
        g.add("Split", [x, g.fixed(sizes)], parts, exact=True, axis=axis)
    else:
        g.add("Split", [x], parts, exact=True, axis=axis, num_outputs=parts if g.opset >= 18 else None)


@recipe("shaping", "Pad")
def pad(g: Grower, op: str) -> None:
    modes = ("constant", "edge", "reflect", *(["wrap"] if g.opset >= 19 else []))
    mode = g.choose(modes)
    x = g.pick(ALL, (1, 4), ANY, lambda v: mode != "reflect" or min(v.shape) > 1, filled=True)
    most = [max(d - 1, 0) if mode == "reflect" else d if mode == "wrap" else 3 for d in x.shape]
    pads = [g.integer(0, min(m, 3)) for m in (*most, *most)]
    if mode == "constant":
        pads = [-1 if p == 3 and x.shape[i % x.rank] > 2 else p for i, p in enumerate(pads)]
    value = g.given(np.asarray(g.choose((1, 0))), x.dtype) if mode == "constant" and g.flag() else None
    if g.opset >= 18 and g.flag(3):
        axis = g.integer(0, x.rank - 1)
        pads = [pads[axis], pads[axis + x.rank]]
        g.add("Pad", [x, g.fixed(pads), value, g.fixed([axis])], exact=True, mode=mode)
    else:
        g.add("Pad", [x, g.fixed(pads), value], exact=True, mode=mode)


@recipe("shaping", "DepthToSpace", "SpaceToDepth")
def depth_and_space(g: Grower, op: str) -> None:
    b = g.choose((2, 3))
    if op == "DepthToSpace":
        shape = [g.choose((1, 2)), b * b * g.choose((1, 2, 3)), g.choose((1, 2, 5)), g.choose((1, 3))]
        mode = g.choose((None, "DCR", "CRD"))
    else:
        shape, mode = [g.choose((1, 2)), g.choose((1, 2, 3)), b * g.choose((1, 2)), b * g.choose((1, 3))], None
    dtype = g.choose(("float32", "float16", "float64", "uint8", "int64"))
    g.add(op, [g.like(dtype, shape)], exact=True, blocksize=b, mode=mode)
