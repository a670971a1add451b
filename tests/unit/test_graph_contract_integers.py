"""lumir-contract-integers: what is multiplied in integers, what is left alone, and that no result changes."""

import itertools

import numpy as np
import pytest
from graph_helpers import Case

from lumir.dialects import build
from lumir.dialects.constants import constant
from lumir.dtypes import mlir_type

PASS = "lumir-canonicalize,lumir-contract-integers"
TYPES = [*itertools.product(("int8", "uint8"), repeat=2)]


def array(rng, dtype, shape, small=False):
    limits = np.iinfo(dtype)
    return rng.integers(0 if small else limits.min, 8 if small else limits.max + 1, shape).astype(dtype)


def real(x, rng, scale, zero):
    """The dequantised value: a scale and a zero point of these shapes; no zero point for None."""
    dtype = "uint8" if "ui8" in str(x.type) else "int8"
    middle = np.zeros((), dtype) if zero is None else array(rng, dtype, zero, small=True)
    return build("dequantize", x, constant(rng.uniform(0.01, 0.1, scale).astype(np.float32)), constant(middle))


def inputs(case, *arrays):
    return {f"x{i}": a for i, a in enumerate(arrays)}


EQUATIONS = {"mk,kn->mn": ((5, 6), (6, 4)), "bkm,bnk->bmn": ((2, 6, 5), (2, 4, 6)), "mk,nk->nm": ((5, 6), (4, 6)),
             "xyk,k->xy": ((2, 3, 7), (7,)), "m,n->mn": ((3,), (4,))}  # fmt: skip


@pytest.mark.parametrize("types", TYPES, ids=str)
@pytest.mark.parametrize("equation", EQUATIONS)
@pytest.mark.parametrize("zeros", [(None, None), ((), None), (None, ()), ((), ())], ids=str)
def test_contraction_of_dequantised_bytes(equation, types, zeros):
    rng = np.random.default_rng(7)
    left, right = EQUATIONS[equation]
    arrays = [array(rng, dtype, shape) for dtype, shape in zip(types, (left, right), strict=True)]

    def body(case, x, y):
        x, y = (real(v, rng, (), z) for v, z in zip((x, y), zeros, strict=True))
        return build("contract", x, y, equation=equation, to=mlir_type("float32"))

    case = Case(body, *arrays)
    count = case.check(PASS, 1e-6, inputs(case, *arrays))
    assert count["dequantize"] == 0 and str(case.op("contract").results[0].type).endswith("xi32>")


@pytest.mark.parametrize("shape, is_found", [((5, 1), True), ((1, 6), False), ((1, 1), True), ((6,), False)])
def test_parameters_may_vary_along_rows_but_not_along_the_sum(shape, is_found):
    rng = np.random.default_rng(1)
    arrays = array(rng, "int8", (5, 6)), array(rng, "int8", (6, 4))

    def body(case, x, y):
        return build(
            "contract", real(x, rng, shape, shape), real(y, rng, (4,), ()), equation="mk,kn->mn",
            to=mlir_type("float32"),
        )  # fmt: skip

    case = Case(body, *arrays)
    assert (case.check(PASS, 1e-6, inputs(case, *arrays))["dequantize"] == 0) == is_found


@pytest.mark.parametrize("depth, is_found", [(33000, True), (33100, False)])
def test_a_sum_of_real_numbers_that_int32_may_not_hold_stays_in_float(depth, is_found):
    """255 * 255 * 33,026 is above 2^31."""
    rng = np.random.default_rng(1)
    arrays = np.full((2, depth), 255, np.uint8), np.full((depth, 2), 255, np.uint8)

    def body(case, x, y):
        x, y = (real(v, rng, (), None) for v in (x, y))
        return build("contract", x, y, equation="mk,kn->mn", to=mlir_type("float32"))

    case = Case(body, *arrays)
    assert (case.check(PASS, 1e-6, inputs(case, *arrays))["dequantize"] == 0) == is_found


