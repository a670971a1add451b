"""Normalisations."""

from typing import Any

from tests.fuzz.grower import Domain, Grower
from tests.fuzz.recipes.pooling import image
from tests.fuzz.recipes.reduction import axes_of
from tests.fuzz.recipes.table import recipe
from tests.fuzz.values import FLOATS

SMALL = Domain(-50, 50)
POSITIVE = Domain(0.25, 50)
EPSILONS = (None, 1e-5, 1e-2)


@recipe("normalization", "LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization")
def layer(g: Grower, op: str) -> None:
    if (op == "LayerNormalization" and g.opset < 17) or (op == "RMSNormalization" and g.opset < 23):
        op = "SimplifiedLayerNormalization"
    x = g.pick(("float32", "float32", "float16", "float64"), (1, 4), SMALL, filled=True)
    axis = g.integer(-x.rank, -1)
    scale = g.like(x.dtype, x.shape[axis:], SMALL)
    shift = [g.like(x.dtype, x.shape[axis:], SMALL)] if op == "LayerNormalization" and g.flag() else []
    count = g.choose((1, 3)) if op == "LayerNormalization" else 1
    given = axis if axis != -1 or g.flag() else None
    g.add(op, [x, scale, *shift], count, axis=given, epsilon=g.choose(EPSILONS), absolute=4e-6)


@recipe("normalization", "BatchNormalization")
def batch(g: Grower, op: str) -> None:
    x = g.pick(FLOATS, (2, 4), SMALL, filled=True)
    c = [x.shape[1]]
    inputs = [x, *(g.like(x.dtype, c, SMALL) for _ in range(3)), g.like(x.dtype, c, POSITIVE)]
    g.add("BatchNormalization", inputs, epsilon=g.choose(EPSILONS), absolute=4e-6)


@recipe("normalization", "InstanceNormalization")
def instance(g: Grower, op: str) -> None:
    x = image(g, ("float32", "float16"))
    inputs = [x, *(g.like(x.dtype, [x.shape[1]], SMALL) for _ in range(2))]
    g.add("InstanceNormalization", inputs, epsilon=g.choose(EPSILONS), absolute=4e-6)


@recipe("normalization", "GroupNormalization")
def group(g: Grower, op: str) -> None:
    if g.opset < 21:
        return
    x = image(g, ("float32",))
    groups = g.choose([d for d in range(1, x.shape[1] + 1) if x.shape[1] % d == 0])
    inputs = [x, *(g.like(x.dtype, [x.shape[1]], SMALL) for _ in range(2))]
    g.add("GroupNormalization", inputs, num_groups=groups, epsilon=g.choose(EPSILONS), absolute=4e-6)


@recipe("normalization", "LpNormalization")
def lp(g: Grower, op: str) -> None:
    x = g.pick(("float32", "float64"), (1, 4), Domain(-50, 50, away=0.1), filled=True)
    g.add("LpNormalization", [x], axis=g.choose((None, *range(x.rank))), p=g.choose((None, 1, 2)))


@recipe("normalization", "MeanVarianceNormalization")
def mean_variance(g: Grower, op: str) -> None:
    x = g.pick(("float32",), (4, 4), SMALL, filled=True)
    g.add("MeanVarianceNormalization", [x], axes=axes_of(g, 4) or None, absolute=4e-6)


@recipe("normalization", "SkipLayerNormalization", "SkipSimplifiedLayerNormalization")
def skip(g: Grower, op: str) -> None:
    """The sum, which is the fourth output, is taken half of the time."""
    x = g.pick(("float32",), (3, 3), SMALL, filled=True)
    others = [g.like(x.dtype, x.shape, SMALL), g.like(x.dtype, x.shape[-1:], SMALL)]
    beta: list[Any] = [g.like(x.dtype, x.shape[-1:], SMALL) if g.flag() else None] if op[4] == "L" else []
    bias = [g.like(x.dtype, x.shape[-1:], SMALL) if g.flag() else None]
    g.add(op, [x, *others, *beta, *bias], domain="com.microsoft", epsilon=g.choose(EPSILONS), absolute=4e-6)
