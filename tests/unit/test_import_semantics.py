"""Operators against onnxruntime on random inputs: where opsets differ, where attributes interact, at odd sizes."""

from typing import Any

import numpy as np
import onnx
import pytest
from import_helpers import assert_matches_onnxruntime, model, node, run

RNG = np.random.default_rng(11)


def f32(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def check(op: str, inputs: list[Any], outputs: int = 1, *, static: int = 99, opset: int = 20, rtol=1e-5, **attrs):
    """Compare one node. Inputs from number `static` on are initializers; None leaves an optional input out."""
    inputs = [x if x is None else np.asarray(x) for x in inputs]
    names = ["-" if x is None else f"i{n}" for n, x in enumerate(inputs)]
    given = {f"i{n}": x for n, x in enumerate(inputs) if x is not None and n < static}
    weights = {f"i{n}": x for n, x in enumerate(inputs) if x is not None and n >= static}
    results = [f"o{n}" for n in range(outputs)]
    proto = model([node(op, " ".join(names), " ".join(results), **attrs)], given, results, weights, opset=opset)
    assert_matches_onnxruntime(proto, given, rtol=rtol, atol=rtol)


# --- element-wise


@pytest.mark.parametrize("op", ["Relu", "Gelu", "Mish", "Softplus", "Softsign", "HardSwish", "Selu", "Elu", "Celu"])
def test_activations(op):
    check(op, [5 * f32(3, 11)])


def test_softplus_and_gelu_at_extremes():
    x = np.array([-200, -90, -20, -1e-6, 0, 1e-6, 20, 90, 200], np.float32)
    for op in ("Softplus", "Mish", "Selu", "Elu"):
        check(op, [x])
    for approximate in ("none", "tanh"):
        check("Gelu", [x], approximate=approximate)


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_integer_division_truncates(dtype):
    check("Div", [np.array([7, -7, 7, -7], dtype), np.array([2, 2, -2, -2], dtype)])


@pytest.mark.parametrize("fmod", [0, 1])
def test_modulo(fmod):
    x, y = np.array([7, -7, 7, -7, 6], np.int64), np.array([3, 3, -3, -3, 2], np.int64)
    check("Mod", [x, y], fmod=fmod)
    check("Mod", [x.astype(np.float32) + 0.5, y.astype(np.float32)], fmod=1)


def test_power_with_mixed_types():
    check("Pow", [np.abs(f32(3, 4)), ints(0, 1, 2, 3)])
    check("Pow", [np.array([1, 2, 3], np.int32), np.array([0.5, 2, 1.5], np.float32)])
    check("Pow", [f32(3, 4), np.array(2.0, np.float32)], static=1)
    check("Pow", [f32(3), np.full((2, 1), 2.0, np.float32)], static=1)


def test_clip_by_attribute_and_by_input():
    check("Clip", [f32(3, 4), np.float32(-0.5), np.float32(0.5)])
    check("Clip", [f32(3, 4), None, np.float32(0.5)])
    check("Clip", [f32(3, 4)], opset=7, min=-0.5, max=0.25)
    check("Clip", [np.arange(9, dtype=np.int8), np.array(2, np.int8)], opset=13)


def test_variadic_extrema_and_sums():
    for op in ("Max", "Min", "Sum", "Mean"):
        check(op, [f32(3, 1), f32(4), f32(2, 1, 1)])
        check(op, [f32(3)])


def test_comparisons_and_selection_of_bools():
    a, b = np.array([True, False, True]), np.array([[True], [False]])
    for op in ("Equal", "And", "Or", "Xor"):
        check(op, [a, b])
    check("Where", [a, f32(2, 3), f32(1)])
    check("IsInf", [np.array([1, np.inf, -np.inf, np.nan], np.float32)], detect_negative=0)


@pytest.mark.parametrize("to", [onnx.TensorProto.INT32, onnx.TensorProto.BOOL, onnx.TensorProto.FLOAT16])
def test_casts(to):
    check("Cast", [np.array([-1.7, -0.5, 0, 0.4, 2.5], np.float32)], to=to)


# --- shapes


@pytest.mark.parametrize(("target", "zero"), [((0, -1), 0), ((4, 3, 2), 0), ((-1,), 0), ((0, 0, 6), 0)])
def test_reshape(target, zero):
    check("Reshape", [f32(4, 1, 6), ints(*target)], static=1, allowzero=zero)


def test_reshape_to_empty():
    check("Reshape", [np.zeros((0, 3), np.float32), ints(5, 0)], static=1, allowzero=1)


def test_squeeze_and_unsqueeze_by_attribute_and_by_input():
    check("Squeeze", [f32(1, 3, 1)], opset=11)
    check("Squeeze", [f32(1, 3, 1)], opset=11, axes=[-1])
    check("Squeeze", [f32(1, 3, 1), ints(0)], static=1, opset=13)
    check("Unsqueeze", [f32(3, 4)], opset=11, axes=[0, 3])
    check("Unsqueeze", [f32(3, 4), ints(-1, 0)], static=1, opset=13)


@pytest.mark.parametrize(
    ("starts", "ends", "axes", "steps"),
    [
        ([1], [3], [0], [1]),
        ([-2], [2**62], [1], [1]),
        ([5, -1], [-(2**62), -6], [0, 1], [-2, -1]),
        ([0], [100], [-1], [3]),
        ([3], [1], [0], [1]),
        ([-100], [2], [0], [1]),
    ],
)
def test_slices(starts, ends, axes, steps):
    check("Slice", [f32(6, 7), ints(*starts), ints(*ends), ints(*axes), ints(*steps)], static=1)


def test_slice_by_attribute():
    check("Slice", [f32(6, 7)], opset=9, starts=[1, -3], ends=[5, 1000], axes=[0, 1])


def test_splits():
    check("Split", [f32(7, 4)], 3, opset=18, axis=0, num_outputs=3)
    check("Split", [f32(6, 4)], 3, opset=11, axis=0)
    check("Split", [f32(6, 4), ints(1, 2, 3)], 3, static=1, opset=13, axis=0)
    check("Split", [f32(6, 4)], 2, opset=11, axis=1, split=[3, 1])


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect", "wrap"])
def test_pads(mode):
    check("Pad", [f32(4, 5), ints(1, 2, 0, 3)], static=1, mode=mode, opset=19)
    if mode == "constant":
        check("Pad", [f32(4, 5), ints(-1, 2, 1, -3), np.float32(7)], static=1, mode=mode)
        check("Pad", [f32(4, 5), ints(2, 1), np.float32(7), ints(-1)], static=1, mode=mode)
    check("Pad", [f32(4, 5)], opset=10, pads=[1, 0, 0, 2], mode=mode if mode != "wrap" else "edge")


def test_tile_expand_and_flatten():
    check("Tile", [f32(2, 3), ints(3, 2)], static=1)
    check("Expand", [f32(3, 1), ints(2, 1, 4)], static=1)
    for axis in (0, 1, 2, -1):
        check("Flatten", [f32(2, 3, 4)], axis=axis)


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_depth_to_space(mode):
    check("DepthToSpace", [f32(2, 12, 3, 2)], blocksize=2, mode=mode)
    check("SpaceToDepth", [f32(2, 3, 4, 6)], blocksize=2)


# --- contraction


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ((4,), (4,)),
        ((3, 4), (4,)),
        ((4,), (4, 5)),
        ((2, 3, 4), (4, 5)),
        ((4,), (2, 4, 5)),
        ((2, 3, 4), (4,)),
        ((2, 1, 3, 4), (5, 4, 6)),
        ((1, 3, 4), (7, 4, 2)),
        ((1, 3, 4), (1, 4, 2)),
        ((2, 5, 3, 4), (1, 5, 4, 1)),
        ((3, 0), (0, 2)),
    ],
)
def test_matmul_broadcasts(left, right):
    check("MatMul", [f32(*left), f32(*right)])


