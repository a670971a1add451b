"""Functions whose result a model rounds to 16 bits: how accurate their short forms are, and where they are used."""

import ctypes
import re

import llvmlite.binding as llvm
import numpy as np
import pytest

from lumir.codegen.expand_math import expand_math
from lumir.codegen.llvm_ir import to_llvm_dialect, to_llvm_ir
from lumir.codegen.math.check import DTYPES, ulp_errors
from lumir.codegen.math.exact import erf, erfc, samples
from lumir.context import make_context
from lumir.linalg.lower import LowerToLinalg
from lumir.measure.kernel import compile_dispatch
from lumir.measure.texts import dispatch, gelu
from lumir.mlir import ir

FUNCTIONS = {
    "exp": ("%y = math.exp %x {lumir.short} : f32", np.exp),
    "tanh": ("%y = math.tanh %x {lumir.short} : f32", np.tanh),
    "erf": ("%y = math.erf %x {lumir.short} : f32", erf),
    "reciprocal": ("%y = arith.divf %one, %x {lumir.short} : f32", lambda x: 1 / x),
    "one-plus-erf": (
        "%e = math.erf %x {lumir.short} : f32\n%y = arith.addf %e, %one : f32",
        lambda x: erfc(-x),
    ),
    "gelu": (
        """%scale = arith.constant 0.70703125 : f32
        %half = arith.constant 0.5 : f32
        %c = arith.mulf %x, %scale : f32
        %e = math.erf %c {lumir.short} : f32
        %h = arith.mulf %x, %half : f32
        %o = arith.addf %e, %one : f32
        %y = arith.mulf %h, %o : f32""",
        lambda x: 0.5 * x * erfc(-x * 0.70703125),
    ),
    "gelu-of-quotient": (
        """%scale = arith.constant 1.25 : f32
        %c = arith.divf %x, %scale : f32
        %e = math.erf %c {lumir.short} : f32
        %o = arith.addf %e, %one : f32
        %y = arith.mulf %o, %x : f32""",
        lambda x: x * erfc(-x * 0.8),
    ),
    "one-plus-tanh": (
        "%e = math.tanh %x {lumir.short} : f32\n%y = arith.addf %one, %e : f32",
        lambda x: 2 / (1 + np.exp(-2 * x)),
    ),
}
_DECLARED = "declare float @llvm.exp2.f32(float)"
RELATIVE = 2.0**-14.7
FITTED_FROM = {"one-plus-erf": -5.5, "gelu": -5.5 / 0.70703125, "gelu-of-quotient": -5.5 / 0.8}
"""Below, what is left is next to nothing, and so is its error, but not the quotient of the two."""


@pytest.fixture(autouse=True)
def quiet_numpy():
    with np.errstate(all="ignore"):
        yield


def kernel_text(body: str, target: str = "nvidia") -> str:
    """LLVM IR of a CPU function that runs the body with the expansions of the target."""
    text = f"""
    func.func @k(%workgroup: i64, %args: !llvm.ptr) {{
      %p = llvm.load %args : !llvm.ptr -> !llvm.ptr
      %s = llvm.getelementptr %args[1] : (!llvm.ptr) -> !llvm.ptr, !llvm.ptr
      %out = llvm.load %s : !llvm.ptr -> !llvm.ptr
      %sn = llvm.getelementptr %args[2] : (!llvm.ptr) -> !llvm.ptr, i64
      %n = llvm.load %sn : !llvm.ptr -> i64
      %zero = arith.constant 0 : i64
      %step = arith.constant 1 : i64
      %one = arith.constant 1.0 : f32
      scf.for %i = %zero to %n step %step : i64 {{
        %from = llvm.getelementptr %p[%i] : (!llvm.ptr, i64) -> !llvm.ptr, f32
        %x = llvm.load %from : !llvm.ptr -> f32
        {body}
        %to = llvm.getelementptr %out[%i] : (!llvm.ptr, i64) -> !llvm.ptr, f32
        llvm.store %y, %to : f32, !llvm.ptr
      }}
      return
    }}"""
    with ir.Context() as context, ir.Location.unknown():
        context.allow_unregistered_dialects = True
        module = ir.Module.parse(text)
        expand_math(module, target)
        assert "lumir.short" not in str(module)
        to_llvm_dialect(module.operation)
        return to_llvm_ir(module.operation)


