"""Chains that exporters write, and that the compiler recognises or fuses as a whole."""

import math
from collections.abc import Callable

from tests.fuzz.grower import Domain, Grower
from tests.fuzz.recipes.pooling import image
from tests.fuzz.recipes.table import recipe
from tests.fuzz.values import Value

SMALL = Domain(-20, 20)
FLOATS = ("float32", "float32", "float16", "float64")
ACTIVATIONS = ("Relu", "Tanh", "Sigmoid", "Erf", "Softsign", "Exp")


def _number(g: Grower, like: Value, value: float) -> Value:
    return g.fixed(value, like.dtype)


def _one(g: Grower, op: str, *inputs: Value | None, **options) -> Value:
    return g.add(op, inputs, absolute=4e-6, **options)[0]


def _mean(g: Grower, x: Value) -> Value:
    if g.opset >= 18:
        return _one(g, "ReduceMean", x, g.fixed([-1]))
    return _one(g, "ReduceMean", x, axes=[-1])


def _activated(g: Grower, x: Value) -> Value:
    return _one(g, g.choose(ACTIVATIONS), x) if g.flag() else x


@recipe("pattern", "layer norm in parts")
def layer_norm(g: Grower, op: str) -> None:
    x = g.pick(FLOATS, (1, 4), SMALL, filled=True)
    centred = _one(g, "Sub", x, _mean(g, x))
    squared = _one(g, "Pow", centred, _number(g, x, 2)) if g.flag() else _one(g, "Mul", centred, centred)
    deviation = _one(g, "Sqrt", _one(g, "Add", _mean(g, squared), _number(g, x, 1e-2)))
    result = _one(g, "Div", centred, deviation)
    result = _one(g, "Mul", result, g.like(x.dtype, x.shape[-1:], SMALL))
    _one(g, "Add", result, g.like(x.dtype, x.shape[-1:], SMALL))


@recipe("pattern", "RMS norm in parts")
def rms_norm(g: Grower, op: str) -> None:
    x = g.pick(FLOATS, (1, 4), SMALL, filled=True)
    mean = _mean(g, _one(g, "Mul", x, x))
    root = _one(g, "Sqrt", _one(g, "Add", mean, _number(g, x, 1e-2)))
    result = _one(g, "Mul", x, _one(g, "Reciprocal", root)) if g.flag() else _one(g, "Div", x, root)
    _one(g, "Mul", g.like(x.dtype, x.shape[-1:], SMALL), result)


@recipe("pattern", "gelu in parts")
def gelu(g: Grower, op: str) -> None:
    x = g.pick(FLOATS, domain=SMALL)
    inner = _one(g, "Erf", _one(g, "Div", x, _number(g, x, math.sqrt(2))))
    _one(g, "Mul", _one(g, "Mul", x, _one(g, "Add", inner, _number(g, x, 1))), _number(g, x, 0.5))


@recipe("pattern", "softmax in parts")
def softmax(g: Grower, op: str) -> None:
    x = g.pick(FLOATS, (1, 4), SMALL, filled=True)
    axis = g.integer(0, x.rank - 1)

    def over(kind: str, y: Value) -> Value:
        if g.opset >= (13 if kind == "ReduceSum" else 18):
            return _one(g, kind, y, g.fixed([axis]))
        return _one(g, kind, y, axes=[axis])

    powers = _one(g, "Exp", _one(g, "Sub", x, over("ReduceMax", x)))
    _one(g, "Div", powers, over("ReduceSum", powers))


@recipe("pattern", "rows over their size")
def scaled_rows(g: Grower, op: str) -> None:
    """One or two reductions of the last dimension, with and without keeping it, and what is made of them."""
    x = g.pick(FLOATS, (1, 4), SMALL, filled=True)
    if g.flag():
        x = _one(g, "Add", x, g.like(x.dtype, x.shape, SMALL))

    def over(kind: str, keepdims: int) -> Value:
        if g.opset >= 18:
            return _one(g, kind, x, g.fixed([-1]), keepdims=keepdims)
        return _one(g, kind, x, axes=[-1], keepdims=keepdims)

    size = _one(g, "Add", _one(g, "Abs", over(g.choose(("ReduceMax", "ReduceMin", "ReduceL2")), 1)), _number(g, x, 0.5))
    scaled = _one(g, "Div", x, size)
    if g.flag():
        _one(g, "Mul", scaled, _activated(g, over("ReduceMean", 1)))
    if g.flag():
        _activated(g, over("ReduceMin", 0))


@recipe("pattern", "linear layer")
def linear(g: Grower, op: str) -> None:
    """A product with a bias, an activation, a residual and a layout change, each drawn."""
    x = g.pick(FLOATS, (2, 4), SMALL)
    n = g.choose((8, x.shape[-1], 1, 17, 33))
    y = _one(g, "MatMul", x, g.like(x.dtype, (x.shape[-1], n), SMALL))
    y = _one(g, "Add", y, g.like(x.dtype, (n,), SMALL)) if g.flag() else y
    y = _activated(g, y)
    if n == x.shape[-1] and g.flag():
        y = _one(g, "Add", y, x)
    if g.flag(3):
        y = g.add("Transpose", [y], exact=True, perm=[*range(y.rank - 2), y.rank - 1, y.rank - 2])[0]
    _activated(g, y)