def test_gemm():
    check("Gemm", [f32(5, 3), f32(4, 5), f32(4)], transA=1, transB=1, alpha=0.5, beta=2.0)
    check("Gemm", [f32(3, 5), f32(5, 4)], opset=11)
    check("Gemm", [f32(3, 5), f32(5, 4), f32(3, 1)])


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("ij,jk->ik", [(2, 3), (3, 4)]),
        ("ij,jk", [(2, 3), (3, 4)]),
        ("bhid,bhjd->bhij", [(2, 3, 4, 5), (2, 3, 6, 5)]),
        ("ij->ji", [(2, 3)]),
        ("ij->", [(2, 3)]),
        ("ii->i", [(3, 3)]),
        ("ii", [(3, 3)]),
        ("iji->j", [(3, 4, 3)]),
        ("...ij,...jk->...ik", [(2, 1, 3, 4), (1, 5, 4, 6)]),
        ("i,j->ij", [(3,), (4,)]),
        ("ij,j->j", [(2, 3), (3,)]),
        ("ab,bc,cd->ad", [(2, 3), (3, 4), (4, 5)]),
        ("ij,kl->jl", [(2, 3), (4, 5)]),
        ("b...,b->...", [(2, 3, 4), (2,)]),
    ],
)
def test_einsum(equation, shapes):
    check("Einsum", [f32(*shape) for shape in shapes], equation=equation)


