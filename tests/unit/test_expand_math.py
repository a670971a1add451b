"""Expansions of transcendentals: accuracy, special values, and that nothing calls a library."""

import ctypes
import itertools
import re

import llvmlite.binding as llvm
import ml_dtypes
import numpy as np
import pytest

from lumir.codegen.expand_math import BITWISE, NARROW_ON_CPU, ON_NVIDIA, expand_math
from lumir.codegen.host import compile_assembly, compile_host
from lumir.codegen.host_link import link_host
from lumir.codegen.llvm_ir import to_llvm_dialect, to_llvm_ir
from lumir.codegen.math.check import (
    DTYPES,
    Case,
    compile_cases,
    cpu_source,
    lower_for_cpu,
    nvidia_source,
    ulp_errors,
)
from lumir.codegen.math.exact import UNARY, any_bits, edges, samples
from lumir.codegen.math.rules import RULES
from lumir.codegen.nvidia import ptx_of
from lumir.codegen.ptx import assemble
from lumir.diagnostics import InternalError, UnsupportedError
from lumir.mlir import ir
from lumir.runtime.memory import LoadedImage

WIDE = {"f16": np.float64, "bf16": np.float64, "f32": np.float64, "f64": np.longdouble}
LANES = {"f16": 16, "bf16": 16, "f32": 16, "f64": 8}

# Upper bounds in ulp; docs/math.md has the measured maxima.
BOUNDS = {
    "exp": 1,
    "exp2": 1,
    "expm1": 2,
    "tanh": 3,
    "sinh": 2.5,
    "cosh": 1.5,
    "log": 1,
    "log2": 1,
    "log10": 1,
    "log1p": 2,
    "asinh": 2,
    "acosh": 2.2,
    "atanh": 2.5,
    "sin": 2,
    "cos": 2,
    "tan": 3,
    "asin": 2.2,
    "acos": 1.2,
    "atan": 1.5,
    "erf": 1.5,
    "erfc": 4,
    "cbrt": 1,
    "rsqrt": 1.5,
}
BINARY = ("math.powf", "math.atan2", "arith.remf")


@pytest.fixture(autouse=True)
def quiet_numpy():
    with np.errstate(all="ignore"):
        yield


def unary_cases(kind: str, lanes: int | None) -> list[Case]:
    return [Case(f"math.{name}", (kind,), kind, lanes) for name in UNARY]


def worst(got: np.ndarray, exact: np.ndarray, kind: str, *operands: np.ndarray) -> tuple[float, str]:
    """The largest error, and where it is."""
    errors = ulp_errors(got, exact, kind)
    at = int(np.argmax(errors))
    place = ", ".join(repr(x[at]) for x in operands)
    return float(errors[at]), f"{errors[at]} ulp at ({place}): {got[at]!r}, exactly {exact[at]!r}"


@pytest.fixture(scope="module", params=[("f32", 16), ("f32", None), ("f64", 8), ("f64", None)], ids=str)
def unary(request):
    kind, lanes = request.param
    return kind, dict(zip(UNARY, compile_cases(unary_cases(kind, lanes)), strict=True))


@pytest.mark.parametrize("name", UNARY)
def test_unary_accuracy(unary, name):
    kind, functions = unary
    exact, low, high = UNARY[name]
    slow_reference = kind == "f64" or name.startswith("erf")
    x = samples(np.random.default_rng(7), DTYPES[kind], low, high, 16_000 if slow_reference else 100_000)
    error, message = worst(functions[name](x), exact(x.astype(WIDE[kind])), kind, x)
    assert error <= BOUNDS[name], message


@pytest.mark.parametrize("kind", ["f16", "bf16"])
def test_every_16_bit_argument(kind):
    x = np.arange(1 << 16, dtype=np.uint16).view(DTYPES[kind])
    for name, function in zip(UNARY, compile_cases(unary_cases(kind, 16)), strict=True):
        exact = UNARY[name][0](x.astype(np.float64))
        error, message = worst(function(x), exact, kind, x)
        assert error <= 0.502, f"{name}: {message}"


