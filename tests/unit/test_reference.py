"""The reference interpreter against plain loops and numpy's own functions."""

import itertools
import math
import zlib

import ml_dtypes
import numpy as np
import pytest
from reference_helpers import make_module, random_array, run

from lumir.context import make_context
from lumir.diagnostics import UserError
from lumir.dialects import ELEMENTWISE, OPS, build
from lumir.dialects.constants import constant
from lumir.mlir import ir
from lumir.reference import RULES, evaluate, evaluate_region
from lumir.reference.elementwise import FUNCTIONS
from lumir.weights import WeightStore

STRUCTURE = {"weight", "derived_weight", "load", "constant", "bind", "yield", "code"}


@pytest.fixture
def rng(request):
    return np.random.default_rng(zlib.crc32(request.node.name.encode()))


def test_every_op_has_a_rule():
    assert set(OPS) - set(RULES) == STRUCTURE
    assert set(FUNCTIONS) == set(ELEMENTWISE)


@pytest.mark.parametrize(
    ("name", "x", "y", "expected"),
    [
        ("div", [7, -7, 7, -7, 6], [2, 2, -2, -2, 3], [3, -3, -3, 3, 2]),
        ("mod", [7, -7, 7, -7, 6], [3, 3, -3, -3, 3], [1, 2, -2, -1, 0]),
        ("fmod", [7, -7, 7, -7, 6], [3, 3, -3, -3, 3], [1, -1, 1, -1, 0]),
        ("pow", [2, -1, -1, 1, 3], [3, -3, -2, -5, -1], [8, -1, 1, 1, 0]),
        ("shl", [1, 3, 1, -1, 5], [3, 1, 32, 4, 0], [8, 6, 0, -16, 5]),
        ("shr", [8, 7, -8, -1, 5], [3, 1, 1, 40, 0], [1, 3, -4, -1, 5]),
    ],
)
def test_integer_arithmetic(name, x, y, expected):
    np.testing.assert_array_equal(run(name, np.array(x, np.int32), np.array(y, np.int32)), expected)


def test_integers_wrap_and_unsigned_shift_by_the_width_gives_zero():
    assert run("add", np.array([127], np.int8), np.array([1], np.int8))[0] == -128
    assert run("shr", np.array([200], np.uint8), np.array([8], np.uint8))[0] == 0
    assert run("add", np.array([7], ml_dtypes.int4), np.array([1], ml_dtypes.int4)).astype(int)[0] == -8
    assert run("add", np.array([15], ml_dtypes.uint4), np.array([2], ml_dtypes.uint4)).astype(int)[0] == 1


def test_nan_and_ties():
    x, nan = np.array([np.nan, 1, 2], np.float32), np.array([1, np.nan, 3], np.float32)
    np.testing.assert_array_equal(run("max", x, nan), [np.nan, np.nan, 3])
    np.testing.assert_array_equal(run("min", x, nan), [np.nan, np.nan, 2])
    np.testing.assert_array_equal(run("sign", x), [np.nan, 1, 1])
    np.testing.assert_array_equal(run("round", np.array([0.5, 1.5, -2.5], np.float32)), [0, 2, -2])


def test_sigmoid_and_erf_at_the_ends():
    x = np.array([-np.inf, -200, 0, 200, np.inf], np.float32)
    np.testing.assert_array_equal(run("sigmoid", x), [0, run("sigmoid", x)[1], 0.5, 1, 1])
    assert 0 <= run("sigmoid", x)[1] < 1e-30
    np.testing.assert_allclose(run("erf", x), [-1, -1, 0, 1, 1])


@pytest.mark.parametrize(
    "name", [n for n, row in ELEMENTWISE.items() if row.domain[0] in ("float", "float or integer")]
)
@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_half_types_round_the_float32_result_once(name, dtype, rng):
    operands = [random_array(rng, (3, 5), dtype) for _ in range(ELEMENTWISE[name].arity)]
    with np.errstate(all="ignore"):
        expected = run(name, *(o.astype(np.float32) for o in operands))
        expected = expected if expected.dtype == bool else expected.astype(dtype)
    np.testing.assert_array_equal(run(name, *operands).astype(float), expected.astype(float))


