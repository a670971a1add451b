"""Rules of contraction and convolution: accumulated in float32 or wider (integers in int64), rounded once."""

import math

import numpy as np

from lumir.dialects.contraction import parse_equation
from lumir.reference.reduction import windows
from lumir.reference.rules import Call, is_float, narrow, rule, widen


def _accumulating(x: np.ndarray) -> np.ndarray:
    return widen(x) if is_float(x.dtype) else x.astype(np.int64)


@rule("contract")
def contract(call: Call, lhs: np.ndarray, rhs: np.ndarray) -> np.ndarray:
    """Bring the operands to [batch, rows, summed] and [batch, summed, columns], and multiply."""
    left, right, out = parse_equation(call["equation"])
    sizes = {**dict(zip(left, lhs.shape, strict=True)), **dict(zip(right, rhs.shape, strict=True))}
    batch = [label for label in out if label in left and label in right]
    rows = [label for label in left if label not in right]
    columns = [label for label in right if label not in left]
    summed = [label for label in left if label not in out]

    def arranged(x: np.ndarray, labels: str, *groups: list[str]) -> np.ndarray:
        order = [labels.index(label) for group in groups for label in group]
        dims = [math.prod(sizes[label] for label in group) for group in groups]
        return _accumulating(x).transpose(order).reshape(dims)

    product = np.matmul(arranged(lhs, left, batch, rows, summed), arranged(rhs, right, batch, summed, columns))
    found = [*batch, *rows, *columns]
    result = product.reshape([sizes[label] for label in found]).transpose([found.index(label) for label in out])
    return narrow(result, call.dtypes[0])


@rule("conv")
def conv(call: Call, x: np.ndarray, filters: np.ndarray) -> np.ndarray:
    if not call["channels_last"]:
        return _conv(call, x, filters)
    return np.moveaxis(_conv(call, np.moveaxis(x, -1, 1), np.moveaxis(filters, -1, 1)), 1, -1)


def _conv(call: Call, x: np.ndarray, filters: np.ndarray) -> np.ndarray:
    window, groups = filters.shape[2:], call["groups"]
    seen = windows(_accumulating(x), 0, call, window)
    n, _, *places = seen.shape[: 2 + len(window)]
    per_group, out = filters.shape[1], filters.shape[0] // groups
    seen = seen.reshape(n, groups, per_group, math.prod(places), math.prod(window))
    left = seen.transpose(1, 0, 3, 2, 4).reshape(groups, n * math.prod(places), per_group * math.prod(window))
    right = _accumulating(filters).reshape(groups, out, -1)
    product = np.matmul(left, right.transpose(0, 2, 1))
    result = product.reshape(groups, n, math.prod(places), out).transpose(1, 0, 3, 2)
    return narrow(result.reshape(n, groups * out, *places), call.dtypes[0])
