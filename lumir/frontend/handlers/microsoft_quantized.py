"""onnxruntime's quantised operators (domain com.microsoft)."""

from lumir.dialects import build
from lumir.dialects.base import is_float
from lumir.frontend import emit
from lumir.frontend.context import NodeContext
from lumir.frontend.handlers.quantization import dequantize_linear, quantize, quantize_linear
from lumir.frontend.registry import MICROSOFT, Result, handler
from lumir.mlir import ir

handler("DequantizeLinear", domain=MICROSOFT)(dequantize_linear)
handler("QuantizeLinear", domain=MICROSOFT)(quantize_linear)


def unpack(x: ir.Value, bits: int) -> ir.Value:
    """Bytes [..., n] as unsigned integers of `bits` bits [..., n * 8 / bits], lowest bits first."""
    if bits == 8:
        return x
    last = emit.rank(x)
    mask = (1 << bits) - 1
    parts = [emit.binary("and", emit.binary("shr", x, shift) if shift else x, mask) for shift in range(0, 8, bits)]
    stacked = emit.concat([emit.unsqueeze(part, [last]) for part in parts], last)
    *outer, size = emit.shape(x)
    return emit.reshape(stacked, [*outer, size * len(parts)])


@handler("MatMulNBits", domain=MICROSOFT)
def matmul_n_bits(ctx: NodeContext) -> Result:
    """A [..., k] times the transpose of weights [n, k] that are packed in blocks with a scale and a zero point each."""
    a = ctx.value(0)
    k, n, bits, block = (ctx.attribute(name) for name in ("K", "N", "bits", "block_size"))
    blocks = -(-k // block)
    weights = _integers(ctx, 1, [n, blocks, block], bits)
    scales = emit.reshape(ctx.value(2), [n, blocks, 1])
    zero = _zero_points(ctx, n, blocks, bits, emit.element(scales))
    weights = emit.cast(weights, emit.element(scales))
    if ctx.has(4):
        weights = emit.reshape(weights, [n, blocks * block])
        scales, zero = (_regrouped(ctx, each, blocks * block) for each in (scales, zero))
    real = emit.mul(emit.sub(weights, zero), scales)
    real = emit.slice_(emit.reshape(real, [n, blocks * block]), 1, 0, k)
    labels = emit.LABELS[: emit.rank(a) - 1]
    result = emit.contract(a, emit.cast(real, emit.element(a)), f"{labels}z,yz->{labels}y")
    return emit.add(result, ctx.value(5)) if ctx.has(5) else result


def _regrouped(ctx: NodeContext, x: ir.Value, size: int) -> ir.Value:
    """[n, blocks, 1] as [n, size]: each row of the weights has the block that the input g_idx says."""
    if emit.rank(x) == 0:
        return x
    groups = emit.pad(ctx.value(4), [0], [size - ctx.tensor(4).size])
    return emit.gather(emit.reshape(x, emit.shape(x)[:2]), groups, 1)


def _integers(ctx: NodeContext, index: int, dims: list[int], bits: int) -> ir.Value:
    """The bytes of input `index` as unsigned integers; those of 4 bits in a weight stay packed."""
    tensor = ctx.tensor(index)
    if bits == 4 and tensor.view is not None:
        return tensor.view(ir.RankedTensorType.get(dims, emit.type_("uint4")))
    *outer, last = dims
    return unpack(emit.reshape(ctx.value(index), [*outer, last * bits // 8]), bits)


def _zero_points(ctx: NodeContext, n: int, blocks: int, bits: int, to: ir.Type) -> ir.Value:
    """[n, blocks, 1], or the scalar middle of the range where there are none."""
    if not ctx.has(3):
        return emit.scalar(1 << (bits - 1), to)
    if is_float(ctx.tensor(3).type.element_type):
        return emit.cast(emit.reshape(ctx.value(3), [n, blocks, 1]), to)
    wide = _integers(ctx, 3, [n, -(-blocks * bits // 8) * 8 // bits], bits)
    return emit.cast(emit.reshape(emit.slice_(wide, 1, 0, blocks), [n, blocks, 1]), to)


@handler("QLinearAdd", "QLinearMul", domain=MICROSOFT)
def qlinear_binary(ctx: NodeContext) -> Result:
    """Add or multiply the real values of two quantised tensors, and quantise the result."""
    real = [_real(ctx, i) for i in (0, 3)]
    result = build("add" if ctx.op == "QLinearAdd" else "mul", *real)
    zero = _scalar(ctx, 7) if ctx.has(7) else None
    return quantize(emit.div(result, _scalar(ctx, 6)), zero, ctx.tensor(0).type.element_type)


@handler("QLinearSigmoid", "QLinearLeakyRelu", domain=MICROSOFT)
def qlinear_unary(ctx: NodeContext) -> Result:
    x = _real(ctx, 0)
    if ctx.op == "QLinearSigmoid":
        result = build("sigmoid", x)
    else:
        result = emit.select(emit.binary("lt", x, 0), emit.mul(x, ctx.attribute("alpha", 0.01)), x)
    zero = _scalar(ctx, 4) if ctx.has(4) else None
    return quantize(emit.div(result, _scalar(ctx, 3)), zero, ctx.tensor(0).type.element_type)


def _real(ctx: NodeContext, index: int) -> ir.Value:
    """The real values of the quantised tensor at `index`, whose scale and zero point follow it."""
    wide = emit.type_("float32")
    x = emit.cast(ctx.value(index), wide)
    if ctx.has(index + 2):
        x = emit.sub(x, emit.cast(_scalar(ctx, index + 2), wide))
    return emit.mul(x, _scalar(ctx, index + 1))


def _scalar(ctx: NodeContext, index: int) -> ir.Value:
    if ctx.tensor(index).size != 1:
        ctx.refuse("scales and zero points by axis are not supported here")
    return emit.reshape(ctx.value(index), [])


@handler("MatMulIntegerToFloat", domain=MICROSOFT)
def matmul_integer_to_float(ctx: NodeContext) -> Result:
    """(a - a's zero point) * a's scale times (b - b's zero point) * b's scale, plus bias."""
    wide = emit.type_("int32")
    a, b = emit.cast(ctx.value(0), wide), emit.cast(ctx.value(1), wide)
    a = emit.sub(a, emit.cast(ctx.value(4), wide)) if ctx.has(4) else a
    b = emit.sub(b, emit.cast(ctx.value(5), wide)) if ctx.has(5) else b
    product = emit.cast(emit.matmul(a, b, wide), emit.element(ctx.value(2)))
    result = emit.mul(emit.mul(product, ctx.value(2)), ctx.value(3))
    return emit.add(result, ctx.value(6)) if ctx.has(6) else result
