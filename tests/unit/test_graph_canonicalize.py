"""lumir-canonicalize: each form by what is left, each result by the reference interpreter."""

import ml_dtypes
import numpy as np
import pytest
from graph_helpers import Case, random_array, scalar

from lumir.context import make_context
from lumir.dialects import build
from lumir.dialects.constants import constant
from lumir.dtypes import mlir_type
from lumir.graph.simplify_arithmetic import holds
from lumir.graph.simplify_shaping import merged_groups

X = np.zeros((2, 3, 4), np.float32)
ROW = np.zeros((4,), np.float32)
FLAGS = np.zeros((2, 3, 4), np.bool_)
INTS = np.zeros((2, 3, 4), np.int32)


def slices(x, starts, sizes, steps=None):
    return build("slice", x, starts=starts, sizes=sizes, steps=steps or [1] * len(starts))


def to(name):
    return mlir_type(name)


NOTHING_LEFT = {
    "x + -0": lambda x: build("add", x, scalar(-0.0)),
    "-0 + x": lambda x: build("add", scalar(-0.0), x),
    "x - 0": lambda x: build("sub", x, scalar(0)),
    "x * 1 of a whole splat": lambda x: build("mul", x, constant(np.ones((2, 3, 4), np.float32))),
    "x / 1": lambda x: build("div", x, scalar(1)),
    "x ** 1": lambda x: build("pow", x, scalar(1)),
    "max(x, -inf)": lambda x: build("max", x, scalar(-np.inf)),
    "min(inf, x)": lambda x: build("min", scalar(np.inf), x),
    "two transposes": lambda x: build("transpose", build("transpose", x, permutation=[2, 0, 1]), permutation=[1, 2, 0]),
    "two reshapes": lambda x: build("reshape", build("reshape", x, shape=[24]), shape=[2, 3, 4]),
    "reshape to the same shape": lambda x: build("reshape", x, shape=[2, 3, 4]),
    "broadcast to the same shape": lambda x: build("broadcast", x, shape=[2, 3, 4]),
    "whole slice": lambda x: slices(x, [0, 0, 0], [2, 3, 4]),
    "slice backwards twice": lambda x: slices(
        slices(x, [0, 0, 3], [2, 3, 4], [1, 1, -1]), [0, 0, 3], [2, 3, 4], [1, 1, -1]
    ),
    "pad by nothing": lambda x: build(
        "pad", x, scalar(7), low=[0] * 3, high=[0] * 3, interior=[0] * 3, mode="constant"
    ),
    "cast to the same type": lambda x: build("cast", x, to=to("float32")),
    "cast up and back": lambda x: build("cast", build("cast", x, to=to("float64")), to=to("float32")),
    "neg twice": lambda x: build("neg", build("neg", x)),
    "select of equals": lambda x: build("select", build("isnan", x), x, x),
    "select of a known condition": lambda x: build("select", scalar(False, np.bool_), scalar(3), x),
    "parts joined": lambda x: build("concat", slices(x, [0, 0, 0], [2, 1, 4]), slices(x, [0, 1, 0], [2, 2, 4]), axis=1),
    "first part of a concat": lambda x: slices(build("concat", x, build("exp", x), axis=2), [0, 0, 0], [2, 3, 4]),
    "gather of all": lambda x: build("gather", x, constant(np.arange(3)), axis=1),
    "gather_nd of all": lambda x: build("gather_nd", x, constant(np.array([[0], [1]])), batch_dims=0),
    "repeated ops": lambda x: build("sub", build("add", x, build("exp", x)), build("exp", x)),
}


@pytest.mark.parametrize("name", [n for n in NOTHING_LEFT if n != "repeated ops"])
def test_identities_leave_nothing(name):
    assert Case(lambda _, x: NOTHING_LEFT[name](x), X).check("lumir-canonicalize") == {"func.return": 1}


def test_equal_ops_are_merged():
    count = Case(lambda _, x: NOTHING_LEFT["repeated ops"](x), X).check("lumir-canonicalize")
    assert count["exp"] == 1


