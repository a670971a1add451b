"""Element-wise ops and casts through step 4 and the CPU's kernels, on every element type, against the reference."""

import ml_dtypes
import numpy as np
import pytest
from cpu_helpers import check, dtype_of, kind, run, values

from lumir.dialects import ELEMENTWISE, build

FLOATS = ("float32", "float64", "float16", "bfloat16")
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
SHORT = ("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float4_e2m1fn")
TIGHT = {"float32": 3e-6, "float64": 3e-6, "float16": 1e-3, "bfloat16": 8e-3}
POSITIVE = {"log", "sqrt", "rsqrt", "pow"}
WITHIN_ONE = {"asin", "acos", "atanh"}
INTEGER_UNARY = ("abs", "neg", "sign", "not")
INTEGER_BINARY = ("add", "sub", "mul", "max", "min", "and", "or", "xor", "eq", "ne", "lt", "le", "gt", "ge")


def _domain(name: str, x):
    """The operand moved to where the function is defined."""
    if name in POSITIVE:
        return build("abs", x)
    if name in WITHIN_ONE:
        return build("tanh", x)
    return build("add", build("abs", x), build("exp", build("abs", x))) if name == "acosh" else x


@pytest.mark.parametrize("dtype", FLOATS)
def test_unary_float_ops(dtype):
    rng = np.random.default_rng(1)
    names = [n for n, row in ELEMENTWISE.items() if row.arity == 1 and n != "not"]
    x = values(rng, (5, 33), dtype)
    check(lambda x: [build(n, _domain(n, x)) for n in names], x, rtol=TIGHT[dtype], atol=TIGHT[dtype])


@pytest.mark.parametrize("dtype", FLOATS)
def test_binary_float_ops_broadcast(dtype):
    rng = np.random.default_rng(2)
    names = [n for n, row in ELEMENTWISE.items() if row.arity == 2 and n not in ("and", "or", "xor", "shl", "shr")]
    x, y = values(rng, (4, 1, 33), dtype), values(rng, (7, 33), dtype)
    y = np.where(np.abs(y.astype(np.float32)) < 0.1, np.ones_like(y), y)
    check(lambda x, y: [build(n, _domain(n, x), y) for n in names], x, y, rtol=TIGHT[dtype], atol=TIGHT[dtype])


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integer_ops(dtype):
    rng = np.random.default_rng(3)
    limits = np.iinfo(dtype)
    x = rng.integers(limits.min, limits.max, (3, 35), dtype, endpoint=True)
    y = rng.integers(limits.min, limits.max, (35,), dtype, endpoint=True)
    y[y == 0] = 3
    x[0, :3], y[:3] = (limits.min, limits.max, 0), (limits.max, limits.max, 1)
    divisions = ("div", "mod", "fmod")
    unary = [n for n in INTEGER_UNARY if n != "abs" or limits.min == 0]
    check(lambda x, y: [*(build(n, x) for n in unary), *(build(n, x, y) for n in (*INTEGER_BINARY, *divisions))], x, y)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_shifts_keep_the_sign_and_lose_what_falls_out(dtype):
    rng = np.random.default_rng(4)
    bits = np.iinfo(dtype).bits
    x = rng.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, (2, 40), dtype, endpoint=True)
    y = rng.integers(0, bits, (40,)).astype(dtype)
    check(lambda x, y: [build("shl", x, y), build("shr", x, y)], x, y)


def test_shifts_by_the_width_or_more():
    x, far = np.array([-16, 16, -1, 7], np.int32), np.array([32, 40, -1, -5], np.int32)
    ran = run(lambda x, y: [build("shl", x, y), build("shr", x, y)], x, far)
    np.testing.assert_array_equal(ran.results[0], [0, 0, 0, 0])
    np.testing.assert_array_equal(ran.results[1], [-1, 0, -1, 0])
    x, far = np.array([200, 3], np.uint8), np.array([8, 255], np.uint8)
    ran = run(lambda x, y: [build("shl", x, y), build("shr", x, y)], x, far)
    np.testing.assert_array_equal(ran.results, [[0, 0], [0, 0]])


