"""Running pipelines: nesting, failures with their notes, verification."""

from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from lumir.diagnostics import InternalError, UnsupportedError, UserError
from lumir.instrument import Session
from lumir.mlir import ir
from lumir.passes import PassFailure, nest, register_pass, run_pipeline
from lumir.pipelines import STAGES, stage
from lumir.pipelines.boundary import check_boundary

PROGRAM = """
func.func @f() -> i32 {
  %0 = arith.constant 1 : i32
  %1 = arith.addi %0, %0 : i32
  return %1 : i32
}
module @inner {
  func.func @g() { return }
}
func.func private @h()
"""


def parse(text: str = PROGRAM) -> ir.Module:
    return ir.Module.parse(text, ir.Context())


@register_pass
@dataclass(frozen=True)
class Record:
    """Remember the ops that it ran on."""

    name: ClassVar[str] = "test-record"
    anchor: ClassVar[str] = "any"
    seen: ClassVar[list[str]] = []

    def run(self, op: Any) -> None:
        symbol = op.operation.attributes["sym_name"].value if "sym_name" in op.operation.attributes else "top"
        self.seen.append(symbol)


@register_pass
@dataclass(frozen=True)
class Break:
    """Go wrong in the way that is asked for."""

    name: ClassVar[str] = "test-break"
    how: str = "raise"

    def run(self, module: ir.Module) -> None:
        first = module.body.operations[0].operation
        match self.how:
            case "raise":
                raise ValueError("boom")
            case "emit":
                first.location.emit_error("first problem")
                ir.Location.name("/layer/Add", first.location).emit_error("second problem")
            case "emit and raise":
                first.location.emit_error("first problem")
                raise ValueError("boom")
            case "unsupported":
                raise UnsupportedError("no kernel", node="/layer/Add")
            case "invalid":
                first.attributes["function_type"] = ir.TypeAttr.get(ir.FunctionType.get([], []))
            case "mlir":
                ir.Module.parse("func.func @f() { broken }")


@register_pass
@dataclass(frozen=True)
class OnFunctions:
    """Runs on functions only."""

    name: ClassVar[str] = "test-on-functions"
    anchor: ClassVar[str] = "func.func"

    def run(self, op: ir.Operation) -> None:
        op.attributes["seen"] = ir.UnitAttr.get()


@pytest.mark.parametrize(
    ("pipeline", "seen"),
    [
        ("builtin.module(test-record)", ["top"]),
        ("any(test-record)", ["top"]),
        ("builtin.module(func.func(test-record))", ["f", "h"]),
        ("builtin.module(builtin.module(test-record))", ["inner"]),
        ("builtin.module(builtin.module(func.func(test-record)))", ["g"]),
        ("builtin.module(any(test-record))", ["f", "inner", "h"]),
        ("builtin.module(any(any(test-record)))", ["g"]),
        ("builtin.module(gpu.module(test-record))", []),
        ("builtin.module(test-record,func.func(cse,test-record),canonicalize,test-record)", ["top", "f", "h", "top"]),
    ],
)
def test_nesting(pipeline, seen):
    Record.seen.clear()
    run_pipeline(pipeline, parse())
    assert Record.seen == seen


def test_nested_upstream_passes_find_the_same_ops():
    module = parse()
    run_pipeline(
        "builtin.module(builtin.module(func.func(llvm-request-c-wrappers)),func.func(test-on-functions))", module
    )
    text = str(module)
    assert text.count("llvm.emit_c_interface") == 1 and text.count("seen") == 2
    assert "@g() attributes {llvm.emit_c_interface}" in text


def test_pipeline_from_python_objects():
    module = parse()
    run_pipeline([nest("func.func", OnFunctions(), "canonicalize"), "symbol-dce"], module)
    assert "arith.constant 2" in str(module) and "@h" not in str(module)


def notes(error: pytest.ExceptionInfo) -> str:
    return "\n".join(error.value.__notes__)


def test_python_exception_keeps_its_type_and_gets_notes():
    with pytest.raises(ValueError, match="boom") as error:
        run_pipeline("builtin.module(cse,test-break,canonicalize)", parse())
    assert "pass: test-break" in notes(error)
    assert "step: 2 of 3, builtin.module(test-break)" in notes(error)
    assert "set LUMIR_REPRODUCER_DIR" in notes(error)