def test_casts():
    x = np.array([-2.7, -0.5, 0.0, 2.5, 3.99], np.float32)
    np.testing.assert_array_equal(run("cast", x, to="int32"), [-2, 0, 0, 2, 3])
    np.testing.assert_array_equal(run("cast", x, to="bool"), [True, True, False, True, True])
    big = np.array([1e6, -1e6, np.inf, 1.0], np.float32)
    limited = run("cast", big, to="float8_e4m3fn", saturate=True).astype(np.float32)
    np.testing.assert_array_equal(limited, [448, -448, 448, 1])
    free = run("cast", big, to="float8_e4m3fn", saturate=False).astype(np.float32)
    np.testing.assert_array_equal(free, [np.nan, np.nan, np.nan, 1])
    np.testing.assert_array_equal(run("cast", np.array([17, -9]), to="int4").astype(int), [1, 7])


@pytest.mark.parametrize(
    "equation", ["mk,kn->mn", "bmk,bnk->bnm", "ik,k->i", "i,j->ji", "bi,b->bi", "abk,kcd->dacb", "k,k->"]
)
def test_contract_is_einsum(equation, rng):
    sizes = dict(zip("abcdijkmn", (2, 3, 4, 5, 3, 4, 6, 5, 7), strict=True))
    lhs, rhs = (random_array(rng, [sizes[c] for c in side]) for side in equation.split("->")[0].split(","))
    expected = np.einsum(equation, lhs.astype(np.float64), rhs.astype(np.float64))
    np.testing.assert_allclose(run("contract", lhs, rhs, equation=equation, to="float32"), expected, 1e-5, 1e-5)
    exact = run("contract", lhs, rhs, equation=equation, to="float32", precision="float64")
    np.testing.assert_allclose(exact, expected, 1e-13)
    assert exact.dtype == np.float64


def test_contract_of_integers_is_exact():
    lhs, rhs = np.full((1, 300), 127, np.int8), np.full((300, 1), 255, np.uint8)
    assert run("contract", lhs, rhs, equation="mk,kn->mn", to="int32")[0, 0] == 300 * 127 * 255


def test_contract_of_halves_accumulates_in_float32():
    lhs, rhs = np.full((1, 4096), 0.1, np.float16), np.full((4096, 1), 0.1, np.float16)
    exact = 4096 * float(np.float16(0.1)) ** 2
    assert run("contract", lhs, rhs, equation="mk,kn->mn", to="float16")[0, 0] == np.float16(exact)


CONVS = [
    ({"strides": [1], "dilations": [1], "low": [0], "high": [0], "groups": 1}, (2, 3, 9), (4, 3, 3)),
    ({"strides": [2, 3], "dilations": [1, 2], "low": [1, 2], "high": [0, 3], "groups": 2}, (1, 4, 8, 9), (6, 2, 3, 2)),
    (
        {"strides": [1, 1], "dilations": [1, 1], "low": [-1, 2], "high": [-2, 0], "groups": 3},
        (2, 3, 7, 6),
        (3, 1, 2, 2),
    ),
    (
        {"strides": [1] * 3, "dilations": [1] * 3, "low": [1] * 3, "high": [1] * 3, "groups": 1},
        (1, 2, 4, 3, 5),
        (2, 2, 3, 3, 3),
    ),
]


@pytest.mark.parametrize(("attributes", "input_shape", "filter_shape"), CONVS)
def test_conv(attributes, input_shape, filter_shape, rng):
    x, w = random_array(rng, input_shape), random_array(rng, filter_shape)
    result = run("conv", x, w, **attributes, to=np.dtype("float32"))
    places, groups = np.ndindex(*result.shape[2:]), attributes["groups"]
    expected = np.zeros(result.shape)
    for place, n, o in itertools.product(places, range(x.shape[0]), range(w.shape[0])):
        group = o // (w.shape[0] // groups)
        for c, tap in itertools.product(range(w.shape[1]), np.ndindex(*w.shape[2:])):
            at = _tap(place, tap, attributes)
            if all(0 <= i < size for i, size in zip(at, x.shape[2:], strict=True)):
                expected[(n, o, *place)] += float(x[(n, group * w.shape[1] + c, *at)]) * float(w[(o, c, *tap)])
    np.testing.assert_allclose(result, expected, 1e-4, 1e-5)


