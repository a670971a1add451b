"""Reductions, scans, windows and order statistics through step 4 and the CPU's kernels, against the reference."""

import numpy as np
import pytest
from cpu_helpers import check, run, values

from lumir.dialects import build

LOOSE = {"float16": 2e-3, "bfloat16": 2e-2}


def _tolerance(dtype: str) -> dict[str, float]:
    return {"rtol": LOOSE.get(dtype, 1e-5), "atol": LOOSE.get(dtype, 1e-5)}


def _reductions(axes: list[int], kinds: tuple[str, ...]):
    return lambda x: [build("reduce", x, kind=k, axes=axes) for k in kinds]


@pytest.mark.parametrize(
    "dtype", ["float32", "float64", "float16", "bfloat16", "int32", "int64", "int8", "uint8", "bool"]
)
def test_reduce_of_every_type(dtype):
    kinds = ("max", "min") if dtype == "bool" else ("sum", "max", "min")
    x = values(np.random.default_rng(1), (3, 37), dtype)
    check(_reductions([1], kinds), x, **_tolerance(dtype))
    check(_reductions([0], kinds), x, **_tolerance(dtype))


@pytest.mark.parametrize(
    ("dims", "axes"),
    [((5,), [0]), ((3, 40), [0, 1]), ((40, 37), [0]), ((2, 9, 40), [1]), ((2, 9, 40), [0, 2]), ((2, 9, 40, 3), [1, 2]),
     ((2, 9, 64), [1]), ((1, 1, 1), [1]), ((3, 4, 5), []), ((7, 1, 16), [0, 1]), ((1000,), [0]),
     ((2, 3, 4, 5, 6), [1, 3])],
)  # fmt: skip
def test_reduce_over_any_axes(dims, axes):
    check(
        _reductions(axes, ("sum", "prod", "max", "min")), values(np.random.default_rng(2), dims), rtol=2e-5, atol=1e-5
    )


@pytest.mark.parametrize(
    ("dims", "axes"), [((2, 0, 40), [1]), ((0, 9), [1]), ((0, 9), [0]), ((3, 0), [0]), ((0,), [0])]
)
def test_reduce_of_nothing_is_neutral(dims, axes):
    check(_reductions(axes, ("sum", "prod", "max", "min")), values(np.random.default_rng(3), dims))
    check(_reductions(axes, ("sum", "max", "min")), values(np.random.default_rng(3), dims, "int32"))


def test_nan_and_infinity_are_kept():
    x = values(np.random.default_rng(4), (6, 40))
    x[0, 3], x[1, 39], x[2, 0], x[3, :] = np.nan, np.nan, np.inf, -np.inf
    ran = run(_reductions([1], ("sum", "max", "min")), x)
    for found, expected in zip(ran.results, ran.expected, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("kind", ["max", "min"])
@pytest.mark.parametrize("axis", [0, 1])
def test_arg_reduce(kind, last, axis):
    rng = np.random.default_rng(5)
    for x in (values(rng, (5, 37)), rng.integers(0, 3, (5, 37)), rng.integers(250, 256, (5, 7)).astype(np.uint8)):
        check(lambda x: build("arg_reduce", x, kind=kind, axis=axis, last=last), x)
    x = np.full((2, 4), -np.inf, np.float32) if kind == "max" else np.full((2, 4), np.inf, np.float32)
    check(lambda x: build("arg_reduce", x, kind=kind, axis=axis, last=last), x)


@pytest.mark.parametrize(("last", "found"), [(False, [1, 0]), (True, [3, 0])])
def test_arg_reduce_finds_the_first_nan_or_the_last(last, found):
    x = np.array([[1, np.nan, 3, np.nan], [np.nan, 0, 1, 2]], np.float32)
    for size in (4, 300):
        wide = np.concatenate([x, np.zeros((2, size - 4), np.float32)], axis=1)
        ran = run(lambda x: [build("arg_reduce", x, kind=k, axis=1, last=last) for k in ("max", "min")], wide)
        np.testing.assert_array_equal(ran.results, [found, found])


@pytest.mark.parametrize("exclusive", [True, False])
@pytest.mark.parametrize("reverse", [True, False])
@pytest.mark.parametrize(
    ("dims", "axis"), [((5,), 0), ((3, 40), 1), ((3, 40), 0), ((2, 3, 40, 17), 1), ((0, 3), 1), ((0, 3), 0)]
)
def test_scan(dims, axis, exclusive, reverse):
    x = values(np.random.default_rng(6), dims)

    def body(x):
        scans = [
            build("scan", x, kind=k, axis=axis, exclusive=exclusive, reverse=reverse) for k in ("sum", "prod", "max")
        ]
        return [*scans[1:], build("sigmoid", scans[0])]

    ran = check(body, x, rtol=2e-5, atol=1e-5)
    assert 0 in dims or set(ran.families) == {"scan"}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64", "int8", "int64", "uint8"])
def test_scan_of_every_type(dtype):
    x = values(np.random.default_rng(7), (12, 70), dtype)
    check(lambda x: build("scan", x, kind="sum", axis=0, exclusive=False, reverse=False), x, **_tolerance(dtype))


@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize(
    ("dims", "k"), [((5,), 2), ((3, 40), 40), ((3, 41), 1), ((2, 3, 17), 5), ((2, 1), 1), ((4, 7), 0), ((0, 7), 3),
                    ((3, 300), 77)]
)  # fmt: skip
def test_top_k(dims, k, largest):
    """Ties keep the order of their indices, NaN counts as the largest."""
    rng = np.random.default_rng(8)
    x = values(rng, dims)
    x.reshape(-1)[::7], x.reshape(-1)[1::9], x.reshape(-1)[2::11] = np.nan, np.inf, -np.inf
    for array in (x, rng.integers(0, 4, dims), rng.integers(0, 256, dims).astype(np.uint8)):
        ran = check(lambda x: build("top_k", x, k=k, largest=largest), array)
        assert 0 in (*dims, k) or ran.families == ["top_k"]


@pytest.mark.parametrize("part", [0, 1])
def test_one_result_of_top_k(part):
    x = values(np.random.default_rng(9), (3, 50), "float16")
    ran = check(lambda x: build("top_k", x, k=7, largest=True)[part], x)
    assert ran.families == ["top_k"]


def test_top_k_of_many():
    """A vocabulary: counting the elements ahead of each would take half a minute."""
    x = values(np.random.default_rng(10), (1, 100_000))
    check(lambda x: build("top_k", x, k=50, largest=True), x)


@pytest.mark.parametrize("kind", ["sum", "max"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "uint8"])
def test_window_reduce(kind, dtype):
    x = values(np.random.default_rng(11), (2, 3, 11, 13), dtype)
    for window, strides, dilations, low, high in (
        ((3, 3), (1, 1), (1, 1), (1, 1), (1, 1)),
        ((2, 5), (2, 3), (1, 1), (0, 2), (1, 0)),
        ((3, 2), (1, 2), (2, 3), (0, 0), (2, 2)),
        ((1, 1), (1, 1), (1, 1), (0, 0), (0, 0)),
    ):
        check(
            lambda x: build(
                "window_reduce", x, kind=kind, window=list(window), strides=list(strides), dilations=list(dilations),  # noqa: B023
                low=list(low), high=list(high),  # noqa: B023
            ), x, **_tolerance(dtype),
        )  # fmt: skip