def test_emitted_errors_fail_the_pass_with_all_of_them():
    with pytest.raises(PassFailure, match="pass 'test-break' failed") as error:
        run_pipeline("builtin.module(test-break{how=emit})", parse())
    assert [d.message for d in error.value.diagnostics] == ["first problem", "second problem"]
    assert "-:2:1: error: first problem" in str(error.value)
    assert 'error: second problem (at node "/layer/Add")' in str(error.value)
    assert error.value.node == "/layer/Add"


def test_emitted_errors_are_kept_when_the_pass_raises():
    with pytest.raises(ValueError, match="boom") as error:
        run_pipeline([Break("emit and raise")], parse())
    assert "-:2:1: error: first problem" in notes(error)


def test_errors_of_bindings_inside_a_pass():
    with pytest.raises(PassFailure, match="custom op 'broken' is unknown"):
        run_pipeline("builtin.module(test-break{how=mlir})", parse())


def test_lumir_errors_pass_through_with_notes():
    with pytest.raises(UnsupportedError, match="no kernel") as error:
        run_pipeline("builtin.module(test-break{how=unsupported})", parse())
    assert "pass: test-break{how=unsupported}" in notes(error)
    assert "reproducer" not in notes(error)


def test_invalid_ir_is_found_after_a_python_pass():
    with pytest.raises(PassFailure, match="the IR is invalid after pass 'test-break'") as error:
        run_pipeline("builtin.module(test-break{how=invalid})", parse())
    assert error.value.code == "invalid-ir"
    assert "op has 1 operands, but enclosing function (@f) returns 0" in str(error.value)


def test_verification_can_be_left_out():
    module = parse()
    run_pipeline("builtin.module(test-break{how=invalid},cse)", module, Session(verify_each=False))
    with pytest.raises(ir.MLIRError):
        module.operation.verify()


def test_upstream_failure_names_pass_and_location():
    module = parse(
        """func.func @f(%a: tensor<4xf32>) -> tensor<4xf32> {
          %0 = tosa.abs %a : (tensor<4xf32>) -> tensor<4xf32> loc("/layer/Abs")
          return %0 : tensor<4xf32>
        }"""
    )
    with pytest.raises(PassFailure, match="pass 'one-shot-bufferize' failed") as error:
        run_pipeline("builtin.module(func.func(cse),one-shot-bufferize)", module)
    assert 'loc("/layer/Abs"): error: op was not bufferized' in str(error.value)
    assert "step: 2 of 2, builtin.module(one-shot-bufferize)" in notes(error)


@pytest.mark.parametrize(
    ("pipeline", "code", "parts"),
    [
        ("canonicalise", "unknown-pass", ["unknown pass 'canonicalise'", "did you mean 'canonicalize'?"]),
        ("canonicalize{max-iter=3}", "unknown-option", ["has no option 'max-iter'", "did you mean 'max-iterations'?"]),
        ("cse{x=3}", "unknown-option", ["pass 'cse' has no option 'x'"]),
        ("canonicalize{max-iterations=x}", "bad-option-value", ["does not accept the options 'max-iterations=x'"]),
        ("func.func(convert-cf-to-llvm)", "wrong-anchor", ["runs on builtin.module, not on func.func"]),
        ("llvm-request-c-wrappers", "wrong-anchor", ["write func.func(llvm-request-c-wrappers)"]),
        ("test-on-functions", "wrong-anchor", ["runs on func.func, not on builtin.module"]),
        ("func.func(test-break)", "wrong-anchor", ["runs on builtin.module, not on func.func"]),
    ],
)
def test_wrong_pipelines_are_found_before_any_pass_runs(pipeline, code, parts):
    Record.seen.clear()
    with pytest.raises(UserError) as error:
        run_pipeline(f"builtin.module(test-record,{pipeline})", parse())
    assert error.value.code == code
    assert all(part in str(error.value) for part in parts), str(error.value)
    assert not Record.seen


def test_stages_are_the_ten_steps():
    names = "import graph dispatch linalg schedule kernel llvm plan artifact run"
    assert [stage.name for stage in STAGES] == names.split()


def test_boundary_names_the_first_offending_op():
    module = parse('func.func @f() { %0 = arith.constant 1 : i32 loc("/layer/Add")\n return }')
    check_boundary(stage("linalg"), module)
    check_boundary(stage("kernel"), module)
    with pytest.raises(InternalError, match="step 'graph' left 1 op") as error:
        check_boundary(stage("graph"), module)
    assert error.value.code == "boundary"
    assert 'arith.constant at node "/layer/Add"' in str(error.value)
    assert "builtin, func, lumir" in str(error.value)
