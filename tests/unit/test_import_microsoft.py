"""onnxruntime's own operators against onnxruntime, on random inputs."""

import numpy as np
import pytest
from import_helpers import assert_matches_onnxruntime, model, node, run

MS = "com.microsoft"
B, S, H, D = 2, 5, 4, 16


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)


def check(op: str, inputs: dict[str, np.ndarray], outputs: str = "y", *, weights=None, tolerance=1e-5, **attrs):
    """Compare one node; its inputs are `inputs`, then `weights`, unless `order` says otherwise."""
    names = [*inputs, *(weights or {})]
    order = attrs.pop("order", " ".join(names))
    proto = model([node(op, order, outputs, MS, **attrs)], inputs, outputs.split(), weights)
    assert_matches_onnxruntime(proto, inputs, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("op", ["Gelu", "FastGelu", "QuickGelu"])
def test_activations(op, rng):
    check(op, {"x": 3 * normal(rng, 3, 7)})


def test_biased_gelus(rng):
    check("BiasGelu", {"x": normal(rng, 3, 7), "b": normal(rng, 7)})
    check("FastGelu", {"x": normal(rng, 3, 7), "b": normal(rng, 7)})


def test_skip_layer_normalization_with_bias_and_sum(rng):
    inputs = {name: normal(rng, B, S, 6) for name in ("x", "skip")}
    weights = {name: normal(rng, 6) for name in ("gamma", "beta", "bias")}
    check("SkipLayerNormalization", inputs, "y", weights=weights, epsilon=1e-3)
    proto = model([node("SkipLayerNormalization", "x skip gamma beta bias", "y", MS)], inputs, ["y"], weights)
    proto.graph.node[0].output.extend(["", "", "total"])
    proto.graph.output.add().name = "total"
    assert_matches_onnxruntime(proto, inputs)


def test_skip_simplified_layer_normalization(rng):
    inputs = {name: normal(rng, B, S, 6) for name in ("x", "skip")}
    check("SkipSimplifiedLayerNormalization", inputs, weights={"gamma": normal(rng, 6)}, epsilon=1e-3)


def test_simplified_layer_normalization_of_the_default_domain(rng):
    inputs, weights = {"x": normal(rng, B, S, 6)}, {"gamma": normal(rng, 6)}
    proto = model(
        [node("SimplifiedLayerNormalization", "x gamma", epsilon=1e-3, axis=-1, stash_type=1)], inputs, ["y"], weights
    )
    assert_matches_onnxruntime(proto, inputs)


@pytest.mark.parametrize("trans_a", [0, 1])
@pytest.mark.parametrize("trans_b", [0, 1])
def test_fused_matmul(trans_a, trans_b, rng):
    a = normal(rng, 3, 5, 4) if trans_a else normal(rng, 3, 4, 5)
    b = normal(rng, 3, 6, 5) if trans_b else normal(rng, 3, 5, 6)
    check("FusedMatMul", {"a": a, "b": b}, transA=trans_a, transB=trans_b, alpha=0.5)


def test_embed_layer_normalization(rng):
    ids = {name: rng.integers(0, 2, (B, S)).astype(np.int32) for name in ("ids", "segments")}
    tables = {"words": normal(rng, 9, 6), "positions": normal(rng, 12, 6), "types": normal(rng, 2, 6)}
    norms = {"gamma": normal(rng, 6), "beta": normal(rng, 6)}
    check("EmbedLayerNormalization", ids, "y lengths", weights={**tables, **norms})


@pytest.mark.parametrize("interleaved", [0, 1])
@pytest.mark.parametrize("offset", [False, True])
def test_rotary_embedding(interleaved, offset, rng):
    ids = np.array([3]) if offset else rng.integers(0, 16, (B, S))
    inputs = {"x": normal(rng, B, S, H * D), "ids": ids.astype(np.int64)}
    caches = {name: normal(rng, 16, D // 2) for name in ("cos", "sin")}
    check("RotaryEmbedding", inputs, weights=caches, interleaved=interleaved)
    check("RotaryEmbedding", {**inputs, "x": normal(rng, B, H, S, D)}, weights=caches, interleaved=interleaved)


def test_multi_head_attention_with_bias_and_padding(rng):
    inputs = {name: normal(rng, B, S, H * D) for name in "qkv"}
    padding = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]], np.int32)
    check("MultiHeadAttention", {**inputs, "bias": normal(rng, 3 * H * D), "m": padding}, num_heads=H)
    lengths = np.array([5, 2], np.int32)
    check("MultiHeadAttention", {**inputs, "m": lengths}, order="q k v - m", num_heads=H)