@pytest.mark.parametrize("types", TYPES, ids=str)
@pytest.mark.parametrize("zeros", [*itertools.product([False, True], repeat=2)], ids=str)
def test_int32_products_of_bytes_minus_zero_points(types, zeros):
    rng = np.random.default_rng(3)
    arrays = array(rng, types[0], (5, 60)), array(rng, types[1], (60, 7))

    def centered(x, dtype, shape):
        wide = build("cast", x, to=mlir_type("int32"))
        middle = build("cast", constant(array(rng, dtype, shape)), to=mlir_type("int32"))
        return build("sub", wide, middle)

    def body(case, x, y):
        x = centered(x, types[0], (5, 1)) if zeros[0] else build("cast", x, to=mlir_type("int32"))
        y = centered(y, types[1], (7,)) if zeros[1] else build("cast", y, to=mlir_type("int32"))
        return build("contract", x, y, equation="mk,kn->mn", to=mlir_type("int32"))

    case = Case(body, *arrays)
    case.check(PASS, 0, inputs(case, *arrays))
    (contraction,) = (op for op in case.ops() if op.name == "lumir.contract")
    assert all("i8" in str(v.type) for v in contraction.operands)


CONVS = [
    {"strides": [1, 1], "dilations": [1, 1], "low": [1, 1], "high": [1, 0], "groups": 1},
    {"strides": [2, 1], "dilations": [1, 2], "low": [0, 0], "high": [0, 0], "groups": 2},
    {"strides": [1, 2], "dilations": [2, 1], "low": [2, 0], "high": [1, 3], "groups": 4},
]


@pytest.mark.parametrize("types", TYPES, ids=str)
@pytest.mark.parametrize("attributes", CONVS)
@pytest.mark.parametrize(
    "zeros", [(None, None), ((), None), ((), ()), (None, (8, 1, 1, 1)), ((), (8, 1, 1, 1))], ids=str
)
def test_convolution_of_dequantised_bytes(attributes, types, zeros):
    """Pads are real zeros: the image's zero point."""
    rng = np.random.default_rng(5)
    arrays = array(rng, types[0], (2, 4, 7, 8)), array(rng, types[1], (8, 4 // attributes["groups"], 3, 2))

    def body(case, x, w):
        x, w = real(x, rng, (), zeros[0]), real(w, rng, (8, 1, 1, 1), zeros[1])
        return build("conv", x, w, **attributes, to=mlir_type("float32"))

    case = Case(body, *arrays)
    count = case.check(PASS, 1e-6, inputs(case, *arrays))
    assert count["dequantize"] == 0 and count["conv"] == 1


def test_convolution_with_a_scale_by_input_channel_is_left_alone():
    rng = np.random.default_rng(5)
    arrays = array(rng, "int8", (2, 4, 7, 8)), array(rng, "int8", (8, 4, 3, 2))

    def body(case, x, w):
        x, w = real(x, rng, (), None), real(w, rng, (1, 4, 1, 1), None)
        return build("conv", x, w, **CONVS[0], to=mlir_type("float32"))

    case = Case(body, *arrays)
    assert case.check(PASS, 1e-6, inputs(case, *arrays))["dequantize"] == 2


@pytest.mark.parametrize("scale, is_found", [(0.5, True), (-0.5, False)])
def test_maximum_is_taken_before_dequantising(scale, is_found):
    rng = np.random.default_rng(5)
    x = array(rng, "int8", (2, 4, 7, 8))
    window = {"window": [2, 2], "strides": [2, 1], "dilations": [1, 1], "low": [1, 0], "high": [0, 1]}

    def body(case, x):
        value = build("dequantize", x, constant(np.array(scale, np.float32)), constant(np.array(3, np.int8)))
        return build("window_reduce", value, kind="max", **window)

    case = Case(body, x)
    case.check(PASS, 1e-6, inputs(case, x))
    assert ("i8" in str(case.op("window_reduce").results[0].type)) == is_found
