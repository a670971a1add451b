# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
"""Operators about shapes and places: Shape, Size, Trilu, EyeLike, OneHot, Range, ConstantOfShape."""

import numpy as np
from onnx import helper, numpy_helper

from tests.fuzz.grower import ANY, Grower
from tests.fuzz.recipes.table import recipe
from tests.fuzz.values import ALL, NUMBERS


@recipe("sizing", "Shape", "Size")
def shape(g: Grower, op: str) -> None:
    x = g.pick(ALL, domain=ANY)
    ends = {name: g.choose((None, 0, 1, -1)) for name in ("start", "end")} if op == "Shape" and g.opset >= 15 else {}
    g.add(op, [x], exact=True, **ends)


@recipe("sizing", "Trilu")
def trilu(g: Grower, op: str) -> None:
    x = g.pick(ALL, (2, 4), ANY)
    k = [g.fixed(g.integer(-3, 3))] if g.flag() else []
    if g.opset >= 14:
        g.add("Trilu", [x, *k], exact=True, upper=g.choose((None, 0, 1)))


@recipe("sizing", "EyeLike")
def eye_like(g: Grower, op: str) -> None:
    to = g.choose((None, "float32", "int64", "float64"))
    number = helper.np_dtype_to_tensor_dtype(np.dtype(to)) if to else None
    g.add(
        "EyeLike", [g.pick(("float32", "int32", "int64"), (2, 2))], exact=True, dtype=number, k=g.choose((None, 1, -1))
    )


@recipe("sizing", "OneHot")
def one_hot(g: Grower, op: str) -> None:
    indices = g.pick(("int64", "int32", "float32"), (0, 3), where=lambda v: (v.array == np.round(v.array)).all())
    values = g.like(g.choose(("float32", "int64", "int32")), (2,))
    g.add("OneHot", [indices, g.fixed(g.choose((4, 1, 7))), values], exact=True, axis=g.choose((None, 0, -1)))


@recipe("sizing", "Range")
def range_(g: Grower, op: str) -> None:
    dtype = g.choose(("int64", "float32", "int32", "float64"))
    start, count, delta = g.integer(-4, 4), g.integer(0, 12), g.choose((1, 2, -1, -3))
    g.add("Range", [g.fixed(v, dtype) for v in (start, start + count * delta, delta)], exact=True)


@recipe("sizing", "ConstantOfShape")
def constant_of_shape(g: Grower, op: str) -> None:
    value = np.asarray([g.choose((0, 1, 3))], g.choose(NUMBERS))
    given = None if g.flag(3) else numpy_helper.from_array(value)
    g.add("ConstantOfShape", [g.fixed(list(g.shape(0, 3)), "int64")], exact=True, value=given)