@pytest.mark.parametrize("pads", [{"pads": [1, 0, 2, 1]}, {"auto_pad": "SAME_UPPER"}, {"auto_pad": "VALID"}])
def test_convolutions(pads):
    x = f32(2, 4, 9, 8)
    check("Conv", [x, f32(6, 2, 3, 2), f32(6)], group=2, strides=[2, 1], kernel_shape=[3, 2], **pads)
    check("Conv", [x, f32(4, 1, 3, 3)], group=4, dilations=[1, 2], pads=[1, 2, 1, 2])
    check("Conv", [f32(1, 3, 10), f32(5, 3, 4)], auto_pad="SAME_LOWER")


@pytest.mark.parametrize("group", [1, 2])
def test_transposed_convolutions(group):
    x, w = f32(2, 4, 5, 6), f32(4, 3, 3, 2)
    check("ConvTranspose", [x, w, f32(3 * group)], group=group, strides=[2, 3], pads=[1, 0, 1, 1], rtol=1e-4)
    check("ConvTranspose", [x, w], group=group, strides=[2, 3], output_padding=[1, 1], dilations=[2, 1], rtol=1e-4)
    check("ConvTranspose", [x, w], group=group, strides=[2, 2], auto_pad="SAME_UPPER", rtol=1e-4)
    check("ConvTranspose", [x, w], group=group, strides=[2, 2], output_shape=[10, 13], rtol=1e-4)
    check("ConvTranspose", [x, w], group=group, pads=[2, 2, 2, 1], rtol=1e-4)


# --- reductions


@pytest.mark.parametrize(
    "op",
    ["Sum", "Prod", "Max", "Min", "Mean", "L1", "L2", "LogSum", "LogSumExp", "SumSquare"],
)
def test_reductions(op):
    x = np.abs(f32(3, 4, 5)) + 0.1
    since = 13 if op == "Sum" else 18
    check(f"Reduce{op}", [x, ints(-1, 0)], static=1, opset=since, keepdims=0)
    check(f"Reduce{op}", [x], opset=since)
    check(f"Reduce{op}", [x], opset=since, noop_with_empty_axes=1)
    check(f"Reduce{op}", [x], opset=11, axes=[1])


def test_log_sum_exp_does_not_overflow():
    check("ReduceLogSumExp", [np.array([[1000.0, 1001.0], [-1000.0, -1001.0]], np.float32), ints(1)], static=1)


def test_arg_reductions():
    x = np.array([[3, 1, 3], [2, 2, 0]], np.float32)
    for op in ("ArgMax", "ArgMin"):
        for last in (0, 1):
            check(op, [x], axis=1, keepdims=0, select_last_index=last)
        check(op, [x], axis=-2)


