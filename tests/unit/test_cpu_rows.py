"""CPU family `rows`: softmax, normalisation and reductions with what is fused around them."""

import numpy as np
import pytest
from cpu_helpers import check, kind, values

from lumir.dialects import build

SHAPES = [((5, 40), 1), ((40, 5), 1), ((3, 1), 1), ((1, 17), 1), ((2, 9, 48), 1), ((2, 9, 37), 1), ((2, 3, 4, 64), 2),
          ((7,), 0), ((3, 0), 1), ((0, 3), 1), ((33, 16), 0)]  # fmt: skip
TIGHT = {"float32": 5e-6, "float64": 1e-12, "float16": 2e-3, "bfloat16": 1.6e-2}


@pytest.mark.parametrize("log", [True, False])
@pytest.mark.parametrize(("dims", "axis"), SHAPES)
def test_softmax(dims, axis, log):
    ran = check(
        lambda x: build("softmax", x, axis=axis, log=log), 4 * values(np.random.default_rng(1), dims), rtol=5e-6
    )
    assert 0 in dims or ran.families == ["rows"]


@pytest.mark.parametrize("dtype", TIGHT)
@pytest.mark.parametrize("center", [True, False])
def test_normalize(dtype, center):
    rng = np.random.default_rng(2)
    for dims, axis in (((5, 37), 1), ((2, 3, 8, 16), 2), ((4, 1), 1), ((1, 300), 0)):
        x = values(rng, dims, dtype)
        check(
            lambda x: build("normalize", x, axis=axis, epsilon=1e-5, center=center),  # noqa: B023
            x, rtol=TIGHT[dtype], atol=TIGHT[dtype],
        )  # fmt: skip


def test_a_large_mean_does_not_cancel_the_variance():
    x = (1000 + values(np.random.default_rng(3), (4, 256))).astype(np.float32)
    check(lambda x: build("normalize", x, axis=1, epsilon=1e-5, center=True), x, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_layer_norm_with_everything_around_it(dtype):
    """A residual before, scale, bias and an activation after: one launch."""
    rng = np.random.default_rng(4)
    x, y, scale, bias = (values(rng, dims, dtype) for dims in ((3, 7, 72), (3, 7, 72), (72,), (72,)))

    def body(x, y, scale, bias):
        normal = build("normalize", build("add", x, y), axis=2, epsilon=1e-5, center=True)
        return build("tanh", build("add", build("mul", normal, scale), bias))

    ran = check(body, x, y, scale, bias, rtol=TIGHT[dtype], atol=TIGHT[dtype])
    assert ran.families == ["rows"]


def test_masked_softmax_reads_through_views():
    rng = np.random.default_rng(5)
    x, keep = values(rng, (2, 4, 9, 33)), values(rng, (2, 1, 1, 33), "bool")
    keep[..., 0] = True

    def body(x, keep):
        turned = build("transpose", build("reshape", x, shape=[2, 4, 33, 9]), permutation=[0, 1, 3, 2])
        low = build("sub", turned, build("broadcast", _huge(turned), shape=[2, 4, 9, 33]))
        return build("softmax", build("select", keep, turned, low), axis=3, log=False)

    check(body, x, keep, rtol=1e-5)


def _huge(x):
    return build("exp", build("reduce", build("mul", x, build("sub", x, x)), kind="max", axes=[0, 1, 2, 3]))


@pytest.mark.parametrize("inner", [1, 8, 16, 19, 64])
def test_rows_side_by_side(inner):
    """Reductions over a dimension that is not the last: neighbouring rows share vectors, the ragged rest too."""
    rng = np.random.default_rng(6)
    x, y = values(rng, (3, 50, inner)), values(rng, (3, 1, inner))
    ran = check(
        lambda x, y: [
            build("reduce", build("mul", x, y), kind="sum", axes=[1]), build("softmax", x, axis=1, log=False),
            build("sqrt", build("reduce", build("mul", x, x), kind="sum", axes=[0, 1])),
        ], x, y, rtol=1e-5, atol=1e-5,
    )  # fmt: skip
    assert set(ran.families) == {"rows"}


def test_integer_and_bool_rows():
    rng = np.random.default_rng(7)
    x, flags = values(rng, (9, 130), "int8"), values(rng, (9, 130), "bool")

    def body(x, flags):
        wide = build("cast", x, to=kind("int32"))
        return [
            build("reduce", build("mul", wide, wide), kind="sum", axes=[1]),
            build("reduce", flags, kind="max", axes=[1]),
            build("reduce", build("cast", flags, to=kind("int64")), kind="sum", axes=[0]),
        ]

    check(body, x, flags)
