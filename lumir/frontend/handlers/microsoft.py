"""onnxruntime's fused operators (domain com.microsoft): activations, normalisations, products, embeddings.

Their definitions: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md.
"""

from lumir.dialects import build
from lumir.frontend import emit
from lumir.frontend.context import NodeContext
from lumir.frontend.handlers import activation
from lumir.frontend.handlers.attention import merge_heads, rotate, split_heads
from lumir.frontend.handlers.contraction import gemm
from lumir.frontend.handlers.convolution import conv
from lumir.frontend.handlers.normalization import normalize, rms_normalization, statistics
from lumir.frontend.problems import Refused
from lumir.frontend.registry import MICROSOFT, Result, handler
from lumir.mlir import ir

handler("SimplifiedLayerNormalization", domain=MICROSOFT)(rms_normalization)


@handler("Gelu", domain=MICROSOFT)
def gelu(ctx: NodeContext) -> Result:
    return activation.gelu(ctx.value(0))


@handler("BiasGelu", domain=MICROSOFT)
def bias_gelu(ctx: NodeContext) -> Result:
    return activation.gelu(emit.add(ctx.value(0), ctx.value(1)))


@handler("FastGelu", domain=MICROSOFT)
def fast_gelu(ctx: NodeContext) -> Result:
    return activation.gelu_tanh(_biased(ctx.value(0), ctx.optional(1)))


@handler("GemmFastGelu", domain=MICROSOFT)
def gemm_fast_gelu(ctx: NodeContext) -> Result:
    return activation.gelu_tanh(_biased(emit.matmul(ctx.value(0), ctx.value(1)), ctx.optional(2)))


@handler("QuickGelu", domain=MICROSOFT)
def quick_gelu(ctx: NodeContext) -> Result:
    return activation.swish(ctx.value(0), ctx.attribute("alpha", 1.702))


@handler("BiasAdd", domain=MICROSOFT)
def bias_add(ctx: NodeContext) -> Result:
    return emit.add(emit.add(ctx.value(0), ctx.value(1)), ctx.value(2))


def _biased(x: ir.Value, bias: ir.Value | None) -> ir.Value:
    return x if bias is None else emit.add(x, bias)


@handler("SkipLayerNormalization", domain=MICROSOFT)
def skip_layer_normalization(ctx: NodeContext) -> list[Result]:
    """Layer normalisation of input + skip + bias, over the last dimension; the sum is the fourth output."""
    total = _biased(emit.add(ctx.value(0), ctx.value(1)), ctx.optional(4))
    epsilon, axis = ctx.attribute("epsilon", 1e-12), emit.rank(total) - 1
    scaled = emit.mul(normalize(total, axis, epsilon), ctx.value(2))
    moments = statistics(emit.widen(total), [axis], epsilon) if ctx.wants(1) or ctx.wants(2) else [None, None]
    return [_biased(scaled, ctx.optional(3)), *moments, total]


@handler("SkipSimplifiedLayerNormalization", domain=MICROSOFT)
def skip_rms_normalization(ctx: NodeContext) -> list[Result]:
    total = _biased(emit.add(ctx.value(0), ctx.value(1)), ctx.optional(3))
    epsilon, axis = ctx.attribute("epsilon", 1e-12), emit.rank(total) - 1
    return [emit.mul(normalize(total, axis, epsilon, center=False), ctx.value(2)), None, None, total]


