"""How far two correct implementations of a node may lie apart: measured by disturbing its inputs."""

from collections.abc import Sequence

import numpy as np

from tests.fuzz.oracle import NodeRunner
from tests.fuzz.values import Array, Value

PROBES = 8
ROUNDINGS = 8.0
WORST = {2: 0.1, 4: 2e-3, 8: 1e-6}
"""By the size of a float in bytes: the largest error, relative to the tensor's largest element, worth comparing."""


class IllConditioned(Exception):
    """A tiny change of the inputs changes the result's meaning: there is nothing to compare."""


def errors_of(
    runner: NodeRunner, inputs: Sequence[Value], outputs: Sequence[Array], exact: bool, absolute: float
) -> list[Array | None]:
    """An error bound for each float output.

    Each float input is moved by its own error, and by one rounding unless the node is exact, up or down at random; what
    that does to the output, doubled, plus the node's own rounding errors, is the bound.

    Args:
        exact: the node moves or compares elements and rounds nothing.
        absolute: an error that approximations of the node's function may have, in float32.

    Raises:
        IllConditioned: an output that must be equal moved, or a float output's bound says nothing.
    """
    rng = np.random.default_rng(len(outputs) + sum(x.array.size for x in inputs))
    spread = [np.zeros(array.shape) for array in outputs]
    for _ in range(PROBES if any(_moves(x, exact) for x in inputs) else 0):
        moved = runner.run({x.name: _disturbed(rng, x, exact) for x in inputs if not x.fixed and _moves(x, exact)})
        for index, (before, after) in enumerate(zip(outputs, moved, strict=True)):
            spread[index] = np.maximum(spread[index], _distance(before, after))
    return [_bound(array, far, exact, absolute) for array, far in zip(outputs, spread, strict=True)]


def epsilon(dtype: np.dtype) -> float:
    return float(np.finfo(dtype).eps)


def _moves(value: Value, exact: bool) -> bool:
    if value.array.dtype.kind != "f":
        return False
    return not exact or (value.error is not None and bool(value.error.any()))


def _disturbed(rng: np.random.Generator, value: Value, exact: bool) -> Array:
    wide = value.array.astype(np.float64)
    size = np.zeros(wide.shape) if value.error is None else value.error
    if not exact:
        size = np.maximum(size, epsilon(value.array.dtype) * np.where(np.isfinite(wide), np.abs(wide), 0))
    sign = np.where(rng.random(wide.shape) < 0.5, -1.0, 1.0)
    with np.errstate(all="ignore"):
        moved = (wide + sign * size).astype(value.array.dtype)
    return np.asarray(np.where(np.isfinite(moved), moved, value.array))


def _distance(before: Array, after: Array) -> Array:
    if before.dtype.kind != "f":
        if not np.array_equal(before, after):
            raise IllConditioned
        return np.zeros(before.shape)
    strange = ~np.isfinite(before) | ~np.isfinite(after)
    if not np.array_equal(before[strange], after[strange], equal_nan=True):
        raise IllConditioned
    with np.errstate(all="ignore"):
        far = np.abs(after.astype(np.float64) - before.astype(np.float64))
    return np.where(strange, 0.0, far)


def _bound(array: Array, spread: Array, exact: bool, absolute: float) -> Array | None:
    if array.dtype.kind != "f":
        return None
    wide = np.where(np.isfinite(array), np.abs(array.astype(np.float64)), 0.0)
    bound = spread
    if not exact:
        unit = epsilon(array.dtype)
        bound = 2 * spread + ROUNDINGS * unit * wide + absolute * unit / epsilon(np.dtype(np.float32))
        bound = np.maximum(bound, bound.mean() if bound.size else 0.0)
    if bound.size and bound.max() > WORST[array.dtype.itemsize] * max(wide.max(), 1e-3):
        raise IllConditioned
    return bound
