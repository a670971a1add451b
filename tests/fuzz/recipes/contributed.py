"""onnxruntime's own operators (domain com.microsoft)."""

from typing import Any

import numpy as np

from tests.fuzz.grower import Domain, Grower
from tests.fuzz.oracle import MICROSOFT
from tests.fuzz.recipes.quantized import BYTES, SCALE
from tests.fuzz.recipes.table import recipe
from tests.fuzz.values import Value

SMALL = Domain(-20, 20)


def _rng(g: Grower) -> np.random.Generator:
    return np.random.default_rng([g.seed, len(g.values)])


@recipe("contributed", "BiasGelu", "FastGelu")
def biased_gelu(g: Grower, op: str) -> None:
    x = g.pick(("float32",), (1, 4), SMALL, filled=True)
    bias = [g.like("float32", x.shape[-1:], SMALL)] if op == "BiasGelu" or g.flag() else []
    g.add(op, [x, *bias], domain=MICROSOFT, absolute=4e-6)


@recipe("contributed", "FusedMatMul")
def fused_matmul(g: Grower, op: str) -> None:
    left, right = int(g.flag()), int(g.flag())
    x = g.pick(("float32",), (2, 4), SMALL, filled=True)
    k = x.shape[-2] if left else x.shape[-1]
    n = g.choose((5, 1, 8, 17))
    dims = (*x.shape[:-2], *((n, k) if right else (k, n)))
    alpha = g.choose((None, 0.5, 0.125))
    g.add(op, [x, g.like("float32", dims, SMALL)], domain=MICROSOFT, transA=left, transB=right, alpha=alpha)


@recipe("contributed", "FusedConv")
def fused_conv(g: Grower, op: str) -> None:
    c, out = g.choose((2, 1, 3)), g.choose((3, 1))
    x = g.like("float32", (g.choose((1, 2)), c, g.choose((5, 3)), g.choose((4, 8))), SMALL)
    w = g.like("float32", (out, c, 3, g.choose((3, 1))), SMALL)
    bias = g.like("float32", (out,), SMALL) if g.flag() else None
    activation = g.choose(("Relu", "Tanh", "Sigmoid", "LeakyRelu", "Clip", "HardSigmoid"))
    parameters = {"LeakyRelu": [0.25], "Clip": [-1.0, 2.0], "HardSigmoid": [0.2, 0.5]}.get(activation)
    g.add(op, [x, w, bias], domain=MICROSOFT, activation=activation, activation_params=parameters, absolute=4e-6)


@recipe("contributed", "MultiHeadAttention")
def multi_head(g: Grower, op: str) -> None:
    b, h, s, t, d = (g.choose(sizes) for sizes in ((1, 2), (2, 1, 3), (4, 1, 8), (5, 1, 8), (8, 4)))
    q, k, v = (g.like("float32", (b, n, h * d), SMALL) for n in (s, t, t))
    bias = g.like("float32", (3 * h * d,), SMALL) if g.flag() else None
    padding = g.given(_rng(g).integers(1, t + 1, b), "int32") if g.flag(3) else None
    score_bias = g.like("float32", (g.choose((1, b)), g.choose((1, h)), s, t), SMALL) if g.flag(3) else None
    options: dict[str, Any] = {"scale": g.choose((None, 0.25)), "unidirectional": 1 if s == t and g.flag(3) else None}
    g.add(op, [q, k, v, bias, padding, score_bias], domain=MICROSOFT, num_heads=h, absolute=4e-6, **options)