def test_multi_head_attention_with_past(rng):
    inputs = {name: normal(rng, B, S, H * D) for name in "qkv"}
    inputs |= {"bias": normal(rng, 1, H, S, S + 3), "pk": normal(rng, B, H, 3, D), "pv": normal(rng, B, H, 3, D)}
    check("MultiHeadAttention", inputs, "y nk nv", order="q k v - - bias pk pv", num_heads=H)


def test_multi_head_attention_packed_is_the_same_as_separate(rng):
    """onnxruntime has no CPU kernel for the packed forms."""
    qkv = normal(rng, B, S, H, 3, D)
    q, k, v = (np.ascontiguousarray(qkv[:, :, :, i]).reshape(B, S, H * D) for i in range(3))
    forms = {
        "q k v": {"q": q, "k": k, "v": v},
        "qkv": {"qkv": qkv},
        "q kv": {"q": q, "kv": np.ascontiguousarray(qkv[:, :, :, 1:])},
    }
    results = []
    for order, inputs in forms.items():
        proto = model([node("MultiHeadAttention", order, "y", MS, num_heads=H)], inputs, ["y"])
        results.append(run(proto, inputs)["y"])
    np.testing.assert_allclose(results[1], results[0], rtol=1e-6)
    np.testing.assert_allclose(results[2], results[0], rtol=1e-6)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("window", [-1, 3])
def test_group_query_attention_prompt(packed, window, rng):
    g = 2
    shapes = [(B, S, (H + 2 * g) * D)] if packed else [(B, S, H * D), (B, S, g * D), (B, S, g * D)]
    inputs = {name: normal(rng, *shape) for name, shape in zip("qkv", shapes, strict=False)}
    inputs |= {"pk": normal(rng, B, g, 0, D), "pv": normal(rng, B, g, 0, D), "lens": np.full(B, S - 1, np.int32)}
    weights = {"total": np.array(S, np.int32), "cos": normal(rng, 16, D // 2), "sin": normal(rng, 16, D // 2)}
    order = "q - - pk pv lens total cos sin" if packed else "q k v pk pv lens total cos sin"
    attributes = {"num_heads": H, "kv_num_heads": g, "do_rotary": 1, "local_window_size": window}
    check("GroupQueryAttention", inputs, "y nk nv", weights=weights, order=order, **attributes)


@pytest.mark.parametrize("window", [-1, 4])
def test_group_query_attention_decode(window, rng):
    g, past = 2, 6
    inputs = {"q": normal(rng, B, 1, H * D), "k": normal(rng, B, 1, g * D), "v": normal(rng, B, 1, g * D)}
    inputs |= {"pk": normal(rng, B, g, past, D), "pv": normal(rng, B, g, past, D), "lens": np.full(B, past, np.int32)}
    weights = {"total": np.array(past + 1, np.int32), "cos": normal(rng, 16, D // 2), "sin": normal(rng, 16, D // 2)}
    order = "q k v pk pv lens total cos sin"
    attributes = {"num_heads": H, "kv_num_heads": g, "do_rotary": 1, "local_window_size": window}
    check("GroupQueryAttention", inputs, "y nk nv", weights=weights, order=order, **attributes)


@pytest.mark.parametrize("k", [32, 45])
@pytest.mark.parametrize("zero", [False, True])
def test_matmul_n_bits(k, zero, rng):
    n, block = 6, 16
    blocks = -(-k // block)
    weights = {
        "w": rng.integers(0, 256, (n, blocks, block // 2)).astype(np.uint8),
        "s": rng.random(n * blocks).astype(np.float32),
    }
    if zero:
        weights["z"] = rng.integers(0, 256, n * -(-blocks // 2)).astype(np.uint8)
    attributes = {"K": k, "N": n, "bits": 4, "block_size": block}
    check("MatMulNBits", {"a": normal(rng, 2, 3, k)}, weights=weights, tolerance=1e-3, **attributes)


def test_qlinear_add(rng):
    inputs = {"a": rng.integers(0, 256, (3, 4)).astype(np.uint8), "b": rng.integers(0, 256, (3, 4)).astype(np.uint8)}
    weights = {"as": np.float32(0.1), "az": np.uint8(7), "bs": np.float32(0.2), "bz": np.uint8(3)}
    weights = {k: np.array(v) for k, v in {**weights, "cs": np.float32(0.3), "cz": np.uint8(11)}.items()}
    check("QLinearAdd", inputs, weights=weights, order="a as az b bs bz cs cz")