def run(body: str, x: np.ndarray) -> np.ndarray:
    """The function in float32, with libm's exp2f in place of the hardware's 2^x, whose error is 2 ulp."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(cpu=llvm.get_host_cpu_name(), opt=2)
    text = re.sub(r'call float asm "ex2.approx.ftz.f32[^"]*", "=f,f"', "call float @llvm.exp2.f32", kernel_text(body))
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(text + _DECLARED * (_DECLARED not in text)), machine)
    out = np.empty_like(x)
    slots = np.array([x.ctypes.data, out.ctypes.data, x.size], np.int64)
    ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_void_p)(engine.get_function_address("k"))(0, slots.ctypes.data)
    return out


def arguments(kind: str) -> np.ndarray:
    """Every number of a 16-bit format, and float32 numbers between."""
    every = np.arange(1 << 16, dtype=np.uint16).view(DTYPES[kind]).astype(np.float32)
    return np.concatenate([every, samples(np.random.default_rng(5), np.dtype(np.float32), -12, 12, 30_000)])


@pytest.mark.parametrize("kind", ["f16", "bf16"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_rounded_results_are_a_twelfth_of_a_unit_from_nearest_at_most(name, kind):
    body, exact = FUNCTIONS[name]
    x = arguments(kind)
    got, wanted = run(body, x), exact(x.astype(np.float64))
    errors = ulp_errors(got.astype(DTYPES[kind]), wanted, kind)
    if name in FITTED_FROM:
        fitted = ~(x < FITTED_FROM[name]) | (x == -np.inf)
        assert np.all(np.abs(got - wanted)[~fitted] <= np.maximum(np.abs(x), 1)[~fitted] * 3e-19)
        errors = np.where(fitted, errors, 0)
    if name == "one-plus-tanh":
        normal = ~(wanted < 2.0**-126)
        assert np.all(got[~normal] <= 2.0**-126)
        errors = np.where(normal, errors, 0)
    at = int(np.argmax(errors))
    assert errors[at] <= 0.58, f"{errors[at]} ulp at {x[at]!r}: {got[at]!r}, exactly {wanted[at]!r}"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_error_before_rounding_is_relative_to_the_result(name):
    """Also in the tails, where one plus the function would have lost every digit."""
    body, exact = FUNCTIONS[name]
    x = arguments("f16")
    got, wanted = run(body, x).astype(np.float64), exact(x.astype(np.float64))
    counts = np.isfinite(wanted) & (np.abs(wanted) < 1e38) & (np.abs(wanted) > 1e-13)
    assert counts.sum() > 30_000
    assert np.max(np.abs(got[counts] / wanted[counts] - 1)) <= RELATIVE


def test_where_nothing_is_marked_or_the_target_is_a_cpu_the_expansion_is_the_full_one():
    body = FUNCTIONS["one-plus-erf"][0]
    assert "exp2" in kernel_text(body)
    assert "exp2" not in kernel_text(body, "cpu")
    assert "exp2" not in kernel_text(body.replace("{lumir.short} ", ""))


@pytest.mark.parametrize("scale", [-0.5, 1e-7, 3e6])
def test_what_is_no_gelu_is_not_written_as_one(scale):
    """A gate that falls, and factors of which powers are no numbers of float32."""
    body = FUNCTIONS["gelu"][0].replace("0.70703125", f"{scale:.8f}")
    assert "ex2.approx.ftz" in kernel_text(FUNCTIONS["gelu"][0]) and "ex2.approx.ftz" not in kernel_text(body)
    x = np.linspace(-3, 3, 61, dtype=np.float32)
    got, wanted = run(body, x), 0.5 * x * erfc(-x.astype(np.float64) * np.float32(scale))
    assert np.allclose(got, wanted, rtol=1e-3, atol=1e-6)


def test_a_function_with_other_uses_is_computed_itself():
    body = FUNCTIONS["one-plus-tanh"][0] + "\n%z = arith.mulf %e, %y : f32"
    x = arguments("f16")[:64]
    assert np.allclose(
        run(body.replace("%y =", "%w =").replace("%z =", "%y =").replace("%e, %y", "%e, %w"), x),
        np.tanh(x.astype(np.float64)) * (1 + np.tanh(x.astype(np.float64))),
        rtol=2e-4,
        equal_nan=True,
    )


def marks(dtype: str, ops: str) -> int:
    text = f"""func.func private @d(%x: tensor<64x{dtype}>) -> tensor<64x{dtype}> attributes {{lumir.dispatch}} {{
      {ops}
      return %r : tensor<64x{dtype}>
    }}"""
    with make_context(), ir.Location.unknown():
        module = ir.Module.parse(text)
        LowerToLinalg().run(module)
        return str(module).count("lumir.short")


@pytest.mark.parametrize(("dtype", "count"), [("f16", 2), ("bf16", 2), ("f32", 0)])
def test_what_rounds_to_a_short_float_is_marked(dtype, count):
    type_ = f"tensor<64x{dtype}>"
    assert marks(dtype, f'%r = "lumir.sigmoid"(%x) : ({type_}) -> {type_}') == count


def test_what_the_model_computes_in_float32_is_not_marked():
    wide, short = "tensor<64xf32>", "tensor<64xf16>"
    ops = f"""%w = "lumir.cast"(%x) {{to = f32, saturate = true}} : ({short}) -> {wide}
      %e = "lumir.exp"(%w) : ({wide}) -> {wide}
      %r = "lumir.cast"(%e) {{to = f16, saturate = true}} : ({wide}) -> {short}"""
    assert marks("f16", ops) == 0


def test_gelu_of_halves_is_one_power_of_two_an_element():
    for dtype, powers in (("float16", True), ("float32", False)):
        with make_context(), ir.Location.unknown():
            text = dispatch(gelu, ((4096,), dtype))
        ptx = compile_dispatch(text, "sm_90a").ptx
        assert (ptx.count("ex2.approx") > 0) == powers
