"""Quantised models as exporters write them: QuantizeLinear and DequantizeLinear around operators on floats."""

from typing import Any

import numpy as np

from tests.fuzz.grower import Domain, Grower
from tests.fuzz.recipes.pooling import image, window
from tests.fuzz.recipes.quantized import BYTES
from tests.fuzz.recipes.table import recipe
from tests.fuzz.values import Value

SCALE = Domain(0.0078125, 0.125)
WHOLE = Domain(-128, 255)
SMALL = Domain(-20, 20)
DEPTHS = (16, 1, 7, 33, 70, 130, 300)
COLUMNS = (16, 1, 5, 33, 64, 100)


def _rng(g: Grower) -> np.random.Generator:
    return np.random.default_rng([g.seed, len(g.values)])


def _parameters(g: Grower, dtype: str, shape: tuple[int, ...] = ()) -> list[Value]:
    """A scale, and a zero point anywhere in the type's range, often 0 or the middle."""
    limits = np.iinfo(dtype)
    zero = g.choose((0, (limits.min + limits.max + 1) // 2, g.integer(limits.min, limits.max)))
    scale = g.fresh("float32", shape, SCALE, ("initializer",))
    return [scale, g.given(np.full(shape, zero), dtype)]


def _bytes(g: Grower, dtype: str, shape: tuple[int, ...]) -> Value:
    """Any byte, the extremes more often."""
    rng, limits = _rng(g), np.iinfo(dtype)
    array = rng.integers(limits.min, limits.max + 1, shape)
    if g.flag(3):
        array = np.where(rng.random(shape) < 0.25, rng.choice([limits.min, limits.max], shape), array)
    return g.given(array, dtype)


def real(g: Grower, shape: tuple[int, ...], axis: int | None = None) -> Value:
    """A dequantised tensor, with a scale for each index of `axis`."""
    x = _bytes(g, g.choose(BYTES), shape)
    size = () if axis is None else (shape[axis],)
    return g.add("DequantizeLinear", [x, *_parameters(g, x.dtype, size)], axis=axis)[0]


def quantized(g: Grower, x: Value) -> None:
    """Quantise a result, and perhaps go on with it."""
    dtype = g.choose(BYTES)
    spread = max(float(np.abs(x.array).max()) if x.array.size else 0.0, 1e-3)
    parameters = [g.given(np.asarray(spread / g.choose((100, 50, 400)), np.float32)), g.given(g.choose((0, 3)), dtype)]
    (q,) = g.add("QuantizeLinear", [x, *parameters])
    if g.flag():
        g.add("DequantizeLinear", [q, *parameters])


def activated(g: Grower, x: Value) -> Value:
    return g.add(g.choose(("Relu", "Sigmoid", "Tanh")), [x], absolute=4e-6)[0] if g.flag() else x


@recipe("qdq", "quantised MatMul")
def matmul(g: Grower, op: str) -> None:
    m, k, n = g.choose((5, 1, 17, 40)), g.choose(DEPTHS), g.choose(COLUMNS)
    batch = g.choose(((), (), (3,), (2, 1)))
    x = real(g, (*batch, m, k), g.choose((None, None, len(batch))))
    y = real(g, (*(batch if g.flag(3) else ()), k, n), g.choose((None, -1)))
    (result,) = g.add("MatMul", [x, y])
    if g.flag():
        (result,) = g.add("Add", [result, g.like("float32", (n,), SMALL)])
    quantized(g, activated(g, result))


@recipe("qdq", "quantised Gemm")
def gemm(g: Grower, op: str) -> None:
    m, k, n = g.choose((5, 1, 17)), g.choose(DEPTHS), g.choose(COLUMNS)
    left, right = int(g.flag(3)), int(g.flag())
    a = real(g, (k, m) if left else (m, k))
    b = real(g, (n, k) if right else (k, n), g.choose((None, 0 if right else 1)))
    bias = [g.like("float32", (n,), SMALL)] if g.flag() else []
    (result,) = g.add("Gemm", [a, b, *bias], transA=left, transB=right, alpha=g.choose((None, 0.5)))
    quantized(g, activated(g, result))


@recipe("qdq", "quantised Conv")
def conv(g: Grower, op: str) -> None:
    groups = g.choose((1, 1, 2))
    c, out = g.choose((4, 2, 8)), g.choose((6, 2, 16))
    size = (g.choose((6, 9)), g.choose((7, 17, 33)))
    k = g.choose(((3, 3), (1, 1), (2, 5)))
    x = real(g, (g.choose((1, 2)), c, *size))
    w = real(g, (out, c // groups, *k), g.choose((None, 0)))
    bias = [g.like("float32", (out,), SMALL)] if g.flag() else []
    options: dict[str, Any] = {"strides": [g.choose((1, 2)), g.choose((1, 2))], "dilations": [1, g.choose((1, 2))]}
    pads = [g.choose((0, 1, 2)) for _ in range(4)]
    (result,) = g.add("Conv", [x, w, *bias], group=groups, pads=pads, **options)
    quantized(g, activated(g, result))


@recipe("qdq", "quantised pooling")
def pool(g: Grower, op: str) -> None:
    x = real(g, image(g, ("float32",)).shape)
    w = window(g, x.shape[2:])
    kind = g.choose(("MaxPool", "AveragePool"))
    (result,) = g.add(kind, [x], exact=kind == "MaxPool", kernel_shape=w.size, **w.attributes)
    quantized(g, result)


@recipe("qdq", "quantised element-wise")
def elementwise(g: Grower, op: str) -> None:
    shape = g.shape(1, 4, filled=True)
    x, y = real(g, shape), real(g, g.broadcastable(shape))
    (result,) = g.add(g.choose(("Add", "Mul", "Sub")), [x, y])
    quantized(g, activated(g, result))


@recipe("qdq", "quantised moves")
def moves(g: Grower, op: str) -> None:
    """Dequantised tensors that are moved before they are used."""
    x = real(g, g.shape(2, 4, filled=True), g.choose((None, 0)))
    match g.choose(("transpose", "concat", "softmax", "reduce")):
        case "transpose":
            (x,) = g.add("Transpose", [x], exact=True)
        case "concat":
            (x,) = g.add("Concat", [x, real(g, x.shape)], exact=True, axis=-1)
        case "softmax":
            (x,) = g.add("Softmax", [x], absolute=4e-6, axis=-1)
        case "reduce":
            (x,) = g.add("ReduceSum", [x, g.fixed([-1])])
    quantized(g, x)


@recipe("qdq", "dynamic quantisation")
def dynamic(g: Grower, op: str) -> None:
    """What onnxruntime's dynamic quantisation writes."""
    m, k, n = g.choose((5, 1, 17)), g.choose(DEPTHS), g.choose(COLUMNS)
    x = g.like("float32", (*g.choose(((), (2,))), m, k), SMALL)
    q, scale, zero = g.add("DynamicQuantizeLinear", [x], 3)
    w_scale, w_zero = _parameters(g, "int8", g.choose(((), (n,))))
    (total,) = g.add("MatMulInteger", [q, _bytes(g, "int8", (k, n)), zero, w_zero], exact=True)
    (real_,) = g.add("Cast", [total], to=1)
    (scales,) = g.add("Mul", [scale, w_scale])
    (result,) = g.add("Mul", [real_, scales])
    activated(g, result)