KEPT = {
    "x + 0, which makes -0 a 0": (lambda x: build("add", x, scalar(0)), {"add": 1, "constant": 1}),
    "x - -0": (lambda x: build("sub", x, scalar(-0.0)), {"sub": 1, "constant": 1}),
    "0 - x": (lambda x: build("sub", scalar(0), x), {"sub": 1, "constant": 1}),
    "1 / x": (lambda x: build("div", scalar(1), x), {"div": 1, "constant": 1}),
    "x + 0 that broadcasts": (
        lambda x: build("add", x, constant(np.zeros((5, 1, 1, 1), np.float32))),
        {"add": 1, "constant": 1},
    ),
    "lossy casts": (lambda x: build("cast", build("cast", x, to=to("float16")), to=to("float32")), {"cast": 2}),
    "div by 3": (lambda x: build("div", x, scalar(3)), {"div": 1, "constant": 1}),
    "div by 2**-140": (lambda x: build("div", x, scalar(2.0**-140)), {"div": 1, "constant": 1}),
    "transpose": (lambda x: build("transpose", x, permutation=[1, 0, 2]), {"transpose": 1}),
    "concat of far slices": (
        lambda x: build("concat", slices(x, [0, 0, 0], [2, 1, 4]), slices(x, [0, 2, 0], [2, 1, 4]), axis=1),
        {"concat": 1, "slice": 2},
    ),
    "slice across a concat": (
        lambda x: slices(build("concat", x, build("neg", x), axis=2), [0, 0, 2], [2, 3, 4]),
        {"concat": 1, "slice": 1, "neg": 1},
    ),
    "gather out of order": (
        lambda x: build("gather", x, constant(np.array([2, 0, 1])), axis=1),
        {"gather": 1, "constant": 1},
    ),
    "gather of one again": (
        lambda x: build("gather", x, constant(np.array([1, 1])), axis=1),
        {"gather": 1, "constant": 1},
    ),
    "broadcast that a result needs": (
        lambda x: build("exp", build("broadcast", x, shape=[5, 2, 3, 4])),
        {"broadcast": 1, "exp": 1},
    ),
}


@pytest.mark.parametrize("name", KEPT)
def test_what_looks_like_an_identity_stays(name):
    body, left = KEPT[name]
    assert Case(lambda _, x: body(x), X).check("lumir-canonicalize") == {**left, "func.return": 1}


REWRITTEN = {
    "div by a power of two": (lambda x: build("div", x, scalar(-8)), {"mul": 1, "constant": 1}),
    "1 / sqrt": (lambda x: build("div", scalar(1), build("sqrt", build("abs", x))), {"rsqrt": 1, "abs": 1}),
    "square": (lambda x: build("pow", x, scalar(2)), {"mul": 1}),
    "cube": (lambda x: build("pow", x, scalar(3)), {"mul": 2}),
    "x * -1": (lambda x: build("mul", scalar(-1), x), {"neg": 1}),
    "transpose of units": (
        lambda x: build("transpose", build("reshape", x, shape=[2, 1, 12, 1]), permutation=[1, 0, 3, 2]),
        {"reshape": 1},
    ),
    "transpose between merge and split": (
        lambda x: build(
            "reshape",
            build("transpose", build("reshape", x, shape=[6, 4]), permutation=[1, 0]),
            shape=[4, 2, 3],
        ),
        {"transpose": 1},
    ),
    "broadcast of a broadcast": (
        lambda x: build("broadcast", build("broadcast", x, shape=[5, 2, 3, 4]), shape=[6, 5, 2, 3, 4]),
        {"broadcast": 1},
    ),
    "broadcast that adds units": (lambda x: build("broadcast", x, shape=[1, 2, 3, 4]), {"reshape": 1}),
    "broadcast that add does anyway": (
        lambda x: build("add", x, build("broadcast", slices(x, [0, 0, 0], [1, 3, 1]), shape=[2, 3, 4])),
        {"add": 1, "slice": 1},
    ),
    "slice of a slice": (
        lambda x: slices(slices(x, [1, 0, 3], [1, 3, 4], [1, 1, -1]), [0, 1, 1], [1, 2, 2], [1, 1, 2]),
        {"slice": 1},
    ),
    "second part of a concat": (
        lambda x: slices(build("concat", build("exp", x), x, axis=2), [0, 0, 5], [2, 3, 2]),
        {"slice": 1},
    ),
    "gather of one": (lambda x: build("gather", x, constant(np.array(-1)), axis=1), {"slice": 1, "reshape": 1}),
    "gather of a stride": (lambda x: build("gather", x, constant(np.array([2, 0])), axis=1), {"slice": 1}),
    "reduce of a unit": (
        lambda x: build("reduce", build("reshape", x, shape=[2, 1, 12]), kind="sum", axes=[1]),
        {"reshape": 1},
    ),
    "select of a negation": (
        lambda x: build("select", build("not", build("isnan", x)), x, scalar(0)),
        {"select": 1, "isnan": 1, "constant": 1},
    ),
    "contract of transposes": (
        lambda x: build(
            "contract",
            build("transpose", x, permutation=[0, 2, 1]),
            build("transpose", build("exp", x), permutation=[2, 0, 1]),
            equation="akm,kan->mna",
            to=to("float32"),
        ),
        {"contract": 1, "exp": 1},
    ),
    "constants": (
        lambda x: build("mul", x, build("sqrt", build("add", scalar(3), scalar(6)))),
        {"mul": 1, "constant": 1},
    ),
    "a large uniform constant": (
        lambda x: build("mul", x, build("exp", constant(np.ones((60, 100, 1, 1, 1), np.float32)))),
        {"mul": 1, "constant": 1},
    ),
}


