"""Caches of which a part counts, as the data says: compiled once for all steps, against onnxruntime."""

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from import_helpers import model, node, run, session, value

import lumir
from lumir.context import make_context
from lumir.dialects import attributes_of
from lumir.frontend import import_onnx
from lumir.graph.known import use_store
from lumir.mlir import ir
from lumir.passes import run_pipeline

MS = "com.microsoft"
B, H, G, D, ROOM = 3, 4, 2, 8, 24


def normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)


def decoder(length: int, batch: int = B, **attributes: Any) -> onnx.ModelProto:
    """GroupQueryAttention whose lengths and total are inputs."""
    inputs = [value(name, np.float32, [batch, length, n * D]) for name, n in zip("qkv", (H, G, G), strict=True)]
    inputs += [value(name, np.float32, [batch, G, ROOM, D]) for name in ("pk", "pv")]
    inputs += [value("lens", np.int32, [batch]), value("total", np.int32, [])]
    given = {"num_heads": H, "kv_num_heads": G, **attributes}
    return model(
        [node("GroupQueryAttention", "q k v pk pv lens total", "y nk nv", MS, **given)], inputs, ["y", "nk", "nv"]
    )


def operands(rng: np.random.Generator, lengths: list[int], length: int, total: int) -> dict[str, np.ndarray]:
    """Of a step whose batches have so many keys after it."""
    batch = len(lengths)
    arrays = {name: normal(rng, batch, length, n * D) for name, n in zip("qkv", (H, G, G), strict=True)}
    arrays |= {name: normal(rng, batch, G, ROOM, D) for name in ("pk", "pv")}
    return arrays | {"lens": np.array(lengths, np.int32) - 1, "total": np.array(total, np.int32)}


