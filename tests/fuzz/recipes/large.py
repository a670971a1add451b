"""Tensors that take more than one tile, with what is fused around the kernels' edges."""

import numpy as np

from tests.fuzz.grower import Domain, Grower
from tests.fuzz.recipes.table import recipe
from tests.fuzz.values import Value

SMALL = Domain(-4, 4)
ROWS = (1, 5, 16, 49, 64, 100)
DEPTHS = (64, 1, 31, 100, 257, 300)
COLUMNS = (48, 1, 17, 96, 129, 130)
ACTIVATIONS = ("Relu", "Tanh", "Sigmoid", "Softsign", "Neg")


def finished(g: Grower, x: Value) -> None:
    """Up to three element-wise, reducing or moving operators."""
    for _ in range(g.integer(0, 3)):
        match g.choose(("unary", "bias", "softmax", "transpose", "reduce", "cast", "slice")):
            case "unary":
                (x,) = g.add(g.choose(ACTIVATIONS), [x], absolute=4e-6)
            case "bias":
                (x,) = g.add("Add", [x, g.like(x.dtype, x.shape[-1:], SMALL)])
            case "softmax":
                (x,) = g.add("Softmax", [x], absolute=4e-6, axis=g.choose((-1, 0)))
            case "transpose":
                (x,) = g.add("Transpose", [x], exact=True)
            case "reduce" if x.rank > 1:
                (x,) = g.add("ReduceSum", [x, g.fixed([g.choose((-1, 0))])], keepdims=g.choose((1, 0)))
            case "cast":
                (x,) = g.add("Cast", [x], to=g.choose((10, 1, 11)))
            case "slice":
                ends = g.fixed([-1]), g.fixed([g.choose((-1, 0))])
                (x,) = g.add("Slice", [x, g.fixed([1]), *ends], exact=True)


@recipe("large", "large MatMul")
def matmul(g: Grower, op: str) -> None:
    dtype = g.choose(("float32", "float32", "float16", "float64", "int32"))
    m, k, n = g.choose(ROWS), g.choose(DEPTHS), g.choose(COLUMNS)
    batch = g.choose(((), (), (2,), (2, 1)))
    x = g.like(dtype, (*batch, m, k), SMALL)
    y = g.like(dtype, (*(batch if g.flag() else ()), k, n), SMALL)
    (result,) = g.add("MatMul", [x, y], exact=dtype == "int32")
    if dtype != "int32":
        finished(g, result)


@recipe("large", "large Gemm")
def gemm(g: Grower, op: str) -> None:
    m, k, n = g.choose(ROWS), g.choose(DEPTHS), g.choose(COLUMNS)
    left, right = int(g.flag()), int(g.flag())
    a = g.like("float32", (k, m) if left else (m, k), SMALL)
    b = g.like("float32", (n, k) if right else (k, n), SMALL)
    c = [g.like("float32", g.choose([(n,), (m, 1), (m, n)]), SMALL)] if g.flag() else []
    (result,) = g.add("Gemm", [a, b, *c], transA=left, transB=right)
    finished(g, result)


@recipe("large", "large Conv")
def conv(g: Grower, op: str) -> None:
    groups = g.choose((1, 1, 8))
    c, out = g.choose((16, 8, 24)), g.choose((32, 8, 48))
    h, w, k = g.choose((9, 14)), g.choose((16, 7)), g.choose((3, 1))
    x = g.like("float32", (1, c, h, w), SMALL)
    filters = g.like("float32", (out, c // groups, k, k), SMALL)
    pads = [g.choose((k // 2, 0))] * 4
    bias = [g.like("float32", (out,), SMALL)] if g.flag() else []
    (result,) = g.add("Conv", [x, filters, *bias], group=groups, pads=pads, strides=[g.choose((1, 2))] * 2)
    finished(g, result)


@recipe("large", "long rows")
def rows(g: Grower, op: str) -> None:
    """Softmax, normalisation, reductions and scans of rows longer than a vector, and not a multiple of one."""
    shape = g.choose([(3, 257), (1, 1000), (2, 5, 130), (300, 7), (4, 512)])
    x = g.like(g.choose(("float32", "float16", "float64")), shape, SMALL)
    match g.choose(("softmax", "norm", "reduce", "scan", "top", "arg")):
        case "softmax":
            (x,) = g.add(g.choose(("Softmax", "LogSoftmax")), [x], axis=g.choose((-1, 0)), absolute=4e-6)
        case "norm":
            scale = g.like(x.dtype, x.shape[-1:], SMALL)
            (x,) = g.add("SimplifiedLayerNormalization", [x, scale], absolute=4e-6)
        case "reduce":
            (x,) = g.add("ReduceSum", [x, g.fixed([g.choose((-1, 0))])])
        case "scan":
            (x,) = g.add("CumSum", [x, g.fixed(g.choose((-1, 0)))], reverse=g.choose((None, 1)))
        case "top":
            x, _ = g.add("TopK", [x, g.fixed([g.choose((5, 1))])], 2, exact=True, axis=g.choose((-1, 0)))
        case "arg":
            g.add("ArgMax", [x], exact=True, axis=g.choose((-1, 0)))
    finished(g, x)


@recipe("large", "large attention")
def attention(g: Grower, op: str) -> None:
    dtype = g.choose(("float32", "float16"))
    b, h, s, t, d = (g.choose(sizes) for sizes in ((1, 2), (2, 1), (33, 1, 64, 70), (65, 17, 130), (32, 64, 24)))
    q, k, v = g.like(dtype, (b, h, s, d), SMALL), g.like(dtype, (b, h, t, d), SMALL), g.like(dtype, (b, h, t, d), SMALL)
    (turned,) = g.add("Transpose", [k], exact=True, perm=[0, 1, 3, 2])
    (scores,) = g.add("MatMul", [q, turned])
    (scores,) = g.add("Mul", [scores, g.fixed(d**-0.5, dtype)])
    shape = g.choose([(b, 1, s, t), (s, t), (1, 1, 1, t)])
    match g.choose(("none", "addend", "masked")):
        case "addend":
            (scores,) = g.add("Add", [scores, g.like(dtype, shape, SMALL)])
        case "masked":
            fills = [0, g.choose((np.finfo(dtype).min, -1e4, np.finfo(dtype).min / 2))]
            zero, fill = (g.fixed(v, dtype) for v in fills)
            (addend,) = g.add("Where", [g.fresh("bool", shape), zero, fill], exact=True)
            (scores,) = g.add("Add", [scores, addend])
    (weights,) = g.add("Softmax", [scores], axis=-1, absolute=4e-6)
    (result,) = g.add("MatMul", [weights, v])
    finished(g, result)
