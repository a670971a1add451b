"""The dialect's declarations, and what is generated from them."""

import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lumir.context import make_context
from lumir.dialects import OPS, RuleError, build
from lumir.dialects.base import layout, verifying_alike_once
from lumir.dialects.documentation import FILE as PAGE
from lumir.dialects.documentation import page
from lumir.dialects.irdl import FILE as IRDL
from lumir.dialects.irdl import irdl_text
from lumir.dtypes import mlir_type
from lumir.mlir import func, ir
from lumir.sizes import Size

SAMPLES = Path(__file__).parents[1] / "filecheck" / "dialect"
MLIR_OPT = shutil.which("mlir-opt-22")


@pytest.mark.parametrize(
    ("file", "text", "module"),
    [(IRDL, irdl_text, "lumir.dialects.irdl"), (PAGE, page, "lumir.dialects.documentation")],
)
def test_generated_files_are_current(file, text, module):
    assert file.read_text() == text(), f"run: python -m {module} > {file.name}"


def test_generation_from_the_command_line():
    command = [sys.executable, "-m", "lumir.dialects.irdl"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == IRDL.read_text()


@pytest.mark.parametrize("sample", ["ops.mlir", "invalid.mlir"])
def test_samples_have_every_op(sample):
    text = (SAMPLES / sample).read_text()
    found = set(
        re.findall(r"'lumir\.(\w+)' op", text) if sample == "invalid.mlir" else re.findall(r'"lumir\.(\w+)"', text)
    )
    assert found == set(OPS)


def without_derived_weights(text: str) -> str:
    """IRDL has no terminators, so other tools cannot read these bodies."""
    return re.sub(r'^"lumir\.derived_weight"\(\) \(\{$.*?^\}\).*?$', "", text, flags=re.M | re.S)


def mlir_opt(text: str) -> subprocess.CompletedProcess:
    command = [MLIR_OPT or "", f"--irdl-file={IRDL}", "-"]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False)


needs_mlir_opt = pytest.mark.skipif(MLIR_OPT is None, reason="mlir-opt-22 is not installed")


@needs_mlir_opt
def test_upstream_mlir_opt_accepts_every_op():
    text = without_derived_weights((SAMPLES / "ops.mlir").read_text())
    ran = mlir_opt(text)
    assert ran.returncode == 0, ran.stderr
    assert set(re.findall(r'"lumir\.(\w+)"', ran.stdout)) == set(OPS) - {"derived_weight", "yield"}
    with make_context():
        again = ir.Module.parse(ran.stdout)
        assert again.operation.verify()
        assert str(again) == str(ir.Module.parse(text))


TYPE = "tensor<2x3xf32>"
REJECTED = {
    "an operand is missing": '"lumir.add"(%x) : (T) -> T',
    "an operand that is no tensor": '"lumir.abs"(%s) : (f32) -> f32',
    "another result type": '"lumir.exp"(%x) : (T) -> tensor<3x2xf32>',
    "an attribute is missing": '"lumir.softmax"(%x) {axis = 0 : i64} : (T) -> T',
    "an attribute of another kind": '"lumir.softmax"(%x) {axis = 0.0 : f64, log = false} : (T) -> T',
    "a flag that is a number": '"lumir.softmax"(%x) {axis = 0 : i64, log = 2 : i64} : (T) -> T',
    "a shape that is a number": '"lumir.reshape"(%x) {shape = 6 : i64} : (T) -> tensor<6xf32>',
    "a kind that is none": '"lumir.reduce"(%x) {axes = array<i64: 0>, kind = "mean"} : (T) -> tensor<3xf32>',
    "an op that is none": '"lumir.absolute"(%x) : (T) -> T',
    "a result is missing": '"lumir.top_k"(%x) {k = 1 : i64, largest = true} : (T) -> tensor<2x1xf32>',
}


def with_op(text: str) -> str:
    body = text.replace("(T", f"({TYPE}").replace("-> T", f"-> {TYPE}")
    return f"func.func @f(%x: {TYPE}, %s: f32) {{\n  %0 = {body}\n  return\n}}"


@needs_mlir_opt
@pytest.mark.parametrize("name", REJECTED)
def test_upstream_mlir_opt_rejects(name):
    good = mlir_opt(with_op('"lumir.abs"(%x) : (T) -> T'))
    assert good.returncode == 0, good.stderr
    bad = mlir_opt(with_op(REJECTED[name]))
    assert bad.returncode != 0 and "error" in bad.stderr