def _tap(place, tap, attributes):
    parts = zip(place, tap, attributes["strides"], attributes["dilations"], attributes["low"], strict=True)
    return tuple(p * s + t * d - lo for p, t, s, d, lo in parts)


@pytest.mark.parametrize("kind", ["sum", "max"])
@pytest.mark.parametrize("dtype", [np.float32, np.int8])
def test_window_reduce(kind, dtype, rng):
    x = random_array(rng, (2, 3, 7, 8), dtype)
    attributes = {"strides": [2, 1], "dilations": [1, 2], "low": [1, 0], "high": [0, 2]}
    result = run("window_reduce", x, kind=kind, window=[3, 2], **attributes)
    for n, c, *place in np.ndindex(*result.shape):
        taps = [_tap(place, tap, attributes) for tap in np.ndindex(3, 2)]
        seen = [x[(n, c, *at)] for at in taps if all(0 <= i < s for i, s in zip(at, x.shape[2:], strict=True))]
        np.testing.assert_allclose(result[(n, c, *place)], (sum if kind == "sum" else max)(seen), 1e-5, 1e-5)


@pytest.mark.parametrize("kind", ["sum", "prod", "max", "min"])
@pytest.mark.parametrize("axes", [[], [1], [0, -1], [0, 1, 2]])
def test_reduce(kind, axes, rng):
    x = random_array(rng, (2, 3, 4))
    function = {"sum": np.sum, "prod": np.prod, "max": np.max, "min": np.min}[kind]
    np.testing.assert_allclose(run("reduce", x, kind=kind, axes=axes), function(x, axis=tuple(axes)), 1e-6, 1e-6)


def test_reduce_of_nothing_and_of_bools():
    empty = np.zeros((0, 2), np.float32)
    assert [run("reduce", empty, kind=k, axes=[0])[0] for k in ("sum", "prod", "max", "min")] == [0, 1, -np.inf, np.inf]
    flags = np.array([[True, False], [True, True]])
    np.testing.assert_array_equal(run("reduce", flags, kind="min", axes=[0]), [True, False])
    np.testing.assert_array_equal(run("reduce", flags, kind="max", axes=[1]), [True, True])


def test_arg_reduce_ties():
    x = np.array([[1, 3, 3, 2], [5, 5, 0, 5]], np.float32)
    np.testing.assert_array_equal(run("arg_reduce", x, kind="max", axis=1, last=False), [1, 0])
    np.testing.assert_array_equal(run("arg_reduce", x, kind="max", axis=-1, last=True), [2, 3])
    np.testing.assert_array_equal(run("arg_reduce", x, kind="min", axis=0, last=False), [0, 0, 1, 0])


@pytest.mark.parametrize(("kind", "neutral"), [("sum", 0), ("prod", 1), ("max", -np.inf)])
@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
def test_scan(kind, neutral, exclusive, reverse, rng):
    x = random_array(rng, (3, 6))
    combine = {"sum": np.add, "prod": np.multiply, "max": np.maximum}[kind]
    expected = np.zeros_like(x)
    for row in range(3):
        running = np.float32(neutral)
        for i in reversed(range(6)) if reverse else range(6):
            after = combine(running, x[row, i])
            expected[row, i] = running if exclusive else after
            running = after
    result = run("scan", x, kind=kind, axis=1, exclusive=exclusive, reverse=reverse)
    np.testing.assert_allclose(result, expected, 1e-5, 1e-5)


