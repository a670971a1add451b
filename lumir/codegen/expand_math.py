"""Expansion of transcendentals: after this no operation of a kernel needs libm, libdevice or compiler-rt.

    %1 = math.exp %0 : vector<16xf32>

becomes some twenty `arith` operations and `math.fma`. What stays of the math dialect has an instruction: fma, sqrt,
absf, copysign, floor, ceil, trunc, roundeven, round, the classification predicates, bit counts, and on NVIDIA exp2 of f32.

Requires: kernels after vectorisation, scalars and fixed-size vectors of f16, bf16, f32, f64 (integers for ipowi), and
scf not yet lowered, since sin, cos, tan, remf and ipowi create scf.if and scf.while. The CPU must have FMA and F16C
(x86-64-v3). Nothing may add fast-math flags later. Guarantees: the accuracies of docs/math.md.
"""

from collections.abc import Callable
from functools import partial

from lumir.codegen.math import error_function, exponential, inverse_trigonometric, logarithm, narrow, power, remainder
from lumir.codegen.math import trigonometric as trig
from lumir.codegen.math.values import Emitter, Value, at_least, at_most
from lumir.diagnostics import InternalError, UnsupportedError
from lumir.mlir import ir

Rule = Callable[..., Value | tuple[Value, ...]]

# Written for f32 and f64; f16 and bf16 operands are extended to f32, the result is rounded back.
RULES: dict[str, Rule] = {
    "math.exp": exponential.exp,
    "math.exp2": exponential.exp2,
    "math.expm1": exponential.expm1,
    "math.tanh": exponential.tanh,
    "math.sinh": exponential.sinh,
    "math.cosh": exponential.cosh,
    "math.log": logarithm.log,
    "math.log2": logarithm.log2,
    "math.log10": logarithm.log10,
    "math.log1p": logarithm.log1p,
    "math.asinh": logarithm.asinh,
    "math.acosh": logarithm.acosh,
    "math.atanh": logarithm.atanh,
    "math.sin": trig.sin,
    "math.cos": trig.cos,
    "math.sincos": trig.sincos,
    "math.tan": trig.tan,
    "math.asin": inverse_trigonometric.asin,
    "math.acos": inverse_trigonometric.acos,
    "math.atan": inverse_trigonometric.atan,
    "math.atan2": inverse_trigonometric.atan2,
    "math.erf": error_function.erf,
    "math.erfc": error_function.erfc,
    "math.powf": power.powf,
    "math.fpowi": power.fpowi,
    "math.ipowi": power.ipowi,
    "math.cbrt": power.cbrt,
    "math.rsqrt": power.rsqrt,
    "arith.remf": remainder.remf,
    "math.clampf": lambda x, low, high: at_most(at_least(x, low), high),
}

# Operations with an instruction in f32 and f64. For a 16-bit kind listed here x86 may call a library: computed in f32.
_BOTH, _BF16 = frozenset({"f16", "bf16"}), frozenset({"bf16"})
NARROW_ON_CPU: dict[str, frozenset[str]] = {
    "math.fma": _BOTH,
    "arith.maxnumf": _BOTH,
    "arith.minnumf": _BOTH,
    **dict.fromkeys(
        "math.sqrt math.floor math.ceil math.trunc math.round math.roundeven arith.addf arith.subf arith.mulf arith.divf "
        "arith.maximumf arith.minimumf".split(),
        _BF16,
    ),
}
CONVERSIONS = frozenset({"arith.truncf", "arith.sitofp", "arith.uitofp"})


def expand_math(root: ir.Module | ir.Operation, target: str) -> None:
    """Expand, in place, every operation under `root` whose LLVM lowering would call a library function.

    Args:
        root: a module, function or any operation; nested modules, functions and regions are walked.
        target: "cpu" (x86-64-v3 or later) or "nvidia" (sm_80 or later).

    Raises:
        UnsupportedError: an operand is neither a scalar nor a fixed-size vector of f16, bf16, f32, f64.
    """
    if target not in ("cpu", "nvidia"):
        raise InternalError(f"expand_math knows no target {target!r}", rule="target is cpu or nvidia")
    found: list[tuple[ir.Operation, Rule]] = []

    def collect(op: ir.Operation) -> ir.WalkResult:
        rule = _rule_for(op, target)
        if rule is not None:
            found.append((op, rule))
        return ir.WalkResult.ADVANCE

    root.operation.walk(collect)
    for op, rule in found:
        with op.location, ir.InsertionPoint(op):
            results = rule(op)
        for old, new in zip(op.results, results):
            old.replace_all_uses_with(new)
        op.erase()