def random_type(rng: random.Random) -> ir.Type:
    dims = [rng.choice([0, 1, 2, 3]) for _ in range(rng.randrange(5))]
    return ir.RankedTensorType.get(dims, mlir_type(rng.choice(["float32", "float16", "int64", "bool", "uint8"])))


def random_value(rng: random.Random, kind: object, words: str):
    if kind is int or kind == (int, Size):
        return rng.randint(-4, 4)
    if kind is float:
        return rng.choice([0.0, -1.0, 2.5])
    if kind is bool:
        return rng.random() < 0.5
    if kind is tuple:
        return tuple(rng.randint(-2, 3) for _ in range(rng.randrange(5)))
    if kind is str:
        choices = re.findall(r'"(\w+)"', words) or ["ab,bc->ac", "a,b->ab", "->", ",->", "a->a", "ab,ab->ab"]
        return rng.choice([*choices, "x"])
    if kind is ir.Type:
        return rng.choice([random_type(rng), mlir_type("float16")])
    return rng.choice([ir.DenseI64ArrayAttr.get([1]), ir.Attribute.parse("dense<1> : tensor<2xi8>")])


RARELY_VALID = (
    "size",
    "conv",
    "window_reduce",
    "slice",
    "pad",
    "attention",
    "contract",
    "gather_nd",
    "scatter_nd",
    "dequantize",
)


@pytest.mark.parametrize("name", [name for name, cls in OPS.items() if cls.infer is not None])
def test_inference_gives_a_type_or_names_a_rule(name):
    """Whatever the operands and attributes are: no other exception, and what is built verifies."""
    rng, fields, built = random.Random(name), layout(OPS[name]), 0
    with make_context(), ir.Location.unknown():
        for _ in range(300):
            module = ir.Module.create()
            count = len(fields.operands) - (fields.variadic and rng.random() < 0.5)
            types = [random_type(rng)] * count if rng.random() < 0.5 else [random_type(rng) for _ in range(count)]
            with ir.InsertionPoint(module.body):
                function = func.FuncOp("f", (types, []))
            attributes = {key: random_value(rng, *rule) for key, rule in fields.attributes.items()}
            with ir.InsertionPoint(function.add_entry_block()):
                try:
                    build(name, *function.arguments, **attributes)  # pyright: ignore[reportArgumentType]
                except RuleError:
                    continue
                func.ReturnOp([])
            assert module.operation.verify()
            built += 1
    assert built or name in RARELY_VALID


def test_defaults_and_none():
    with make_context(), ir.Location.unknown():
        module = ir.Module.create()
        with ir.InsertionPoint(module.body):
            type_ = ir.RankedTensorType.get([2], ir.F32Type.get())
            x = build("iota", type=type_, axis=0)
            cast = build("cast", x, to=ir.F16Type.get(), saturate=None)
        assert cast.owner.attributes["saturate"].value is True


def test_builder_and_verifier_say_the_same():
    with make_context(), ir.Location.unknown():
        module = ir.Module.create()
        with ir.InsertionPoint(module.body):
            x = build("iota", type=ir.RankedTensorType.get([2], ir.F32Type.get()), axis=0)
            with pytest.raises(RuleError) as raised:
                build("softmax", x, axis=3, log=False)
        text = f'"lumir.softmax"(%x) {{axis = 3 : i64, log = false}} : ({x.type}) -> {x.type}'
        with pytest.raises(ir.MLIRError) as found:
            ir.Module.parse(f"func.func @f(%x: {x.type}) {{\n  %0 = {text}\n  return\n}}")
    assert str(raised.value) == "axis must be in -rank..rank-1 (found axis = 3, rank = 1)"
    assert f"'lumir.softmax' op {raised.value}" in str(found.value)


def test_what_was_found_valid_says_nothing_of_another_op():
    """Types, attributes and results count: an op that differs from a valid one in any of them is checked."""
    text = """func.func @f(%x: tensor<2x3xf32>) -> tensor<3x2xf32> {
      %0 = "lumir.transpose"(%x) {permutation = array<i64: 1, 0>} : (tensor<2x3xf32>) -> tensor<3x2xf32>
      return %0 : tensor<3x2xf32> }"""
    with make_context(), ir.Location.unknown(), verifying_alike_once():
        module = ir.Module.parse(text)
        for _ in range(2):
            assert module.operation.verify()
        for wrong in (text.replace(": 1, 0>", ": 0, 1>"), text.replace("3x2", "2x2"), text.replace(": 1, 0>", ": 1>")):
            with pytest.raises(ir.MLIRError):
                ir.Module.parse(wrong)
        assert module.operation.verify()
