"""Rules of the ops that move elements without computing."""

from collections.abc import Callable

import numpy as np

from lumir.reference.rules import Call, narrow, rule, widen


@rule("reshape")
def reshape(call: Call, x: np.ndarray) -> np.ndarray:
    return x.reshape(call.shapes[0])


@rule("transpose")
def transpose(call: Call, x: np.ndarray) -> np.ndarray:
    return x.transpose(call["permutation"])


@rule("broadcast")
def broadcast(call: Call, x: np.ndarray) -> np.ndarray:
    return np.broadcast_to(x, call.shapes[0])


@rule("slice")
def slice_(call: Call, x: np.ndarray) -> np.ndarray:
    def along(start: int, size: int, step: int) -> slice:
        stop = start + size * step
        return slice(0, 0) if size == 0 else slice(start, None if stop < 0 else stop, step)

    parts = zip(call["starts"], call["sizes"], call["steps"], strict=True)
    return x[tuple(along(*part) for part in parts)]


@rule("pad")
def pad(call: Call, x: np.ndarray, value: np.ndarray) -> np.ndarray:
    if call["mode"] != "constant":
        for axis, low in enumerate(call["low"]):
            index = np.arange(call.shapes[0][axis]) - low
            x = np.take(x, PAD_INDEX[call["mode"]](index, x.shape[axis]), axis)
        return x
    result = np.full(call.shapes[0], value, x.dtype)
    positions = [
        lo + np.arange(n) * (gap + 1) for lo, n, gap in zip(call["low"], x.shape, call["interior"], strict=True)
    ]
    kept = [(p >= 0) & (p < size) for p, size in zip(positions, result.shape, strict=True)]
    result[np.ix_(*(p[k] for p, k in zip(positions, kept, strict=True)))] = x[np.ix_(*kept)]
    return result


def _reflect(index: np.ndarray, size: int) -> np.ndarray:
    period = max(2 * (size - 1), 1)
    return np.minimum(index % period, period - index % period) if size > 1 else index * 0


PAD_INDEX: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "edge": lambda index, size: np.clip(index, 0, size - 1),
    "wrap": lambda index, size: index % size,
    "reflect": _reflect,
}


@rule("concat")
def concat(call: Call, *operands: np.ndarray) -> np.ndarray:
    return np.concatenate(operands, axis=call["axis"])


@rule("iota")
def iota(call: Call) -> np.ndarray:
    dims, dtype = call.shapes[0], call.dtypes[0]
    axis = call["axis"] % len(dims)
    line = narrow(np.arange(dims[axis]), dtype)
    return np.broadcast_to(line.reshape([-1 if i == axis else 1 for i in range(len(dims))]), dims)


@rule("size")
def size(call: Call) -> np.ndarray:
    """Of a size that depends on symbols, under declarations that give each of them one value."""
    return np.asarray(call["value"], np.int64)


@rule("gather")
def gather(call: Call, x: np.ndarray, indices: np.ndarray) -> np.ndarray:
    return np.take(x, widen(indices), axis=call["axis"])


def _element_index(indices: np.ndarray, axis: int) -> tuple[np.ndarray, ...]:
    """Index arrays that name, for each element of `indices`, the place with `axis` replaced by that element."""
    grid = tuple(np.indices(indices.shape, sparse=True))
    axis %= indices.ndim
    return (*grid[:axis], widen(indices), *grid[axis + 1 :])


@rule("gather_elements")
def gather_elements(call: Call, x: np.ndarray, indices: np.ndarray) -> np.ndarray:
    return x[_element_index(indices, call["axis"])]


def _tuple_index(indices: np.ndarray) -> tuple[np.ndarray, ...]:
    return tuple(np.moveaxis(widen(indices), -1, 0))


@rule("gather_nd")
def gather_nd(call: Call, x: np.ndarray, indices: np.ndarray) -> np.ndarray:
    batch = indices.shape[: call["batch_dims"]]
    grid = np.indices(batch, sparse=True) if batch else ()
    inner = indices.ndim - 1 - len(batch)
    leading = tuple(g.reshape(g.shape + (1,) * inner) for g in grid)
    return x[leading + _tuple_index(indices)].reshape(call.shapes[0])


COMBINE = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}


def _scatter(x: np.ndarray, index: tuple[np.ndarray, ...], updates: np.ndarray, kind: str) -> np.ndarray:
    """Write in row-major order of the indices: of equal ones the last `set` wins."""
    result = widen(x).copy()
    if kind == "set":
        result[index] = widen(updates)
    else:
        COMBINE[kind].at(result, index, widen(updates))
    return narrow(result, x.dtype)


@rule("scatter_elements")
def scatter_elements(call: Call, x: np.ndarray, indices: np.ndarray, updates: np.ndarray) -> np.ndarray:
    return _scatter(x, _element_index(indices, call["axis"]), updates, call["kind"])


@rule("scatter_nd")
def scatter_nd(call: Call, x: np.ndarray, indices: np.ndarray, updates: np.ndarray) -> np.ndarray:
    return _scatter(x, _tuple_index(indices), updates, call["kind"])