@pytest.mark.parametrize("name", REWRITTEN)
def test_canonical_forms(name):
    body, left = REWRITTEN[name]
    tolerance = 1e-6 if name == "constants" or "uniform" in name else 1e-12
    assert Case(lambda _, x: body(x), X).check("lumir-canonicalize", tolerance) == {**left, "func.return": 1}


def test_logic():
    def body(_, p, n):
        true, false = scalar(True, np.bool_), scalar(False, np.bool_)
        return [
            build("and", p, true),
            build("or", false, p),
            build("xor", p, false),
            build("not", build("xor", p, true)),
            build("not", build("not", p)),
            build("and", n, scalar(1, np.int32)),
        ]

    assert Case(body, FLAGS, INTS).check("lumir-canonicalize") == {"func.return": 1, "and": 1, "constant": 1}


@pytest.mark.parametrize(
    ("wide", "narrow", "expected"),
    [
        ("float32", "float16", True),
        ("float32", "bfloat16", True),
        ("float16", "bfloat16", False),
        ("bfloat16", "float16", False),
        ("bfloat16", "float8_e5m2", True),
        ("float16", "float8_e4m3fn", True),
        ("float8_e5m2", "float8_e4m3fn", False),
        ("float32", "int16", True),
        ("float32", "int32", False),
        ("float64", "int32", True),
        ("float16", "uint8", True),
        ("bfloat16", "int16", False),
        ("int32", "uint16", True),
        ("int16", "uint16", False),
        ("uint32", "int8", False),
        ("int8", "bool", True),
        ("int64", "float16", False),
        ("bool", "int8", False),
    ],
)
def test_which_types_hold_which(wide, narrow, expected):
    with make_context():
        assert holds(mlir_type(wide), mlir_type(narrow)) is expected


@pytest.mark.parametrize("wide", ["float32", "float16", "bfloat16", "int8", "int16", "uint8"])
def test_holding_means_that_every_value_survives(wide):
    """All values of each narrow type, cast there and back."""
    for narrow in ("float16", "bfloat16", "float8_e4m3fn", "float8_e5m2", "int8", "uint8", "int4", "bool"):
        dtype = np.dtype(getattr(ml_dtypes, narrow, None) or narrow)
        bits = {"int4": 4, "bool": 1}.get(narrow, dtype.itemsize * 8)
        raw = np.arange(2**bits).astype(f"uint{8 * dtype.itemsize}")
        values = raw.astype(np.int8).astype(dtype) if narrow == "int4" else raw.view(dtype)
        target = np.dtype(getattr(ml_dtypes, wide, None) or wide)
        with make_context(), np.errstate(all="ignore"):
            back = values.astype(np.float64).astype(target).astype(np.float64)
            survives = np.array_equal(back, values.astype(np.float64), equal_nan=True)
            assert holds(mlir_type(wide), mlir_type(narrow)) == survives, narrow


@pytest.mark.parametrize(
    ("fine", "coarse", "groups"),
    [
        ((2, 3, 4), (6, 4), [[0, 1], [2]]),
        ((1, 4, 5), (4, 5), [[0, 1], [2]]),
        ((4, 1, 5, 1), (4, 5), [[0], [1, 2, 3]]),
        ((2, 3, 4), (2, 12), [[0], [1, 2]]),
        ((6, 4), (2, 3, 4), None),
        ((2, 3), (3, 2), None),
        ((2, 3), (2, 1, 3), [[0], [], [1]]),
        ((5,), (5, 1), [[0], []]),
    ],
)
def test_merged_groups(fine, coarse, groups):
    assert merged_groups(fine, coarse) == groups


def test_mask_of_padding_by_gather_nd():
    indices = np.stack(np.meshgrid(np.arange(2), np.arange(3), indexing="ij"), -1)[:, None, None]

    def body(_, p):
        return build("gather_nd", p, constant(indices), batch_dims=0)

    count = Case(body, random_array(np.random.default_rng(0), (2, 3), np.bool_)).check("lumir-canonicalize")
    assert count == {"reshape": 1, "func.return": 1}
