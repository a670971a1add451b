"""Convolutions with bias and ReLU, channels last: the 20 of ResNet-50, some of MobileNets, some of ResNeXt-50 32x4d."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from lumir.dialects import build
from lumir.dtypes import mlir_type
from lumir.graph.fold_columns import Columns
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
DEPTHWISE = [
    Layer(size, channels, channels, window, stride, channels)
    for size, channels, window, stride in (
        (112, 32, 3, 1), (112, 64, 3, 2), (56, 128, 3, 1), (28, 256, 3, 2), (14, 512, 3, 1), (14, 512, 3, 2),
        (7, 960, 5, 1),
    )
]  # fmt: skip
GROUPED = [Layer(size, channels, channels, 3, 1, 32) for size, channels in ((56, 128), (28, 256), (14, 512), (7, 1024))]


def convolution(batch: int, layer: Layer, dtype: str) -> str:
    """relu(conv + bias); image, filters and result have the channels last. One place alone is a contraction."""
    pad = [layer.window // 2] * 2
    pointwise = layer.window == layer.stride == 1

    def body(image: ir.Value, filters: ir.Value, bias: ir.Value) -> ir.Value:
        if pointwise:
            flat = build("reshape", filters, shape=[layer.filters, layer.channels])
            y = build("contract", image, flat, equation="abcy,zy->abcz", to=mlir_type(dtype))
        else:
            where = {"strides": [layer.stride] * 2, "dilations": [1, 1], "low": pad, "high": pad}
            y = build("conv", image, filters, **where, groups=layer.groups, to=mlir_type(dtype), channels_last=True)
        return relu(build("add", y, bias))

    x = (batch, layer.size, layer.size, layer.channels)
    w = (layer.filters, layer.window, layer.window, layer.channels // layer.groups)
    return dispatch(body, (x, dtype), (w, dtype), ((layer.filters,), dtype), unwritten=[1, 2])


def first_convolution(batch: int, layer: Layer, dtype: str) -> str:
    """relu(conv + bias) of the first layer as it is compiled, with pairs of columns as channels."""
    pairs, step = layer.size // COLUMNS.step, COLUMNS.step * layer.channels
    where = {"strides": [layer.stride, 1], "dilations": [1, 1], "low": [3, COLUMNS.low], "high": [3, 1]}

    def body(image: ir.Value, filters: ir.Value, bias: ir.Value) -> ir.Value:
        image = build("reshape", image, shape=[batch, layer.size, pairs, step])
        y = build("conv", image, filters, **where, groups=1, to=mlir_type(dtype), channels_last=True)
        return relu(build("add", y, bias))

    x = (batch, layer.size, layer.size, layer.channels)
    w = (layer.filters, layer.window, COLUMNS.window, step)
    return dispatch(body, (x, dtype), (w, dtype), ((layer.filters,), dtype), unwritten=[1, 2])


def _zero_around(inputs: list[np.ndarray]) -> None:
    """The columns of the first layer's filters that only fill up pairs."""
    inputs[1][..., 0, : COLUMNS.before * (inputs[1].shape[-1] // COLUMNS.step)] = 0


def _first_filters(w: Any, layer: Layer) -> Any:
    """Without the columns of zeros."""
    columns = w.reshape(layer.filters, layer.window, -1, layer.channels)[:, :, COLUMNS.before :]
    return columns.contiguous()


def _cudnn(torch: Any, x: Any, w: Any, bias: Any, layer: Layer) -> Callable[[], Any]:
    torch.backends.cudnn.benchmark = True
    w = _first_filters(w, layer) if layer.is_first else w
    image, filters = x.permute(0, 3, 1, 2), w.permute(0, 3, 1, 2)
    where = ([layer.stride] * 2, [layer.window // 2] * 2, [1, 1], layer.groups)
    return lambda: torch.relu(torch.nn.functional.conv2d(image, filters, bias, *where)).permute(0, 2, 3, 1)


def _cudnn_fused(torch: Any, x: Any, w: Any, bias: Any, layer: Layer) -> Callable[[], Any]:
    torch.backends.cudnn.benchmark = True
    w = _first_filters(w, layer) if layer.is_first else w
    image, filters = x.permute(0, 3, 1, 2), w.permute(0, 3, 1, 2)
    where = ([layer.stride] * 2, [layer.window // 2] * 2, [1, 1], layer.groups)
    fused = torch.cudnn_convolution_relu
    return lambda: fused(image, filters, bias, *where).permute(0, 2, 3, 1)


def _benchmarks(group: str, layers: list[Layer]) -> list[Benchmark]:
    return [
        Benchmark(
            group,
            f"b{batch}-{layer}",
            partial(first_convolution if layer.is_first else convolution, batch, layer, "float16"),
            {"cudnn": partial(_cudnn, layer=layer), "cudnn relu": partial(_cudnn_fused, layer=layer)},
            flops=layer.flops(batch),
            inputs=_zero_around if layer.is_first else None,
        )
        for batch in (1, 32)
        for layer in layers
    ]


def conv() -> list[Benchmark]:
    return _benchmarks("conv", LAYERS)


def grouped_conv() -> list[Benchmark]:
    return _benchmarks("depthwise", DEPTHWISE) + _benchmarks("grouped", GROUPED)
