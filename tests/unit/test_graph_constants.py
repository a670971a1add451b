"""lumir-fold-constants and lumir-merge-contractions: derived weights."""

import numpy as np
from graph_helpers import Case, scalar

from lumir.dialects import build
from lumir.dtypes import mlir_type
from lumir.graph.known import use_store
from lumir.mlir import ir

RNG = np.random.default_rng(7)
FOLD = "lumir-fold-constants"
X = np.zeros((5, 8), np.float32)


def derived(case):
    with case.context:
        return [op.operation for op in case.module.body if op.operation.name == "lumir.derived_weight"]


def normal(*dims):
    return RNG.standard_normal(dims).astype(np.float32)


def contract(x, w, equation="mk,kn->mn"):
    return build("contract", x, w, equation=equation, to=mlir_type("float32"))


def test_a_transposed_weight():
    def body(case, x):
        return contract(x, build("transpose", case.weight("w", normal(6, 8)), permutation=[1, 0]))

    case = Case(body, X)
    assert case.check(FOLD) == {"load": 1, "contract": 1, "func.return": 1}
    (weight,) = derived(case)
    assert weight.attributes["sym_name"].value == "w.transpose"


def test_equal_derived_weights_are_one():
    def body(case, x):
        w = normal(6, 8)
        first = build("transpose", case.weight("w", w), permutation=[1, 0])
        second = build("transpose", case.weight("w", w), permutation=[1, 0])
        third = build("transpose", build("neg", case.weight("w", w)), permutation=[1, 0])
        return [contract(x, first), build("exp", contract(x, second)), contract(x, third)]

    case = Case(body, X)
    assert case.check(FOLD)["load"] == 3
    assert [op.attributes["sym_name"].value for op in derived(case)] == ["w.transpose", "w.transpose.1"]
    case.check(FOLD)
    assert len(derived(case)) == 2


def test_growth_is_limited_and_inner_parts_are_still_folded():
    def body(case, x):
        row = build("exp", case.weight("row", normal(8)))
        wide = build("mul", build("broadcast", row, shape=[5, 8]), case.weight("other", normal(5, 8)))
        tall = build("cast", case.weight("bytes", np.arange(40).reshape(5, 8).astype(np.int8)), to=mlir_type("float32"))
        grown = build("add", build("broadcast", row, shape=[64, 5, 8]), scalar(1))
        return [build("add", x, wide), build("mul", x, tall), build("add", x, grown)]

    case = Case(body, X)
    count = case.check(f"{FOLD}{{max-growth=0}}")
    assert count == {"load": 3, "add": 3, "mul": 1, "cast": 1, "broadcast": 1, "constant": 1, "func.return": 1}
    assert [op.attributes["sym_name"].value for op in derived(case)] == ["row.mul", "row.exp"]
    assert case.check(FOLD)["cast"] == 0


def test_cheap_constants_stay_and_costly_ones_are_computed():
    def body(_, x):
        type_ = ir.RankedTensorType.get([5, 8], ir.F32Type.get())
        rows, columns = (build("iota", type=type_, axis=axis) for axis in (0, 1))
        mask = build("select", build("le", columns, rows), scalar(0), scalar(-1))
        angles = build("cos", build("mul", rows, build("pow", scalar(2), columns)))
        return build("add", build("mul", x, angles), mask)

    case = Case(body, X)
    count = case.check(FOLD)
    assert count["load"] == 1 and count["iota"] == 2 and count["cos"] == 0 and count["select"] == 1
    assert len(derived(case)) == 1


def test_what_an_input_reaches_stays():
    def body(case, x):
        return build("add", build("reduce", x, kind="sum", axes=[0]), build("exp", case.weight("w", normal(5, 8))))

    case = Case(body, X)
    assert case.check(FOLD) == {"reduce": 1, "add": 1, "load": 1, "func.return": 1}


def test_a_returned_weight():
    case = Case(lambda case, x: [x, build("exp", case.weight("w", normal(3)))], X)
    assert case.check(FOLD) == {"load": 1, "func.return": 1}