def test_scans_and_top_k():
    for exclusive in (0, 1):
        for reverse in (0, 1):
            check("CumSum", [f32(3, 5), np.array(-1)], static=1, exclusive=exclusive, reverse=reverse)
    check("TopK", [f32(4, 6), ints(3)], 2, static=1, axis=0)
    check("TopK", [np.array([[1, 3, 3, 2]], np.float32), ints(3)], 2, static=1, largest=0)
    check("TopK", [f32(4, 6)], 2, opset=9, k=2)


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax", "Hardmax"])
def test_softmax_flattens_before_opset_13(op):
    for opset in (11, 13):
        for axis in (0, 1, 2, -1):
            check(op, [f32(2, 3, 4)], opset=opset, axis=axis)


# --- normalisation


def test_normalizations():
    x = f32(2, 6, 5, 4)
    check("LayerNormalization", [x, f32(5, 4), f32(5, 4)], 3, axis=-2, epsilon=1e-2)
    check("InstanceNormalization", [x, f32(6), f32(6)])
    check("GroupNormalization", [x, f32(6), f32(6)], opset=21, num_groups=3)
    check("BatchNormalization", [x, f32(6), f32(6), f32(6), np.abs(f32(6)) + 0.1], opset=15, epsilon=1e-3)
    check("LpNormalization", [x], axis=1, p=1)
    check("LRN", [x], size=3, alpha=0.1, bias=2.0)
    check("RMSNormalization", [x, f32(4)], opset=23, axis=-1)


# --- pooling


@pytest.mark.parametrize("ceil_mode", [0, 1])
@pytest.mark.parametrize("include", [0, 1])
def test_pooling(ceil_mode, include):
    x = f32(1, 2, 8, 9)
    common = {"kernel_shape": [3, 2], "strides": [2, 3], "pads": [1, 0, 1, 1], "ceil_mode": ceil_mode}
    check("AveragePool", [x], count_include_pad=include, opset=19, **common)
    check("MaxPool", [x], **common)
    check("MaxPool", [x], 2, **common)
    check("LpPool", [x], opset=18, p=3, **common)


def test_pooling_with_dilation_and_automatic_pads():
    x = f32(1, 2, 9, 9)
    check("MaxPool", [x], kernel_shape=[3, 3], dilations=[2, 2])
    check("AveragePool", [x], opset=19, kernel_shape=[3, 3], dilations=[2, 2], pads=[1, 1, 1, 1])
    for auto in ("SAME_UPPER", "SAME_LOWER", "VALID"):
        check("AveragePool", [x], kernel_shape=[2, 2], strides=[2, 2], auto_pad=auto)
        check("MaxPool", [x], kernel_shape=[4, 2], strides=[3, 2], auto_pad=auto)
    check("MaxPool", [(100 * x).astype(np.int8)], kernel_shape=[2, 2], pads=[1, 1, 1, 1], opset=12)
    for op in ("GlobalAveragePool", "GlobalMaxPool"):
        check(op, [x])


# --- indexing


def test_gathers():
    check("Gather", [f32(4, 5), np.array([[0, -1], [2, 3]])], axis=0)
    check("Gather", [f32(4, 5), np.array(-2)], static=1, axis=1)
    check("GatherElements", [f32(4, 5), np.array([[0, -1, 2], [1, 1, -4]])], axis=0)
    check("GatherND", [f32(2, 3, 4), np.array([[[0, 1]], [[2, 3]]])], batch_dims=1)


@pytest.mark.parametrize("reduction", ["none", "add", "mul", "max", "min"])
def test_scatters(reduction):
    index = np.array([[0, 1, 2], [2, 0, 1]])
    check("ScatterElements", [f32(4, 3), index, f32(2, 3)], opset=18, axis=0, reduction=reduction)
    check("ScatterND", [f32(4, 3), np.array([[1], [3]]), f32(2, 3)], opset=18, reduction=reduction)