Expand = Callable[[ir.Operation], list[ir.Value]]


def _rule_for(op: ir.Operation, target: str) -> Expand | None:
    """How to expand this operation for the target; None if it has an instruction."""
    name = op.name
    if name in RULES:
        if _is_instruction(op, target):
            return None
        return partial(_expand, rule=RULES[name], target=target)
    if target == "cpu" and name in CONVERSIONS:
        return _conversion_rule(op)
    if target == "cpu" and name in NARROW_ON_CPU and element_kind(op.results[0].type) in NARROW_ON_CPU[name]:
        return partial(_expand, rule=_same_operation(name), target=target)
    return None


def _is_instruction(op: ir.Operation, target: str) -> bool:
    return op.name == "math.exp2" and target == "nvidia" and element_kind(op.results[0].type) == "f32"


def _same_operation(name: str) -> Rule:
    return lambda *operands: operands[0].emitter.op(name, operands[0].kind, *operands)


def element_kind(type_: ir.Type) -> str:
    """f16, bf16, f32, f64, i32, ..., index: of a scalar or of a vector's elements."""
    return str(type_.element_type if isinstance(type_, ir.ShapedType) else type_)


def _emitter_for(op: ir.Operation, target: str) -> Emitter:
    type_ = op.results[0].type
    if not isinstance(type_, ir.ShapedType):
        return Emitter(None, target, op.block)
    if not isinstance(type_, ir.VectorType) or type_.scalable:
        raise _unsupported(op, type_, "a scalar or a vector of fixed size")
    return Emitter(type_.shape, target, op.block)


def _unsupported(op: ir.Operation, type_: ir.Type, rule: str) -> UnsupportedError:
    return UnsupportedError(
        f"{op.name} on {type_} cannot be expanded to machine arithmetic",
        code="unsupported-math-type",
        op=op.name,
        node=_node_name(op.location),
        rule=f"the operands are {rule}",
        hint="cast to float32 before this operation",
    )


def _node_name(location: ir.Location) -> str | None:
    return location.name_str if location.is_a_name() else None


def _expand(op: ir.Operation, rule: Rule, target: str) -> list[ir.Value]:
    """Extend 16-bit floats, apply the rule, round back."""
    emitter, operands = _emitter_for(op, target), []
    for operand in op.operands:
        kind = element_kind(operand.type)
        if kind not in ("f16", "bf16", "f32", "f64", "index") and not kind.startswith("i"):
            raise _unsupported(op, operand.type, "of f16, bf16, f32 or f64")
        value = Value(emitter, kind, operand)
        operands.append(value.to("f32") if kind in ("f16", "bf16") else value)
    results = rule(*operands)
    kind = element_kind(op.results[0].type)
    return [_rounded(value, kind).ir for value in (results if isinstance(results, tuple) else (results,))]


def _rounded(value: Value, kind: str) -> Value:
    """`value` as that kind; on x86 without the extension for it, rounding to bf16 would call a library."""
    if kind == "bf16" and value.kind != kind and value.emitter.target == "cpu":
        return narrow.to_bf16(value)
    return value.to(kind)


def _conversion_rule(op: ir.Operation) -> Expand | None:
    """For the CPU: conversions to bf16, and from f64 to f16."""
    source, kind = element_kind(op.operands[0].type), element_kind(op.results[0].type)
    if kind != "bf16" and (source, kind) != ("f64", "f16"):
        return None
    return partial(_convert, source=source, kind=kind)


def _convert(op: ir.Operation, source: str, kind: str) -> list[ir.Value]:
    emitter = _emitter_for(op, "cpu")
    value = Value(emitter, source, op.operands[0])
    if op.name != "arith.truncf":
        value = emitter.op(op.name, "f32", value)  # as numpy: integers go through f32
    return [(narrow.to_bf16 if kind == "bf16" else narrow.to_f16)(value).ir]