@handler("EmbedLayerNormalization", domain=MICROSOFT)
def embed_layer_normalization(ctx: NodeContext) -> list[Result]:
    """Word, position and segment embeddings, summed and normalised; the mask's sums by row; the sum itself."""
    words = emit.gather(ctx.value(2), ctx.value(0), 0)
    batch, length = emit.shape(words)[:2]
    table = ctx.value(3)
    positions = emit.gather(table, ctx.value(8), 0) if ctx.has(8) else emit.slice_(table, 0, 0, length)
    total = emit.add(words, positions)
    if ctx.has(1) and ctx.has(4):
        total = emit.add(total, emit.gather(ctx.value(4), ctx.value(1), 0))
    result = emit.mul(normalize(total, 2, ctx.attribute("epsilon", 1e-12)), ctx.value(5))
    int32 = emit.type_("int32")
    if ctx.has(7):
        lengths = emit.reduce(emit.cast(ctx.value(7), int32), "sum", [1])
    else:
        lengths = emit.broadcast(emit.scalar(0, int32), [batch])
    return [emit.add(result, ctx.value(6)), lengths, total]


@handler("FusedMatMul", "TransposeMatMul", domain=MICROSOFT)
def fused_matmul(ctx: NodeContext) -> Result:
    """alpha * A' B', where the last two dimensions, or all batch dimensions with the row one, may be exchanged."""
    a = _arranged(ctx.value(0), bool(ctx.attribute("transA", 0)), bool(ctx.attribute("transBatchA", 0)))
    b = _arranged(ctx.value(1), bool(ctx.attribute("transB", 0)), bool(ctx.attribute("transBatchB", 0)))
    alpha = ctx.attribute("alpha", 1.0)
    product = emit.matmul(a, b)
    return product if alpha == 1 else emit.mul(product, alpha)


def _arranged(x: ir.Value, swap: bool, batch: bool) -> ir.Value:
    order = list(range(emit.rank(x)))
    if batch and len(order) > 2:
        order = [*order[1:-1], 0, order[-1]]
    if swap and len(order) > 1:
        order[-2:] = reversed(order[-2:])
    return emit.transpose(x, order)


@handler("FusedGemm", domain=MICROSOFT)
def fused_gemm(ctx: NodeContext) -> Result:
    return _activated(ctx, gemm(ctx), ctx.attribute("activation_alpha", 0.01))


@handler("FusedConv", domain=MICROSOFT)
def fused_conv(ctx: NodeContext) -> Result:
    """Convolution, plus an optional fourth input, then an activation."""
    result = _biased(conv(ctx), ctx.optional(3))  # pyright: ignore[reportArgumentType]
    parameters = ctx.attribute("activation_params", [])
    return _activated(ctx, result, *parameters)


def _activated(ctx: NodeContext, x, *parameters: float) -> Result:
    match ctx.attribute("activation", ""):
        case "":
            return x
        case "Relu":
            return activation.relu(x)
        case "LeakyRelu":
            return activation.leaky_relu(x, parameters[0])
        case "Tanh" | "Sigmoid" as name:
            return build(name.lower(), x)
        case "Clip":
            return emit.minimum(emit.maximum(x, parameters[0]), parameters[1])
        case "HardSigmoid":
            return activation.hard_sigmoid(x, *parameters)
    raise Refused(f"activation '{ctx.attribute('activation')}' is not supported")


@handler("RotaryEmbedding", domain=MICROSOFT)
def rotary_embedding(ctx: NodeContext) -> Result:
    """As ai.onnx's, with position ids [b, s], or one first position that the others follow."""
    x, positions = ctx.value(0), ctx.value(1)
    flat = emit.rank(x) == 3
    dim = ctx.attribute("rotary_embedding_dim", 0)
    if flat:
        size = dim or 2 * ctx.tensor(2).shape[1]
        heads = ctx.attribute("num_heads", 0) or emit.shape(x)[2] // size
        x = split_heads(x, heads)
    if emit.shape(positions) == [1]:
        steps = emit.iota([emit.shape(x)[2]], 0, emit.element(positions))
        positions = emit.unsqueeze(emit.add(steps, positions), [0])
    cos, sin = (emit.unsqueeze(emit.gather(ctx.value(i), positions, 0), [1]) for i in (2, 3))
    result = rotate(x, cos, sin, dim, bool(ctx.attribute("interleaved", 0)))
    return merge_heads(result) if flat else result
