"""Views as strided memory, held against numpy: the same operations on an array of addresses."""

import itertools

import cases
import harness
import numpy as np
import pytest

from lumir.dialects import build
from lumir.dtypes import mlir_type
from lumir.kernels.strided import Strided, strided_argument, strided_results
from lumir.mlir import ir

SHAPE = (4, 6, 10)
CHAINS = {
    "plain": [],
    "transposed": [("transpose", [2, 0, 1])],
    "merged": [("reshape", [24, 10])],
    "split": [("reshape", [4, 2, 3, 5, 2])],
    "heads": [("reshape", [4, 6, 2, 5]), ("transpose", [0, 2, 1, 3])],
    "heads merged again": [("reshape", [4, 6, 2, 5]), ("transpose", [2, 0, 1, 3]), ("reshape", [2, 24, 5])],
    "merged across": [("transpose", [1, 0, 2]), ("reshape", [24, 10]), ("reshape", [6, 4, 10])],
    "sliced": [("slice", ([1, 0, 3], [2, 6, 4], [1, 1, 1]))],
    "stepped": [("slice", ([1, 1, 0], [2, 2, 5], [2, 3, 2])), ("transpose", [2, 1, 0])],
    "sliced, then split": [("slice", ([0, 0, 1], [4, 6, 8], [1, 1, 1])), ("reshape", [4, 6, 2, 4])],
    "ones": [("reshape", [1, 4, 6, 1, 10]), ("transpose", [3, 2, 0, 1, 4])],
}
NOT_STRIDED = {
    "neighbours that memory has apart, split unevenly": [("transpose", [1, 0, 2]), ("reshape", [8, 30])],
    "a slice of what memory has in two parts": [
        ("transpose", [1, 0, 2]),
        ("reshape", [24, 10]),
        ("slice", ([1, 0], [3, 10], [1, 1])),
    ],
}


@pytest.fixture(autouse=True)
def _context():
    with harness.kernel_context():
        yield


def viewed(x: ir.Value, steps) -> ir.Value:
    for kind, how in steps:
        if kind == "transpose":
            x = build("transpose", x, permutation=how)
        elif kind == "reshape":
            x = build("reshape", x, shape=how)
        else:
            starts, sizes, step = how
            x = build("slice", x, starts=starts, sizes=sizes, steps=step)
    return x


def chained(steps) -> str:
    return cases.dispatch(lambda x: viewed(x, steps), (SHAPE, "float32"))


def on_addresses(steps) -> np.ndarray:
    array = np.arange(np.prod(SHAPE)).reshape(SHAPE)
    for kind, how in steps:
        if kind == "transpose":
            array = array.transpose(how)
        elif kind == "reshape":
            array = array.reshape(how)
        else:
            array = array[tuple(slice(s, s + (n - 1) * k + 1, k) for s, n, k in zip(*how, strict=True))]
    return array


def addresses(view: Strided, shape) -> np.ndarray:
    """What the view says of every element."""
    found = np.full(shape, view.offset)
    for place in itertools.product(*map(range, shape)):
        for at, factors in zip(place, view.dims):
            for size, stride in reversed(factors):
                at, inner = divmod(at, size)
                found[place] += inner * stride
            assert at == 0
    return found


@pytest.mark.parametrize("name", CHAINS)
def test_chains_of_views(name):
    module, dispatch = harness.lowered(chained(CHAINS[name]))
    found = strided_argument(dispatch, dispatch.results[0])
    assert found is not None and found[0] == dispatch.arguments[0]
    wanted = on_addresses(CHAINS[name])
    np.testing.assert_array_equal(addresses(found[1], wanted.shape), wanted)
    del module


@pytest.mark.parametrize("name", NOT_STRIDED)
def test_what_is_not_strided(name):
    module, dispatch = harness.lowered(chained(NOT_STRIDED[name]))
    assert strided_argument(dispatch, dispatch.results[0]) is None
    del module


@pytest.mark.parametrize("change", [lambda x: build("neg", x), lambda x: build("cast", x, to=mlir_type("float16"))])
def test_computed_values_are_no_views(change):
    module, dispatch = harness.lowered(cases.dispatch(change, (SHAPE, "float32")))
    assert strided_argument(dispatch, dispatch.results[0]) is None
    del module


@pytest.mark.parametrize("name", [name for name in CHAINS if "sli" not in name and "step" not in name])
def test_results_in_terms_of_their_root(name):
    """Views after a computation: where each element of the computed tensor ends in the result's memory."""

    steps = CHAINS[name]
    text = cases.dispatch(lambda x: viewed(build("neg", x), steps), (SHAPE, "float32"))
    module, dispatch = harness.lowered(text)
    root = next(op for op in dispatch.operations if op.operation.name == "linalg.generic").results[0]
    (view,) = strided_results(dispatch, root)
    moved = on_addresses(steps)
    wanted = np.empty(SHAPE, np.int64)
    wanted.reshape(-1)[moved.reshape(-1)] = np.arange(moved.size)
    if view is not None:
        np.testing.assert_array_equal(addresses(view, SHAPE), wanted)
    else:
        assert "merged" in name
    del module
