"""Values that are known at compile time, also large ones, as the reference interpreter computes them."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np

from lumir.diagnostics import LumirError
from lumir.dialects.constants import dense_array
from lumir.graph.values import definition, shape, short_name
from lumir.mlir import ir
from lumir.reference import run_op
from lumir.sizes import is_static
from lumir.weights import WeightStore

LARGEST = 1 << 24
DEEPEST = 64
_store: ContextVar[WeightStore | None] = ContextVar("store", default=None)


@contextmanager
def use_store(store: WeightStore) -> Iterator[None]:
    """Let graph passes look at the elements of weights, e.g. to see that a large constant mask is causal."""
    token = _store.set(store)
    try:
        yield
    finally:
        _store.reset(token)


def known_array(value: ir.Value, depth: int = 0) -> np.ndarray | None:
    """The elements of a value that no input reaches; None if one does, or if it takes more than `LARGEST` elements.

    The elements of weights are known inside `use_store` only.
    """
    op = definition(value)
    if op is None or depth > DEEPEST or len(op.results) != 1 or short_name(op) == "size":
        return None
    if not all(map(is_static, shape(value))) or math.prod(shape(value)) > LARGEST:
        return None
    match short_name(op):
        case "constant":
            return dense_array(op.attributes["value"])
        case "load":
            return _weight(op)
    operands = []
    for operand in op.operands:
        array = known_array(operand, depth + 1)
        if array is None:
            return None
        operands.append(array)
    return run_op(op, operands)[0]


def _weight(load: ir.Operation) -> np.ndarray | None:
    store = _store.get()
    if store is None:
        return None
    root = load
    while root.parent is not None:
        root = root.parent.operation
    symbol = ir.SymbolTable(root)[load.attributes["weight"].value]
    if symbol.operation.name != "lumir.weight":
        return None
    try:
        return store.array(symbol)
    except LumirError:
        return None
