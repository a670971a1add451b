"""Gathers, scatters, and what selects by index."""

from collections.abc import Sequence

import numpy as np

from tests.fuzz.grower import ANY, Grower
from tests.fuzz.recipes.table import recipe
from tests.fuzz.values import ALL, FLOATS, INTEGERS, Array, Value

REDUCTIONS = {"add": 16, "mul": 16, "max": 18, "min": 18}


def rng_of(g: Grower) -> np.random.Generator:
    return np.random.default_rng([g.seed, len(g.values), 7])


def _signed(g: Grower, index: Array, size: int) -> Array:
    """The same places, some counted from the end."""
    return np.where(rng_of(g).random(index.shape) < 0.3, index - size, index) if g.flag(3) else index


def _filled(g: Grower, low: int = 1) -> Value:
    return g.pick(ALL, (low, 4), ANY, filled=True)


@recipe("indexing", "Gather")
def gather(g: Grower, op: str) -> None:
    x = _filled(g)
    axis = g.integer(0, x.rank - 1)
    picks = np.asarray(rng_of(g).integers(0, x.shape[axis], g.shape(0, 2, 40)))
    index = g.given(_signed(g, picks, x.shape[axis]), g.choose(("int64", "int32")))
    g.add("Gather", [x, index], exact=True, axis=axis - x.rank if g.flag() else axis)


@recipe("indexing", "GatherElements")
def gather_elements(g: Grower, op: str) -> None:
    x = _filled(g)
    axis = g.integer(0, x.rank - 1)
    dims = [g.choose((d, 2, 1)) if i == axis else g.integer(1, d) for i, d in enumerate(x.shape)]
    picks = rng_of(g).integers(0, x.shape[axis], dims)
    index = g.given(_signed(g, picks, x.shape[axis]), g.choose(("int64", "int32")))
    g.add("GatherElements", [x, index], exact=True, axis=axis)


@recipe("indexing", "GatherND")
def gather_nd(g: Grower, op: str) -> None:
    x = _filled(g)
    batch = g.integer(0, x.rank - 1)
    depth = g.integer(1, x.rank - batch)
    dims = [*x.shape[:batch], *g.shape(0 if batch else 1, 2, 20)]
    index = np.stack([rng_of(g).integers(0, d, dims) for d in x.shape[batch : batch + depth]], axis=-1)
    g.add("GatherND", [x, g.given(index, "int64")], exact=True, batch_dims=batch or None)


@recipe("indexing", "ScatterElements")
def scatter_elements(g: Grower, op: str) -> None:
    """Without a reduction no two updates meet: their order would be undefined."""
    reduction = _reduction(g)
    x = _target(g, reduction)
    axis = g.integer(0, x.rank - 1)
    dims = [g.integer(1, d) for d in x.shape]
    if reduction is None:
        picks = np.argsort(rng_of(g).random(x.shape), axis)[tuple(slice(d) for d in dims)]
    else:
        picks = rng_of(g).integers(0, x.shape[axis], dims)
    index = g.given(_signed(g, picks, x.shape[axis]), g.choose(("int64", "int32")))
    updates = g.like(x.dtype, dims)
    g.add(
        "ScatterElements", [x, index, updates], exact=reduction in (None, "max", "min"), axis=axis, reduction=reduction
    )


@recipe("indexing", "ScatterND")
def scatter_nd(g: Grower, op: str) -> None:
    reduction = _reduction(g)
    x = _target(g, reduction)
    depth = g.integer(1, x.rank)
    places = int(np.prod(x.shape[:depth]))
    count = g.integer(1, min(places, 6))
    flat = rng_of(g).choice(places, count, replace=reduction is not None)
    index = np.stack(np.unravel_index(flat, x.shape[:depth]), axis=-1)
    updates = g.like(x.dtype, [count, *x.shape[depth:]])
    inputs = [x, g.given(index, "int64"), updates]
    g.add("ScatterND", inputs, exact=reduction in (None, "max", "min"), reduction=reduction)


def _reduction(g: Grower) -> str | None:
    return g.choose([None, *(name for name, since in REDUCTIONS.items() if g.opset >= since)])


def _target(g: Grower, reduction: str | None) -> Value:
    dtypes: Sequence[str] = ALL if reduction is None else (*FLOATS, *INTEGERS)
    return g.pick(dtypes, (1, 3), filled=True)


@recipe("indexing", "ReverseSequence")
def reverse_sequence(g: Grower, op: str) -> None:
    x = _filled(g, 2)
    time = g.choose((0, 1))
    lengths = rng_of(g).integers(0, x.shape[time] + 1, x.shape[1 - time])
    g.add("ReverseSequence", [x, g.given(lengths, "int64")], exact=True, time_axis=time, batch_axis=1 - time)


@recipe("indexing", "Compress")
def compress(g: Grower, op: str) -> None:
    x = _filled(g)
    axis = g.choose((None, 0, -1))
    size = x.array.size if axis is None else x.shape[axis]
    condition = rng_of(g).random(g.integer(1, size)) < 0.5
    g.add("Compress", [x, g.fixed(condition, "bool")], exact=True, axis=axis)


@recipe("indexing", "TensorScatter")
def tensor_scatter(g: Grower, op: str) -> None:
    if g.opset < 24:
        return
    cache = g.pick(("float32", "float16", "int32"), (3, 4), filled=True)
    length = g.integer(1, cache.shape[-2])
    update = g.like(cache.dtype, [*cache.shape[:-2], length, cache.shape[-1]])
    mode = g.choose((None, "linear", "circular"))
    most = cache.shape[-2] - (1 if mode == "circular" else length)
    start = [g.given(rng_of(g).integers(0, most + 1, cache.shape[0]), "int64")] if g.flag() else []
    g.add("TensorScatter", [cache, update, *start], exact=True, mode=mode)
