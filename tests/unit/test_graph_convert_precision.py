"""lumir-convert-precision: what becomes short, what stays float32, and how far the results move."""

import ml_dtypes
import numpy as np
import pytest
from graph_helpers import Case, scalar

from lumir.dialects import build
from lumir.dialects.constants import constant, dense_array
from lumir.dtypes import mlir_type
from lumir.mlir import ir

RNG = np.random.default_rng(11)
X = np.zeros((5, 8), np.float32)
HALVES = {"f16": np.float16, "bf16": ml_dtypes.bfloat16}


def normal(*dims):
    return RNG.standard_normal(dims).astype(np.float32)


def contract(x, w):
    return build("contract", x, w, equation="mk,kn->mn", to=mlir_type("float32"))


def types(case, name):
    """The element types of an op's operands and result."""
    with case.context:
        op = case.op(name)
        return [str(ir.RankedTensorType(v.type).element_type) for v in (*op.operands, *op.results)]


def convert(case, to="f16"):
    return case.run(f"lumir-canonicalize,lumir-convert-precision{{to={to}}},lumir-canonicalize")


def error(case, to="f16", inputs=None):
    """The largest change of an output, which must keep its type, relative to the output's standard deviation."""
    inputs = inputs or case.inputs()
    before = case.evaluate(inputs)
    convert(case, to)
    after = case.evaluate(inputs, "declared")
    assert all(
        a.dtype == (np.float32 if b.dtype == np.float64 else b.dtype) for a, b in zip(after, before, strict=True)
    )
    return max(np.abs(a - b).max() / (np.std(b) + 1e-9) for a, b in zip(after, before, strict=True))


@pytest.mark.parametrize("to", HALVES)
def test_weights_and_activations(to):
    def body(case, x):
        hidden = build("tanh", build("add", contract(x, case.weight("a", normal(8, 6))), case.weight("c", normal(6))))
        return build("mul", contract(hidden, case.weight("b", normal(6, 4))), scalar(2))

    case = Case(body, X)
    assert error(case, to) < (1e-2 if to == "f16" else 8e-2)
    assert types(case, "tanh") == [to, to] and types(case, "mul") == [to] * 3
    with case.context:
        loads = [op for op in case.ops() if op.name == "lumir.load"]
        assert {str(ir.RankedTensorType(op.results[0].type).element_type) for op in loads} == {to}
        weights = [op for op in case.module.body if op.operation.name == "lumir.derived_weight"]
        assert sorted(w.attributes["sym_name"].value for w in weights) == ["a.cast", "b.cast", "c.cast"]


def test_exponentials_sums_and_powers_stay_float32():
    """Chains that would overflow float16: exp(15) is 3e6, 300**2 is 9e4."""

    def body(_, x):
        big = build("mul", x, scalar(300))
        square = build("reduce", build("mul", big, big), kind="sum", axes=[1])
        total = build("reduce", build("exp", build("mul", x, scalar(15))), kind="sum", axes=[1])
        return [
            build("sqrt", square),
            build("log", total),
            build("log1p", build("pow", build("abs", big), scalar(2.5))),
        ]

    case = Case(body, X)
    assert error(case) < 1e-2
    for name in ("exp", "log", "sqrt"):
        assert types(case, name) == ["f32", "f32"]


def test_positions_stay_float32_until_they_meet_activations():
    """Rotary angles at position 100003, where float16 ends and bfloat16 has steps of 512."""

    def body(case, x, positions):
        angles = build("mul", build("cast", positions, to=mlir_type("float32")), case.weight("frequency", normal(8)))
        return build("mul", x, build("cos", angles))

    for to in HALVES:
        case = Case(body, X, np.zeros((5, 1), np.int64))
        inputs = case.inputs()
        inputs["x1"][:] = 100003 + np.arange(5)[:, None]
        before = case.evaluate(inputs, "declared")[0]
        convert(case, to)
        after = case.evaluate(inputs, "declared")[0]
        assert np.abs(after - before).max() < 0.05, to
        assert types(case, "cos") == ["f32", "f32"]


