"""Element-wise operators."""

import functools
import math

import numpy as np

from lumir.dialects import build
from lumir.dialects.base import is_float, is_int
from lumir.dtypes import bit_size
from lumir.frontend import emit
from lumir.frontend.context import NodeContext
from lumir.frontend.problems import Malformed
from lumir.frontend.registry import Result, handler
from lumir.mlir import ir

UNARY = {
    "Abs": "abs",
    "Neg": "neg",
    "Sign": "sign",
    "Exp": "exp",
    "Log": "log",
    "Sqrt": "sqrt",
    "Sin": "sin",
    "Cos": "cos",
    "Tan": "tan",
    "Asin": "asin",
    "Acos": "acos",
    "Atan": "atan",
    "Sinh": "sinh",
    "Cosh": "cosh",
    "Tanh": "tanh",
    "Asinh": "asinh",
    "Acosh": "acosh",
    "Atanh": "atanh",
    "Erf": "erf",
    "Sigmoid": "sigmoid",
    "Floor": "floor",
    "Ceil": "ceil",
    "Round": "round",
    "IsNaN": "isnan",
    "Not": "not",
    "BitwiseNot": "not",
}
BINARY = {
    "Add": "add",
    "Sub": "sub",
    "Mul": "mul",
    "Div": "div",
    "And": "and",
    "Or": "or",
    "Xor": "xor",
    "BitwiseAnd": "and",
    "BitwiseOr": "or",
    "BitwiseXor": "xor",
    "Equal": "eq",
    "Less": "lt",
    "LessOrEqual": "le",
    "Greater": "gt",
    "GreaterOrEqual": "ge",
}


def _register_rows() -> None:
    for name, op in UNARY.items():
        handler(name)(lambda ctx, op=op: build(op, ctx.value(0)))
    for name, op in BINARY.items():
        handler(name, since=7)(lambda ctx, op=op: build(op, ctx.value(0), ctx.value(1)))


_register_rows()


@handler("Reciprocal")
def reciprocal(ctx: NodeContext) -> Result:
    return emit.reciprocal(ctx.value(0))


@handler("Max", "Min", since=8)
def extremum(ctx: NodeContext) -> Result:
    return functools.reduce(functools.partial(build, ctx.op.lower()), ctx.values())


@handler("Sum", "Mean", since=8)
def total(ctx: NodeContext) -> Result:
    values = ctx.values()
    result = functools.reduce(emit.add, values)
    return emit.div(result, len(values)) if ctx.op == "Mean" else result


@handler("Pow", since=7)
def power(ctx: NodeContext) -> Result:
    """x ** y; the exponent may have another type, and the result has the base's."""
    base, exponent = ctx.value(0), ctx.value(1)
    known = ctx.known(1)
    if known is not None and known.size == 1 and float(known.reshape(-1)[0]) == 2 and known.ndim <= emit.rank(base):
        return emit.mul(base, base)
    if is_float(emit.element(exponent)) and is_int(emit.element(base)):
        return emit.cast(build("pow", emit.cast(base, emit.element(exponent)), exponent), emit.element(base))
    return build("pow", base, emit.cast(exponent, emit.element(base)))


@handler("Mod", since=10)
def modulo(ctx: NodeContext) -> Result:
    x, y = ctx.value(0), ctx.value(1)
    if not ctx.attribute("fmod", 0) and is_float(emit.element(x)) and ctx.opset < 28:
        ctx.malformed("float operands need fmod = 1")
    return build("fmod" if ctx.attribute("fmod", 0) else "mod", x, y)


@handler("BitShift", since=11)
def bit_shift(ctx: NodeContext) -> Result:
    direction = ctx.attribute("direction", "")
    if direction not in ("LEFT", "RIGHT"):
        ctx.malformed("direction must be LEFT or RIGHT")
    return build("shl" if direction == "LEFT" else "shr", ctx.value(0), ctx.value(1))


