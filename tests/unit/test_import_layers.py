"""Normalisation, pooling, resizing, quantisation, attention, recurrence and sampling against onnxruntime."""

import numpy as np
import pytest
from import_helpers import RNG, check_node, f32, ints, model, node, run

# --- normalisation


def test_normalizations():
    x = f32(2, 6, 5, 4)
    check_node("LayerNormalization", [x, f32(5, 4), f32(5, 4)], 3, axis=-2, epsilon=1e-2)
    check_node("InstanceNormalization", [x, f32(6), f32(6)])
    check_node("GroupNormalization", [x, f32(6), f32(6)], opset=21, num_groups=3)
    check_node("BatchNormalization", [x, f32(6), f32(6), f32(6), np.abs(f32(6)) + 0.1], opset=15, epsilon=1e-3)
    check_node("LpNormalization", [x], axis=1, p=1)
    check_node("LRN", [x], size=3, alpha=0.1, bias=2.0)
    check_node("RMSNormalization", [x, f32(4)], opset=23, axis=-1)


# --- pooling


@pytest.mark.parametrize("ceil_mode", [0, 1])
@pytest.mark.parametrize("include", [0, 1])
def test_pooling(ceil_mode, include):
    x = f32(1, 2, 8, 9)
    common = {"kernel_shape": [3, 2], "strides": [2, 3], "pads": [1, 0, 1, 1], "ceil_mode": ceil_mode}
    check_node("AveragePool", [x], count_include_pad=include, opset=19, **common)
    check_node("MaxPool", [x], **common)
    check_node("MaxPool", [x], 2, **common)
    check_node("LpPool", [x], opset=18, p=3, **common)


def test_pooling_with_dilation_and_automatic_pads():
    x = f32(1, 2, 9, 9)
    check_node("MaxPool", [x], kernel_shape=[3, 3], dilations=[2, 2])
    check_node("AveragePool", [x], opset=19, kernel_shape=[3, 3], dilations=[2, 2], pads=[1, 1, 1, 1])
    for auto in ("SAME_UPPER", "SAME_LOWER", "VALID"):
        check_node("AveragePool", [x], kernel_shape=[2, 2], strides=[2, 2], auto_pad=auto)
        check_node("MaxPool", [x], kernel_shape=[4, 2], strides=[3, 2], auto_pad=auto)
    check_node("MaxPool", [(100 * x).astype(np.int8)], kernel_shape=[2, 2], pads=[1, 1, 1, 1], opset=12)
    for op in ("GlobalAveragePool", "GlobalMaxPool"):
        check_node(op, [x])


# --- resize


@pytest.mark.parametrize(
    "coordinates", ["half_pixel", "pytorch_half_pixel", "asymmetric", "align_corners", "half_pixel_symmetric"]
)
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_resize_by_sizes(coordinates, mode):
    for height, width in ((7, 3), (4, 10), (2, 2)):
        sizes = ints(1, 2, height, width)
        check_node(
            "Resize",
            [f32(1, 2, 4, 5), None, None, sizes],
            static=1,
            opset=19,
            mode=mode,
            coordinate_transformation_mode=coordinates,
            rtol=1e-4,
        )