def test_short_weights_do_not_change_by_being_folded():
    def body(case, x):
        w = build("cast", case.weight("w", normal(6, 8)), to=mlir_type("float16"))
        return contract(x, build("transpose", build("mul", w, w), permutation=[1, 0]))

    case = Case(body, X.astype(np.float16))
    inputs = case.inputs()
    (before,) = case.evaluate(inputs, "declared")
    case.run(FOLD)
    np.testing.assert_array_equal(case.evaluate(inputs, "declared")[0], before)


MERGE = "lumir-canonicalize,lumir-merge-contractions"


def test_projections_of_one_value_are_merged():
    def body(case, x):
        q, k, v = (case.weight(name, normal(8, size)) for name, size in (("q", 6), ("k", 2), ("v", 2)))
        return [contract(x, q), build("exp", contract(x, k)), contract(x, v)]

    case = Case(body, X)
    assert case.check(MERGE) == {"load": 1, "contract": 1, "slice": 3, "exp": 1, "func.return": 1}
    (weight,) = derived(case)
    assert str(weight.attributes["type"].value) == "tensor<8x10xf32>"


def test_weights_by_rows_and_results_in_another_order():
    def body(case, x):
        a, b = case.weight("a", normal(6, 8)), case.weight("b", normal(3, 8))
        return [contract(x, a, "mk,nk->nm"), contract(x, b, "mk,nk->nm")]

    assert Case(body, X).check(MERGE) == {"load": 1, "contract": 1, "slice": 2, "func.return": 1}


def test_what_cannot_be_merged_stays():
    def body(case, x):
        a, b, c = case.weight("a", normal(8, 6)), case.weight("b", normal(6, 8)), case.weight("c", normal(8, 6))
        y = build("exp", x)
        return [
            contract(x, a),
            contract(x, b, "mk,nk->mn"),
            contract(y, c),
            contract(x, build("transpose", y, permutation=[1, 0])),
        ]

    assert Case(body, X).check(MERGE)["contract"] == 4


def test_the_width_is_limited():
    def body(case, x):
        return [contract(x, case.weight(name, normal(8, 6))) for name in "ab"]

    assert Case(body, X).check(f"{MERGE}{{max-width=11}}")["contract"] == 2
    assert Case(body, X).check(f"{MERGE}{{max-width=12}}")["contract"] == 1


def test_a_weight_that_is_loaded_after_the_first_contraction():
    def body(case, x):
        first = contract(x, case.weight("a", normal(8, 6)))
        return [first, contract(x, case.weight("b", normal(8, 4)))]

    assert Case(body, X).check(MERGE)["contract"] == 1


def test_masks_in_weights_are_seen_inside_use_store():
    """A causal table too large for the IR is a weight; its elements are known where the store is."""
    rows, columns = 6, 6

    def body(case, q):
        table = case.weight("mask", np.where(np.tri(rows, columns), 0, -np.inf).astype(np.float32))
        options = {"scale": 1.0, "causal": False, "offset": 0, "window": 0, "softcap": 0.0}
        return build("attention", q, q, q, table, **options)

    for inside in (True, False):
        case = Case(body, np.zeros((1, 2, rows, 4), np.float32))
        if inside:
            with use_store(case.store):
                count = case.check("lumir-fuse-attention")
        else:
            count = case.check("lumir-fuse-attention")
        assert (count["load"] == 0) == inside


JOINED = f"{MERGE}{{joined=true}}"


def test_projections_that_meet_are_merged_with_biases_and_all():
    def body(case, x):
        names = ("gate", "up", "bias", "shift")
        arrays = normal(8, 6).astype(np.float16), normal(8, 6).astype(np.float16), normal(6), normal(6)
        w, v, b, c = (case.weight(name, array) for name, array in zip(names, arrays))
        gate = build("add", contract(x, w), b)
        up = build("add", contract(x, v), c)
        return build("mul", build("mul", gate, build("sigmoid", gate)), up)

    count = Case(body, X.astype(np.float16)).check(JOINED)
    assert count["contract"] == 1 and count["slice"] == 2


def test_projections_that_do_not_meet_stay_apart():
    def body(case, x):
        w, v, u = (case.weight(name, normal(8, 6).astype(np.float16)) for name in ("w", "v", "u"))
        gate, up, other = (contract(x, weight) for weight in (w, v, u))
        return [build("mul", gate, up), gate, other]

    assert Case(body, X.astype(np.float16)).check(JOINED)["contract"] == 3
