"""Convolutions with bias and ReLU, channels last: the 20 of ResNet-50, some of MobileNets, some of ResNeXt-50 32x4d."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from lumir.dialects import build
from lumir.dtypes import mlir_type
from lumir.graph.fold_columns import Columns
from lumir.graph.merge_groups import groups_merged
from lumir.measure.suite.benchmark import Benchmark
from lumir.measure.texts import dispatch, relu
from lumir.mlir import ir


@dataclass(frozen=True)
class Layer:
    """[b, size, size, channels] with `filters` windows of window x window, each of a group's channels."""

    size: int
    channels: int
    filters: int
    window: int
    stride: int = 1
    groups: int = 1

    @property
    def is_first(self) -> bool:
        """It reads colours: three, and one of zeros, as lumir-channels-last pads them."""
        return self.channels == 4

    @property
    def is_depthwise(self) -> bool:
        return self.groups == self.channels > 1

    def flops(self, batch: int) -> int:
        places = batch * (self.size // self.stride) ** 2
        return 2 * places * self.filters * self.window**2 * self.channels // self.groups

    def __str__(self) -> str:
        stride = f"-s{self.stride}" if self.stride > 1 else ""
        groups = f"-g{self.groups}" if 1 < self.groups < self.channels else ""
        return f"{self.size}x{self.channels}-{self.window}x{self.window}-{self.filters}{groups}{stride}"


def _layers() -> list[Layer]:
    found = [Layer(224, 4, 64, 7, 2)]
    channels, size = 64, 56
    for width, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        out = size // stride
        found += [Layer(size, channels, width, 1, stride), Layer(out, width, width, 3), Layer(out, width, 4 * width, 1)]
        if stride > 1:
            found.append(Layer(size, channels, 4 * width, 1, stride))
        found.append(Layer(out, 4 * width, width, 1))
        channels, size = 4 * width, out
    return found


LAYERS = _layers()
COLUMNS = Columns(2, 3, 7)
"""How `lumir-fold-columns` takes two columns of the first layer at once."""
TURNED = (1, 2, 3, 0)
"""How `lumir-pack-weights` has the filters of a depthwise convolution: channels side by side."""
DEPTHWISE = [
    Layer(size, channels, channels, window, stride, channels)
    for size, channels, window, stride in (
        (112, 32, 3, 1), (112, 64, 3, 2), (56, 128, 3, 1), (28, 256, 3, 2), (14, 512, 3, 1), (14, 512, 3, 2),
        (7, 960, 5, 1),
    )
]  # fmt: skip
GROUPED = [Layer(size, channels, channels, 3, 1, 32) for size, channels in ((56, 128), (28, 256), (14, 512), (7, 1024))]


def stored(batch: int, layer: Layer) -> np.ndarray:
    """Which elements of the filters, as passes lay them, are the layer's; the others are zeros."""
    own = np.ones((layer.filters, layer.window, layer.window, layer.channels // layer.groups), bool)
    if layer.is_depthwise:
        return own.transpose(TURNED)
    if layer.is_first:
        own = np.pad(own, ((0, 0), (0, 0), (COLUMNS.before, COLUMNS.after), (0, 0)))
        return own.reshape(layer.filters, layer.window, COLUMNS.window, -1)
    merged = groups_merged(own.shape[-1], layer.groups, batch * (layer.size // layer.stride) ** 2)
    of = np.arange(layer.filters) // (layer.filters // layer.groups) % merged
    here = of[:, None] == np.arange(merged)
    return (here[:, None, None, :, None] & own[..., None, :]).reshape(*own.shape[:-1], -1)


def convolution(batch: int, layer: Layer, dtype: str) -> str:
    """relu(conv + bias) as it is compiled; image, filters and result have the channels last."""
    laid = stored(batch, layer).shape
    filters = (*laid[-1:], *laid[:-1]) if layer.is_depthwise else laid
    low, high = ([layer.window // 2] * 2 for _ in range(2))
    strides, image_shape = [layer.stride] * 2, [batch, layer.size, layer.size, layer.channels]
    if layer.is_first:
        low[1], high[1], strides[1] = COLUMNS.low, 1, 1
        image_shape[2:] = [layer.size // COLUMNS.step, COLUMNS.step * layer.channels]

    def body(image: ir.Value, w: ir.Value, bias: ir.Value) -> ir.Value:
        to = mlir_type(dtype)
        if layer.window == layer.stride == 1:
            flat = build("reshape", w, shape=[layer.filters, layer.channels])
            return relu(build("add", build("contract", image, flat, equation="abcy,zy->abcz", to=to), bias))
        where = {"strides": strides, "dilations": [1, 1], "low": low, "high": high}
        image = build("reshape", image, shape=image_shape) if layer.is_first else image
        w = build("transpose", w, permutation=[3, 0, 1, 2]) if layer.is_depthwise else w
        groups = image_shape[-1] // filters[-1]
        y = build("conv", image, w, **where, groups=groups, to=to, channels_last=True)
        return relu(build("add", y, bias))

    x = (batch, layer.size, layer.size, layer.channels)
    return dispatch(body, (x, dtype), (laid, dtype), ((layer.filters,), dtype), unwritten=[1, 2])


def _with_zeros(inputs: list[np.ndarray], batch: int, layer: Layer) -> None:
    inputs[1][~stored(batch, layer)] = 0


def _operands(torch: Any, x: Any, w: Any, layer: Layer) -> tuple[Any, Any]:
    """The image, and the filters without the zeros that are compiled into them, as torch has them."""
    torch.backends.cudnn.benchmark = True
    if layer.is_depthwise:
        return x.permute(0, 3, 1, 2), w.permute(3, 2, 0, 1).contiguous()
    own = torch.from_numpy(stored(len(x), layer)).to(w.device)
    filters = w[own].reshape(layer.filters, layer.window, layer.window, -1)
    return x.permute(0, 3, 1, 2), filters.permute(0, 3, 1, 2)


def _cudnn(torch: Any, x: Any, w: Any, bias: Any, layer: Layer) -> Callable[[], Any]:
    image, filters = _operands(torch, x, w, layer)
    where = ([layer.stride] * 2, [layer.window // 2] * 2, [1, 1], layer.groups)
    return lambda: torch.relu(torch.nn.functional.conv2d(image, filters, bias, *where)).permute(0, 2, 3, 1)


def _cudnn_fused(torch: Any, x: Any, w: Any, bias: Any, layer: Layer) -> Callable[[], Any]:
    image, filters = _operands(torch, x, w, layer)
    where = ([layer.stride] * 2, [layer.window // 2] * 2, [1, 1], layer.groups)
    fused = torch.cudnn_convolution_relu
    return lambda: fused(image, filters, bias, *where).permute(0, 2, 3, 1)


def _benchmarks(group: str, layers: list[Layer]) -> list[Benchmark]:
    return [
        Benchmark(
            group,
            f"b{batch}-{layer}",
            partial(convolution, batch, layer, "float16"),
            {"cudnn": partial(_cudnn, layer=layer), "cudnn relu": partial(_cudnn_fused, layer=layer)},
            flops=layer.flops(batch),
            inputs=partial(_with_zeros, batch=batch, layer=layer),
        )
        for batch in (1, 32)
        for layer in layers
    ]


def conv() -> list[Benchmark]:
    return _benchmarks("conv", LAYERS)


def grouped_conv() -> list[Benchmark]:
    return _benchmarks("depthwise", DEPTHWISE) + _benchmarks("grouped", GROUPED)