@pytest.mark.parametrize("kind", ["f32", "f64"])
def test_large_angles(kind):
    """Arguments next to multiples of pi/2 at every exponent, where the reduction loses most."""
    rng, wide = np.random.default_rng(11), WIDE[kind]
    turns = np.floor(2.0 ** rng.uniform(0, 50, 16_000))
    x = (turns * (np.pi / 2)).astype(DTYPES[kind])
    cases = [Case(f"math.{name}", (kind,), kind, LANES[kind]) for name in ("sin", "cos", "tan")]
    for case, function, exact in zip(cases, compile_cases(cases), (np.sin, np.cos, np.tan), strict=True):
        error, message = worst(function(x), exact(x.astype(wide)), kind, x)
        assert error <= 3, f"{case.op}: {message}"


def power_samples(dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """Powers near one, powers over the whole range, negative bases, random bits, special values."""
    rng, n = np.random.default_rng(13), 20_000
    special = [0.0, 1.0, 0.5, 2.0, 3.0, 2.5, np.inf, np.nan, 1e-45, 1e38, 16777215.0, 16777216.0, 1e10, 0.99999994]
    grid = np.array(list(itertools.product([*special, *(-v for v in special)], repeat=2)), dtype)
    anything = np.abs(any_bits(rng, dtype, n))
    largest = 100 if dtype == np.float32 else 720
    bases = [
        rng.uniform(0.3, 3, n),
        anything,
        -rng.uniform(0.1, 30, n),
        rng.uniform(0.999, 1.001, n),
        any_bits(rng, dtype, n),
        grid[:, 0],
    ]
    exponents = [
        rng.uniform(-60, 60, n),
        rng.uniform(-largest, largest, n) / np.log(anything.astype(np.float64)),
        rng.integers(-20, 20, n),
        rng.uniform(-70000, 70000, n),
        any_bits(rng, dtype, n),
        grid[:, 1],
    ]
    x, y = (np.concatenate([part.astype(dtype) for part in parts]) for parts in (bases, exponents))
    return _padded(x), _padded(y)


def _padded(x: np.ndarray) -> np.ndarray:
    return np.resize(x, -(-x.size // 16) * 16)


@pytest.mark.parametrize("lanes", [None, 4])
@pytest.mark.parametrize("kind", ["f32", "f64"])
def test_powf(kind, lanes):
    x, y = power_samples(DTYPES[kind])
    (function,) = compile_cases([Case("math.powf", (kind, kind), kind, lanes)])
    exact = np.power(x.astype(np.longdouble), y.astype(np.longdouble))
    error, message = worst(function(x, y), exact, kind, x, y)
    assert error <= 1.5, message


@pytest.mark.parametrize("kind", ["f32", "f64"])
@pytest.mark.parametrize("integer", ["i8", "i32", "i64"])
def test_fpowi(kind, integer):
    rng, dtype = np.random.default_rng(17), DTYPES[integer]
    limits = np.iinfo(dtype)
    special = np.array([0, 1, -1, 2, -2, 3, limits.min, limits.min + 1, limits.max, limits.max - 1], dtype)
    grid = list(itertools.product(edges(DTYPES[kind]), special))
    near_one = 1 + rng.uniform(-1, 1, 10_000) * 2.0 ** rng.uniform(-24, -1, 10_000)
    x = _padded(
        np.concatenate([[pair[0] for pair in grid], near_one, any_bits(rng, DTYPES[kind], 1000)]).astype(DTYPES[kind])
    )
    n = _padded(
        np.concatenate([[pair[1] for pair in grid], rng.integers(limits.min, limits.max, 11_000, dtype)]).astype(dtype)
    )
    (function,) = compile_cases([Case("math.fpowi", (kind, integer), kind, 8)])
    error, message = worst(function(x, n), np.power(x.astype(np.longdouble), n.astype(np.longdouble)), kind, x, n)
    assert error <= 1.5, message


@pytest.mark.parametrize("kind", ["i8", "i32", "i64"])
def test_ipowi(kind):
    rng, dtype = np.random.default_rng(19), DTYPES[kind]
    limits, bits = np.iinfo(dtype), DTYPES[kind].itemsize * 8
    special = [0, 1, -1, 2, -2, 3, limits.min, limits.max]
    grid = np.array(list(itertools.product(special, repeat=2)), dtype)
    base = np.concatenate([grid[:, 0], rng.integers(-12, 12, 448).astype(dtype)])
    exponent = np.concatenate([grid[:, 1], rng.integers(-5, 40, 448).astype(dtype)])
    for lanes in (None, 16):
        (function,) = compile_cases([Case("math.ipowi", (kind, kind), kind, lanes)])
        assert function(base, exponent).tolist() == [
            _integer_power(int(b), int(e), bits) for b, e in zip(base, exponent)
        ]


def _integer_power(base: int, exponent: int, bits: int) -> int:
    if exponent < 0:
        return {1: 1, -1: -1 if exponent % 2 else 1}.get(base, 0)
    return (pow(base, exponent, 1 << bits) + (1 << bits >> 1)) % (1 << bits) - (1 << bits >> 1)


@pytest.mark.parametrize("lanes", [None, 16])
@pytest.mark.parametrize("kind", ["f32", "f64"])
def test_atan2(kind, lanes):
    rng, dtype = np.random.default_rng(23), DTYPES[kind]
    grid = np.array(list(itertools.product(edges(dtype), repeat=2)), dtype)
    y = _padded(np.concatenate([grid[:, 0], rng.uniform(-3, 3, 50_000), any_bits(rng, dtype, 50_000)]).astype(dtype))
    x = _padded(np.concatenate([grid[:, 1], rng.uniform(-3, 3, 50_000), any_bits(rng, dtype, 50_000)]).astype(dtype))
    (function,) = compile_cases([Case("math.atan2", (kind, kind), kind, lanes)])
    error, message = worst(function(y, x), np.arctan2(y.astype(np.longdouble), x.astype(np.longdouble)), kind, y, x)
    assert error <= 2, message


@pytest.mark.parametrize("lanes", [None, 16])
@pytest.mark.parametrize("kind", ["f16", "bf16", "f32", "f64"])
def test_remf_is_exact(kind, lanes):
    rng, dtype, n = np.random.default_rng(29), DTYPES[kind], 40_000
    grid = np.array(list(itertools.product(edges(np.dtype(np.float64 if kind == "f64" else np.float32)), repeat=2)))
    near = any_bits(rng, dtype, n).astype(np.float64)
    x = _padded(np.concatenate([grid[:, 0], near, any_bits(rng, dtype, n), rng.uniform(-50, 50, n)]).astype(dtype))
    y = np.concatenate([grid[:, 1], near * rng.uniform(0.01, 2, n), any_bits(rng, dtype, n), rng.uniform(-5, 5, n)])
    y = _padded(y.astype(dtype))
    (function,) = compile_cases([Case("arith.remf", (kind, kind), kind, lanes)])
    got, exact = function(x, y).astype(np.float64), np.fmod(x.astype(np.float64), y.astype(np.float64))
    np.testing.assert_array_equal(got, exact)
    np.testing.assert_array_equal(np.signbit(got)[~np.isnan(exact)], np.signbit(exact)[~np.isnan(exact)])


@pytest.mark.parametrize("kind", ["f16", "bf16", "f32", "f64"])
def test_predicates_and_rounding(kind):
    dtype, lanes = DTYPES[kind], LANES[kind]
    rng = np.random.default_rng(41)
    special = edges(np.dtype(np.float64 if kind == "f64" else np.float32))
    x = _padded(np.concatenate([special, np.arange(-40, 40) / 4, any_bits(rng, dtype, 4000)]).astype(dtype))
    wide, tiny = x.astype(np.float64), ml_dtypes.finfo(dtype).smallest_normal.astype(np.float64)
    exact = {
        "math.isnan": np.isnan(wide),
        "math.isinf": np.isinf(wide),
        "math.isfinite": np.isfinite(wide),
        "math.isnormal": np.isfinite(wide) & (np.abs(wide) >= tiny),
        "math.floor": np.floor(wide),
        "math.ceil": np.ceil(wide),
        "math.trunc": np.trunc(wide),
        "math.roundeven": np.rint(wide),
        "math.round": np.copysign(np.trunc(wide) + (np.abs(wide - np.trunc(wide)) >= 0.5) * np.sign(wide), wide),
    }
    cases = [Case(name, (kind,), "i1" if name.startswith("math.is") else kind, lanes) for name in exact]
    for (name, expected), function in zip(exact.items(), compile_cases(cases), strict=True):
        got = function(x).astype(np.float64)
        np.testing.assert_array_equal(got, expected.astype(np.float64), err_msg=name)
        if not name.startswith("math.is"):
            number = ~np.isnan(wide)
            np.testing.assert_array_equal(np.signbit(got)[number], np.signbit(expected)[number], err_msg=name)


@pytest.mark.parametrize("lanes", [None, 16])
@pytest.mark.parametrize("kind", ["f16", "bf16", "f32", "f64"])
def test_maximum_and_minimum_skip_nan(kind, lanes):
    grid = list(itertools.product([1.0, -2.0, 0.5, np.inf, -np.inf, np.nan, 1e-7, 3e4], repeat=2))
    x, y = (np.array(column, DTYPES[kind]) for column in zip(*grid))
    largest, smallest = compile_cases([Case(f"arith.{name}numf", (kind, kind), kind, lanes) for name in ("max", "min")])
    np.testing.assert_array_equal(largest(x, y).astype(float), np.fmax(x.astype(float), y.astype(float)))
    np.testing.assert_array_equal(smallest(x, y).astype(float), np.fmin(x.astype(float), y.astype(float)))


def test_sincos_gives_both():
    text = """
    func.func @both(%workgroup: i64, %args: !llvm.ptr) {
      %p = llvm.load %args : !llvm.ptr -> !llvm.ptr
      %x = llvm.load %p {alignment = 4 : i64} : !llvm.ptr -> vector<4xf32>
      %sin, %cos = math.sincos %x : vector<4xf32>
      %out = llvm.getelementptr %p[4] : (!llvm.ptr) -> !llvm.ptr, f32
      %out2 = llvm.getelementptr %p[8] : (!llvm.ptr) -> !llvm.ptr, f32
      llvm.store %sin, %out {alignment = 4 : i64} : vector<4xf32>, !llvm.ptr
      llvm.store %cos, %out2 {alignment = 4 : i64} : vector<4xf32>, !llvm.ptr
      return
    }"""
    buffer = np.array([0.5, -2, 1e30, -0.0] + 8 * [9], np.float32)
    run_text(text, "both", buffer)
    x = buffer[:4].astype(np.float64)
    np.testing.assert_allclose(buffer[4:], np.concatenate([np.sin(x), np.cos(x)]), rtol=2e-7)
    assert np.signbit(buffer[7])


def run_text(text: str, name: str, buffer: np.ndarray) -> None:
    """Expand and run a CPU kernel whose only argument is a buffer."""
    with ir.Context(), ir.Location.unknown():
        module = ir.Module.parse(text)
        expand_math(module, "cpu")
        to_llvm_dialect(module.operation)
        image = LoadedImage(link_host({"k": compile_host(to_llvm_ir(module.operation))}))
    slots = np.array([buffer.ctypes.data], np.int64)
    ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_void_p)(image.symbol(name))(0, slots.ctypes.data)


def test_matrices_nested_regions_and_clamp():
    text = """
    func.func @nested(%workgroup: i64, %args: !llvm.ptr) {
      %p = llvm.load %args : !llvm.ptr -> !llvm.ptr
      %x = llvm.load %p {alignment = 4 : i64} : !llvm.ptr -> vector<8xf32>
      %m = vector.shape_cast %x : vector<8xf32> to vector<2x4xf32>
      %low = arith.constant dense<-1.0> : vector<2x4xf32>
      %high = arith.constant dense<1.0> : vector<2x4xf32>
      %positive = arith.cmpi sge, %workgroup, %workgroup : i64
      %r = scf.if %positive -> vector<2x4xf32> {
        %s = math.sin %m : vector<2x4xf32>
        %e = math.exp %s : vector<2x4xf32>
        scf.yield %e : vector<2x4xf32>
      } else {
        scf.yield %m : vector<2x4xf32>
      }
      %c = math.clampf %r to [%low, %high] : vector<2x4xf32>
      %flat = vector.shape_cast %c : vector<2x4xf32> to vector<8xf32>
      llvm.store %flat, %p {alignment = 4 : i64} : vector<8xf32>, !llvm.ptr
      return
    }"""
    buffer = np.linspace(-4, 1e6, 8, dtype=np.float32)
    expected = np.clip(np.exp(np.sin(buffer.astype(np.float64))), -1, 1)
    run_text(text, "nested", buffer)
    np.testing.assert_allclose(buffer, expected, rtol=3e-7)


def test_narrowing_conversions():
    rng = np.random.default_rng(31)
    single = np.concatenate([edges(DTYPES["f32"]), any_bits(rng, DTYPES["f32"], 100_000)])[:100_000]
    double = np.concatenate([edges(DTYPES["f64"]), single.astype(np.float64), _near_ties(rng)])[:150_000]
    bf16, f16, odd = compile_cases(
        [
            Case("arith.truncf", operands, result)
            for operands, result in ((("f32",), "bf16"), (("f64",), "f16"), (("f64",), "bf16"))
        ]
    )
    assert_same_bits(bf16(single), single.astype(ml_dtypes.bfloat16))
    assert_same_bits(f16(double), double.astype(np.float16))
    assert_same_bits(odd(double), _nearest_bf16(double))
    for integer in ("i8", "i32", "i64"):
        (convert,) = compile_cases([Case("arith.sitofp", (integer,), "bf16")])
        numbers = any_bits(rng, DTYPES[integer], 4096)
        assert_same_bits(convert(numbers), numbers.astype(np.float32).astype(ml_dtypes.bfloat16))


def _near_ties(rng: np.random.Generator) -> np.ndarray:
    """Doubles halfway between two 16-bit floats, give or take a last place of f64."""
    halves = (rng.integers(128, 256, 60_000) + 0.5) * 2.0 ** rng.integers(-20, 6, 60_000)
    return np.nextafter(halves, halves * rng.choice([0.5, 1, 2], 60_000))


def _nearest_bf16(x: np.ndarray) -> np.ndarray:
    """Of the bf16 below, at and above a first guess, the one nearest to x; the even one of two."""
    guess = x.astype(np.float32).astype(ml_dtypes.bfloat16)
    patterns = guess.view(np.uint16).astype(np.int64)
    candidates = np.stack([patterns - 1, patterns, patterns + 1]) & 0xFFFF
    values = candidates.astype(np.uint16).view(ml_dtypes.bfloat16).astype(np.longdouble)
    distance = np.where(np.isfinite(values), np.abs(values - x), np.inf)
    closest = distance == distance.min(axis=0)
    order = closest * (2 - (candidates & 1))  # of two equally close, the even one
    best = np.take_along_axis(candidates, np.argmax(order, axis=0)[None], axis=0)[0]
    beyond = ~np.isfinite(guess.astype(np.float64))
    return np.where(beyond, patterns, best).astype(np.uint16).view(ml_dtypes.bfloat16)


def assert_same_bits(got: np.ndarray, expected: np.ndarray) -> None:
    """Equal numbers, zeros of equal sign, NaN where NaN is expected."""
    nan = np.isnan(expected.astype(np.float64))
    np.testing.assert_array_equal(np.isnan(got.astype(np.float64)), nan)
    np.testing.assert_array_equal(got.view(np.uint16)[~nan], expected.view(np.uint16)[~nan])


def all_cases(lanes: int | None, *, kinds: tuple[str, ...] = ("f32", "f64", "f16", "bf16")) -> list[Case]:
    """A case for each operation that is expanded or kept, and each kind."""
    names = sorted(
        {*RULES, *BITWISE, *ON_NVIDIA, *NARROW_ON_CPU} - {"math.sincos", "math.ipowi", "math.ctpop", "math.absi"}
    )
    cases = [Case(name, _operands(name, kind), _result(name, kind), lanes) for kind in kinds for name in names]
    integers = [
        Case(name, ("i32",) * (1 + (name == "math.ipowi")), "i32", lanes)
        for name in ("math.ipowi", "math.ctpop", "math.absi")
    ]
    return cases + integers


def _operands(name: str, kind: str) -> tuple[str, ...]:
    if name in ("math.fma", "math.clampf"):
        return (kind,) * 3
    if name == "math.fpowi":
        return kind, "i32"
    return (kind,) * (2 if name.startswith("arith.") or name in (*BINARY, "math.copysign") else 1)


def _result(name: str, kind: str) -> str:
    return "i1" if name.startswith("math.is") else kind


@pytest.mark.parametrize(("lanes", "kinds"), [(None, ("f32", "f64", "f16", "bf16")), (8, ("f64", "bf16"))], ids=str)
def test_no_library_call_on_any_cpu(lanes, kinds):
    """`compile_cases` links without any library; v3 has neither AVX-512 nor 16-bit arithmetic."""
    functions = compile_cases(all_cases(lanes, kinds=kinds), cpu="x86-64-v3")
    assert len(functions) > 45 * len(kinds)


@pytest.mark.parametrize("arch", ["sm_80", "sm_90a"])
def test_ptx_has_no_external_function(arch):
    with ir.Context(), ir.Location.unknown():
        module = ir.Module.parse(nvidia_source(all_cases(None)))
        text = ptx_of(module.body.operations[0], arch)
    assert re.findall(r"\.extern[^\n]*|__nv_\w+", text) == []
    assert ".ftz" not in text
    report = assemble(text, arch)
    assert report.spills == 0
    assert len(report.kernels) > 150


def test_ptx_of_vectors_has_no_external_function():
    with ir.Context(), ir.Location.unknown():
        module = ir.Module.parse(nvidia_source(all_cases(4, kinds=("f32", "f16"))))
        assert re.findall(r"\.extern[^\n]*|__nv_\w+", ptx_of(module.body.operations[0], "sm_90a")) == []


def test_nvidia_formulas_with_the_hardware_power_emulated():
    """The formulas around ex2.approx, on the CPU with libm's exp2f in its place."""
    cases = [Case(f"math.{name}", ("f32",), "f32", None) for name in ("exp", "exp2", "tanh", "rsqrt", "erf", "sin")]
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(cpu=llvm.get_host_cpu_name(), opt=2)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(lower_for_cpu(cases, "nvidia")), machine)
    for case in cases:
        exact, low, high = UNARY[case.op.removeprefix("math.")]
        x = samples(np.random.default_rng(37), DTYPES["f32"], low, high, 20_000)
        out = np.empty_like(x)
        slots = np.array([x.ctypes.data, out.ctypes.data, x.size], np.int64)
        kernel = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_void_p)(engine.get_function_address(case.name))
        kernel(0, slots.ctypes.data)
        error, message = worst(out, exact(x.astype(np.float64)), "f32", x)
        assert error <= 2.5, f"{case.op}: {message}"


