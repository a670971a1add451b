# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
"""Small models that were once compiled wrongly, each named by what was wrong."""

import numpy as np
import pytest
from import_helpers import model, node, session

import lumir
from lumir.diagnostics import UnsupportedError

ROW = np.arange(1, 7, dtype=np.float32).reshape(2, 3)


def check(proto, inputs, rtol=1e-6):
    """Compiled for the CPU, every output equals onnxruntime's in type and value."""
    runner = session(proto)
    expected = runner.run(None, dict(inputs))
    found = lumir.compile(proto, target="cpu").run(dict(inputs))
    for info, array in zip(runner.get_outputs(), expected, strict=True):
        result = found[info.name]
        assert (result.dtype, result.shape) == (array.dtype, array.shape), info.name
        np.testing.assert_allclose(result, array, rtol=rtol, atol=0, err_msg=info.name)


def test_a_float_attribute_left_out_is_a_float32():
    """An epsilon of 1e-5 was taken as float64, where a model that writes it down says float32."""
    x, variance = np.linspace(-2, 2, 6).reshape(1, 2, 3), np.array([0.01, 0.02])
    inputs = {"x": x, "s": np.ones(2), "b": np.zeros(2), "m": np.zeros(2), "v": variance}
    check(model([node("BatchNormalization", "x s b m v")], inputs, ["y"]), inputs, rtol=1e-14)


def test_hard_swish_multiplies_by_a_sixth_in_float32():
    inputs = {"x": np.linspace(-4, 4, 9)}
    check(model([node("HardSwish", "x")], inputs, ["y"], opset=18), inputs, rtol=1e-14)


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER"])
def test_conv_transpose_does_not_pad_a_window_shorter_than_its_stride(auto_pad):
    """Negative pads made the output input * stride long."""
    inputs = {"x": ROW.reshape(1, 1, 6), "w": np.full((1, 1, 1), 2, np.float32)}
    proto = model([node("ConvTranspose", "x w", auto_pad=auto_pad, strides=[3], kernel_shape=[1])], inputs, ["y"])
    check(proto, inputs)


def test_split_into_an_empty_part():
    """The slice of no elements began outside of the tensor, which MLIR does not allow."""
    inputs = {"x": ROW}
    check(model([node("Split", "x n", "a b c", axis=1)], inputs, ["a", "b", "c"], {"n": np.array([2, 1, 0])}), inputs)


def test_slice_of_an_empty_tensor():
    inputs = {"x": np.zeros((0, 4), np.float32)}
    weights = {"s": np.array([1]), "e": np.array([3]), "a": np.array([1])}
    check(model([node("Slice", "x s e a")], inputs, ["y"], weights), inputs)


@pytest.mark.parametrize("is_known", [False, True])
@pytest.mark.parametrize("start, end", [(-7, -3), (-7, -100), (-3, -100), (7, -100), (1, -1), (0, 5)])
def test_slice_backwards_from_before_the_first_element(start, end, is_known):
    """It takes the first element; numpy's slice is empty."""
    values = {"s": np.array([start]), "e": np.array([end]), "a": np.array([1]), "t": np.array([-2])}
    inputs, weights = ({}, values | {"x": ROW}) if is_known else ({"x": ROW}, values)
    check(model([node("Slice", "x s e a t")], inputs, ["y"], weights), inputs)


@pytest.mark.parametrize("dtype, least", [(np.uint8, 0), (np.int8, -128), (np.float32, -np.inf)])
def test_max_pool_does_not_index_padding_that_equals_an_element(dtype, least):
    """The index of an element that is the type's least pointed at the padding before it."""
    inputs = {"x": np.array([[[least, least, 3, least]]], dtype)}
    attributes = {"kernel_shape": [2], "pads": [1, 1], "strides": [1]}
    check(model([node("MaxPool", "x", "y i", **attributes)], inputs, ["y", "i"]), inputs)


def test_statistics_of_a_float64_layer_normalization_are_float32():
    inputs = {"x": np.linspace(-2, 2, 6).reshape(2, 3), "w": np.ones(3)}
    proto = model([node("LayerNormalization", "x w", "y m d")], inputs, ["y", "m", "d"])
    check(proto, inputs, rtol=1e-5)


def test_group_normalization_of_the_deprecated_opset():
    """The checker's refusal of a deprecated operator was taken for an invalid model."""
    inputs = {"x": np.linspace(-2, 2, 24, dtype=np.float32).reshape(1, 4, 6)}
    weights = {"s": np.array([1, 2], np.float32), "b": np.array([0, 1], np.float32)}
    check(
        model([node("GroupNormalization", "x s b", num_groups=2)], inputs, ["y"], weights, opset=18), inputs, rtol=1e-4
    )


def test_a_recurrence_of_single_numbers_compiles():
    """LLVM's loop vectorizer never came to an end on its last step."""
    inputs = {"x": np.array([-0.0, 0.375, 0.625], np.float32).reshape(3, 1, 1)}
    gates = np.array([1.375, -0.375, 0.625, 1.25], np.float32).reshape(1, 4, 1)
    weights = {"w": gates, "c": np.full((1, 1, 1), 0.25, np.float32), "p": np.array([[0.75, 1, 0.125]], np.float32)}
    activations = ["Sigmoid", "Tanh", "Tanh"], ["Tanh", "Sigmoid", "Tanh"]
    for chosen in activations:
        lstm = node("LSTM", "x w w    c p", "y", hidden_size=1, activations=chosen)
        lstm.input[:] = ["x", "w", "w", "", "", "", "c", "p"]
        check(model([lstm], inputs, ["y"], weights), inputs, rtol=1e-5)


def test_a_negative_zero_plus_zero_is_a_zero():
    """Its reciprocal showed the sign that x + 0 must not keep."""
    inputs = {"x": np.array([-0.0, 0.0], np.float32)}
    nodes = [node("Add", "x z", "a"), node("Reciprocal", "a")]
    check(model(nodes, inputs, ["y"], {"z": np.array(0, np.float32)}), inputs)


def test_dynamic_quantisation_of_zeros():
    """The scale was 0, by which other things are divided."""
    inputs = {"x": np.zeros((2, 3), np.float32)}
    check(model([node("DynamicQuantizeLinear", "x", "y s z")], inputs, ["y", "s", "z"]), inputs)


def test_a_product_whose_depth_may_differ_says_which_size_to_pin():
    """It said that the model breaks ONNX's rules."""
    proto = model(
        [node("MatMul", "x w")], {"x": np.zeros((2, 3), np.float32)}, ["y"], {"w": np.ones((3, 4), np.float32)}
    )
    proto.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "depth"
    with pytest.raises(UnsupportedError, match="depth == 3 depends on depth"):
        lumir.compile(proto, target="cpu", dims={"depth": (1, 8)})