@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize("dtype", [np.int32, np.uint8, np.float16])
def test_top_k(largest, dtype, rng):
    x = rng.integers(0, 4, (5, 9)).astype(dtype)
    values, indices = run("top_k", x, k=4, largest=largest)
    for row in range(5):
        order = sorted(range(9), key=lambda i: (-float(x[row, i]) if largest else float(x[row, i]), i))[:4]
        assert indices[row].tolist() == order
        assert values[row].tolist() == x[row, order].tolist()


def test_slice_backwards_and_empty():
    x = np.arange(10, dtype=np.int64).reshape(2, 5)
    np.testing.assert_array_equal(run("slice", x, starts=[1, 4], sizes=[2, 5], steps=[-1, -1]), x[::-1, ::-1])
    np.testing.assert_array_equal(run("slice", x, starts=[0, 3], sizes=[1, 2], steps=[1, -2]), [[3, 1]])
    assert run("slice", x, starts=[0, 9], sizes=[2, 0], steps=[1, 1]).shape == (2, 0)


@pytest.mark.parametrize("mode", ["edge", "reflect", "wrap"])
def test_pad_modes(mode, rng):
    x, zero = random_array(rng, (4, 5)), np.float32(0)
    result = run("pad", x, np.asarray(zero), low=[2, 0], high=[3, 4], interior=[0, 0], mode=mode)
    np.testing.assert_array_equal(result, np.pad(x, [(2, 3), (0, 4)], mode))


def test_pad_constant_with_interior_and_cropping():
    x = np.array([1, 2, 3], np.int32)
    result = run("pad", x, np.array(9, np.int32), low=[1], high=[2], interior=[1], mode="constant")
    assert result.tolist() == [9, 1, 9, 2, 9, 3, 9, 9]
    cropped = run("pad", x, np.array(9, np.int32), low=[-1], high=[1], interior=[0], mode="constant")
    assert cropped.tolist() == [2, 3, 9]


def test_iota_and_concat_and_broadcast():
    with make_context(), ir.Location.unknown():
        type_ = ir.RankedTensorType.get([2, 3], ir.F16Type.get())
        (result,) = evaluate(make_module(lambda: build("iota", type=type_, axis=-1)), None, {}).values()
    np.testing.assert_array_equal(result, [[0, 1, 2]] * 2)
    x = np.arange(3, dtype=np.float32)
    np.testing.assert_array_equal(run("concat", x, x + 5, axis=-1), [0, 1, 2, 5, 6, 7])
    np.testing.assert_array_equal(run("broadcast", x[:, None], shape=[2, 3, 2]), np.broadcast_to(x[:, None], (2, 3, 2)))


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_gathers(axis, rng):
    x = random_array(rng, (4, 5, 6))
    indices = rng.integers(-4, 4, (2, 3))
    np.testing.assert_array_equal(run("gather", x, indices, axis=axis), np.take(x, indices, axis))
    shape = [3, 2, 4]
    picks = rng.integers(-4, 4, shape)
    result = run("gather_elements", x, picks, axis=axis)
    for place in np.ndindex(*shape):
        source = list(place)
        source[axis] = picks[place]
        assert result[place] == x[tuple(source)]


@pytest.mark.parametrize(("batch", "depth"), [(0, 1), (0, 3), (1, 1), (1, 2), (2, 1)])
def test_gather_nd(batch, depth, rng):
    x = random_array(rng, (2, 3, 4, 5))
    outer = (*x.shape[:batch], 6)
    indices = rng.integers(-2, 2, (*outer, depth))
    result = run("gather_nd", x, indices, batch_dims=batch)
    for place in np.ndindex(*outer):
        np.testing.assert_array_equal(result[place], x[(*place[:batch], *indices[place])])