def test_selects_stay_vectors():
    for name in ("exp", "tanh", "erf", "log"):
        assembly = compile_assembly(lower_for_cpu([Case(f"math.{name}", ("f32",), "f32", 16)]), cpu="x86-64-v4")
        assert "zmm" in assembly
        assert not re.findall(r"\bv?(?:mul|add|fmadd\d+)ss\b", assembly), name
    exp = compile_assembly(lower_for_cpu([Case("math.exp", ("f32",), "f32", 16)]), cpu="x86-64-v4")
    loop = exp[: exp.rindex("\tjl")].rpartition("LBB")[2]
    assert loop.count("zmm") and len(loop.splitlines()) <= 30


def test_expansion_is_complete_and_repeatable():
    with ir.Context(), ir.Location.unknown():
        for target in ("cpu", "nvidia"):
            module = ir.Module.parse("\n".join(map(cpu_source, all_cases(8))))
            expand_math(module, target)
            module.operation.verify()
            once = str(module)
            left = set(re.findall(r"\bmath\.\w+", once))
            assert not left & (set(RULES) | set(BITWISE) | (set(ON_NVIDIA) if target == "nvidia" else set()))
            expand_math(module, target)
            assert str(module) == once


@pytest.mark.parametrize("type_", ["tensor<4xf32>", "vector<[4]xf32>", "vector<4xf8E4M3FN>", "f80"])
def test_unsupported_types_are_named(type_):
    text = f'func.func @f(%x: {type_}) {{ %y = math.exp %x : {type_} loc("/layer/Exp")\n return }}'
    with ir.Context(), ir.Location.unknown():
        module = ir.Module.parse(text)
        with pytest.raises(UnsupportedError) as caught:
            expand_math(module, "cpu")
    assert caught.value.code == "unsupported-math-type"
    assert caught.value.node == "/layer/Exp"
    assert type_ in str(caught.value)


def test_unknown_target():
    with ir.Context(), ir.Location.unknown(), pytest.raises(InternalError, match="tpu"):
        expand_math(ir.Module.parse(""), "tpu")