def test_integer_powers():
    x = np.array([2, -3, 5, -1, 1, 0, 7], np.int64)
    y = np.array([10, 3, 0, 7, 9, 4, 1], np.int64)
    check(lambda x, y: build("pow", x, y), x, y)


def test_bools():
    rng = np.random.default_rng(5)
    x, y, z = values(rng, (5, 33), "bool"), values(rng, (33,), "bool"), values(rng, (5, 33))
    check(
        lambda x, y, z: [
            build("not", x), *(build(n, x, y) for n in ("and", "or", "xor", "eq", "ne", "lt", "ge")),
            build("select", x, z, build("neg", z)), build("select", y, x, build("not", x)),
            build("cast", x, to=kind("float16")), build("cast", z, to=kind("bool")),
        ], x, y, z,
    )  # fmt: skip


def test_special_values():
    x = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45, -1e-40, 3.4e38, -3.4e38, 0.5, -1.5, 2.5], np.float32)
    grid = np.meshgrid(x, x)
    names = ("max", "min", "add", "mul", "eq", "ne", "lt", "le", "gt", "ge")
    unary = ("abs", "neg", "sign", "isnan", "isinf", "floor", "ceil", "round", "trunc", "exp", "tanh", "sigmoid", "erf")
    ran = run(
        lambda x, y: [*(build(n, x, y) for n in names), *(build(n, x) for n in unary)],
        *(np.ascontiguousarray(g) for g in grid),
    )
    for name, found, expected in zip((*names, *unary), ran.results, ran.expected, strict=True):
        with np.errstate(over="ignore"):
            wanted = expected.astype(found.dtype)
        np.testing.assert_allclose(
            found.astype(np.float64), wanted.astype(np.float64), rtol=3e-6, atol=1e-37, err_msg=name
        )


@pytest.mark.parametrize("to", INTEGERS)
def test_floats_to_integers(to):
    """In range: toward zero. A negative number to an unsigned type is taken modulo its width, as by numpy on x86-64."""
    limits = np.iinfo(to)
    low, high = max(float(limits.min), -3e9), min(float(limits.max), 3e9)
    x = np.random.default_rng(6).uniform(low, high, (3, 37)).astype(np.float64)
    x.flat[:4] = 0.99, 1.5, 2.5, -0.99
    ran = run(lambda x: build("cast", x, to=kind(to)), x)
    np.testing.assert_array_equal(ran.results[0], x.astype(to))
    if limits.min == 0 and limits.bits >= 32:
        negative = np.array([-1.0, -2.5, -100.0])
        found = run(lambda x: build("cast", x, to=kind(to)), negative).results[0]
        np.testing.assert_array_equal(found, negative.astype(np.int64).astype(to))


def test_large_floats_to_uint64():
    x = np.array([0, 2.0**63, 2.0**63 + 4096, 1.8e19, 5.0])
    np.testing.assert_array_equal(run(lambda x: build("cast", x, to=kind("uint64")), x).results[0], x.astype(np.uint64))


@pytest.mark.parametrize("source", [*INTEGERS, "bool"])
def test_integers_to_everything(source):
    targets = [t for t in (*INTEGERS, "bool", "float32", "float64") if t != source]
    x = values(np.random.default_rng(7), (2, 35), source)
    check(lambda x: [build("cast", x, to=kind(t)) for t in targets], x, rtol=1e-7, atol=0)


@pytest.mark.parametrize("source", [*SHORT, "float8_e8m0fnu"])
def test_every_short_float_widens_exactly(source):
    dtype = dtype_of(source)
    bits = 4 if "float4" in source else 8
    x = np.arange(1 << bits, dtype=np.uint8).view(dtype)
    ran = run(lambda x: [build("cast", x, to=kind(t)) for t in ("float32", "float64", "bfloat16")], x)
    for found in ran.results:
        np.testing.assert_array_equal(found.astype(np.float64), x.astype(np.float64))