def expected_of(runner: onnxruntime.InferenceSession, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    return [np.asarray(result) for result in runner.run(None, inputs)]


def attentions(proto: onnx.ModelProto) -> list[tuple[Any, ...]]:
    """`causal`, `offset` and `window` of each attention, and the type of its fourth operand."""
    with make_context(), ir.Location.unknown():
        module, _ = import_onnx(proto)
        main = next(f for f in module.body if f.operation.name == "func.func")
        found = [op for op in main.operation.regions[0].blocks[0] if op.operation.name == "lumir.attention"]
        every = [(attributes_of(op.operation), str(op.operands[3].type)) for op in found]
    return [(a["causal"], a["offset"], a["window"], type_) for a, type_ in every]


def test_lengths_are_operands_and_places_are_counted_from_their_end():
    assert attentions(decoder(1)) == [(False, -1, 0, "tensor<3x1x1x1xi64>")]
    assert attentions(decoder(3, local_window_size=5)) == [(True, -3, 5, "tensor<3x1x1x1xi64>")]


@pytest.mark.parametrize("window", [-1, 5])
def test_one_artifact_for_every_step(window):
    proto, rng = decoder(1, local_window_size=window), np.random.default_rng(window + 1)
    compiled, runner = lumir.compile(proto, target="cpu"), session(proto)
    for lengths in ([1, 1, 1], [2, 9, 5], [ROOM, 1, ROOM - 1], [17, 17, 17]):
        inputs = operands(rng, lengths, 1, max(lengths))
        found, (y, *caches) = compiled.run(inputs), expected_of(runner, inputs)
        np.testing.assert_allclose(found["y"], y, rtol=1e-4, atol=1e-5)
        for name, cache in zip(("nk", "nv"), caches, strict=True):
            for b, n in enumerate(lengths):
                np.testing.assert_allclose(found[name][b, :, :n], cache[b, :, :n], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("window", [-1, 4])
def test_one_artifact_for_the_first_prompt_and_the_chunks_after_it(window):
    length, rng = 4, np.random.default_rng(window + 1)
    proto = decoder(length, batch=1, local_window_size=window)
    compiled, runner = lumir.compile(proto, target="cpu"), session(proto)
    for total in (length, 2 * length, 5 * length, ROOM):
        inputs = operands(rng, [total], length, total)
        found, expected = compiled.run(inputs), expected_of(runner, inputs)
        np.testing.assert_allclose(found["y"], expected[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("causal", [0, 1])
@pytest.mark.parametrize("windows", [(-1, -1), (3, -1), (3, 1), (-1, 2)])
@pytest.mark.parametrize("m", [1, 4])
def test_the_standard_operator_bounds_keys_by_its_lengths(m, windows, causal):
    """Against the same with the mask written out, which a second input makes the importer do; no key gives zeros."""
    rng = np.random.default_rng(m)
    inputs = {"q": normal(rng, B, H, m, D), "k": normal(rng, B, G, ROOM, D), "v": normal(rng, B, G, ROOM, D)}
    inputs |= {"n": np.array([ROOM, 0, 9], np.int64)}
    names = dict(zip(("left_window_size", "right_window_size"), windows, strict=True))
    call = node("Attention", "q k v - - - n", "y", is_causal=causal, **names)
    masked = node("Attention", "q k v mask - - n", "y", is_causal=causal, **names)
    proto = model([call], inputs, ["y"], opset=26)
    ((_, _, _, type_),) = attentions(proto)
    assert type_ == "tensor<3x1x1x1xi64>"
    wanted = run(model([masked], inputs, ["y"], {"mask": np.ones((m, ROOM), bool)}, opset=26), inputs)["y"]
    np.testing.assert_allclose(run(proto, inputs)["y"], wanted, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        np.asarray(lumir.compile(proto, target="cpu").run(inputs)["y"]), wanted, rtol=1e-4, atol=1e-5
    )
    assert not wanted[1].any()


def generator() -> onnx.ModelProto:
    """As onnxruntime's model builder writes it: lengths and their most come from a mask of what is not padding."""
    inputs = [value(name, np.float32, ["batch", "seq", n * D]) for name, n in zip("qkv", (H, G, G), strict=True)]
    inputs += [value(name, np.float32, ["batch", G, "past", D]) for name in ("pk", "pv")]
    inputs += [value("mask", np.int64, ["batch", "total"])]
    nodes = [
        node("ReduceSum", "mask axis", "sum", keepdims=0),
        node("Sub", "sum one", "less"),
        node("Cast", "less", "lens", to=onnx.TensorProto.INT32),
        node("Shape", "mask", "shape"),
        node("Gather", "shape one", "most", axis=0),
        node("Cast", "most", "total", to=onnx.TensorProto.INT32),
        node("GroupQueryAttention", "q k v pk pv lens total", "y nk nv", MS, num_heads=H, kv_num_heads=G),
    ]
    return model(nodes, inputs, ["y", "nk", "nv"], {"axis": np.array([1]), "one": np.array(1)})


@pytest.mark.parametrize("past", [ROOM, "1..24"])
def test_one_artifact_generates(past):
    """A prompt, a chunk of another, and steps of ragged batches, in a buffer for all keys."""
    proto, rng = generator(), np.random.default_rng(3)
    dims = {"batch": "1..3", "seq": "1..8", "past": past, "total": "1..24"}
    compiled, runner = lumir.compile(proto, target="cpu", dims=dims), session(proto)
    for lengths, length in (([5], 5), ([14], 6), ([1], 1), ([7, 3, 6], 1), ([ROOM, 20], 1)):
        inputs = operands(rng, lengths, length, max(lengths))
        del inputs["lens"], inputs["total"]
        inputs["mask"] = (np.arange(max(lengths)) < np.array(lengths)[:, None]).astype(np.int64)
        found, (y, cache, _) = compiled.run(inputs), expected_of(runner, inputs)
        np.testing.assert_allclose(found["y"], y, rtol=1e-4, atol=1e-5)
        assert found["nk"].shape == cache.shape
        for b, n in enumerate(lengths):
            np.testing.assert_allclose(found["nk"][b, :, :n], cache[b, :, :n], rtol=1e-4, atol=1e-5)


def bounded(compare: str, order: str, dtype: Any, shape: list[int], reshaped: bool = False) -> onnx.ModelProto:
    """Attention under a mask that compares the places of keys with a number of each batch, which is an input."""
    inputs = [value(name, np.float32, [B, n, m, D]) for name, n, m in (("q", H, 1), ("k", G, ROOM), ("v", G, ROOM))]
    nodes = [node("Range", "zero room one", "places"), node(compare, order, "kept")]
    nodes += [node("Reshape", "kept target", "mask")] if reshaped else []
    mask = "mask" if reshaped else "kept"
    weights = {"zero": np.array(0, dtype), "room": np.array(ROOM, dtype), "one": np.array(1, dtype)}
    weights["target"] = np.array([B, 1, 1, ROOM])
    attention = node("Attention", f"q k v {mask}", "y")
    return model([*nodes, attention], [*inputs, value("n", dtype, shape)], ["y"], weights, opset=24)


def masks(proto: onnx.ModelProto) -> list[str]:
    """The element type of each attention's mask after the graph's recognition."""
    with make_context(), ir.Location.unknown():
        module, store = import_onnx(proto)
        with use_store(store):
            run_pipeline("builtin.module(lumir-canonicalize,lumir-fuse-attention{keep-empty-rows=true})", module)
        main = next(f for f in module.body if f.operation.name == "func.func")
        found = [op for op in main.operation.regions[0].blocks[0] if op.operation.name == "lumir.attention"]
        return [str(ir.RankedTensorType(op.operands[3].type).element_type) for op in found]


@pytest.mark.parametrize(
    ("compare", "order", "dtype", "shape", "reshaped"),
    [
        ("Less", "places n", np.int64, [B, 1, 1, 1], False),
        ("LessOrEqual", "places n", np.int32, [B, 1], True),
        ("Greater", "n places", np.int64, [B, 1, 1, 1], False),
        ("GreaterOrEqual", "n places", np.int64, [1], False),
    ],
)
def test_a_mask_that_compares_keys_with_a_number_is_read_as_one(compare, order, dtype, shape, reshaped):
    proto, rng = bounded(compare, order, dtype, shape, reshaped), np.random.default_rng(4)
    assert masks(proto) == ["i32" if dtype is np.int32 else "i64"]
    compiled = lumir.compile(proto, target="cpu")
    for given in ([0, 3, 9], [ROOM, ROOM + 5, -2], [np.iinfo(dtype).max, np.iinfo(dtype).min, 1]):
        inputs = {"q": normal(rng, B, H, 1, D), "k": normal(rng, B, G, ROOM, D), "v": normal(rng, B, G, ROOM, D)}
        inputs["n"] = np.array(given, dtype)[: np.prod(shape)].reshape(shape)
        wanted = run(proto, inputs)["y"]
        np.testing.assert_allclose(compiled.run(inputs)["y"], wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("compare", ["GreaterOrEqual", "Equal"])
def test_other_comparisons_stay_masks(compare):
    proto = bounded(compare, "places n", np.int64, [B, 1, 1, 1])
    assert masks(proto) == ["i1"]


def test_batches_that_are_held_against_a_number_are_no_keys():
    """Of one key, a mask over batches has the shape of one over batches and keys."""
    inputs = [value(name, np.float32, [B, n, 1, D]) for name, n in (("q", H), ("k", G), ("v", G))]
    nodes = [node("Range", "zero batches one", "places"), node("Less", "places n", "kept")]
    nodes += [node("Reshape", "kept target", "mask"), node("Attention", "q k v mask", "y")]
    weights = {"zero": np.array(0), "batches": np.array(B), "one": np.array(1), "target": np.array([B, 1, 1, 1])}
    proto = model(nodes, [*inputs, value("n", np.int64, [1])], ["y"], weights, opset=24)
    assert masks(proto) == ["i1"]
