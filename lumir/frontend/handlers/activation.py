"""Activations. Those with transcendentals compute in float32 and round once to the tensor's own type."""

import functools
import math
from collections.abc import Callable

from lumir.dialects import build
from lumir.dialects.base import is_float
from lumir.frontend import emit
from lumir.frontend.context import NodeContext
from lumir.frontend.registry import Result, handler
from lumir.mlir import ir

SELU_ALPHA = 1.67326319217681884765625
SELU_GAMMA = 1.05070102214813232421875
SIXTH = 0.16666667163372039794921875


def in_float32(function: Callable[..., ir.Value]) -> Callable[..., ir.Value]:
    """Compute `function(x, ...)` in float32 where x is narrower, and round the result to x's type."""

    @functools.wraps(function)
    def wrapped(x: ir.Value, *arguments, **options) -> ir.Value:
        return emit.cast(function(emit.widen(x), *arguments, **options), emit.element(x))

    return wrapped


@in_float32
def gelu(x: ir.Value) -> ir.Value:
    """x / 2 * (1 + erf(x / sqrt 2))."""
    return emit.mul(emit.mul(x, 0.5), emit.add(build("erf", emit.mul(x, math.sqrt(0.5))), 1))


@in_float32
def gelu_tanh(x: ir.Value) -> ir.Value:
    """x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))."""
    cubic = emit.mul(emit.mul(emit.mul(x, x), x), 0.044715)
    return emit.mul(emit.mul(x, 0.5), emit.add(build("tanh", emit.mul(emit.add(x, cubic), math.sqrt(2 / math.pi))), 1))


@in_float32
def swish(x: ir.Value, alpha: float = 1.0) -> ir.Value:
    """x * sigmoid(alpha * x)."""
    return emit.mul(x, build("sigmoid", x if alpha == 1 else emit.mul(x, alpha)))


@in_float32
def softplus(x: ir.Value) -> ir.Value:
    """log(1 + e^x), written so that it neither overflows nor loses small results."""
    return emit.add(emit.maximum(x, 0), build("log1p", emit.exp(emit.neg(build("abs", x)))))


@in_float32
def mish(x: ir.Value) -> ir.Value:
    return emit.mul(x, build("tanh", softplus(x)))


@in_float32
def elu(x: ir.Value, alpha: float) -> ir.Value:
    return emit.select(emit.binary("lt", x, 0), emit.mul(build("expm1", x), alpha), x)


@in_float32
def celu(x: ir.Value, alpha: float) -> ir.Value:
    return emit.add(emit.maximum(x, 0), emit.minimum(emit.mul(build("expm1", emit.div(x, alpha)), alpha), 0))


@in_float32
def selu(x: ir.Value, alpha: float, gamma: float) -> ir.Value:
    return emit.mul(elu(x, alpha), gamma)


@in_float32
def hard_sigmoid(x: ir.Value, alpha: float, beta: float) -> ir.Value:
    return emit.maximum(emit.minimum(emit.add(emit.mul(x, alpha), beta), 1), 0)


@in_float32
def hard_swish(x: ir.Value) -> ir.Value:
    """x * hard_sigmoid(x), whose alpha is the attribute 1/6, kept in float32."""
    return emit.mul(x, hard_sigmoid(x, SIXTH, 0.5))


def relu(x: ir.Value) -> ir.Value:
    return emit.maximum(x, 0)


def leaky_relu(x: ir.Value, alpha: float) -> ir.Value:
    return emit.select(emit.binary("lt", x, 0), emit.mul(x, alpha), x)


@handler("Relu", since=6)
def import_relu(ctx: NodeContext) -> Result:
    return relu(ctx.value(0))


@handler("LeakyRelu", since=6)
def import_leaky_relu(ctx: NodeContext) -> Result:
    return leaky_relu(ctx.value(0), ctx.attribute("alpha", 0.01))


@handler("PRelu", since=7)
def prelu(ctx: NodeContext) -> Result:
    x, slope = ctx.value(0), ctx.value(1)
    return emit.select(emit.binary("lt", x, 0), emit.mul(x, slope), x)


@handler("ThresholdedRelu", since=10)
def thresholded_relu(ctx: NodeContext) -> Result:
    x = ctx.value(0)
    return emit.select(emit.binary("gt", x, ctx.attribute("alpha", 1.0)), x, 0)


@handler("Shrink", since=9)
def shrink(ctx: NodeContext) -> Result:
    x, bias, threshold = ctx.value(0), ctx.attribute("bias", 0.0), ctx.attribute("lambd", 0.5)
    wide = emit.cast(x, emit.type_("float32")) if not is_float(emit.element(x)) else x
    high = emit.select(emit.binary("gt", wide, threshold), emit.sub(wide, bias), 0)
    return emit.cast(emit.select(emit.binary("lt", wide, -threshold), emit.add(wide, bias), high), emit.element(x))


@handler("Elu", since=6)
def import_elu(ctx: NodeContext) -> Result:
    return elu(ctx.value(0), ctx.attribute("alpha", 1.0))


@handler("Celu", since=12)
def import_celu(ctx: NodeContext) -> Result:
    return celu(ctx.value(0), ctx.attribute("alpha", 1.0))


@handler("Selu", since=6)
def import_selu(ctx: NodeContext) -> Result:
    return selu(ctx.value(0), ctx.attribute("alpha", SELU_ALPHA), ctx.attribute("gamma", SELU_GAMMA))


@handler("Softplus")
def import_softplus(ctx: NodeContext) -> Result:
    return softplus(ctx.value(0))


@handler("Softsign")
def softsign(ctx: NodeContext) -> Result:
    x = ctx.value(0)
    return emit.div(x, emit.add(build("abs", x), 1))


@handler("HardSigmoid", since=6)
def import_hard_sigmoid(ctx: NodeContext) -> Result:
    return hard_sigmoid(ctx.value(0), ctx.attribute("alpha", 0.2), ctx.attribute("beta", 0.5))


@handler("HardSwish", since=14)
def import_hard_swish(ctx: NodeContext) -> Result:
    return hard_swish(ctx.value(0))


@handler("Mish", since=18)
def import_mish(ctx: NodeContext) -> Result:
    return mish(ctx.value(0))


@handler("Gelu", since=20)
def import_gelu(ctx: NodeContext) -> Result:
    approximate = ctx.attribute("approximate", "none")
    return gelu_tanh(ctx.value(0)) if approximate == "tanh" else gelu(ctx.value(0))


@handler("Swish", since=24)
def import_swish(ctx: NodeContext) -> Result:
    return swish(ctx.value(0), ctx.attribute("alpha", 1.0))


@handler("SwiGLU", since=28)
def swiglu(ctx: NodeContext) -> Result:
    return emit.mul(swish(ctx.value(0), ctx.attribute("alpha", 1.0)), ctx.value(1))
