"""Operators before opset 7, where broadcasting was an attribute and `is_test` told inference from training."""

from collections.abc import Sequence

from lumir.dialects import build
from lumir.frontend import emit
from lumir.frontend.context import NodeContext
from lumir.frontend.handlers.contraction import gemm
from lumir.frontend.handlers.elementwise import BINARY, dropout, extremum, power, total
from lumir.frontend.handlers.normalization import batch_normalization
from lumir.frontend.handlers.pooling import average_pool
from lumir.frontend.handlers.shaping import reshape_to
from lumir.frontend.registry import Result, handler
from lumir.mlir import ir

handler("Max", "Min", since=6)(extremum)
handler("Sum", "Mean", since=6)(total)
handler("Gemm", since=6)(gemm)
handler("AveragePool")(average_pool)


@handler(*(name for name in BINARY if not name.startswith("Bitwise") and "OrEqual" not in name))
def binary(ctx: NodeContext) -> Result:
    return build(BINARY[ctx.op], ctx.value(0), aligned(ctx))


@handler("Pow")
def power_1(ctx: NodeContext) -> Result:
    return power(ctx) if not ctx.attribute("broadcast", 0) else build("pow", ctx.value(0), aligned(ctx))


def aligned(ctx: NodeContext) -> ir.Value:
    """The second operand, with dimensions of size 1 behind it so that it starts at the first one's dimension `axis`."""
    x, y = ctx.value(0), ctx.value(1)
    if not ctx.attribute("broadcast", 0):
        if emit.shape(x) != emit.shape(y):
            ctx.malformed(f"operands of shapes {emit.shape(x)} and {emit.shape(y)} need broadcast = 1 before opset 7")
        return y
    axis = ctx.attribute("axis")
    if axis is None:
        return y
    missing = emit.rank(x) - axis % emit.rank(x) - emit.rank(y)
    return emit.reshape(y, emit.shape(y) + [1] * missing)


@handler("PRelu", since=6)
def prelu(ctx: NodeContext) -> Result:
    """One slope for all, or one a channel."""
    x, slope = ctx.value(0), ctx.value(1)
    if emit.shape(slope) != [1]:
        slope = emit.along(slope, min(1, emit.rank(x) - 1), emit.rank(x))
    return emit.select(emit.binary("lt", x, 0), emit.mul(x, slope), x)


@handler("BatchNormalization", since=6)
def batch_normalization_6(ctx: NodeContext) -> Result | Sequence[Result]:
    _check_inference(ctx)
    return batch_normalization_7(ctx)


@handler("BatchNormalization", since=7)
def batch_normalization_7(ctx: NodeContext) -> Result | Sequence[Result]:
    """Before opset 9 scale, bias, mean and variance may have an entry for each position (`spatial` 0)."""
    if ctx.attribute("spatial", 1):
        return batch_normalization(ctx)
    scale, bias, mean, variance = (ctx.value(i) for i in range(1, 5))
    deviation = emit.unary("sqrt", emit.add(variance, ctx.attribute("epsilon", 1e-5)))
    return [emit.add(emit.mul(emit.div(emit.sub(ctx.value(0), mean), deviation), scale), bias)]


@handler("Dropout")
def dropout_1(ctx: NodeContext) -> list[Result]:
    _check_inference(ctx)
    return dropout(ctx)  # pyright: ignore[reportReturnType]


def _check_inference(ctx: NodeContext) -> None:
    if not ctx.attribute("is_test", 0):
        ctx.refuse("training mode (is_test = 0) is not supported")


@handler("Reshape")
def reshape_1(ctx: NodeContext) -> Result:
    return reshape_to(ctx, ctx.ints_attribute("shape", []))
