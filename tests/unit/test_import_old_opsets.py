"""Operators as old exporters wrote them: opsets 7 to 10 against onnxruntime, opset 6 against its meaning in opset 7."""

from typing import Any

import numpy as np
import onnx
import pytest
from import_helpers import model, node, run, session, value
from onnx import helper

RNG = np.random.default_rng(31)


def f32(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def old_model(
    op: str, inputs: list[Any], opset: int, outputs: int, static: int, **attributes: Any
) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """One node; inputs from number `static` on are initializers, and, as was the rule, inputs of the graph too."""
    names = [f"i{n}" for n in range(len(inputs))]
    arrays = {name: np.asarray(x) for name, x in zip(names, inputs, strict=True)}
    given, weights = dict(list(arrays.items())[:static]), dict(list(arrays.items())[static:])
    results = [f"o{n}" for n in range(outputs)]
    proto = model([node(op, " ".join(names), " ".join(results), **attributes)], given, results, weights, opset=opset)
    proto.ir_version = 3
    proto.graph.input.extend(value(name, array.dtype, array.shape) for name, array in weights.items())
    return proto, given


def check(op: str, inputs: list[Any], opset: int, outputs: int = 1, static: int = 99, **attributes: Any) -> None:
    proto, given = old_model(op, inputs, opset, outputs, static, **attributes)
    expected: list[Any] = list(session(proto).run(None, given))
    found = run(proto, given)
    for n, array in enumerate(expected):
        np.testing.assert_allclose(found[f"o{n}"], array, rtol=1e-4, atol=1e-4, strict=True)


@pytest.mark.parametrize("opset", [7, 8])
def test_shapes_and_slices_by_attribute(opset):
    check("Pad", [f32(2, 3)], opset, pads=[1, 0, 0, 2], value=1.5)
    check("Pad", [f32(3, 4)], opset, pads=[-1, 0, 0, 2], mode="reflect")
    check("Slice", [f32(4, 5)], opset, starts=[1, -3], ends=[1000, -1])
    check("Slice", [f32(4, 5)], opset, starts=[1], ends=[3], axes=[1])
    check("Split", [f32(2, 6)], opset, 2, axis=1, split=[2, 4])
    check("Squeeze", [f32(1, 2, 1)], opset, axes=[0])
    check("Unsqueeze", [f32(2, 3)], opset, axes=[0, 3])
    check("Clip", [f32(3, 4)], opset, min=-0.2, max=0.3)
    check("Reshape", [f32(2, 3, 4), np.array([0, -1])], opset, static=1)
    check("TopK", [f32(3, 6)], opset, 2, k=2, axis=0)
    check("ReduceSum", [f32(2, 3, 4)], opset, axes=[1], keepdims=0)
    check("Dropout", [f32(3, 4)], opset, ratio=0.3)


@pytest.mark.parametrize("opset", [7, 8])
def test_operators_over_flattened_dimensions(opset):
    check("Softmax", [f32(2, 3, 4)], opset)
    check("LogSoftmax", [f32(2, 3, 4)], opset, axis=0)
    check("Hardmax", [f32(2, 3, 4)], opset, axis=2)


@pytest.mark.parametrize("opset", [7, 8])
def test_statistics_by_channel_or_by_position(opset):
    check("BatchNormalization", [f32(2, 3, 4, 5), f32(3), f32(3), f32(3), np.abs(f32(3))], opset)
    each = [f32(3, 4, 5) for _ in range(3)]
    check("BatchNormalization", [f32(2, 3, 4, 5), *each, np.abs(f32(3, 4, 5))], opset, spatial=0)


def test_resampling():
    for scales in ([1.0, 1.0, 2.0, 3.0], [1.0, 1.0, 2.0, 2.5]):
        for mode in ("nearest", "linear"):
            check("Upsample", [f32(1, 2, 3, 4)], 7, scales=scales, mode=mode)
            check("Upsample", [f32(1, 2, 3, 4), np.array(scales, np.float32)], 9, static=1, mode=mode)
    for scales in ([1, 1, 2, 2], [1, 1, 0.5, 0.5], [1, 1, 1.7, 0.6]):
        for mode in ("nearest", "linear"):
            check("Resize", [f32(1, 2, 5, 7), np.array(scales, np.float32)], 10, static=1, mode=mode)


def test_regions():
    corners = [[0, 0, 0, 7, 8], [1, 2.4, 1, 5.6, 6], [0, 6, 7, 20, 20], [1, 3, 3, 3, 3], [0, 5, 5, 2, 2]]
    check("MaxRoiPool", [f32(2, 3, 9, 8), np.array(corners, np.float32)], 8, pooled_shape=[3, 2])
    check("MaxRoiPool", [f32(2, 3, 9, 8), np.array(corners, np.float32)], 8, pooled_shape=[2, 2], spatial_scale=0.5)
    boxes = [f32(2, 3, 9, 8), np.array([[0, 0, 7, 8], [2.4, 1, 5.6, 6]], np.float32), np.array([0, 1])]
    check("RoiAlign", boxes, 10, output_height=3, output_width=2, sampling_ratio=2)


def test_experiments():
    check("ImageScaler", [f32(1, 3, 4, 4)], 7, scale=0.5, bias=[1.0, 2.0, 3.0])
    check("Affine", [f32(3, 4)], 7, alpha=2.0, beta=1.0)
    check("ParametricSoftplus", [f32(3, 4)], 7, alpha=2.0, beta=3.0)
    check("ScaledTanh", [f32(3, 4)], 7, alpha=2.0, beta=0.5)
    check("Crop", [f32(1, 2, 8, 9)], 7, border=[1, 2, 3, 1])
    check("Crop", [f32(1, 2, 8, 9)], 7, border=[1, 2, 3, 1], scale=[3, 4])


def check_against_opset_7(op: str, inputs: list[Any], old: dict[str, Any], new: list[Any] | None = None, **same: Any):
    """The node in opset 6, with the attributes `old`, is the node of opset 7 with the inputs `new` in onnxruntime."""
    proto, given = old_model(op, inputs, 6, 1, 99, **old, **same)
    later, later_given = old_model(op, new or inputs, 7, 1, 99, **same)
    expected = session(later).run(None, later_given)[0]
    np.testing.assert_allclose(run(proto, given)["o0"], np.asarray(expected), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div"])
def test_broadcasting_along_an_axis(op):
    x, y = f32(2, 3, 4), f32(3)
    check_against_opset_7(op, [x, y], {"broadcast": 1, "axis": 1}, [x, y[:, None]])
    check_against_opset_7(op, [x, f32(4)], {"broadcast": 1})
    check_against_opset_7(op, [x, f32(2, 3, 4)], {})


def test_comparisons_and_powers_along_an_axis():
    x, y = np.abs(f32(2, 3)), np.abs(f32(2))
    check_against_opset_7("Pow", [x, y], {"broadcast": 1, "axis": 0}, [x, y[:, None]])
    for op in ("Less", "Greater"):
        check_against_opset_7(op, [x, y], {"broadcast": 1, "axis": 0}, [x, y[:, None]])
    a, b = x > 0.5, y > 0.5
    check_against_opset_7("And", [a, b], {"broadcast": 1, "axis": 0}, [a, b[:, None]])


def test_inference_by_attribute():
    check_against_opset_7("Dropout", [f32(3, 4)], {"is_test": 1})
    parameters = [f32(3), f32(3), f32(3), np.abs(f32(3))]
    check_against_opset_7("BatchNormalization", [f32(2, 3, 4, 5), *parameters], {"is_test": 1})
    check_against_opset_7("Gemm", [f32(2, 3), f32(3, 4), f32(4)], {"broadcast": 1}, alpha=0.5, beta=2.0)
    slope = f32(3)
    x = f32(2, 3, 4)
    check_against_opset_7("PRelu", [x, slope], {}, [x, slope[:, None]])


@pytest.mark.parametrize(("op", "gates"), [("LSTM", 4), ("GRU", 3), ("RNN", 1)])
def test_recurrent_layers(op, gates):
    weights = [f32(1, gates * 4, 3), f32(1, gates * 4, 4), f32(1, 2 * gates * 4)]
    check_against_opset_7(op, [f32(5, 2, 3), *weights], {"output_sequence": 1} if op != "GRU" else {}, hidden_size=4)


def test_upsampling_by_height_and_width():
    x = f32(1, 2, 3, 4)
    proto, given = old_model("Upsample", [x], 6, 1, 99, height_scale=2.0, width_scale=3.0)
    np.testing.assert_array_equal(run(proto, given)["o0"], x.repeat(2, 2).repeat(3, 3))


def test_a_loop_of_opset_6():
    body = helper.make_graph(
        [node("Add", "x x", "y"), node("Identity", "c", "d")],
        "body",
        [value("i", np.int64, []), value("c", np.bool_, []), value("x", np.float32, [2])],
        [value("d", np.bool_, []), value("y", np.float32, [2])],
    )
    x = f32(2)
    inputs, weights = {"x0": x}, {"n": np.array(3), "go": np.array(True)}
    proto = model([node("Loop", "n go x0", body=body)], inputs, ["y"], weights, opset=6)
    np.testing.assert_array_equal(run(proto, inputs)["y"], 8 * x)