@pytest.mark.parametrize("rounding", ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
def test_resize_nearest_by_scales(rounding):
    scales = np.array([1, 1, 2.5, 0.6], np.float32)
    check_node("Resize", [f32(1, 2, 4, 5), None, scales], static=1, nearest_mode=rounding)


def test_resize_antialiased_and_cropped():
    sizes = ints(1, 1, 3, 4)
    for mode in ("linear", "cubic"):
        x = f32(1, 1, 9, 11)
        check_node("Resize", [x, None, None, sizes], static=1, mode=mode, antialias=1, exclude_outside=1, rtol=1e-4)
    roi = np.array([0, 0, 0.2, -0.3, 1, 1, 0.9, 0.7], np.float32)
    crop = {"coordinate_transformation_mode": "tf_crop_and_resize", "extrapolation_value": 9.0}
    check_node("Resize", [f32(1, 1, 5, 6), roi, None, sizes], static=1, mode="linear", **crop)


def test_upsample_of_old_opsets():
    check_node("Upsample", [f32(1, 2, 3, 4)], opset=7, scales=[1.0, 1.0, 2.0, 3.0])
    scales = np.array([1, 1, 2, 2], np.float32)
    check_node("Upsample", [f32(1, 2, 3, 4), scales], static=1, opset=9, mode="linear")
    check_node("Resize", [f32(1, 2, 3, 4), scales], static=1, opset=10, mode="nearest")


# --- quantisation


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_quantize_and_dequantize(dtype):
    x = 3 * f32(4, 5)
    check_node("QuantizeLinear", [x, np.float32(0.02), np.array(3, dtype)], static=1)
    scale, zero = np.abs(f32(5)) + 0.1, RNG.integers(0, 9, 5).astype(dtype)
    check_node("QuantizeLinear", [x, scale, zero], static=1, axis=1)
    check_node("DequantizeLinear", [RNG.integers(0, 100, (4, 5)).astype(dtype), scale, zero], static=1, axis=-1)


def test_blocked_dequantization():
    scale = np.abs(f32(2, 5)) + 0.1
    check_node(
        "DequantizeLinear", [RNG.integers(0, 100, (4, 5)).astype(np.int8), scale], opset=21, axis=0, block_size=2
    )


def test_integer_products():
    a, b = RNG.integers(0, 255, (3, 4)).astype(np.uint8), RNG.integers(-128, 127, (4, 5)).astype(np.int8)
    check_node("MatMulInteger", [a, b])
    check_node("MatMulInteger", [a, b, np.array(7, np.uint8), np.array(0, np.int8)], static=2)
    check_node("MatMulInteger", [a, b, np.array(7, np.uint8), np.arange(5, dtype=np.int8)], static=2)
    x = RNG.integers(0, 255, (1, 2, 5, 5)).astype(np.uint8)
    w = RNG.integers(0, 255, (3, 2, 3, 3)).astype(np.uint8)
    check_node("ConvInteger", [x, w, np.array(9, np.uint8), np.array(2, np.uint8)], static=2, pads=[1, 1, 1, 1])


# --- attention


def heads(b: int, h: int, s: int, d: int) -> np.ndarray:
    return f32(b, h, s, d)


@pytest.mark.parametrize("causal", [0, 1])
def test_attention(causal):
    q, k, v = heads(2, 4, 5, 8), heads(2, 2, 5, 8), heads(2, 2, 5, 6)
    check_node("Attention", [q, k, v], opset=23, is_causal=causal, scale=0.3)
    check_node("Attention", [q, k, v], opset=23, is_causal=causal, softcap=2.0)
    flat = [f32(2, 5, 32), f32(2, 5, 16), f32(2, 5, 16)]
    check_node("Attention", flat, opset=23, is_causal=causal, q_num_heads=4, kv_num_heads=2)


def test_attention_with_masks_and_past():
    q, k, v = heads(2, 4, 3, 8), heads(2, 4, 3, 8), heads(2, 4, 3, 8)
    past = [heads(2, 4, 4, 8), heads(2, 4, 4, 8)]
    check_node("Attention", [q, k, v, f32(3, 7), *past], 3, opset=23)
    check_node("Attention", [q, k, v, RNG.random((2, 1, 3, 7)) < 0.7, *past], 3, opset=23)
    check_node("Attention", [q, k, v, None, *past], 3, opset=23, is_causal=1)


@pytest.mark.parametrize("interleaved", [0, 1])
def test_rotary_embedding(interleaved):
    ids = RNG.integers(0, 9, (2, 5))
    check_node("RotaryEmbedding", [heads(2, 4, 5, 8), f32(9, 4), f32(9, 4), ids], opset=23, interleaved=interleaved)
    check_node("RotaryEmbedding", [f32(2, 5, 32), f32(2, 5, 4), f32(2, 5, 4)], opset=23, num_heads=4)
    partial = {"rotary_embedding_dim": 4, "interleaved": interleaved}
    check_node("RotaryEmbedding", [heads(2, 4, 5, 8), f32(9, 2), f32(9, 2), ids], opset=23, **partial)


# --- recurrence and half precision


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize(("op", "gates"), [("RNN", 1), ("GRU", 3), ("LSTM", 4)])
def test_recurrent_layers(direction, op, gates):
    d, t, b, size, hidden = 1 + (direction == "bidirectional"), 4, 3, 5, 6
    inputs = [f32(t, b, size), f32(d, gates * hidden, size), f32(d, gates * hidden, hidden), f32(d, 2 * gates * hidden)]
    lengths = np.array([4, 2, 3], np.int32)
    states = [f32(d, b, hidden)] * (2 if op == "LSTM" else 1)
    outputs = 3 if op == "LSTM" else 2
    extra = {"linear_before_reset": 1} if op == "GRU" else {}
    check_node(op, inputs, outputs, static=1, hidden_size=hidden, direction=direction, rtol=1e-4)
    full = [*inputs, lengths, *states]
    check_node(op, full, outputs, static=1, hidden_size=hidden, direction=direction, rtol=1e-4, **extra)


@pytest.mark.parametrize("op", ["Gelu", "Softplus", "ReduceMean", "Softmax", "GlobalAveragePool", "Mish"])
def test_half_precision_stays_and_is_accurate(op):
    """Computed in float16 as declared, each result is within one rounding of the float32 result."""
    x = (4 * f32(1, 3, 9, 7)).astype(np.float16)
    half = run(model([node(op, "x")], {"x": x}, ["y"]), {"x": x})["y"]
    wide = run(model([node(op, "x")], {"x": x.astype(np.float32)}, ["y"]), {"x": x.astype(np.float32)})["y"]
    assert half.dtype == np.float16
    np.testing.assert_allclose(half.astype(np.float32), wide, rtol=2**-10, atol=2**-24)


# --- sampling and spectra


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
def test_grid_sample(mode, padding):
    grid = RNG.uniform(-1.6, 1.6, (2, 3, 4, 2)).astype(np.float32)
    for corners in (0, 1):
        attributes = {"mode": mode, "padding_mode": padding, "align_corners": corners}
        check_node("GridSample", [f32(2, 3, 5, 6), grid], opset=20, rtol=1e-4, **attributes)


def test_deformable_convolution():
    x, w = f32(2, 4, 6, 5), f32(6, 2, 3, 2)
    offset, mask = f32(2, 2 * 3 * 2 * 2, 5, 5), f32(2, 2 * 3 * 2, 5, 5)
    attributes = {"group": 2, "offset_group": 2, "pads": [1, 0, 0, 1]}
    check_node("DeformConv", [x, w, offset, f32(6), mask], opset=19, rtol=1e-4, **attributes)


@pytest.mark.parametrize("coordinates", ["half_pixel", "output_half_pixel"])
def test_roi_align(coordinates):
    corners = RNG.uniform(0, 12, (3, 2))
    rois = np.concatenate([corners, corners + RNG.uniform(1, 6, (3, 2))], 1).astype(np.float32)
    sizes = {"output_height": 3, "output_width": 2, "sampling_ratio": 2, "spatial_scale": 0.5}
    inputs = [f32(2, 3, 8, 9), rois, ints(0, 1, 1)]
    check_node("RoiAlign", inputs, opset=16, rtol=1e-4, coordinate_transformation_mode=coordinates, **sizes)


def test_fourier_transforms():
    axis = [None, np.array(1)]
    check_node("DFT", [f32(2, 8, 3, 1), *axis], static=1, onesided=1, rtol=1e-4)
    check_node("DFT", [f32(2, 7, 3, 2), np.array(9), np.array(1)], static=1, rtol=1e-4)
    check_node("DFT", [f32(2, 7, 3, 2), np.array(5), np.array(1)], static=1, inverse=1, rtol=1e-4)
    check_node("DFT", [f32(2, 6, 1)], opset=17, rtol=1e-4)
    window = np.hanning(8).astype(np.float32)
    check_node("STFT", [f32(1, 40, 1), np.array(4), window], static=1, rtol=1e-4)
