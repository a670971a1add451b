"""Which kernels the products of whole models get on a Hopper GPU: gated, quantised, rounded, of open sizes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

import lumir
from lumir.compile import Request, compile_to
from lumir.module import dispatches

DEPTH, WIDTH = 128, 192
RNG = np.random.default_rng(5)
OPEN = {"b": "1..4", "s": "1..300"}


def f32(*shape: int) -> np.ndarray:
    return (RNG.standard_normal(shape) / 8).astype(np.float32)


def model(nodes: Sequence[NodeProto], constants: dict[str, Any], kind: int = TensorProto.FLOAT) -> ModelProto:
    """x[b, s, 128] -> y[b, s, 192]."""
    values = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    x, y = (helper.make_tensor_value_info(n, kind, ["b", "s", size]) for n, size in (("x", DEPTH), ("y", WIDTH)))
    graph = helper.make_graph(list(nodes), "g", [x], [y], values)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def op(name: str, inputs: str, outputs: str = "y", **attributes: Any) -> NodeProto:
    return helper.make_node(name, inputs.split(), outputs.split(), **attributes)


SILU_TIMES = [op("Sigmoid", "g", "s"), op("Mul", "g s", "a"), op("Mul", "a u")]


def gated() -> ModelProto:
    nodes = [op("MatMul", "x w", "g"), op("MatMul", "x v", "u"), *SILU_TIMES]
    return model(nodes, {"w": f32(DEPTH, WIDTH), "v": f32(DEPTH, WIDTH)})


def gated_with_biases() -> ModelProto:
    biased = [op("MatMul", "x w", "p"), op("Add", "p b", "g"), op("MatMul", "x v", "q"), op("Add", "q c", "u")]
    constants = {"w": f32(DEPTH, WIDTH), "v": f32(DEPTH, WIDTH), "b": f32(WIDTH), "c": f32(WIDTH)}
    return model([*biased, *SILU_TIMES], constants)


def gated_as_one() -> ModelProto:
    split = op("Split", "h", "g u", axis=-1, num_outputs=2)
    return model([op("MatMul", "x w", "h"), split, *SILU_TIMES], {"w": f32(DEPTH, 2 * WIDTH)})


def plain() -> ModelProto:
    return model([op("MatMul", "x w", "h"), op("Relu", "h")], {"w": f32(DEPTH, WIDTH)})


def quantised() -> ModelProto:
    """uint8 activations times an int8 weight with a scale for each column."""
    constants = {
        "xs": np.float32(0.02),
        "xz": np.uint8(120),
        "w": RNG.integers(-127, 128, (DEPTH, WIDTH)).astype(np.int8),
        "ws": (RNG.random(WIDTH) / 100 + 1e-3).astype(np.float32),
        "wz": np.zeros(WIDTH, np.int8),
        "ys": np.float32(0.5),
        "yz": np.uint8(128),
    }
    return model([op("QLinearMatMul", "x xs xz w ws wz ys yz")], constants, TensorProto.UINT8)


def families(proto: ModelProto, precision: str | None, dims: dict[str, Any]) -> list[str]:
    """Of the dispatches on sm_90a; `map` casts the input."""
    compiled = compile_to(Request(proto, "sm_90a", [dims], precision), "schedule")
    module = compiled.specialisations[0].module
    with compiled.context:
        found = [function.attributes["lumir.family"].value for function in dispatches(module)]
    return [family for family in found if family != "map"]


@pytest.mark.parametrize("dims", [{"b": 2, "s": 150}, OPEN], ids=["fixed", "open"])
@pytest.mark.parametrize(
    ("make", "precision"),
    [
        (gated, "fp16"),
        (gated, "bf16"),
        (gated_with_biases, "fp16"),
        (gated_as_one, "fp16"),
        (gated_as_one, "tf32"),
        (plain, "tf32"),
        (quantised, None),
    ],
)
def test_one_kernel_multiplies_and_does_the_rest(make, precision, dims):
    assert families(make(), precision, dims) == ["wgmma"]


def test_float32_is_rounded_only_where_that_is_asked_for():
    assert families(plain(), None, {"b": 2, "s": 150}) == ["contraction"]


def test_bands_that_no_family_combines_are_a_product_and_what_follows():
    compiled = compile_to(Request(gated_as_one(), "sm_90a", [{"b": 2, "s": 150}]), "schedule")
    with compiled.context:
        functions = dispatches(compiled.specialisations[0].module)
        assert [f.attributes["lumir.family"].value for f in functions] == ["contraction", "map"]


def test_the_mark_of_rounding_changes_nothing_on_a_cpu():
    proto, x = plain(), f32(2, 5, DEPTH)
    exact, marked = (
        lumir.compile(proto, dims={"b": 2, "s": 5}, precision=p).run({"x": x})["y"] for p in (None, "tf32")
    )
    np.testing.assert_array_equal(exact, marked)
