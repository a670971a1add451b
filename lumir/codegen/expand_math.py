"""Expansion of transcendentals: after this no operation of a kernel needs libm, libdevice or compiler-rt.

    %1 = math.exp %0 : vector<16xf32>

becomes some twenty operations of `arith` and fused multiply-adds. Requires kernels after vectorisation (scalars and
fixed-size vectors of f16, bf16, f32, f64; integers where the operation takes them) with scf not yet lowered: sin, cos,
tan, remf and ipowi create scf.if and scf.while. Guarantees the accuracies of docs/math.md, provided that nothing adds
fast-math flags later and that the CPU has FMA and F16C (x86-64-v3).

On the CPU math.fma, sqrt, absf, copysign, floor, ceil, trunc, round, roundeven and the bit counts stay.
On NVIDIA no math operation stays: `convert-gpu-to-nvvm` would turn even math.fma into a call of libdevice.
"""

from collections.abc import Callable
from functools import partial

from lumir.codegen.expand_short_floats import expand_short_floats
from lumir.codegen.expand_short_results import expand_short_results
from lumir.codegen.math import classify, narrow
from lumir.codegen.math.operations import INTRINSICS, instruction
from lumir.codegen.math.rules import RULES, Rule
from lumir.codegen.math.values import Emitter, Emitters, Value
from lumir.diagnostics import InternalError, UnsupportedError
from lumir.mlir import ir

Expand = Callable[[ir.Operation], None]

# Computed on the bits of the operands in their own format.
BITWISE: dict[str, Rule] = {
    "math.absi": classify.absolute_integer,
    "math.isnan": classify.is_nan,
    "math.isinf": classify.is_infinite,
    "math.isfinite": classify.is_finite,
    "math.isnormal": classify.is_normal,
}

# What the pipeline for NVIDIA would make a call of libdevice although there is an instruction.
ON_NVIDIA: dict[str, Rule] = {name: partial(instruction, name) for name in INTRINSICS}

# Where x86 may call a library for an operation on 16-bit floats (no AVX512-FP16 or -BF16), it is computed in f32.
_BOTH, _BF16 = frozenset({"f16", "bf16"}), frozenset({"bf16"})
NARROW_ON_CPU: dict[str, frozenset[str]] = {
    "math.fma": _BOTH,
    **dict.fromkeys((f"math.{name}" for name in ("sqrt", "floor", "ceil", "trunc", "round", "roundeven")), _BF16),
    **dict.fromkeys((f"arith.{name}f" for name in ("add", "sub", "mul", "div", "maximum", "minimum")), _BF16),
}
CONVERSIONS_ON_CPU = ("arith.truncf", "arith.sitofp", "arith.uitofp")


def expand_math(root: ir.Module | ir.Operation, target: str) -> None:
    """Expand, in place, every operation under `root` whose lowering would call a library function.

    Args:
        root: a module, function or any other operation; nested modules, functions and regions are walked.
        target: "cpu" (x86-64-v3 or later) or "nvidia" (sm_80 or later).

    Raises:
        UnsupportedError: `unsupported-math-type`, where an operand is neither a scalar nor a vector of fixed size, or
            its element type has no arithmetic (8-bit floats).
    """
    if target not in ("cpu", "nvidia"):
        raise InternalError(f"expand_math knows no target {target!r}", rule="cpu or nvidia")
    # First, because the conversions it writes are of types that the rules below know.
    expand_short_floats(root.operation, target)
    expand_short_results(root.operation, target)
    found: list[tuple[ir.Operation, Expand]] = []
    emitters = Emitters(target)

    def collect(op: ir.Operation) -> ir.WalkResult:
        expand = _expansion_of(op, emitters)
        if expand is not None:
            found.append((op, expand))
        return ir.WalkResult.ADVANCE

    root.operation.walk(collect)
    for op, expand in found:
        with op.location, ir.InsertionPoint(op):
            expand(op)
        op.erase()


