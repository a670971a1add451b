"""CPU family `contraction`: products of every layout, batched ones, convolutions, and what is fused after them."""

import numpy as np
import pytest
from cpu_helpers import check, kind, values

from lumir.dialects import build

SIZES = [(1, 1, 1), (1, 33, 7), (8, 32, 16), (9, 40, 33), (64, 3, 5), (17, 100, 1), (3, 31, 129), (13, 16, 64)]
LAYOUTS = ("mk,kn->mn", "mk,nk->mn", "km,kn->mn", "km,nk->mn", "mk,kn->nm", "km,nk->nm")
LOOSE = {"float16": 4e-3, "bfloat16": 3e-2}


def _arrays(rng, equation: str, sizes: dict[str, int], dtype: str = "float32"):
    left, right = equation.partition("->")[0].split(",")
    return [values(rng, [sizes[label] for label in labels], dtype) for labels in (left, right)]


def _contract(equation: str, to: str = "float32"):
    return lambda x, y: build("contract", x, y, equation=equation, to=kind(to))


@pytest.mark.parametrize("equation", LAYOUTS)
def test_layouts(equation):
    rng = np.random.default_rng(1)
    for m, n, k in SIZES[:5]:
        arrays = _arrays(rng, equation, {"m": m, "n": n, "k": k})
        check(_contract(equation), *arrays, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize(("m", "n", "k"), SIZES)
def test_ragged_sizes(m, n, k):
    arrays = _arrays(np.random.default_rng(2), LAYOUTS[0], {"m": m, "n": n, "k": k})
    ran = check(_contract(LAYOUTS[0]), *arrays, rtol=2e-5, atol=2e-5)
    assert ran.families == ["contraction"]


@pytest.mark.parametrize("empty", ["m", "n", "k"])
def test_empty_products(empty):
    sizes = {"m": 3, "n": 17, "k": 5, empty: 0}
    check(_contract(LAYOUTS[0]), *_arrays(np.random.default_rng(3), LAYOUTS[0], sizes))


@pytest.mark.parametrize(
    "equation",
    ["bmk,bkn->bmn", "bhmd,bhnd->bhmn", "bmhd,bnhd->bhmn", "bhmn,bhne->bmhe", "abk,kn->abn", "mk,akn->amn",
     "abk,kcd->abcd", "bk,bk->b", "k,k->", "m,n->mn", "bm,bn->bmn", "mk,k->m", "k,kn->n", "abcd,cd->ab",
     "abcd,abde->abce"],
)  # fmt: skip
def test_equations(equation):
    rng = np.random.default_rng(4)
    sizes = {label: int(rng.choice([1, 2, 3, 7, 16, 19])) for label in "abcdehkmn"}
    check(_contract(equation), *_arrays(rng, equation, sizes), rtol=3e-5, atol=3e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
@pytest.mark.parametrize("equation", ["mk,kn->mn", "bmk,bnk->bmn"])
def test_float_types(dtype, equation):
    """Narrow floats accumulate in float32."""
    arrays = _arrays(np.random.default_rng(5), equation, {"b": 3, "m": 9, "n": 37, "k": 200}, dtype)
    tolerance = LOOSE.get(dtype, 1e-12)
    check(_contract(equation, dtype), *arrays, rtol=tolerance, atol=4 * tolerance)
    check(_contract(equation, "float32"), *arrays, rtol=2e-5, atol=2e-4)


@pytest.mark.parametrize("left", ["int8", "uint8"])
@pytest.mark.parametrize("right", ["int8", "uint8"])
def test_integer_products_are_exact(left, right):
    rng = np.random.default_rng(6)
    x = rng.integers(*((-128, 128) if left == "int8" else (0, 256)), (9, 300)).astype(left)
    y = rng.integers(*((-128, 128) if right == "int8" else (0, 256)), (300, 35)).astype(right)
    check(_contract("mk,kn->mn", "int32"), x, y)


def test_wide_integers_wrap():
    rng = np.random.default_rng(7)
    for dtype in ("int32", "int64", "uint32", "uint64"):
        x, y = (rng.integers(0, np.iinfo(dtype).max, dims, dtype) for dims in ((3, 9), (9, 20)))
        check(_contract("mk,kn->mn", dtype), x, y)


def test_what_follows_is_fused():
    rng = np.random.default_rng(8)
    x, w, bias, more = values(rng, (13, 40)), values(rng, (40, 48)), values(rng, (48,)), values(rng, (13, 48))

    def body(x, w, bias, more):
        total = build("add", build("contract", x, w, equation="mk,kn->mn", to=kind("float32")), bias)
        gelu = build("mul", total, build("sigmoid", total))
        return build("add", gelu, more)

    ran = check(body, x, w, bias, more, rtol=2e-5, atol=2e-5)
    assert ran.families == ["contraction"]


@pytest.mark.parametrize("heads", [1, 3, 4])
def test_heads_are_split_on_the_way_out(heads):
    rng = np.random.default_rng(9)
    x, w, bias = values(rng, (2, 7, 24)), values(rng, (24, heads * 16)), values(rng, (heads * 16,))

    def body(x, w, bias):
        total = build("add", build("contract", x, w, equation="abk,kn->abn", to=kind("float32")), bias)
        return build("transpose", build("reshape", total, shape=[2, 7, heads, 16]), permutation=[0, 2, 1, 3])

    ran = check(body, x, w, bias, rtol=2e-5, atol=2e-5)
    assert ran.families == ["contraction"]


CONVOLUTIONS = [
    # input, filter, strides, dilations, low, high, groups
    ((1, 3, 9, 11), (5, 3, 3, 3), (1, 1), (1, 1), (1, 1), (1, 1), 1),
    ((2, 4, 8, 40), (6, 4, 1, 1), (1, 1), (1, 1), (0, 0), (0, 0), 1),
    ((2, 4, 13, 17), (8, 2, 3, 2), (2, 3), (2, 1), (2, 0), (1, 2), 2),
    ((1, 16, 9, 33), (16, 1, 3, 3), (1, 1), (1, 1), (1, 1), (1, 1), 16),
    ((3, 2, 20), (7, 2, 5), (3,), (2,), (4,), (0,), 1),
    ((1, 2, 5, 6, 7), (3, 2, 2, 3, 2), (1, 2, 1), (1, 1, 2), (0, 1, 1), (1, 0, 1), 1),
    ((1, 1, 1, 1), (1, 1, 1, 1), (1, 1), (1, 1), (0, 0), (0, 0), 1),
    ((2, 3, 6, 6), (4, 3, 3, 3), (1, 1), (1, 1), (-1, 0), (0, -2), 1),
]


@pytest.mark.parametrize(("dims", "filters", "strides", "dilations", "low", "high", "groups"), CONVOLUTIONS)
@pytest.mark.parametrize(("dtype", "last"), [("float32", False), ("float16", False), ("float32", True)])
def test_convolutions(dims, filters, strides, dilations, low, high, groups, dtype, last):
    rng = np.random.default_rng(10)

    def body(x, w, bias):
        total = build(
            "conv",
            x,
            w,
            strides=list(strides),
            dilations=list(dilations),
            low=list(low),
            high=list(high),
            groups=groups,
            to=x.type.element_type,
            channels_last=last,
        )
        return build("max", build("add", total, bias), build("neg", build("abs", bias)))

    bias = values(rng, (filters[0], *[1] * (0 if last else len(dims) - 2)), dtype)
    if last:
        dims, filters = ((outer, *inner, channels) for outer, channels, *inner in (dims, filters))
    tolerance = LOOSE.get(dtype, 3e-5)
    check(body, values(rng, dims, dtype), values(rng, filters, dtype), bias, rtol=tolerance, atol=4 * tolerance)


def test_int8_convolution():
    rng = np.random.default_rng(11)
    x, w = values(rng, (1, 3, 9, 9), "uint8"), values(rng, (4, 3, 3, 3), "uint8")
    attributes = {"strides": [1, 1], "dilations": [1, 1], "low": [0, 0], "high": [0, 0], "groups": 1}

    def body(x, w):
        x, w = (build("cast", v, to=kind("int32")) for v in (x, w))
        return build("conv", x, w, **attributes, to=kind("int32"))

    check(body, x, w)


@pytest.mark.parametrize("seed", range(8))
def test_random_products(seed):
    rng = np.random.default_rng(100 + seed)
    sizes = {label: int(n) for label, n in zip("bmnk", rng.integers(1, 70, 4), strict=True)}
    equation = str(rng.choice(["bmk,bkn->bmn", "bmk,bnk->bmn", "bkm,bkn->bmn", "mbk,kn->mbn", "bmk,nkb->bnm"]))
    check(_contract(equation), *_arrays(rng, equation, sizes), rtol=3e-5, atol=3e-5)