@pytest.mark.parametrize("kind", ["set", "add", "mul", "max", "min"])
def test_scatters_write_in_order(kind, rng):
    combine = {"set": lambda a, b: b, "add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}[kind]
    x, updates = random_array(rng, (4, 5)), random_array(rng, (6, 3))
    picks = rng.integers(-4, 4, (6, 3))
    picks = np.clip(picks, -4, 3)
    grown = random_array(rng, (8, 5))
    expected = grown.copy()
    for row, column in np.ndindex(6, 3):
        at = (row, picks[row, column] % 5)
        expected[at] = combine(expected[at], updates[row, column])
    result = run("scatter_elements", grown, picks % 5, updates, axis=1, kind=kind)
    np.testing.assert_allclose(result, expected, 1e-6)

    rows, slices = rng.integers(-4, 4, (7, 1)), random_array(rng, (7, 5))
    expected = x.copy()
    for i in range(7):
        expected[rows[i, 0]] = combine(expected[rows[i, 0]], slices[i])
    np.testing.assert_allclose(run("scatter_nd", x, rows, slices, kind=kind), expected, 1e-6)


def test_softmax_and_normalize(rng):
    x = random_array(rng, (3, 4, 5))
    exp = np.exp(x.astype(np.float64))
    expected = exp / exp.sum(1, keepdims=True)
    np.testing.assert_allclose(run("softmax", x, axis=1, log=False), expected, 1e-5)
    np.testing.assert_allclose(run("softmax", x, axis=-2, log=True), np.log(expected), 1e-5, 1e-6)
    mean, var = x.mean((1, 2), keepdims=True), x.var((1, 2), keepdims=True)
    np.testing.assert_allclose(
        run("normalize", x, axis=1, epsilon=1e-3, center=True), (x - mean) / np.sqrt(var + 1e-3), 1e-4, 1e-5
    )
    square = np.square(x).mean(-1, keepdims=True)
    np.testing.assert_allclose(
        run("normalize", x, axis=-1, epsilon=1e-3, center=False), x / np.sqrt(square + 1e-3), 1e-5
    )


@pytest.mark.parametrize("mask", [None, "float", "bool"])
@pytest.mark.parametrize(
    ("causal", "offset", "window", "softcap"),
    [(False, 0, 0, 0.0), (True, 2, 0, 0.0), (True, -1, 0, 3.0), (True, 1, 2, 0.0), (False, -1, 3, 0.0)],
)
def test_attention(mask, causal, offset, window, softcap, rng):
    b, h, g, m, n, d, e = 2, 4, 2, 3, 5, 6, 7
    q, k, v = (random_array(rng, s) for s in [(b, h, m, d), (b, g, n, d), (b, g, n, e)])
    extra = {None: [], "float": [random_array(rng, (1, 1, m, n))], "bool": [rng.random((b, 1, m, n)) < 0.6]}[mask]
    result = run("attention", q, k, v, *extra, scale=0.3, causal=causal, offset=offset, window=window, softcap=softcap)
    full = [np.broadcast_to(t, (b, h, m, n)) for t in extra]
    for bi, hi, i in np.ndindex(b, h, m):
        total, row = 0.0, np.zeros(e)
        for j in range(n):
            if (causal and j > i + offset) or (window and j <= i + offset - window):
                continue
            score = 0.3 * float(q[bi, hi, i].astype(float) @ k[bi, hi // 2, j].astype(float))
            score = softcap * math.tanh(score / softcap) if softcap else score
            if mask == "bool" and not full[0][bi, hi, i, j]:
                continue
            score += float(full[0][bi, hi, i, j]) if mask == "float" else 0.0
            total, row = total + math.exp(score), row + math.exp(score) * v[bi, hi // 2, j].astype(float)
        np.testing.assert_allclose(result[bi, hi, i], row / total if total else row, 1e-4, 1e-5)


MODULE = """
"lumir.weight"() {sym_name = "base", type = tensor<2x3xf16>, path = ":memory:", offset = 0 : i64} : () -> ()
"lumir.derived_weight"() ({
  %0 = "lumir.load"() {weight = @base} : () -> tensor<2x3xf16>
  %1 = "lumir.transpose"(%0) {permutation = array<i64: 1, 0>} : (tensor<2x3xf16>) -> tensor<3x2xf16>
  "lumir.yield"(%1) : (tensor<3x2xf16>) -> ()
}) {sym_name = "turned", type = tensor<3x2xf16>} : () -> ()
func.func private @part(%x: tensor<4x3xf16>) -> tensor<4x2xf16> attributes {lumir.dispatch} {
  %w = "lumir.load"() {weight = @turned} : () -> tensor<3x2xf16>
  %0 = "lumir.contract"(%x, %w) {equation = "mk,kn->mn", to = f16}
       : (tensor<4x3xf16>, tensor<3x2xf16>) -> tensor<4x2xf16>
  return %0 : tensor<4x2xf16>
}
func.func @main(%x: tensor<4x3xf16> {lumir.name = "x"}) -> (tensor<4x2xf16> {lumir.name = "y"}) {
  %0 = call @part(%x) : (tensor<4x3xf16>) -> tensor<4x2xf16>
  return %0 : tensor<4x2xf16>
}
"""


def test_dispatches_and_derived_weights(rng):
    x, store = random_array(rng, (4, 3), np.float16), WeightStore()
    store.memory["base"] = random_array(rng, (2, 3), np.float16)
    expected = x.astype(float) @ store.memory["base"].astype(float).T
    seen = []
    with make_context(), ir.Location.unknown():
        module = ir.Module.parse(MODULE)
        result = evaluate(module, store, {"x": x}, observe=lambda op, _: seen.append(op.name))["y"]
        exact = evaluate(module, store, {"x": x}, "float64")["y"]
        derived = next(op for op in module.body if op.operation.name == "lumir.derived_weight")
        (turned,) = evaluate_region(derived.regions[0].blocks[0], [], store)
    np.testing.assert_array_equal(turned, store.memory["base"].T)
    np.testing.assert_allclose(exact, expected, 1e-12)
    np.testing.assert_array_equal(result, expected.astype(np.float32).astype(np.float16))
    assert seen == ["lumir.load", "lumir.transpose", "lumir.load", "lumir.contract", "func.call"]


@pytest.mark.parametrize(
    "inputs", [{}, {"x": np.zeros((4, 3))}, {"x": np.zeros((4, 2), np.float16)}, {"z": np.zeros(1)}]
)
def test_wrong_inputs_are_user_errors(inputs):
    with make_context(), ir.Location.unknown(), pytest.raises(UserError):
        evaluate(ir.Module.parse(MODULE), None, inputs)


@pytest.mark.parametrize(
    "dtype", [np.float32, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.int4, np.bool_, np.int64]
)
@pytest.mark.parametrize("shape", [(), (3,), (15, 20), (0, 2)])
def test_constants_of_every_size(dtype, shape, rng):
    array = rng.integers(0, 2, shape).astype(dtype)
    for value in (array, np.ones(shape, dtype)):
        with make_context(), ir.Location.unknown():
            module = make_module(lambda value=value: constant(value))
            again = ir.Module.parse(str(module))
            (result,) = evaluate(again, None, {}).values()
        assert result.dtype == value.dtype and result.shape == value.shape
        np.testing.assert_array_equal(result.astype(float), value.astype(float))


def test_a_float64_oracle_holds_no_short_float(rng):
    x = random_array(rng, (3, 4), np.float16)
    dtypes = []
    with make_context(), ir.Location.unknown():
        module = make_module(lambda v: build("exp", build("add", v, constant(np.asarray(0.1, np.float16)))), x)
        evaluate(module, None, {"x0": x}, "float64", lambda _, results: dtypes.extend(r.dtype for r in results))
    assert set(dtypes) == {np.dtype(np.float64)}


def test_dequantize(rng):
    x, scale = rng.integers(-128, 128, (3, 4)).astype(np.int8), np.array([[0.5], [2], [0.1]], np.float32)
    result = run("dequantize", x, scale, np.array(-100, np.int8))
    np.testing.assert_array_equal(result, (x.astype(np.float32) + 100) * scale)
    big = run("dequantize", np.array([65535, 0], np.uint16), np.array(3, np.float32), np.array(65535, np.uint16))
    np.testing.assert_array_equal(big, [0, -196605])
