"""Matrix products, einsum."""

from lumir.dialects.base import is_float
from lumir.frontend import emit
from lumir.frontend.context import NodeContext
from lumir.frontend.einsum import einsum
from lumir.frontend.registry import Result, handler
from lumir.mlir import ir
from lumir.sizes import equal


@handler("MatMul")
def matmul(ctx: NodeContext) -> Result:
    _check_inner(ctx)
    return emit.matmul(ctx.value(0), ctx.value(1))


def _check_inner(ctx: NodeContext) -> None:
    left, right = ctx.tensor(0).shape, ctx.tensor(1).shape
    if not left or not right or not equal(left[-1], right[-2 if len(right) > 1 else -1]):
        ctx.malformed(f"the inner dimensions of {list(left)} and {list(right)} must agree")


@handler("Gemm", since=7)
def gemm(ctx: NodeContext) -> Result:
    """alpha * A' B' + beta * C, where A' and B' may be transposed."""
    a, b = ctx.value(0), ctx.value(1)
    equation = f"{'km' if ctx.attribute('transA', 0) else 'mk'},{'nk' if ctx.attribute('transB', 0) else 'kn'}->mn"
    result = _scaled(emit.contract(a, b, equation), ctx.attribute("alpha", 1.0))
    if not ctx.has(2):
        return result
    return emit.add(result, _scaled(ctx.value(2), ctx.attribute("beta", 1.0)))


def _scaled(x: ir.Value, factor: float) -> ir.Value:
    if factor == 1:
        return x
    if is_float(emit.element(x)):
        return emit.mul(x, factor)
    return emit.cast(emit.mul(emit.cast(x, emit.type_("float64")), factor), emit.element(x))


@handler("Einsum", since=12)
def import_einsum(ctx: NodeContext) -> Result:
    equation = ctx.attribute("equation", "").replace(" ", "")
    return einsum(equation, ctx.values())
