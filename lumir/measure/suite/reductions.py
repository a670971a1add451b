"""Rows as the graphs of users have them: reductions over any axes, norms of images, and what orders or counts a row."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from lumir.dialects import build
from lumir.dtypes import mlir_type
from lumir.measure.suite.benchmark import Benchmark
from lumir.measure.suite.torch_function import function_peers
from lumir.measure.texts import dispatch, silu
from lumir.mlir import ir

Shape = Sequence[int]

REDUCED: dict[str, tuple[Shape, Sequence[int]]] = {
    "leading-8192x4096": ((8192, 4096), (0,)),
    "leading-65536x768": ((65536, 768), (0,)),
    "middle-32x512x1024": ((32, 512, 1024), (1,)),
    "pool-32x2048x7x7": ((32, 2048, 7, 7), (2, 3)),
    "pool-last-32x56x56x256": ((32, 56, 56, 256), (1, 2)),
    "channels-64x64x112x112": ((64, 64, 112, 112), (0, 2, 3)),
    "all-4096x4096": ((4096, 4096), (0, 1)),
    "rows-4096x4096": ((4096, 4096), (1,)),
    "short-262144x32": ((262144, 32), (1,)),
}
"""Shape and the axes that are summed over."""


def total(shape: Shape, axes: Sequence[int], dtype: str) -> str:
    return dispatch(lambda x: build("reduce", x, axes=list(axes), kind="sum"), (shape, dtype))


def softmax_along(shape: Shape, axis: int, dtype: str) -> str:
    return dispatch(lambda x: build("softmax", x, axis=axis, log=False), (shape, dtype))


def group_norm(shape: Shape, groups: int, dtype: str) -> str:
    """[n, c, spatial...] in `groups` of channels, each with mean 0 and variance 1; scaled, shifted, and then silu.

    The result is [n, groups, c / groups, pixels].
    """
    n, c, *spatial = shape
    split, each = [n, groups, c // groups, math.prod(spatial)], [1, groups, c // groups, 1]

    def body(x: ir.Value, scale: ir.Value, shift: ir.Value) -> ir.Value:
        y = build("normalize", build("reshape", x, shape=split), axis=2, epsilon=1e-5, center=True)
        scale, shift = (build("reshape", v, shape=each) for v in (scale, shift))
        return silu(build("add", build("mul", y, scale), shift))

    return dispatch(body, (shape, dtype), ((c,), dtype), ((c,), dtype))


def instance_norm(shape: Shape, dtype: str) -> str:
    return dispatch(lambda x: build("normalize", x, axis=2, epsilon=1e-5, center=True), (shape, dtype))


def layer_norm(shape: Shape, dtype: str) -> str:
    """Of a residual sum, which is returned as well."""

    def body(x: ir.Value, residual: ir.Value, scale: ir.Value, shift: ir.Value) -> list[ir.Value]:
        summed = build("add", x, residual)
        y = build("normalize", summed, axis=1, epsilon=1e-5, center=True)
        return [summed, build("add", build("mul", y, scale), shift)]

    return dispatch(body, (shape, dtype), (shape, dtype), (shape[-1:], dtype), (shape[-1:], dtype))


def argmax(shape: Shape, axis: int, dtype: str) -> str:
    return dispatch(lambda x: build("arg_reduce", x, kind="max", axis=axis, last=False), (shape, dtype))


def top_k(shape: Shape, k: int, dtype: str) -> str:
    return dispatch(lambda x: list(build("top_k", x, k=k, largest=True)), (shape, dtype))


def cumulative(shape: Shape, axis: int, dtype: str) -> str:
    return dispatch(lambda x: build("scan", x, kind="sum", axis=axis, exclusive=False, reverse=False), (shape, dtype))


def wide_softmax(shape: Shape, dtype: str) -> str:
    """Of float32, masked by an addend of one row."""

    def body(x: ir.Value, mask: ir.Value) -> ir.Value:
        return build("softmax", build("add", build("cast", x, to=mlir_type("float32")), mask), axis=-1, log=False)

    return dispatch(body, (shape, dtype), (shape[-1:], "float32"))


def _item(group: str, name: str, text: Callable[[], str], peer: Callable[..., Any]) -> Benchmark:
    return Benchmark(group, name, text, function_peers(peer))


def reductions() -> list[Benchmark]:
    """Sums of bfloat16."""
    return [
        _item("reduce", name, partial(total, shape, axes, "bfloat16"), partial(_total, axes=tuple(axes)))
        for name, (shape, axes) in REDUCED.items()
    ]


def _total(torch: Any, x: Any, axes: tuple[int, ...]) -> Any:
    return x.sum(axes)


def norms() -> list[Benchmark]:
    """Norms and softmax in other places than the last, long dimension."""
    items = [
        _item("norm", f"layernorm-sum-{m}x768", partial(layer_norm, (m, 768), "bfloat16"), _layer_norm)
        for m in (197, 6304, 65536)
    ]
    for shape, groups in (((2, 320, 64, 64), 32), ((8, 512, 32, 32), 32), ((1, 128, 512, 512), 32)):
        name = "groupnorm-silu-" + "x".join(map(str, shape))
        peer = partial(_group_norm, groups=groups)
        items.append(_item("norm", name, partial(group_norm, shape, groups, "float16"), peer))
    shape = (4, 64, 256, 256)
    items.append(_item("norm", "instancenorm-4x64x256x256", partial(instance_norm, shape, "float16"), _instance_norm))
    for name, shape, axis in (("classes-8x19x512x512", (8, 19, 512, 512), 1), ("middle-64x1024x64", (64, 1024, 64), 1)):
        peer = partial(_softmax, axis=axis)
        items.append(_item("norm", f"softmax-{name}", partial(softmax_along, shape, axis, "bfloat16"), peer))
    for shape in ((96, 1000, 77), (12, 512, 512), (16, 197, 197)):
        name = "softmax-masked-" + "x".join(map(str, shape))
        items.append(_item("norm", name, partial(wide_softmax, shape, "bfloat16"), _wide_softmax))
    return items


def _layer_norm(torch: Any, x: Any, residual: Any, scale: Any, shift: Any) -> Any:
    total = x + residual
    return total, torch.nn.functional.layer_norm(total, (x.shape[-1],), scale, shift, 1e-5)


def _group_norm(torch: Any, x: Any, scale: Any, shift: Any, groups: int) -> Any:
    y = torch.nn.functional.silu(torch.nn.functional.group_norm(x, groups, scale, shift, 1e-5))
    return y.reshape(x.shape[0], groups, x.shape[1] // groups, -1)


def _instance_norm(torch: Any, x: Any) -> Any:
    return torch.nn.functional.instance_norm(x, eps=1e-5)


def _softmax(torch: Any, x: Any, axis: int) -> Any:
    return torch.softmax(x, axis)


def _wide_softmax(torch: Any, x: Any, mask: Any) -> Any:
    return torch.softmax(x.float() + mask, -1)


def orders() -> list[Benchmark]:
    """What picks from a row, and running sums."""
    return [
        _item("order", "argmax-1x128256", partial(argmax, (1, 128256), 1, "float32"), _argmax),
        _item("order", "argmax-64x128256", partial(argmax, (64, 128256), 1, "bfloat16"), _argmax),
        _item("order", "argmax-classes-8x19x512x512", partial(argmax, (8, 19, 512, 512), 1, "float16"), _argmax),
        _item("order", "top8-4096x128", partial(top_k, (4096, 128), 8, "float32"), partial(_top_k, k=8)),
        _item("order", "top5-64x1000", partial(top_k, (64, 1000), 5, "float32"), partial(_top_k, k=5)),
        _item("order", "top50-1x32000", partial(top_k, (1, 32000), 50, "float32"), partial(_top_k, k=50)),
        _item("order", "cumsum-16x4096", partial(cumulative, (16, 4096), 1, "float32"), partial(_cumulative, axis=1)),
        _item(
            "order", "cumsum-1024x4096", partial(cumulative, (1024, 4096), 1, "float32"), partial(_cumulative, axis=1)
        ),
        _item("order", "cumsum-4096x64", partial(cumulative, (4096, 64), 0, "float32"), partial(_cumulative, axis=0)),
    ]


def _argmax(torch: Any, x: Any) -> Any:
    return x.argmax(1)


def _top_k(torch: Any, x: Any, k: int) -> Any:
    return tuple(torch.topk(x, k))


def _cumulative(torch: Any, x: Any, axis: int) -> Any:
    return x.cumsum(axis)
