"""Functions of `Value`s: what has an instruction on either target, and Horner's scheme.

On NVIDIA these are calls of LLVM intrinsics, not operations of the math dialect: `convert-gpu-to-nvvm` turns the
latter, down to math.fma and math.sqrt, into calls of libdevice.
"""

from collections.abc import Sequence

from lumir.codegen.math.values import Operand, Value
from lumir.mlir import ir, llvm, vector

INTRINSICS = {
    "arith.maxnumf": "llvm.maxnum",
    "arith.minnumf": "llvm.minnum",
    "math.absf": "llvm.fabs",
    "math.ceil": "llvm.ceil",
    "math.copysign": "llvm.copysign",
    "math.ctpop": "llvm.ctpop",
    "math.exp2": "llvm.exp2",
    "math.floor": "llvm.floor",
    "math.fma": "llvm.fma",
    "math.round": "llvm.round",
    "math.roundeven": "llvm.roundeven",
    "math.sqrt": "llvm.sqrt",
    "math.trunc": "llvm.trunc",
}
"""What NVPTX has instructions for, and the conversion to NVVM calls of libdevice."""


def instruction(name: str, *operands: Value, approximate: bool = False) -> Value:
    """One of `INTRINSICS`, for the target of its operands, with a result of the kind of the first.

    Args:
        approximate: NVIDIA only; allow an approximation that the hardware has (LLVM's `afn`).
    """
    first = operands[0]
    if first.emitter.target != "nvidia":
        return first.emitter.op(name, first.kind, *operands)
    attributes = {
        "intrin": ir.StringAttr.get(INTRINSICS[name]),
        "operandSegmentSizes": ir.DenseI32ArrayAttr.get([len(operands), 0]),
        "op_bundle_sizes": ir.DenseI32ArrayAttr.get([]),
    }
    if approximate:
        attributes["fastmathFlags"] = ir.Attribute.parse("#llvm.fastmath<afn>")
    return first.emitter.op("llvm.call_intrinsic", first.kind, *operands, **attributes)


def sqrt(x: Value) -> Value:
    """Square root, correctly rounded."""
    return instruction("math.sqrt", x)


def trunc(x: Value) -> Value:
    """The integer next to x towards zero."""
    return instruction("math.trunc", x)


def absolute(x: Value) -> Value:
    """x without its sign bit."""
    return instruction("math.absf", x)


def fma(a: Operand, b: Operand, c: Operand) -> Value:
    """a * b + c, rounded once."""
    first = next(v for v in (a, b, c) if isinstance(v, Value))
    return instruction("math.fma", first.like(a), first.like(b), first.like(c))


def copy_sign(magnitude: Operand, sign: Value) -> Value:
    """|magnitude| with the sign bit of `sign`."""
    return instruction("math.copysign", sign.like(magnitude), sign)


def select(condition: Value, if_true: Operand, if_false: Operand) -> Value:
    """Lane by lane; one of the two alternatives may be a Python number."""
    kind = next(v for v in (if_true, if_false) if isinstance(v, Value))
    return kind.emitter.op("arith.select", kind.kind, condition, kind.like(if_true), kind.like(if_false))


def at_least(x: Value, low: Operand) -> Value:
    """max(x, low), NaN stays NaN: one instruction on either target."""
    if x.emitter.target == "nvidia":
        return x.emitter.op("arith.maximumf", x.kind, x, x.like(low))
    return select(x < low, low, x)


def at_most(x: Value, high: Operand) -> Value:
    """min(x, high), NaN stays NaN: one instruction on either target."""
    if x.emitter.target == "nvidia":
        return x.emitter.op("arith.minimumf", x.kind, x, x.like(high))
    return select(x > high, high, x)


def max_num(x: Value, y: Value) -> Value:
    """The larger; the other one if one is NaN."""
    return select(y.is_nan(), x, select(x > y, x, y))


def min_num(x: Value, y: Value) -> Value:
    """The smaller; the other one if one is NaN."""
    return select(y.is_nan(), x, select(x < y, x, y))


def polynomial(u: Value, coefficients: Sequence[float]) -> Value:
    """Horner's scheme; `coefficients` from the constant term up."""
    result = u.like(coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        result = fma(result, u, coefficient)
    return result


def wide_product(a: Value, b: Value) -> tuple[Value, Value]:
    """(low, high) halves of the full unsigned product."""
    kind = a.emitter.type(a.kind)
    low, high = ir.Operation.create("arith.mului_extended", [kind, kind], [a.ssa, b.ssa]).results
    return Value(a.emitter, a.kind, low), Value(a.emitter, a.kind, high)


def has_exp2(x: Value) -> bool:
    """Whether 2^x is one instruction (`ex2.approx.f32`, error at most 2 ulp)."""
    return x.emitter.target == "nvidia" and x.kind == "f32"


def hardware_exp2(x: Value) -> Value:
    """`ex2.approx.f32`, which NVPTX selects for llvm.exp2."""
    return instruction("math.exp2", x)


def flushed_exp2(x: Value) -> Value:
    """`ex2.approx.ftz.f32`: zero where 2^x is denormal. To keep those takes three more instructions on NVIDIA."""
    if x.emitter.target != "nvidia":
        return hardware_exp2(x)
    scalar = x.emitter.scalar_type(x.kind)
    if x.emitter.lanes is None:
        return Value(x.emitter, x.kind, _flushed(scalar, x.ssa))
    lanes = [_flushed(scalar, vector.extract(x.ssa, [], [i])) for i in range(x.emitter.lanes)]
    return Value(x.emitter, x.kind, vector.from_elements(x.emitter.type(x.kind), lanes))


def _flushed(type_: ir.Type, value: ir.Value) -> ir.Value:
    return llvm.inline_asm(type_, [value], "ex2.approx.ftz.f32 $0, $1;", "=f,f")


def approximate_quotient(a: float, b: Value) -> Value:
    """a / b by `rcp.approx.f32` or `div.approx.f32` on NVIDIA."""
    return b.emitter.op("arith.divf", b.kind, b.like(a), b, fastmath=ir.Attribute.parse("#arith.fastmath<afn>"))


def hardware_rsqrt(x: Value) -> Value:
    """`rsqrt.approx.f32`, which NVPTX selects for a reciprocal of a square root that both allow approximation."""
    return approximate_quotient(1.0, instruction("math.sqrt", x, approximate=True))
