"""onnxruntime's operators for diffusion models, for which it has no CPU kernels, against numpy in float64."""

import math

import numpy as np
import pytest
from import_helpers import assert_matches_onnxruntime, model, node, run

MS = "com.microsoft"
RNG = np.random.default_rng(23)


def f32(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def evaluate(op: str, inputs: dict[str, np.ndarray], outputs: str = "y", **attributes) -> list[np.ndarray]:
    found = run(model([node(op, " ".join(inputs), outputs, MS, **attributes)], inputs, outputs.split()), inputs)
    return [found[name] for name in outputs.split()]


def group_norm(x: np.ndarray, scale: np.ndarray, bias: np.ndarray, groups: int) -> np.ndarray:
    """Of x [n, h, w, c]."""
    n, h, w, c = x.shape
    parts = x.astype(np.float64).reshape(n, h * w, groups, c // groups)
    mean, variance = parts.mean((1, 3), keepdims=True), parts.var((1, 3), keepdims=True)
    return ((parts - mean) / np.sqrt(variance + 1e-5)).reshape(x.shape) * scale + bias


@pytest.mark.parametrize("last", [0, 1])
@pytest.mark.parametrize("silu", [0, 1])
def test_group_norm(last, silu):
    x, scale, bias = f32(2, 3, 5, 8), f32(8), f32(8)
    given = x if last else np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    (found,) = evaluate(
        "GroupNorm", {"x": given, "s": scale, "b": bias}, groups=4, epsilon=1e-5, activation=silu, channels_last=last
    )
    expected = group_norm(x, scale, bias, 4)
    expected = expected / (1 + np.exp(-expected)) if silu else expected
    np.testing.assert_allclose(found if last else found.transpose(0, 2, 3, 1), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(2, 3, 5, 8), (2, 1, 1, 8), (2, 8)])
def test_skip_group_norm(shape):
    inputs = {"x": f32(2, 3, 5, 8), "s": f32(8), "b": f32(8), "skip": f32(*shape), "bias": f32(8)}
    found, total = evaluate("SkipGroupNorm", inputs, "y t", groups=2, epsilon=1e-5)
    skip = inputs["skip"].reshape(2, 1, 1, 8) if len(shape) == 2 else inputs["skip"]
    np.testing.assert_allclose(total, inputs["x"] + skip + inputs["bias"], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(found, group_norm(total, inputs["s"], inputs["b"], 2), rtol=1e-4, atol=1e-5)


def test_bias_split_gelu():
    x, bias = f32(2, 3, 8), f32(8)
    (found,) = evaluate("BiasSplitGelu", {"x": x, "b": bias})
    value, gate = np.split((x + bias).astype(np.float64), 2, -1)
    expected = value * gate * 0.5 * (1 + np.vectorize(math.erf)(gate / np.sqrt(2)))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_nhwc_convolution_is_convolution_with_channels_last():
    x, w, b = f32(2, 7, 6, 4), f32(6, 3, 3, 2), f32(6)
    attributes = {"strides": [2, 1], "pads": [1, 0, 1, 2], "group": 2}
    (found,) = evaluate("NhwcConv", {"x": x, "w": w, "b": b}, **attributes)
    first = {
        "x": np.ascontiguousarray(x.transpose(0, 3, 1, 2)),
        "w": np.ascontiguousarray(w.transpose(0, 3, 1, 2)),
        "b": b,
    }
    expected = run(model([node("Conv", "x w b", **attributes)], first, ["y"]), first)["y"]
    np.testing.assert_allclose(found, expected.transpose(0, 2, 3, 1), rtol=1e-5, atol=1e-5)


def test_gemm_fast_gelu_is_its_parts():
    x, w, b = f32(2, 3, 8), f32(8, 5), f32(5)
    (found,) = evaluate("GemmFastGelu", {"x": x, "w": w, "b": b})
    product = x.astype(np.float64) @ w + b
    expected = product * 0.5 * (1 + np.tanh(math.sqrt(2 / math.pi) * (product + 0.044715 * product**3)))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_bias_softmax():
    x = f32(2, 3, 4, 5).astype(np.float64)
    for bias, inner in ((f32(1, 1, 4, 5), 0), (f32(4, 5), 0), (f32(2, 1, 1, 5), 1)):
        inputs = {"x": x.astype(np.float32), "b": bias}
        (found,) = evaluate("BiasSoftmax", inputs, axis=3, is_inner_broadcast=inner)
        powers = np.exp(x + bias)
        np.testing.assert_allclose(found, powers / powers.sum(-1, keepdims=True), rtol=1e-5)


def test_transposed_products():
    inputs = {"a": f32(2, 4, 3), "b": f32(2, 4, 5)}
    proto = model([node("TransposeMatMul", "a b", "y", MS, transA=1, alpha=0.5)], inputs, ["y"])
    assert_matches_onnxruntime(proto, inputs)