@pytest.mark.parametrize("saturate", [True, False])
@pytest.mark.parametrize("to", SHORT)
def test_floats_to_short_floats(to, saturate):
    """Against ml_dtypes: ties, subnormals, both zeros, the ends of the range, infinities, NaN; every float16."""
    dtype = dtype_of(to)
    x = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    with np.errstate(all="ignore"):
        limit = float(ml_dtypes.finfo(dtype).max)
        wide = np.concatenate(
            [x.astype(np.float32), np.random.default_rng(8).standard_normal(4096, np.float32) * limit]
        )
        near = np.nextafter(wide, np.float32(np.inf))
        inputs = np.concatenate([wide, near])
        clipped = np.clip(inputs, -limit, limit) if saturate else inputs
        expected = clipped.astype(dtype)
    found = run(lambda x: build("cast", x, to=kind(to), saturate=saturate), inputs).results[0]
    np.testing.assert_array_equal(found.view(np.uint8), expected.view(np.uint8))


def test_float64_to_short_floats_rounds_once():
    tie = (1.0 + 1.125) / 2
    x = np.array([tie, tie + 1e-12, tie - 1e-12, -tie - 1e-12, 1e-30], np.float64)
    found = run(lambda x: build("cast", x, to=kind("float8_e4m3fn")), x).results[0]
    np.testing.assert_array_equal(found.astype(np.float32), [1.0, 1.125, 1.0, -1.125, 0.0])


def test_powers_of_two_to_the_scale_type():
    x = np.ldexp(np.float32(1), np.arange(-127, 128)).astype(np.float32)
    near = (x[1:-1] * np.float32(1.1)).astype(np.float32)
    inputs = np.concatenate([x, near])
    found = run(lambda x: build("cast", x, to=kind("float8_e8m0fnu")), inputs).results[0]
    np.testing.assert_array_equal(found.view(np.uint8), inputs.astype(ml_dtypes.float8_e8m0fnu).view(np.uint8))


@pytest.mark.parametrize("narrow", ["float16", "bfloat16", "float8_e4m3fn", "float8_e5m2"])
def test_a_cast_that_the_model_asks_for_rounds(narrow):
    """Narrowing and widening again in one kernel is not the identity."""
    x = values(np.random.default_rng(9), (3, 41))
    ran = run(lambda x: build("cast", build("cast", x, to=kind(narrow)), to=kind("float32")), x)
    assert ran.families == ["map"]
    np.testing.assert_array_equal(ran.results[0], x.astype(dtype_of(narrow)).astype(np.float32))


@pytest.mark.parametrize("to", ["int4", "uint4", "int2", "uint2", "float4_e2m1fn"])
@pytest.mark.parametrize("dims", [(), (1,), (7,), (3, 5), (0, 3), (2, 3, 7), (4100,)])
def test_packed_types(to, dims):
    """Casts to and from 4-bit and 2-bit types, and moves of them: no element of a shared byte is lost."""
    rng = np.random.default_rng(10)
    x = values(rng, dims, to)
    wide = np.abs(values(rng, dims)) if to.startswith("u") else values(rng, dims)
    order = list(range(len(dims)))[::-1]
    check(lambda x: [build("cast", x, to=kind("float32")), build("transpose", x, permutation=order)], x)
    check(lambda x: build("cast", x, to=kind(to)), wide)


def test_a_reduction_does_not_write_packed_results():
    """Rows of odd length share bytes: the cast runs on its own."""
    x = values(np.random.default_rng(11), (5, 7))
    ran = check(
        lambda x: build("cast", build("reduce", x, kind="sum", axes=[1]), to=kind("int4")), np.clip(x, -1, 1) * 0.9
    )
    assert ran.families == ["rows", "map"]