def test_negative_indices_in_scatters():
    check("ScatterElements", [f32(4, 3), np.array([[-1, -2, -3]]), f32(1, 3)], axis=0)


def test_one_hot_and_triangles():
    check("OneHot", [np.array([0, 2, -1, 5]), np.array(4), np.array([0.5, 3.0], np.float32)], static=1, axis=0)
    for upper in (0, 1):
        for k in (-1, 0, 2):
            check("Trilu", [f32(2, 4, 3), np.array(k)], static=1, upper=upper)
    check("EyeLike", [f32(3, 5)], k=1)
    check("ReverseSequence", [f32(4, 3, 2), ints(1, 2, 4)], time_axis=0, batch_axis=1)


# --- resize


@pytest.mark.parametrize(
    "coordinates", ["half_pixel", "pytorch_half_pixel", "asymmetric", "align_corners", "half_pixel_symmetric"]
)
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_resize_by_sizes(coordinates, mode):
    for height, width in ((7, 3), (4, 10), (2, 2)):
        sizes = ints(1, 2, height, width)
        check(
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
    check("Resize", [f32(1, 2, 4, 5), None, scales], static=1, nearest_mode=rounding)


def test_resize_antialiased_and_cropped():
    sizes = ints(1, 1, 3, 4)
    for mode in ("linear", "cubic"):
        x = f32(1, 1, 9, 11)
        check("Resize", [x, None, None, sizes], static=1, mode=mode, antialias=1, exclude_outside=1, rtol=1e-4)
    roi = np.array([0, 0, 0.2, -0.3, 1, 1, 0.9, 0.7], np.float32)
    crop = {"coordinate_transformation_mode": "tf_crop_and_resize", "extrapolation_value": 9.0}
    check("Resize", [f32(1, 1, 5, 6), roi, None, sizes], static=1, mode="linear", **crop)


def test_upsample_of_old_opsets():
    check("Upsample", [f32(1, 2, 3, 4)], opset=7, scales=[1.0, 1.0, 2.0, 3.0])
    scales = np.array([1, 1, 2, 2], np.float32)
    check("Upsample", [f32(1, 2, 3, 4), scales], static=1, opset=9, mode="linear")
    check("Resize", [f32(1, 2, 3, 4), scales], static=1, opset=10, mode="nearest")


# --- quantisation


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_quantize_and_dequantize(dtype):
    x = 3 * f32(4, 5)
    check("QuantizeLinear", [x, np.float32(0.02), np.array(3, dtype)], static=1)
    scale, zero = np.abs(f32(5)) + 0.1, RNG.integers(0, 9, 5).astype(dtype)
    check("QuantizeLinear", [x, scale, zero], static=1, axis=1)
    check("DequantizeLinear", [RNG.integers(0, 100, (4, 5)).astype(dtype), scale, zero], static=1, axis=-1)


def test_blocked_dequantization():
    scale = np.abs(f32(2, 5)) + 0.1
    check("DequantizeLinear", [RNG.integers(0, 100, (4, 5)).astype(np.int8), scale], opset=21, axis=0, block_size=2)


def test_integer_products():
    a, b = RNG.integers(0, 255, (3, 4)).astype(np.uint8), RNG.integers(-128, 127, (4, 5)).astype(np.int8)
    check("MatMulInteger", [a, b])
    check("MatMulInteger", [a, b, np.array(7, np.uint8), np.array(0, np.int8)], static=2)
    check("MatMulInteger", [a, b, np.array(7, np.uint8), np.arange(5, dtype=np.int8)], static=2)
    x = RNG.integers(0, 255, (1, 2, 5, 5)).astype(np.uint8)
    w = RNG.integers(0, 255, (3, 2, 3, 3)).astype(np.uint8)
    check("ConvInteger", [x, w, np.array(9, np.uint8), np.array(2, np.uint8)], static=2, pads=[1, 1, 1, 1])


# --- attention


def heads(b: int, h: int, s: int, d: int) -> np.ndarray:
    return f32(b, h, s, d)


@pytest.mark.parametrize("causal", [0, 1])
def test_attention(causal):
    q, k, v = heads(2, 4, 5, 8), heads(2, 2, 5, 8), heads(2, 2, 5, 6)
    check("Attention", [q, k, v], opset=23, is_causal=causal, scale=0.3)
    check("Attention", [q, k, v], opset=23, is_causal=causal, softcap=2.0)
    flat = [f32(2, 5, 32), f32(2, 5, 16), f32(2, 5, 16)]
    check("Attention", flat, opset=23, is_causal=causal, q_num_heads=4, kv_num_heads=2)


def test_attention_with_masks_and_past():
    q, k, v = heads(2, 4, 3, 8), heads(2, 4, 3, 8), heads(2, 4, 3, 8)
    past = [heads(2, 4, 4, 8), heads(2, 4, 4, 8)]
    check("Attention", [q, k, v, f32(3, 7), *past], 3, opset=23)
    check("Attention", [q, k, v, RNG.random((2, 1, 3, 7)) < 0.7, *past], 3, opset=23)
    check("Attention", [q, k, v, None, *past], 3, opset=23, is_causal=1)


@pytest.mark.parametrize("interleaved", [0, 1])
def test_rotary_embedding(interleaved):
    ids = RNG.integers(0, 9, (2, 5))
    check("RotaryEmbedding", [heads(2, 4, 5, 8), f32(9, 4), f32(9, 4), ids], opset=23, interleaved=interleaved)
    check("RotaryEmbedding", [f32(2, 5, 32), f32(2, 5, 4), f32(2, 5, 4)], opset=23, num_heads=4)
    partial = {"rotary_embedding_dim": 4, "interleaved": interleaved}
    check("RotaryEmbedding", [heads(2, 4, 5, 8), f32(9, 2), f32(9, 2), ids], opset=23, **partial)


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
    check(op, inputs, outputs, static=1, hidden_size=hidden, direction=direction, rtol=1e-4)
    full = [*inputs, lengths, *states]
    check(op, full, outputs, static=1, hidden_size=hidden, direction=direction, rtol=1e-4, **extra)


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
        check("GridSample", [f32(2, 3, 5, 6), grid], opset=20, rtol=1e-4, **attributes)


def test_deformable_convolution():
    x, w = f32(2, 4, 6, 5), f32(6, 2, 3, 2)
    offset, mask = f32(2, 2 * 3 * 2 * 2, 5, 5), f32(2, 2 * 3 * 2, 5, 5)
    attributes = {"group": 2, "offset_group": 2, "pads": [1, 0, 0, 1]}
    check("DeformConv", [x, w, offset, f32(6), mask], opset=19, rtol=1e-4, **attributes)


@pytest.mark.parametrize("coordinates", ["half_pixel", "output_half_pixel"])
def test_roi_align(coordinates):
    corners = RNG.uniform(0, 12, (3, 2))
    rois = np.concatenate([corners, corners + RNG.uniform(1, 6, (3, 2))], 1).astype(np.float32)
    sizes = {"output_height": 3, "output_width": 2, "sampling_ratio": 2, "spatial_scale": 0.5}
    inputs = [f32(2, 3, 8, 9), rois, ints(0, 1, 1)]
    check("RoiAlign", inputs, opset=16, rtol=1e-4, coordinate_transformation_mode=coordinates, **sizes)


def test_fourier_transforms():
    axis = [None, np.array(1)]
    check("DFT", [f32(2, 8, 3, 1), *axis], static=1, onesided=1, rtol=1e-4)
    check("DFT", [f32(2, 7, 3, 2), np.array(9), np.array(1)], static=1, rtol=1e-4)
    check("DFT", [f32(2, 7, 3, 2), np.array(5), np.array(1)], static=1, inverse=1, rtol=1e-4)
    check("DFT", [f32(2, 6, 1)], opset=17, rtol=1e-4)
    window = np.hanning(8).astype(np.float32)
    check("STFT", [f32(1, 40, 1), np.array(4), window], static=1, rtol=1e-4)