@handler("Where", since=9)
def where(ctx: NodeContext) -> Result:
    return build("select", ctx.value(0), ctx.value(1), ctx.value(2))


@handler("IsInf", since=10)
def is_inf(ctx: NodeContext) -> Result:
    x = ctx.value(0)
    positive, negative = ctx.attribute("detect_positive", 1), ctx.attribute("detect_negative", 1)
    if positive and negative:
        return build("isinf", x)
    if not positive and not negative:
        return np.zeros(emit.shape(x), np.bool_)
    return emit.binary("eq", x, math.inf if positive else -math.inf)


@handler("Clip", since=11)
def clip(ctx: NodeContext) -> Result:
    return _clip(ctx.value(0), ctx.optional(1), ctx.optional(2))


@handler("Clip", since=6)
def clip_6(ctx: NodeContext) -> Result:
    return _clip(ctx.value(0), ctx.attribute("min"), ctx.attribute("max"))


def _clip(x: ir.Value, low: emit.Operand | None, high: emit.Operand | None) -> ir.Value:
    x = x if low is None else emit.maximum(x, low)
    return x if high is None else emit.minimum(x, high)


@handler("Identity", since=1)
def identity(ctx: NodeContext) -> Result:
    return ctx.input(0)


@handler("Dropout", since=7)
def dropout(ctx: NodeContext) -> list[Result]:
    """The identity at inference; the mask is all true."""
    training = ctx.has(2) and bool(ctx.static(2, "training_mode").any())
    if training and (not ctx.has(1) or ctx.static(1, "ratio").any()):
        ctx.refuse("dropout in training mode is not supported: it draws random numbers")
    mask = np.ones(ctx.tensor(0).shape, np.bool_)
    return [ctx.tensor(0), mask if ctx.opset >= 10 else mask.astype(ctx.tensor(0).dtype)][: len(ctx.node.output)]


@handler("Cast", since=6)
def cast(ctx: NodeContext) -> Result:
    return _cast(ctx, ctx.element("to", emit.element(ctx.value(0))))


@handler("CastLike", since=15)
def cast_like(ctx: NodeContext) -> Result:
    return _cast(ctx, ctx.tensor(1).type.element_type)


def _cast(ctx: NodeContext, to: ir.Type) -> Result:
    if emit.element(ctx.value(0)) == to:
        return ctx.tensor(0)
    saturate = bool(ctx.attribute("saturate", 1))
    if "E8M0" in str(to):
        return emit.cast(_power_of_two(ctx, to, saturate), to, saturate)
    return emit.cast(ctx.value(0), to, saturate)


def _power_of_two(ctx: NodeContext, to: ir.Type, saturate: bool) -> ir.Value:
    """The neighbouring power of two, in float32, that `round_mode` chooses for float8e8m0."""
    x = emit.cast(ctx.value(0), emit.type_("float32"))
    if saturate:
        x = emit.minimum(emit.maximum(x, 2.0**-127), 2.0**127)
    nearest = emit.cast(emit.cast(x, to, saturate), emit.type_("float32"))
    match ctx.attribute("round_mode", "up"):
        case "nearest":
            return x
        case "up":
            return emit.select(build("lt", nearest, x), emit.mul(nearest, 2), nearest)
        case "down":
            return emit.select(build("gt", nearest, x), emit.mul(nearest, 0.5), nearest)
    raise Malformed("round_mode must be up, down or nearest")


@handler("BitCast", since=26)
def bit_cast(ctx: NodeContext) -> Result:
    """Known elements only: the dialect has no op that reads bits as another type."""
    to = ctx.element("to", ctx.tensor(0).type.element_type)
    if to == ctx.tensor(0).type.element_type:
        return ctx.tensor(0)
    if bit_size(to) != bit_size(ctx.tensor(0).type.element_type):
        ctx.malformed(f"{ctx.tensor(0).type.element_type} and {to} must have equally many bits")
    return ctx.static(0, "input").view(emit.numpy_dtype(to))
