"""The 20 distinct convolutions of ResNet-50, with bias and ReLU, channels last."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from lumir.dialects import build
from lumir.dtypes import mlir_type
from lumir.measure.suite.benchmark import Benchmark
from lumir.measure.texts import dispatch, relu
from lumir.mlir import ir


@dataclass(frozen=True)
class Layer:
    """[b, size, size, channels] with `filters` windows of window x window."""

    size: int
    channels: int
    filters: int
    window: int
    stride: int = 1

    def __str__(self) -> str:
        stride = f"-s{self.stride}" if self.stride > 1 else ""
        return f"{self.size}x{self.channels}-{self.window}x{self.window}-{self.filters}{stride}"


def _layers() -> list[Layer]:
    found = [Layer(224, 4, 64, 7, 2)]  # three colours and one of zeros, as lumir-channels-last pads them
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


def convolution(batch: int, layer: Layer, dtype: str) -> str:
    """relu(conv + bias); image, filters and result have the channels last. One place alone is a contraction."""
    pad = [layer.window // 2] * 2
    pointwise = layer.window == layer.stride == 1

    def body(image: ir.Value, filters: ir.Value, bias: ir.Value) -> ir.Value:
        if pointwise:
            flat = build("reshape", filters, shape=[layer.filters, layer.channels])
            y = build("contract", image, flat, equation="abcy,zy->abcz", to=mlir_type(dtype))
        else:
            where = {"strides": [layer.stride] * 2, "dilations": [1, 1], "low": pad, "high": pad, "groups": 1}
            y = build("conv", image, filters, **where, to=mlir_type(dtype), channels_last=True)
        return relu(build("add", y, bias))

    x = (batch, layer.size, layer.size, layer.channels)
    w = (layer.filters, layer.window, layer.window, layer.channels)
    return dispatch(body, (x, dtype), (w, dtype), ((layer.filters,), dtype), weights=[1, 2])


def _cudnn(torch: Any, x: Any, w: Any, bias: Any, layer: Layer) -> Callable[[], Any]:
    torch.backends.cudnn.benchmark = True
    image, filters = x.permute(0, 3, 1, 2), w.permute(0, 3, 1, 2)
    pad, strides = [layer.window // 2] * 2, [layer.stride] * 2
    return lambda: torch.relu(torch.nn.functional.conv2d(image, filters, bias, strides, pad)).permute(0, 2, 3, 1)


def _cudnn_fused(torch: Any, x: Any, w: Any, bias: Any, layer: Layer) -> Callable[[], Any]:
    torch.backends.cudnn.benchmark = True
    image, filters = x.permute(0, 3, 1, 2), w.permute(0, 3, 1, 2)
    pad, strides = [layer.window // 2] * 2, [layer.stride] * 2
    fused = torch.cudnn_convolution_relu
    return lambda: fused(image, filters, bias, strides, pad, [1, 1], 1).permute(0, 2, 3, 1)


def conv() -> list[Benchmark]:
    return [
        Benchmark(
            "conv",
            f"b{batch}-{layer}",
            partial(convolution, batch, layer, "float16"),
            {"cudnn": partial(_cudnn, layer=layer), "cudnn relu": partial(_cudnn_fused, layer=layer)},
        )
        for batch in (1, 32)
        for layer in LAYERS
    ]
