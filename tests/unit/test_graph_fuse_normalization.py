"""lumir-fuse-normalization: written-out norms and softmaxes, and what only looks like them."""

import numpy as np
import pytest
from graph_helpers import Case, scalar

from lumir.dialects import attributes_of, build
from lumir.dtypes import mlir_type

SHAPE = (2, 3, 8)
X = np.zeros(SHAPE, np.float32)
PASSES = "lumir-canonicalize,lumir-fuse-normalization"


def reduce(x, kind, *axes, keep=True):
    result = build("reduce", x, kind=kind, axes=list(axes))
    dims = list(x.type.shape)
    return build("reshape", result, shape=[1 if i in axes else d for i, d in enumerate(dims)]) if keep else result


def mean(x, *axes, how="div"):
    count = float(np.prod([x.type.shape[a] for a in axes]))
    total = reduce(x, "sum", *axes)
    return build("div", total, scalar(count)) if how == "div" else build("mul", scalar(1 / count), total)


def square(x, how="mul"):
    return build("mul", x, x) if how == "mul" else build("pow", x, scalar(2))


def normalized(x, variance, epsilon=1e-5, how="rsqrt"):
    shifted = build("add", variance, scalar(epsilon))
    match how:
        case "rsqrt":
            return build("mul", x, build("rsqrt", shifted))
        case "reciprocal":
            return build("mul", build("div", scalar(1), build("sqrt", shifted)), x)
    return build("div", x, build("sqrt", shifted))


@pytest.mark.parametrize("axes", [(2,), (1, 2), (0, 1, 2)])
@pytest.mark.parametrize("how", ["rsqrt", "reciprocal", "div"])
@pytest.mark.parametrize("squares", ["mul", "pow"])
def test_root_mean_square(axes, how, squares):
    case = Case(lambda _, x: normalized(x, mean(square(x, squares), *axes), how=how), X)
    assert case.check(PASSES) == {"normalize": 1, "func.return": 1}
    with case.context:
        found = attributes_of(case.op("normalize"))
    assert found == {"axis": axes[0], "center": False, "epsilon": float(np.float32(1e-5))}


@pytest.mark.parametrize("axes", [(2,), (1, 2)])
@pytest.mark.parametrize("how", ["div", "mul"])
@pytest.mark.parametrize("twice", [False, True])
def test_layer_norm(axes, how, twice):
    """The centred value is computed once, or once for the variance and once for the result."""

    def body(_, x):
        centred = build("sub", x, mean(x, *axes, how=how))
        again = build("sub", x, mean(x, *axes, how=how)) if twice else centred
        return normalized(again, mean(square(centred), *axes, how=how), how="div")

    case = Case(body, X)
    assert case.check(PASSES, 1e-6) == {"normalize": 1, "func.return": 1}
    with case.context:
        assert attributes_of(case.op("normalize"))["center"]


def exps(x, *axes):
    return build("exp", build("sub", x, reduce(x, "max", *axes)))


SOFTMAX = {
    "shifted": (lambda x: build("div", e := exps(x, 1), reduce(e, "sum", 1)), {"axis": 1, "log": False}),
    "not shifted": (lambda x: build("div", e := build("exp", x), reduce(e, "sum", 2)), {"axis": 2, "log": False}),
    "by a reciprocal": (
        lambda x: build("mul", e := exps(x, 2), build("div", scalar(1), reduce(e, "sum", 2))),
        {"axis": 2, "log": False},
    ),
    "log": (
        lambda x: build(
            "sub", s := build("sub", x, reduce(x, "max", 0)), build("log", reduce(build("exp", s), "sum", 0))
        ),
        {"axis": 0, "log": True},
    ),
}


@pytest.mark.parametrize("name", SOFTMAX)
def test_softmax(name):
    body, attributes = SOFTMAX[name]
    case = Case(lambda _, x: body(x), X)
    assert case.check(PASSES) == {"softmax": 1, "func.return": 1}
    with case.context:
        assert attributes_of(case.op("softmax")) == attributes


@pytest.mark.parametrize("name", ["normalize", "softmax"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_casts_around_are_dropped(name, dtype):
    attributes = {"axis": 2, "epsilon": 1e-5, "center": True} if name == "normalize" else {"axis": 2, "log": False}

    def body(_, x):
        half, full = mlir_type(dtype), mlir_type("float32")
        x = build("cast", x, to=half)
        return build("cast", build(name, build("cast", x, to=full), **attributes), to=half)

    case = Case(body, X)
    inputs = case.inputs()
    (before,) = case.evaluate(inputs, "declared")
    assert case.run(PASSES)["cast"] == 1
    np.testing.assert_array_equal(case.evaluate(inputs, "declared")[0], before)


def var(x, *axes):
    return mean(square(x), *axes)


NEGATIVE = {
    "sum instead of mean": lambda x, y: normalized(x, reduce(square(x), "sum", 2)),
    "mean by another count": lambda x, y: normalized(x, build("div", reduce(square(x), "sum", 2), scalar(7))),
    "axes that do not end the shape": lambda x, y: normalized(x, var(x, 1)),
    "another value's variance": lambda x, y: normalized(x, var(y, 2)),
    "product of two values": lambda x, y: normalized(x, mean(build("mul", x, y), 2)),
    "negative epsilon": lambda x, y: normalized(x, var(x, 2), epsilon=-1e-9),
    "maximum instead of sum": lambda x, y: normalized(x, build("div", reduce(square(x), "max", 2), scalar(8))),
    "softmax over another sum": lambda x, y: build("div", build("exp", x), reduce(build("exp", y), "sum", 2)),
    "softmax over two axes": lambda x, y: build("div", e := build("exp", x), reduce(e, "sum", 1, 2)),
    "softmax by its maximum": lambda x, y: build("div", e := build("exp", x), reduce(e, "max", 2)),
    "log of another sum": lambda x, y: build("sub", x, build("log", reduce(build("exp", y), "sum", 2))),
}


@pytest.mark.parametrize("name", NEGATIVE)
def test_what_only_looks_like_it_stays(name):
    case = Case(lambda _, x, y: NEGATIVE[name](x, y), X, X)
    count = case.check(PASSES)
    assert count["normalize"] == count["softmax"] == 0


def test_a_mean_over_other_axes_does_not_centre():
    def body(_, x):
        shifted = build("sub", x, mean(x, 1))
        return normalized(shifted, var(shifted, 2))

    case = Case(body, X)
    assert case.check(PASSES)["normalize"] == 1
    with case.context:
        assert not attributes_of(case.op("normalize"))["center"]


def test_a_shift_over_other_axes_stays_before_the_softmax():
    case = Case(lambda _, x: build("div", e := exps(x, 1), reduce(e, "sum", 2)), X)
    count = case.check(PASSES)
    assert count["softmax"] == 1 and count["sub"] == 1
