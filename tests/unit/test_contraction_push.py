"""Paths from a tensor's places to a result's: numbers in, numbers out, against numpy."""

import itertools
from collections.abc import Callable

import cases
import numpy as np
import pytest

from lumir.context import make_context
from lumir.dialects import build
from lumir.dtypes import mlir_type
from lumir.kernels.dispatch import Dispatch
from lumir.kernels.index import Index, IndexMath
from lumir.kernels.push import Path, matching_groups, result_paths
from lumir.linalg.lower import LowerToLinalg, dispatches
from lumir.mlir import ir

Value = ir.Value
SHAPE = (4, 6, 10)


@pytest.fixture(autouse=True)
def _context():
    with make_context(), ir.Location.unknown():
        yield


def paths_of(body: Callable[..., Value | list[Value]], *more: cases.Argument) -> list[Path] | None:
    """The paths from exp of the first argument (of SHAPE) to the results of `body(exp, others...)`."""
    text = cases.dispatch(lambda x, *others: body(build("exp", x), *others), (SHAPE, "float32"), *more)
    module = ir.Module.parse(text)
    LowerToLinalg().run(module)
    dispatch = Dispatch(dispatches(module)[0])
    assert str(dispatch.nests[0].block).count("math.exp") == 1
    paths = result_paths(dispatch, dispatch.nests[0].op.results[0])
    del module
    return paths


def moved(path: Path, place: tuple[int, ...]) -> tuple[int, ...]:
    index = IndexMath(ir.IntegerType.get_signless(32))
    return tuple(int(i.base) for i in path.place(index, tuple(Index(i) for i in place)))  # pyright: ignore[reportArgumentType]


def assert_moves_like(path: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    source = np.arange(np.prod(SHAPE)).reshape(SHAPE)
    result = change(source)
    for place in itertools.product(*map(range, SHAPE)):
        assert result[moved(path, place)] == source[place]


def transpose(x: Value, *order: int) -> Value:
    return build("transpose", x, permutation=list(order))


def reshape(x: Value, *shape: int) -> Value:
    return build("reshape", x, shape=list(shape))


@pytest.mark.parametrize(
    ("body", "change"),
    [
        (lambda x: x, lambda a: a),
        (lambda x: build("mul", x, build("erf", x)), lambda a: a),
        (lambda x: transpose(x, 2, 0, 1), lambda a: a.transpose(2, 0, 1)),
        (lambda x: reshape(x, 24, 2, 5), lambda a: a.reshape(24, 2, 5)),
        (
            lambda x: transpose(reshape(x, 4, 6, 2, 5), 0, 2, 1, 3),
            lambda a: a.reshape(4, 6, 2, 5).transpose(0, 2, 1, 3),
        ),
        (lambda x: reshape(transpose(x, 1, 0, 2), 6, 40), lambda a: a.transpose(1, 0, 2).reshape(6, 40)),
        (lambda x: reshape(x, 3, 8, 10), lambda a: a.reshape(3, 8, 10)),
        (lambda x: reshape(x, 1, 4, 6, 10, 1), lambda a: a.reshape(1, 4, 6, 10, 1)),
    ],
)
def test_places_move_like_numpy(body, change):
    paths = paths_of(body)
    assert paths is not None
    assert_moves_like(paths[0], change)


def test_there_and_back_is_the_empty_path():
    assert paths_of(lambda x: transpose(transpose(x, 2, 0, 1), 1, 2, 0)) == [Path()]
    assert paths_of(lambda x: reshape(reshape(x, 240), *SHAPE)) == [Path()]


def test_results_have_paths_of_their_own():
    paths = paths_of(lambda x: [x, transpose(x, 1, 0, 2)])  # pyright: ignore[reportArgumentType]
    assert paths is not None and paths[0] == Path() and paths[1] != Path()


def test_other_operands_may_broadcast():
    add = lambda x, bias: build("add", x, bias)  # noqa: E731
    assert paths_of(add, ((10,), "float32")) == [Path()]


@pytest.mark.parametrize(
    "body",
    [
        lambda x: build("reduce", x, kind="sum", axes=[1]),
        lambda x: build("softmax", x, axis=2, log=False),
        lambda x: build("slice", x, starts=[0, 1, 0], sizes=[4, 3, 10], steps=[1, 1, 1]),
        lambda x: build("concat", x, x, axis=1),
        lambda x: build("add", x, reshape(transpose(x, 2, 1, 0), *SHAPE)),
        lambda x: build(
            "cast", build("slice", x, starts=[3, 5, 9], sizes=[4, 6, 10], steps=[-1, -1, -1]), to=mlir_type("float16")
        ),
    ],
)
def test_no_path_where_an_element_is_needed_elsewhere(body):
    assert paths_of(body) is None


def test_no_path_through_a_broadcast():
    assert paths_of(lambda x, y: build("add", reshape(x, 1, 4, 6, 10), y), ((3, 4, 6, 10), "float32")) is None


@pytest.mark.parametrize(
    ("old", "new", "groups"),
    [
        ((2, 20, 96), (40, 6, 16), [((0, 1), (0,)), ((2,), (1, 2))]),
        ((6, 4), (4, 6), [((0, 1), (0, 1))]),
        ((3,), (3, 1), [((0,), (0,)), ((), (1,))]),
        ((), (1, 1), [((), (0,)), ((), (1,))]),
        ((2, 0), (0, 3), [((0, 1), (0, 1))]),
    ],
)
def test_matching_groups(old, new, groups):
    assert [(tuple(a), tuple(b)) for a, b in matching_groups(old, new)] == groups
