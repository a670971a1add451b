"""Sliding windows of models: what operators and exporters say of them becomes an attribute, and the results stay."""

from typing import Any

import numpy as np
import onnx
import pytest
from import_helpers import model, node, value

import lumir
from lumir.context import make_context
from lumir.dialects import attributes_of
from lumir.frontend import import_onnx
from lumir.graph.known import use_store
from lumir.mlir import ir
from lumir.passes import run_pipeline

MS = "com.microsoft"
PASSES = "lumir-canonicalize,lumir-fuse-normalization,lumir-fuse-attention{keep-empty-rows=true},lumir-canonicalize"
B, H, S, D, WINDOW = 2, 2, 12, 4, 5
LOWEST = float(np.finfo(np.float32).min)


def bands(proto: onnx.ModelProto, dims: dict[str, Any] | None = None) -> list[tuple[Any, ...]]:
    """`causal`, `offset`, `window` and the number of operands of each attention after the graph's recognition."""
    with make_context(), ir.Location.unknown():
        module, store = import_onnx(proto, dims=dims)
        with use_store(store):
            run_pipeline(f"builtin.module({PASSES})", module)
        main = next(f for f in module.body if f.operation.name == "func.func")
        found = [op for op in main.operation.regions[0].blocks[0] if op.operation.name == "lumir.attention"]
        attributes = [attributes_of(op.operation) for op in found]
        counts = [len(op.operands) for op in found]
    return [(a["causal"], str(a["offset"]), a["window"], n) for a, n in zip(attributes, counts, strict=True)]


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(np.float32)


def test_a_prompt_of_group_query_attention():
    inputs = {name: normal(B, S, H * D) for name in "qkv"}
    weights = {"lens": np.full(B, S - 1, np.int32), "total": np.array(S, np.int32)}
    attributes = {"num_heads": H, "kv_num_heads": H, "local_window_size": WINDOW}
    call = node("GroupQueryAttention", "q k v - - lens total", "y nk nv", MS, **attributes)
    assert bands(model([call], inputs, ["y", "nk", "nv"], weights)) == [(True, "0", WINDOW, 3)]


@pytest.mark.parametrize("causal", [0, 1])
def test_windows_of_the_standard_operator(causal):
    inputs = {name: normal(B, H, S, D) for name in "qkv"}
    call = node("Attention", "q k v", "y", is_causal=causal, left_window_size=3, right_window_size=2)
    proto = model([call], inputs, ["y"], opset=26)
    assert bands(proto) == [(True, "0" if causal else "2", 4 if causal else 6, 3)]


def exported(past: str, fill: float, padding: bool) -> onnx.ModelProto:
    """As transformers' masks are exported: Range, comparisons and And, and Where with a number that drops.

    Args:
        past: the dimension of keys before the first query, or "" for none.
        padding: a mask of keys [batch, keys] is joined.
    """
    keys = f"{past} + seq" if past else "seq"
    inputs = [value("q", np.float32, ["batch", H, "seq", D])]
    inputs += [value(name, np.float32, ["batch", H, keys, D]) for name in "kv"]
    inputs += [value("keep", np.bool_, ["batch", keys])] if padding else []
    numbers = {"zero": 0, "one": 1, "two": 2, "size": WINDOW}
    weights: dict[str, np.ndarray] = {name: np.array(number, np.int64) for name, number in numbers.items()}
    weights |= {"to_rows": np.array([0, 1, 3]), "to_columns": np.array([0, 1, 2]), "to_heads": np.array([1, 2])}
    weights |= {"fill": np.array(fill, np.float32), "none": np.array(0, np.float32)}
    nodes = [
        node("Shape", "q", "q_shape"),
        node("Shape", "k", "k_shape"),
        node("Gather", "q_shape two", "rows"),
        node("Gather", "k_shape two", "columns"),
        node("Sub", "columns rows", "past"),
        node("Range", "past columns one", "places"),
        node("Range", "zero columns one", "key_places"),
        node("Unsqueeze", "places to_rows", "query"),
        node("Unsqueeze", "key_places to_columns", "key"),
        node("LessOrEqual", "key query", "causal"),
        node("Sub", "query size", "oldest"),
        node("Greater", "key oldest", "recent"),
        node("And", "causal recent", "seen"),
        *([node("Unsqueeze", "keep to_heads", "kept"), node("And", "seen kept", "counts")] if padding else []),
        node("Where", f"{'counts' if padding else 'seen'} none fill", "mask"),
        node("Transpose", "k", "turned", perm=[0, 1, 3, 2]),
        node("MatMul", "q turned", "scores"),
        node("Add", "scores mask", "masked"),
        node("Softmax", "masked", "weights", axis=-1),
        node("MatMul", "weights v", "y"),
    ]
    return model(nodes, inputs, [value("y", np.float32, ["batch", H, "seq", D])], weights)


@pytest.mark.parametrize("fill", [LOWEST, -np.inf])
@pytest.mark.parametrize("past", ["", "past"])
@pytest.mark.parametrize("padding", [False, True])
def test_masks_that_are_exported(past, fill, padding):
    """A finite fill with a mask of padding leaves a select of means behind the attention."""
    dims = {"batch": "1..4", "seq": "1..64"} | ({"past": "0..64"} if past else {})
    assert bands(exported(past, fill, padding), dims) == [(True, past or "0", WINDOW, 3 + padding)]


@pytest.mark.parametrize("fill", [LOWEST, -np.inf])
@pytest.mark.parametrize("past", ["", "past"])
def test_results_of_masks_that_are_exported(past, fill):
    """One artifact for every length, rows that padding leaves without keys included where they are defined."""
    dims = {"batch": "1..4", "seq": "1..64"} | ({"past": "0..64"} if past else {})
    proto = exported(past, fill, padding=True)
    executable = lumir.compile(proto, target="cpu", dims=dims)
    rng = np.random.default_rng(7)
    for batch, seq, before in ((1, 1, 0), (2, 13, 0), (3, 30, 17 if past else 0)):
        keys = seq + before
        inputs = {"q": rng.standard_normal((batch, H, seq, D)).astype(np.float32)}
        inputs |= {name: rng.standard_normal((batch, H, keys, D)).astype(np.float32) for name in "kv"}
        keep = (rng.random((batch, keys)) < 0.6) | np.isinf(fill)  # a row of -inf alone is no number
        found = executable.run({**inputs, "keep": keep})["y"]
        np.testing.assert_allclose(found, wanted(inputs, keep, before, fill), rtol=1e-4, atol=1e-5)


def wanted(inputs: dict[str, np.ndarray], keep: np.ndarray, past: int, fill: float) -> np.ndarray:
    q, k, v = (inputs[name] for name in "qkv")
    distance = np.arange(k.shape[2]) - np.arange(q.shape[2])[:, None] - past
    seen = (distance <= 0) & (distance > -WINDOW) & keep[:, None, None, :]
    scores = (q @ k.transpose(0, 1, 3, 2) + np.where(seen, np.float32(0), np.float32(fill))).astype(np.float64)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True) @ v