@pytest.mark.parametrize("low", [-np.inf, float(np.finfo(np.float32).min)])
@pytest.mark.parametrize("to", HALVES)
def test_masks_become_finite(low, to):
    """A select with the number, and (1 - keep) * number computed from integers in float32."""

    def body(_, x, keep):
        chosen = build("select", build("cast", keep, to=mlir_type("bool")), x, scalar(low))
        kept = build("cast", keep, to=mlir_type("float32"))
        added = build("mul", build("sub", scalar(1), kept), scalar(-1e38 if np.isinf(low) else low))
        return [
            build("softmax", chosen, axis=1, log=False),
            build("softmax", build("add", x, added), axis=1, log=False),
        ]

    case = Case(body, X, np.zeros((5, 8), np.int64))
    inputs = case.inputs()
    inputs["x1"][:] = RNG.integers(0, 2, (5, 8))
    inputs["x1"][:, 0] = 1
    assert error(case, to, inputs) < 0.1
    with case.context:
        for op in case.ops():
            if op.name == "lumir.constant":
                assert np.isfinite(dense_array(op.attributes["value"]).astype(float)).all()


def test_large_constants_of_float32_chains_keep_their_value():
    """theta ** x with theta above float16's range."""

    def body(_, x):
        return build("log", build("pow", scalar(500000), build("abs", x)))

    assert error(Case(body, X)) < 1e-2


def test_other_types_stay():
    def body(_, x, i, d):
        flag = build("lt", i, constant(np.asarray(0)))
        return [
            build("cast", build("reduce", x, kind="max", axes=[1]), to=mlir_type("int64")),
            build("add", i, constant(np.asarray(1))),
            build("exp", d),
            build("select", flag, i, i),
            build("cast", x, to=mlir_type("float64")),
        ]

    case = Case(body, X, np.zeros((5, 8), np.int64), np.zeros((3,), np.float64))
    before = [str(r) for r in _result_types(case)]
    convert(case)
    assert [str(r) for r in _result_types(case)] == before
    assert types(case, "exp") == ["f64", "f64"]


def _result_types(case):
    with case.context:
        return [operand.type for operand in case.ops()[-1].operands]


def test_outputs_of_the_short_type_stay_so():
    def body(_, x, h):
        return [build("neg", h), build("exp", build("cast", h, to=mlir_type("float32"))), build("add", x, x)]

    case = Case(body, X, np.zeros((3,), np.float16))
    before = [str(t) for t in _result_types(case)]
    inputs = case.inputs()
    exact = case.evaluate(inputs, "declared")
    convert(case)
    assert [str(t) for t in _result_types(case)] == before
    np.testing.assert_array_equal(case.evaluate(inputs, "declared")[1], exact[1])


def test_attention_normalize_and_softmax_read_short_operands():
    def body(case, x):
        x = build("normalize", x, axis=3, epsilon=1e-5, center=True)
        x = build("attention", x, x, x, scale=0.3, causal=True, offset=0, window=0, softcap=0.0)
        return build("add", build("softmax", x, axis=3, log=False), scalar(0))

    case = Case(body, np.zeros((1, 2, 5, 8), np.float32))
    assert error(case) < 1e-2
    assert types(case, "attention") == ["f16"] * 4
    assert case.count()["cast"] == 2


def test_a_contraction_that_is_returned_keeps_its_sums():
    case = Case(lambda case, x: contract(x, case.weight("w", normal(8, 4))), X)
    convert(case)
    assert types(case, "contract") == ["f16", "f16", "f32"]


def test_two_results():
    def body(_, x):
        return build("top_k", build("tanh", x), k=3, largest=True)

    case = Case(body, X)
    inputs = case.inputs()
    before = case.evaluate(inputs)
    convert(case)
    after = case.evaluate(inputs, "declared")
    np.testing.assert_allclose(after[0], before[0], 2e-3)
    np.testing.assert_array_equal(after[1], before[1])
