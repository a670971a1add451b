"""Attention in whole models on a GPU: workspaces, counters and tensor maps through planner, artifact and graph."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import lumir.api

pytestmark = pytest.mark.gpu
HEADS, GROUPS, DEPTH = 8, 2, 64


def expected(q: np.ndarray, k: np.ndarray, v: np.ndarray, causal: bool) -> np.ndarray:
    q, k, v = (x.astype(np.float64) for x in (q, k, v))
    k, v = (np.repeat(x, HEADS // GROUPS, axis=1) for x in (k, v))
    scores = q @ k.transpose(0, 1, 3, 2) * DEPTH**-0.5
    if causal:
        scores = np.where(np.tri(*scores.shape[-2:], dtype=bool), scores, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True) @ v


def model(prompt: int, context: int | str) -> onnx.ModelProto:
    """A causal attention over a prompt, and two of one token over a context, the second of the first one's result."""
    shapes = {
        "q0": (1, HEADS, prompt, DEPTH),
        "k0": (1, GROUPS, prompt, DEPTH),
        "v0": (1, GROUPS, prompt, DEPTH),
        "q1": (1, HEADS, 1, DEPTH),
        "k1": (1, GROUPS, context, DEPTH),
        "v1": (1, GROUPS, context, DEPTH),
    }
    nodes = [
        helper.make_node("Attention", ["q0", "k0", "v0"], ["y0"], name="prompt", is_causal=1),
        helper.make_node("Attention", ["q1", "k1", "v1"], ["token"], name="token"),
        helper.make_node("Attention", ["token", "k1", "v1"], ["y1"], name="again"),
    ]
    half = TensorProto.FLOAT16
    inputs = [helper.make_tensor_value_info(name, half, shape) for name, shape in shapes.items()]
    outputs = [helper.make_tensor_value_info(f"y{i}", half, shapes[f"q{i}"]) for i in (0, 1)]
    graph = helper.make_graph(nodes, "g", inputs, outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)])


def check(executable: lumir.Executable, prompt: int, context: int) -> None:
    """Run twice on new inputs: the same bits, and those of numpy but for their rounding."""
    rng = np.random.default_rng(prompt + context)
    shapes = {"q0": (HEADS, prompt), "k0": (GROUPS, prompt), "v0": (GROUPS, prompt)}
    shapes |= {"q1": (HEADS, 1), "k1": (GROUPS, context), "v1": (GROUPS, context)}
    inputs = {name: rng.standard_normal((1, *shape, DEPTH)).astype(np.float16) for name, shape in shapes.items()}
    found, again = executable.run(inputs), executable.run(inputs)
    for name in ("y0", "y1"):
        np.testing.assert_array_equal(found[name].view(np.uint16), again[name].view(np.uint16))
    q, k, v = (inputs[f"{name}0"] for name in "qkv")
    np.testing.assert_allclose(found["y0"], expected(q, k, v, causal=True), rtol=0, atol=4e-3)
    token = expected(inputs["q1"], inputs["k1"], inputs["v1"], causal=False).astype(np.float16)
    wanted = expected(token, inputs["k1"], inputs["v1"], causal=False)
    np.testing.assert_allclose(found["y1"], wanted, rtol=0, atol=2e-3)


@pytest.mark.parametrize(("prompt", "context"), [(256, 4096), (200, 1777)])
def test_a_prompt_and_a_token_again_and_again(prompt, context):
    """Runs replay one graph: counters that one run left behind would show in the next."""
    executable = lumir.api.compile(model(prompt, context), target="cuda")
    for _ in range(5):
        check(executable, prompt, context)


def test_one_compile_for_every_context():
    executable = lumir.api.compile(model(256, "context"), target="cuda", dims={"context": (64, 8192)})
    for context in (64, 65, 1000, 4096, 8192, 64):
        check(executable, 256, context)
