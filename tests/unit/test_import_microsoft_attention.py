"""onnxruntime's attention operators in all their forms, against onnxruntime."""

import itertools
import zlib
from typing import Any

import numpy as np
import pytest
from import_helpers import assert_matches_onnxruntime, model, node, run, session

MS = "com.microsoft"
Arrays = dict[str, np.ndarray]


def generator(*key: Any) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(str(key).encode()))


def normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)


def projections(rng: np.random.Generator, b: int, s: int, h: int, g: int, d: int, packed: bool) -> Arrays:
    shapes = [(h + 2 * g) * d] if packed else [h * d, g * d, g * d]
    return {name: normal(rng, b, s, width) for name, width in zip("qkv", shapes, strict=False)}


def check_group_query(
    inputs: Arrays, lengths: np.ndarray, total: int, extra: Arrays, *, heads: int, groups: int, **attributes: Any
) -> None:
    """Compare the rows that onnxruntime defines: all new ones, and the valid part of the cache."""
    weights = {"total": np.array(total, np.int32)}
    names = ["q", "k", "v", "pk", "pv", "lens", "total", "cos", "sin", "pos", "bias", "sink"]
    given = {**inputs, "lens": lengths.astype(np.int32), **extra}
    order = " ".join(name if name in given or name in weights else "-" for name in names).rstrip(" -")
    call = node("GroupQueryAttention", order, "y nk nv", MS, num_heads=heads, kv_num_heads=groups, **attributes)
    proto = model([call], given, ["y", "nk", "nv"], weights)
    found, expected = run(proto, given), session(proto).run(None, given)
    np.testing.assert_allclose(found["y"], expected[0], rtol=1e-4, atol=1e-4)  # pyright: ignore[reportCallIssue, reportArgumentType]
    for name, cache in zip(("nk", "nv"), expected[1:], strict=True):
        assert found[name].shape == cache.shape  # pyright: ignore[reportAttributeAccessIssue]
        for b, length in enumerate(lengths):
            valid = slice(0, int(length) + 1)
            np.testing.assert_allclose(found[name][b, :, valid], cache[b, :, valid], rtol=1e-5, atol=1e-5)  # pyright: ignore


VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "window": {"local_window_size": 3},
    "softcap-and-scale": {"softcap": 5.0, "scale": 0.2},
    "smooth": {"smooth_softmax": 1},
    "sink": {"sink": True, "softcap": 2.0},
    "sink-and-window": {"sink": True, "local_window_size": 2},
    "bias": {"bias": True},
    "bias-and-sink": {"bias": True, "sink": True},
}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("packed", "rotary"), list(itertools.product([False, True], ["", "halves", "interleaved"])))
@pytest.mark.parametrize("form", ["prompt", "decode", "ragged", "buffer", "chunk"])
def test_group_query_attention(form, packed, rotary, variant):
    rng = generator(form, packed, rotary, variant)
    b, g, h, d = (1 if form == "chunk" else 3), 2, 4, 16
    s = {"prompt": 5, "chunk": 3}.get(form, 1)
    room = 0 if form == "prompt" else 6
    lengths = {"ragged": np.array([2, 6, 4]), "buffer": np.array([1, 4, 2])}.get(form, np.full(b, room + s - 1))
    total = int(lengths.max()) + 1
    attributes = {
        **VARIANTS[variant],
        "do_rotary": int(bool(rotary)),
        "rotary_interleaved": int(rotary == "interleaved"),
    }
    inputs = projections(rng, b, s, h, g, d, packed)
    inputs |= {"pk": normal(rng, b, g, room, d), "pv": normal(rng, b, g, room, d)}
    extra: Arrays = {}
    if rotary:
        extra |= {"cos": normal(rng, 16, d // 2), "sin": normal(rng, 16, d // 2)}
    if attributes.pop("bias", False):
        extra["bias"] = normal(rng, b, h, s, total)
    if attributes.pop("sink", False):
        extra["sink"] = normal(rng, h)
    check_group_query(inputs, lengths, total, extra, heads=h, groups=g, **attributes)


def test_positions_of_a_step_and_of_the_first_prompt():
    """A step takes each position, the first prompt only the first one."""
    rng = generator("positions")
    caches = {"cos": normal(rng, 16, 8), "sin": normal(rng, 16, 8)}
    for s, room, positions in ((1, 4, [[3], [7]]), (3, 0, [[2, 3, 4], [2, 3, 4]])):
        inputs = projections(rng, 2, s, 4, 2, 16, False)
        inputs |= {"pk": normal(rng, 2, 2, room, 16), "pv": normal(rng, 2, 2, room, 16)}
        lengths = np.full(2, room + s - 1)
        extra = caches | {"pos": np.array(positions)}
        check_group_query(inputs, lengths, room + s, extra, heads=4, groups=2, do_rotary=1)


MASKS = ["none", "keys", "queries", "ends", "ends-and-starts"]


def padding(rng: np.random.Generator, kind: str, b: int, s: int, total: int) -> Arrays:
    keys = rng.integers(0, 2, (b, total))
    queries = rng.integers(0, 2, (b, s, total))
    keys[:, 0], queries[:, :, 0] = 1, 1
    starts = rng.integers(0, total, b)
    ends = np.array([rng.integers(start + 1, total + 1) for start in starts])
    found = {"keys": keys, "queries": queries, "ends": ends, "ends-and-starts": np.concatenate([ends, starts])}
    return {"m": found[kind].astype(np.int32)} if kind in found else {}


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize(("past", "causal"), list(itertools.product([0, 3], [0, 1])))
def test_attention_with_its_projection(mask, past, causal):
    rng = generator(mask, past, causal)
    b, s, h, d, width = 2, 4, 2, 8, 12
    inputs = {"x": normal(rng, b, s, width)} | ({"past": normal(rng, 2, b, h, past, d)} if past else {})
    weights = {"w": normal(rng, width, 3 * h * d), "b": normal(rng, 3 * h * d), **padding(rng, mask, b, s, s + past)}
    order = f"x w b {'m' if 'm' in weights else '-'} {'past' if past else '-'}".rstrip(" -")
    call = node("Attention", order, "y present", MS, num_heads=h, unidirectional=causal)
    assert_matches_onnxruntime(model([call], inputs, ["y", "present"], weights), inputs)


def test_attention_with_values_of_another_size_and_a_bias():
    rng = generator("sizes")
    inputs = {"x": normal(rng, 2, 4, 12), "bias": normal(rng, 1, 2, 4, 4)}
    call = node("Attention", "x w - - - bias", "y", MS, num_heads=2, qkv_hidden_sizes=[16, 16, 8], scale=0.3)
    assert_matches_onnxruntime(model([call], inputs, ["y"], {"w": normal(rng, 12, 40)}), inputs)


def test_causal_attention_between_different_lengths_is_refused():
    rng = generator("cross")
    inputs = {"q": normal(rng, 1, 2, 16), "k": normal(rng, 1, 5, 16), "v": normal(rng, 1, 5, 16)}
    call = node("MultiHeadAttention", "q k v", "y", MS, num_heads=2, unidirectional=1)
    with pytest.raises(Exception, match="as many new keys as queries"):
        run(model([call], inputs, ["y"]), inputs)


def unpacked(packed: np.ndarray, bits: int) -> np.ndarray:
    parts = [(packed >> shift) & ((1 << bits) - 1) for shift in range(0, 8, bits)]
    return np.stack(parts, -1).reshape(*packed.shape[:-1], -1)


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize("reordered", [False, True])
def test_products_with_packed_weights(bits, zero, reordered):
    """Against the definition: onnxruntime's CPU takes 8 bits and reordered groups in some combinations only."""
    rng = generator(bits, zero, reordered)
    k, n, block, blocks = 45, 3, 16, 3
    weights = {
        "w": rng.integers(0, 256, (n, blocks, block * bits // 8)).astype(np.uint8),
        "s": rng.random(n * blocks).astype(np.float32),
        "z": rng.integers(0, 256, (n, -(-blocks * bits // 8))).astype(np.uint8),
        "g": rng.integers(0, blocks, k).astype(np.int32),
        "b": normal(rng, n),
    }
    order = f"a w s {'z' if zero else '-'} {'g' if reordered else '-'} b"
    used = {name: array for name, array in weights.items() if name in order.split()}
    a = normal(rng, 2, k)
    call = node("MatMulNBits", order, "y", MS, K=k, N=n, bits=bits, block_size=block)
    found = run(model([call], {"a": a}, ["y"], used), {"a": a})["y"]
    group = weights["g"] if reordered else np.arange(k) // block
    zeros = unpacked(weights["z"], bits)[:, :blocks] if zero else np.full((n, blocks), 1 << (bits - 1))
    whole = unpacked(weights["w"], bits).reshape(n, -1)[:, :k].astype(np.float64)
    real = (whole - zeros[:, group]) * weights["s"].reshape(n, blocks)[:, group]
    np.testing.assert_allclose(found, a @ real.T + weights["b"], rtol=1e-4, atol=1e-3)
