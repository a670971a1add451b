"""Step 3: reductions of the same rows, and what is computed from them for the row, are one launch."""

import numpy as np
import pytest
from cpu_helpers import check, kind, values

from lumir.dialects import build
from lumir.dialects.constants import constant
from lumir.mlir import ir

ROWS, COLUMNS = 6, 40


def _float(number: float) -> ir.Value:
    return constant(np.asarray(number, np.float32))


def _wide(x: ir.Value) -> ir.Value:
    return build("reshape", x, shape=[ROWS, 1])


def _reduced(what: str, x: ir.Value, axis: int = 1) -> ir.Value:
    return build("reduce", x, axes=[axis], kind=what)


def _input(seed: int = 0, dims=(ROWS, COLUMNS)) -> np.ndarray:
    return values(np.random.default_rng(seed), dims)


def test_softmax_in_five_ops():
    def body(x):
        shifted = build("exp", build("sub", x, _wide(_reduced("max", x))))
        return build("div", shifted, _wide(_reduced("sum", shifted)))

    assert check(body, _input(), rtol=1e-5, atol=1e-6).families == ["rows"]


def test_a_norm_and_its_quantisation_by_rows():
    """Three results: the residual sum, which the norm computes anyway, the bytes, and their scales."""

    def body(x, y, weight):
        total = build("add", x, y)
        norm = build("mul", build("normalize", total, axis=1, epsilon=1e-5, center=False), weight)
        scale = build("mul", _wide(_reduced("max", build("abs", norm))), _float(1 / 127))
        return [total, build("cast", build("round", build("div", norm, scale)), to=kind("int8")), scale]

    ran = check(body, _input(1), _input(2), _input(3, (COLUMNS,)), rtol=1e-5, atol=1e-6)
    assert ran.families == ["rows"]


def test_several_reductions_read_a_tensor_once():
    def body(x):
        low, high = _reduced("min", x), _reduced("max", x)
        span = build("sub", high, low)
        return [build("div", build("sub", x, _wide(low)), _wide(span)), span]

    assert check(body, _input(4), rtol=1e-5, atol=1e-6).families == ["rows"]


def test_a_result_that_is_read_ahead_of_the_last_op():
    """The maximum goes into a product that the chain does not wait for."""

    def body(x, w):
        peak = _wide(_reduced("max", x))
        other = build("contract", build("mul", x, peak), w, equation="mk,kn->mn", to=kind("float32"))
        return [build("sub", x, peak), other]

    check(body, _input(5), _input(6, (COLUMNS, 7)), rtol=1e-4, atol=1e-4)


def test_a_launch_does_not_wait_for_itself():
    """What comes back to the rows through a product is another launch."""

    def body(x, w):
        total = build("add", x, _float(1.0))
        norm = build("normalize", total, axis=1, epsilon=1e-5, center=True)
        mixed = build("contract", norm, w, equation="mk,kn->mn", to=kind("float32"))
        scaled = build("div", build("add", norm, mixed), _wide(_reduced("sum", build("exp", norm))))
        return [scaled, build("mul", total, mixed)]

    ran = check(body, _input(7), _input(8, (COLUMNS, COLUMNS)), rtol=1e-3, atol=1e-3)
    assert "contraction" in ran.families


def test_launches_do_not_wait_for_each_other():
    """Rows of two lengths, each shifted by the maximum of both: only one launch may go on to what it returns."""

    def body(x, y):
        first, second = _wide(_reduced("max", x)), _wide(_reduced("max", y))
        return [build("sub", build("sub", x, first), second), build("sub", build("sub", y, second), first)]

    ran = check(body, _input(14), _input(15, (ROWS, 24)), rtol=1e-5, atol=1e-6)
    assert sorted(ran.families) == ["map", "rows", "rows"]


def test_a_launch_does_not_wait_for_itself_through_others_that_return_more():
    """Three lengths in a ring: each is shifted by its own maximum and by the next one's."""

    def body(*rows):
        tops = [_wide(_reduced("max", x)) for x in rows]
        return [build("sub", build("sub", x, tops[i]), tops[i - 2]) for i, x in enumerate(rows)]

    ran = check(body, *(_input(16 + n, (ROWS, n)) for n in (40, 24, 8)), rtol=1e-5, atol=1e-6)
    assert sorted(ran.families) == ["map", "rows", "rows", "rows"]


def test_a_sum_that_others_change_before_the_rows_read_them_is_not_returned_by_them():
    def body(x, w):
        total = build("exp", x)
        mixed = build("contract", total, w, equation="mk,kn->mn", to=kind("float32"))
        norm = build("normalize", total, axis=1, epsilon=1e-5, center=False)
        return [build("mul", norm, mixed), total]

    check(body, _input(9), _input(10, (COLUMNS, COLUMNS)), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("dims", "axis"), [((ROWS, COLUMNS), 0), ((2, 70000), 1), ((ROWS, 1), 1)], ids=["across", "long", "one"]
)
def test_other_rows_are_left_alone(dims, axis):
    def body(x):
        kept = [1 if i == axis else size for i, size in enumerate(dims)]
        return build("sub", x, build("reshape", _reduced("sum", x, axis), shape=kept))

    ran = check(body, _input(11, dims), rtol=1e-4, atol=1e-3)
    assert len(ran.families) == 2 or dims[axis] == 1


def test_a_row_is_not_spread_over_columns():
    """Of a square, one number for each row and one for each column have the same shape."""

    def body(x):
        peak = _reduced("max", x)
        return [build("sub", x, peak), build("mul", x, build("reshape", peak, shape=[COLUMNS, 1]))]

    check(body, _input(12, (COLUMNS, COLUMNS)), rtol=1e-5, atol=1e-5)


def test_the_place_of_the_largest_and_what_is_left():
    def body(x):
        place = build("arg_reduce", x, kind="max", axis=1, last=False)
        return [place, build("sub", x, _wide(_reduced("max", x)))]

    assert check(body, _input(13), rtol=1e-5).families == ["rows"]
