"""lumir-channels-last: chains of convolutions turn, results stay."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from graph_helpers import Case, scalar

from lumir.dialects import build
from lumir.dtypes import mlir_type

RNG = np.random.default_rng(5)
PASSES = "lumir-channels-last,lumir-fold-constants,lumir-canonicalize"


def normal(*dims, dtype: Any = np.float16):
    return RNG.standard_normal(dims).astype(dtype)


def conv(case, x, name, *window, strides=(1, 1), pad=(0, 0), groups=1, dtype: Any = np.float16):
    w = case.weight(name, normal(*window, dtype=dtype))
    return build(
        "conv", x, w, strides=list(strides), dilations=[1] * len(strides), low=list(pad), high=list(pad),
        groups=groups, to=mlir_type(np.dtype(dtype)),
    )  # fmt: skip


def test_a_residual_network_is_turned_once():
    """A stem of three colours, pooling, a bottleneck with a shortcut, the mean over the image."""

    def body(case, image):
        y = build("max", conv(case, image, "stem", 8, 3, 7, 7, strides=(2, 2), pad=(3, 3)), scalar(0, np.float16))
        y = build(
            "window_reduce", y, kind="max", window=[3, 3], strides=[2, 2], dilations=[1, 1], low=[1, 1], high=[1, 1]
        )
        z = build("add", conv(case, y, "a", 4, 8, 1, 1), case.weight("bias", normal(4, 1, 1)))
        z = build("max", z, scalar(0, np.float16))
        z = build("mul", conv(case, z, "b", 4, 4, 3, 3, pad=(1, 1)), case.weight("scale", normal(1, 4, 1, 1)))
        z = build("add", conv(case, z, "c", 16, 4, 1, 1), conv(case, y, "d", 16, 8, 1, 1))
        total = build("reduce", build("cast", z, to=mlir_type("float32")), kind="sum", axes=[2, 3])
        return build("mul", total, scalar(1 / 16))

    case = Case(body, normal(2, 3, 14, 18))
    count = case.check(PASSES, 1e-6)
    assert count["transpose"] == 1 and count["pad"] == 1
    assert count["conv"] == 2 and count["contract"] == 3
    with case.context:
        assert all(op.attributes["channels_last"].value for op in case.ops() if op.name == "lumir.conv")


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 2, 6])
def test_every_rank_and_groups(rank, groups):
    def body(case, image):
        y = conv(case, image, "w", 12, 6 // groups, *[3] * rank, strides=[2] * rank, pad=[1] * rank, groups=groups)
        return build("transpose", y, permutation=[1, 0, *range(2, rank + 2)])

    case = Case(body, normal(2, 6, *[7, 5, 4][:rank]))
    case.check(PASSES, 1e-6)


def test_what_lies_between_follows():
    """Concatenation of channels, padding, slices, a product with a factor of each image, select."""

    def body(case, image, factor, mask):
        y = conv(case, image, "a", 5, 4, 3, 3)
        z = conv(case, image, "b", 3, 4, 3, 3)
        y = build("concat", y, z, axis=1)
        y = build(
            "pad", y, scalar(0, np.float16), low=[0, 0, 1, 0], high=[0, 0, 0, 2], interior=[0] * 4, mode="constant"
        )
        y = build("slice", y, starts=[0, 1, 0, 1], sizes=[2, 6, 5, 4], steps=[1, 1, 1, 2])
        y = build("select", build("lt", mask, scalar(0, np.float16)), y, build("mul", y, factor))
        return conv(case, y, "c", 7, 6, 1, 1, strides=(2, 1))

    case = Case(body, normal(2, 4, 6, 9), normal(2, 6, 1, 1), normal(2, 6, 5, 4))
    count = case.check(PASSES, 1e-6)
    assert count["conv"] == 3


def test_float32_and_other_reductions_stay():
    def single(case, image):
        return conv(case, image, "w", 4, 3, 3, 3, dtype=np.float32)

    assert Case(single, normal(1, 3, 6, 6, dtype=np.float32)).check(PASSES)["transpose"] == 0

    def channels(case, image):
        y = conv(case, image, "w", 4, 3, 3, 3, dtype=ml_dtypes.bfloat16)
        return build("reduce", y, kind="max", axes=[1])

    assert Case(channels, normal(1, 3, 6, 6, dtype=ml_dtypes.bfloat16)).check(PASSES, 1e-6)["conv"] == 1


@pytest.mark.parametrize("groups", [1, 3])
def test_pooling_and_convolution_with_channels_last_are_the_same(groups):
    """The op itself, against the one with the channels second on transposed operands."""

    def body(case, x, w):
        attributes = {"strides": [2, 1], "dilations": [1, 2], "low": [1, 0], "high": [0, 1]}
        pool = {**attributes, "kind": "sum", "window": [2, 2]}
        last, filters = (build("transpose", v, permutation=[0, 2, 3, 1]) for v in (x, w))
        one = {**attributes, "groups": groups, "to": mlir_type("float32")}
        return [
            build("conv", x, w, **one),
            build("transpose", build("conv", last, filters, channels_last=True, **one), permutation=[0, 3, 1, 2]),
            build("window_reduce", x, **pool),
            build("transpose", build("window_reduce", last, channels_last=True, **pool), permutation=[0, 3, 1, 2]),
        ]

    case = Case(body, normal(2, 6, 7, 8, dtype=np.float32), normal(9, 6 // groups, 3, 2, dtype=np.float32))
    first, second, third, fourth = case.evaluate(case.inputs())
    np.testing.assert_allclose(first, second)
    np.testing.assert_allclose(third, fourth)
