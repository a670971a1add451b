"""Quantised arithmetic."""

from typing import Any

from tests.fuzz.grower import Domain, Grower
from tests.fuzz.recipes.pooling import image, window
from tests.fuzz.recipes.table import recipe
from tests.fuzz.values import Value

SCALE = Domain(0.0625, 0.5)
BYTES = ("uint8", "int8")


def _scale(g: Grower, shape: list[int]) -> Value:
    return g.fresh("float32", shape, SCALE, ("initializer",))


def _zero(g: Grower, dtype: str, shape: list[int]) -> Value:
    return g.fresh(dtype, shape, Domain(-8, 8), ("initializer",))


def _axis_of(g: Grower, x: Value) -> tuple[list[int], int | None]:
    """The shape of per-axis or per-tensor parameters, and the axis."""
    if x.rank == 0 or g.flag():
        return [], None
    axis = g.integer(0, x.rank - 1)
    return [x.shape[axis]], axis


@recipe("quantized", "QuantizeLinear")
def quantize(g: Grower, op: str) -> None:
    x = g.pick(("float32",), domain=Domain(-1e3, 1e3))
    shape, axis = _axis_of(g, x)
    to = g.choose((*BYTES, *(("int16", "uint16") if g.opset >= 21 else ())))
    zero = [] if to == "uint8" and g.flag(3) else [_zero(g, to, shape)]
    g.add("QuantizeLinear", [x, _scale(g, shape), *zero], axis=axis)


@recipe("quantized", "DequantizeLinear")
def dequantize(g: Grower, op: str) -> None:
    x = g.pick((*BYTES, *(("int16", "uint16") if g.opset >= 21 else ())))
    shape, axis = _axis_of(g, x)
    zero = [_zero(g, x.dtype, shape)] if g.flag() else []
    g.add("DequantizeLinear", [x, _scale(g, shape), *zero], axis=axis)


@recipe("quantized", "quantize and back")
def round_trip(g: Grower, op: str) -> None:
    x = g.pick(("float32",), domain=Domain(-1e3, 1e3))
    shape, axis = _axis_of(g, x)
    scale, zero = _scale(g, shape), _zero(g, g.choose(BYTES), shape)
    (q,) = g.add("QuantizeLinear", [x, scale, zero], axis=axis)
    g.add("DequantizeLinear", [q, scale, zero], axis=axis)


@recipe("quantized", "DynamicQuantizeLinear")
def dynamic(g: Grower, op: str) -> None:
    x = g.pick(("float32",), (1, 3), Domain(-50, 50), filled=True)
    g.add("DynamicQuantizeLinear", [x], 3)


@recipe("quantized", "MatMulInteger")
def matmul_integer(g: Grower, op: str) -> None:
    x = g.pick(BYTES, (2, 3))
    n = g.choose((4, 1, 7))
    y = g.like(g.choose(BYTES), [x.shape[-1], n])
    zeros = [_zero(g, x.dtype, []), _zero(g, y.dtype, [n] if g.flag() else [])][: g.integer(0, 2)]
    g.add("MatMulInteger", [x, y, *zeros], exact=True)


@recipe("quantized", "QLinearMatMul")
def qlinear_matmul(g: Grower, op: str) -> None:
    x = g.pick(BYTES, (2, 3))
    n = g.choose((4, 1, 7))
    y = g.like(g.choose((x.dtype, "int8")), [x.shape[-1], n])
    per = [n] if g.flag(3) else []
    scales = [_scale(g, []), _scale(g, per), _scale(g, [])]
    zeros = [_zero(g, x.dtype, []), _zero(g, y.dtype, per), _zero(g, x.dtype, [])]
    g.add("QLinearMatMul", [x, scales[0], zeros[0], y, scales[1], zeros[1], scales[2], zeros[2]])


@recipe("quantized", "ConvInteger", "QLinearConv")
def conv(g: Grower, op: str) -> None:
    x = image(g, BYTES)
    out, w = g.choose((2, 1, 3)), window(g, x.shape[2:])
    filters = g.like(x.dtype, [out, x.shape[1], *w.size])
    options: dict[str, Any] = {"kernel_shape": w.size, **w.attributes}
    if op == "ConvInteger":
        zeros = [_zero(g, x.dtype, []), _zero(g, x.dtype, [])][: g.integer(0, 2)]
        g.add(op, [x, filters, *zeros], exact=True, **options)
        return
    per = [out] if g.flag() else []
    inputs = [x, _scale(g, []), _zero(g, x.dtype, []), filters, _scale(g, per), _zero(g, filters.dtype, per)]
    bias = [g.like("int32", [out])] if g.flag() else []
    g.add(op, [*inputs, _scale(g, []), _zero(g, x.dtype, []), *bias], **options)