def _expansion_of(op: ir.Operation, emitters: Emitters) -> Expand | None:
    """How to expand this operation for the target; None if it may stay."""
    name, target = op.name, emitters.target
    if not name.startswith(("math.", "arith.")):
        return None
    if target == "nvidia" and name in ON_NVIDIA and (name != "math.exp2" or _kind(op.results[0]) == "f32"):
        return partial(_expand, rule=ON_NVIDIA[name], widen=False, emitters=emitters)
    if name in BITWISE:
        return partial(_expand, rule=BITWISE[name], widen=False, emitters=emitters)
    if name in RULES:
        return partial(_expand, rule=RULES[name], widen=True, emitters=emitters)
    if target == "cpu" and name in NARROW_ON_CPU and _kind(op.results[0]) in NARROW_ON_CPU[name]:
        return partial(_expand, rule=partial(_same_operation, name), widen=True, emitters=emitters)
    if target == "cpu" and name in CONVERSIONS_ON_CPU:
        return _conversion_of(op, emitters)
    return None


def _kind(value: ir.Value) -> str:
    """f16, bf16, f32, f64, i32, ..., index: of a scalar or of a vector's elements."""
    return str(value.type.element_type if isinstance(value.type, ir.ShapedType) else value.type)


def _same_operation(name: str, *operands: Value) -> Value:
    return operands[0].emitter.op(name, operands[0].kind, *operands)


def _conversion_of(op: ir.Operation, emitters: Emitters) -> Expand | None:
    """For the CPU: conversions to bf16, and from f64 to f16."""
    source, kind = _kind(op.operands[0]), _kind(op.results[0])
    if kind != "bf16" and (source, kind) != ("f64", "f16"):
        return None

    def convert(x: Value) -> Value:
        number = x if op.name == "arith.truncf" else x.emitter.op(op.name, "f32", x)
        return narrow.to_bf16(number) if kind == "bf16" else narrow.to_f16(number)

    return partial(_expand, rule=convert, widen=False, emitters=emitters)


def _expand(op: ir.Operation, rule: Rule, widen: bool, emitters: Emitters) -> None:
    """Replace the results of `op` by what the rule makes of its operands, which are widened to f32 if `widen`."""
    emitter = _emitter_for(op, emitters)
    operands = [_operand(emitter, op, value, widen) for value in op.operands]
    results = rule(*operands)
    for old, new in zip(op.results, results if isinstance(results, tuple) else (results,), strict=True):
        rounded = _rounded(new, _kind(old))
        old.replace_all_uses_with(_reshaped(rounded.ssa, old.type))


def _emitter_for(op: ir.Operation, emitters: Emitters) -> Emitter:
    type_ = op.results[0].type
    if not isinstance(type_, ir.ShapedType):
        return emitters.of(None, op.block)
    if not isinstance(type_, ir.VectorType) or type_.scalable:
        raise _unsupported(op, type_, "the operands are scalars or vectors of fixed size")
    lanes = 1
    for extent in type_.shape:
        lanes *= extent
    return emitters.of(lanes, op.block)


def _operand(emitter: Emitter, op: ir.Operation, value: ir.Value, widen: bool) -> Value:
    kind = _kind(value)
    if kind not in ("f16", "bf16", "f32", "f64", "index") and not kind.startswith("i"):
        raise _unsupported(op, value.type, "the operands are f16, bf16, f32, f64 or integers")
    flat = Value(emitter, kind, _reshaped(value, emitter.type(kind)))
    return flat.to("f32") if widen and kind in ("f16", "bf16") else flat


def _reshaped(value: ir.Value, type_: ir.Type) -> ir.Value:
    """`value` as a vector type of another rank and the same number of elements."""
    return value if value.type == type_ else ir.Operation.create("vector.shape_cast", [type_], [value]).result


def _rounded(value: Value, kind: str) -> Value:
    """`value` in the kind of the result: on the CPU, rounding to bf16 by an instruction is not a given."""
    if value.kind != kind == "bf16" and value.emitter.target == "cpu":
        return narrow.to_bf16(value)
    return value.to(kind)


def _unsupported(op: ir.Operation, type_: ir.Type, rule: str) -> UnsupportedError:
    return UnsupportedError(
        f"{op.name} on {type_} has no machine arithmetic to expand to",
        code="unsupported-math-type",
        op=op.name,
        node=op.location.name_str if isinstance(op.location, ir.NameLoc) else None,
        rule=rule,
        hint="cast to float32 before this operation",
    )
