"""Casts."""

import numpy as np
from onnx import helper

from tests.fuzz.grower import Domain, Grower
from tests.fuzz.recipes.table import recipe
from tests.fuzz.values import ALL, ANY, FLOATS


@recipe("conversion", "Cast", "CastLike")
def cast(g: Grower, op: str) -> None:
    """A float becomes an integer only inside the integer's range: outside, C++ leaves the result undefined."""
    to = g.choose(ALL)
    x = g.pick(ALL, domain=_domain(to))
    number = helper.np_dtype_to_tensor_dtype(np.dtype(to))
    if op == "CastLike" and g.opset >= 15:
        g.add("CastLike", [x, g.pick((to,))], exact=_keeps(x.dtype, to))
    else:
        g.add("Cast", [x], exact=_keeps(x.dtype, to), to=number)


def _domain(to: str) -> Domain:
    kind = np.dtype(to).kind
    if kind == "f":
        return Domain(-1e4, 1e4)
    if kind == "b":
        return ANY
    return Domain(max(np.iinfo(to).min, -30000), min(np.iinfo(to).max, 30000))


def _keeps(source: str, to: str) -> bool:
    """Whether the cast does not round to a shorter float."""
    return to not in FLOATS or (source in FLOATS and np.finfo(to).bits >= np.finfo(source).bits)