@recipe("pattern", "convolution block")
def convolution(g: Grower, op: str) -> None:
    x = image(g, ("float32",), domain=SMALL)
    rank, c = x.rank - 2, x.shape[1]
    k = [min(d, g.choose((3, 1))) for d in x.shape[2:]]
    pads = [(s - 1) // 2 for s in k]
    out = g.choose((c, 4, 1))
    bias = [g.like("float32", [out], SMALL)] if g.flag() else []
    y = _one(g, "Conv", x, g.like("float32", [out, c, *k], SMALL), *bias, pads=pads * 2)
    if g.flag():
        y = _one(
            g, "BatchNormalization", y, *(g.like("float32", [out], SMALL) for _ in range(3)),
            g.like("float32", [out], Domain(0.5, 50)),
        )  # fmt: skip
    y = _activated(g, y)
    if y.shape == x.shape and g.flag():
        y = _one(g, "Add", x, y)
    if g.flag(3):
        g.add("MaxPool", [y], exact=True, kernel_shape=[1] * rank)


@recipe("pattern", "attention in parts")
def attention(g: Grower, op: str) -> None:
    """Scores scaled before or after the product, a mask or none, causal or not, heads split off or not."""
    dtype = g.choose(("float32", "float32", "float16"))
    b, h, s, t, d = (g.choose(sizes) for sizes in ((1, 2), (2, 1, 3), (5, 1, 8, 17), (5, 1, 8, 33), (8, 4, 5, 16)))
    e = g.choose((d, 3, 16))
    q, k, v = g.like(dtype, (b, h, s, d), SMALL), g.like(dtype, (b, h, t, d), SMALL), g.like(dtype, (b, h, t, e), SMALL)
    scale = _number(g, q, d**-0.5)
    place = g.choose(("after", "before", "none"))
    q = _one(g, "Mul", q, scale) if place == "before" else q
    scores = _one(g, "MatMul", q, g.add("Transpose", [k], exact=True, perm=[0, 1, 3, 2])[0])
    scores = _one(g, "Mul", scores, scale) if place == "after" else scores
    masks: list[Callable[[], Value]] = [
        lambda: scores,
        lambda: _one(
            g, "Add", scores, g.like(dtype, g.choose([(b, 1, s, t), (s, t), (1, 1, 1, t), (b, h, s, t)]), SMALL)
        ),
        lambda: _one(g, "Where", g.fresh("bool", (s, t)), scores, _number(g, q, -1e4)),
    ]
    weights = _one(g, "Softmax", g.choose(masks)(), axis=-1)
    result = _one(g, "MatMul", weights, v)
    if g.flag():
        moved = g.add("Transpose", [result], exact=True, perm=[0, 2, 1, 3])[0]
        g.add("Reshape", [moved, g.fixed([b, s, h * e])], exact=True)


@recipe("pattern", "Attention")
def attention_op(g: Grower, op: str) -> None:
    if g.opset < 23:
        return
    b, h, s, t, d = (g.choose(sizes) for sizes in ((1, 2), (2, 1, 4), (5, 1, 8), (5, 1, 8, 17), (8, 4, 16)))
    heads = g.choose([k for k in (h, 1, 2) if h % k == 0])
    q, k, v = (g.like("float32", shape, SMALL) for shape in ((b, h, s, d), (b, heads, t, d), (b, heads, t, d)))
    mask = [g.fresh("float32", (s, t), SMALL)] if g.flag() else []
    causal = g.choose((None, 0, 1))
    g.add("Attention", [q, k, v, *mask], is_causal=causal, scale=g.choose((None, 0.25)), absolute=4e-6)


@recipe("pattern", "rotary embedding")
def rotary(g: Grower, op: str) -> None:
    """x cos + (second half negated, then first half) sin."""
    d = g.choose((8, 4, 2))
    x = g.pick(("float32", "float16"), (2, 4), SMALL, lambda v: v.shape[-1] == d, lambda: (*g.shape(1, 3, 64), d))
    first = g.add("Slice", [x, g.fixed([0]), g.fixed([d // 2]), g.fixed([-1])], exact=True)[0]
    second = g.add("Slice", [x, g.fixed([d // 2]), g.fixed([2**31]), g.fixed([-1])], exact=True)[0]
    turned = g.add("Concat", [_one(g, "Neg", second), first], exact=True, axis=-1)[0]
    table = (x.shape[-2], d)
    cosine, sine = g.like(x.dtype, table, Domain(-1, 1)), g.like(x.dtype, table, Domain(-1, 1))
    _one(g, "Add", _one(g, "Mul", x, cosine), _one(g, "Mul", turned, sine))