@recipe("contributed", "GroupQueryAttention")
def group_query(g: Grower, op: str) -> None:
    """A prompt, or one token behind a cache."""
    b, kv, rep, d, s = (g.choose(sizes) for sizes in ((1, 2), (1, 2), (2, 1), (8, 16), (4, 1, 7)))
    q = g.like("float32", (b, s, kv * rep * d), SMALL)
    k, v = (g.like("float32", (b, s, kv * d), SMALL) for _ in range(2))
    decode = s == 1 and g.flag()
    past = g.choose((3, 1, 8)) if decode else 0
    caches: list[Value | None] = (
        [g.fresh("float32", (b, kv, past, d), SMALL) for _ in range(2)] if decode else [None] * 2
    )
    lengths = g.given(np.full(b, past + s - 1), "int32")
    inputs = [q, k, v, *caches, lengths, g.fixed(past + s, "int32")]
    options: dict[str, Any] = {"scale": g.choose((None, 0.25)), "softcap": g.choose((None, 5.0))}
    g.add(op, inputs, 3, domain=MICROSOFT, num_heads=kv * rep, kv_num_heads=kv, absolute=1e-5, **options)


@recipe("contributed", "RotaryEmbedding")
def rotary(g: Grower, op: str) -> None:
    b, h, s, d = (g.choose(sizes) for sizes in ((1, 2), (2, 1), (4, 1), (8, 4)))
    x = g.like("float32", (b, h, s, d) if g.flag() else (b, s, h * d), SMALL)
    tables = [g.fresh("float32", (16, d // 2), Domain(-1, 1)) for _ in range(2)]
    positions = g.given(_rng(g).integers(0, 16, (b, s)) if g.flag() else [3], "int64")
    heads, interleaved = h if x.rank == 3 and g.flag() else None, g.choose((None, 0, 1))
    g.add(op, [x, positions, *tables], domain=MICROSOFT, num_heads=heads, interleaved=interleaved)


@recipe("contributed", "MatMulNBits")
def n_bits(g: Grower, op: str) -> None:
    n, k, block = g.choose((4, 1, 9)), g.choose((32, 16, 40)), g.choose((16, 32))
    blocks, rng = -(-k // block), _rng(g)
    x = g.like("float32", (*g.shape(0, 1, 8, filled=True), g.choose((3, 1)), k), SMALL)
    packed = g.fixed(rng.integers(0, 256, (n, blocks, block // 2)), "uint8")
    scales = g.fixed(rng.uniform(0.0625, 0.5, n * blocks), "float32")
    zeros = g.fixed(rng.integers(0, 256, n * ((blocks + 1) // 2)), "uint8") if g.flag() else None
    g.add(op, [x, packed, scales, zeros], domain=MICROSOFT, K=k, N=n, bits=4, block_size=block)


@recipe("contributed", "QLinearAdd", "QLinearMul", "QLinearSigmoid", "QLinearLeakyRelu")
def qlinear(g: Grower, op: str) -> None:
    x = g.pick(BYTES, filled=True)

    def quantization() -> list[Value]:
        return [g.fresh("float32", (), SCALE, ("initializer",)), g.fresh(x.dtype, (), Domain(-8, 8), ("initializer",))]

    if op in ("QLinearAdd", "QLinearMul"):
        g.add(op, [x, *quantization(), g.partner(x), *quantization(), *quantization()], domain=MICROSOFT)
    else:
        alpha = g.choose((None, 0.25)) if op == "QLinearLeakyRelu" else None
        g.add(op, [x, *quantization(), *quantization()], domain=MICROSOFT, alpha=alpha, absolute=4e-6)


@recipe("contributed", "MatMulIntegerToFloat")
def integer_to_float(g: Grower, op: str) -> None:
    x = g.pick(BYTES, (2, 3), filled=True)
    n = g.choose((4, 1, 7))
    y = g.like(g.choose(BYTES), (x.shape[-1], n))
    scales = [g.fresh("float32", shape, SCALE, ("initializer",)) for shape in ((), g.choose([(), (n,)]))]
    zeros = [g.fresh(dtype, (), Domain(-8, 8), ("initializer",)) if g.flag() else None for dtype in (x.dtype, y.dtype)]
    bias = g.like("float32", (n,), SMALL) if g.flag() else None
    g.add(op, [x, y, *scales, *zeros, bias], domain=MICROSOFT)
