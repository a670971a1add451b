"""Floats of 8, 6 and 4 bits and integers of 4 and 2, in and out of a compiled model."""

import ml_dtypes
import numpy as np
import pytest
from import_helpers import model, node
from onnx import helper

import lumir

FLOATS = [
    "float8_e4m3fn",
    "float8_e4m3fnuz",
    "float8_e5m2",
    "float8_e5m2fnuz",
    "float6_e2m3fn",
    "float6_e3m2fn",
    "float4_e2m1fn",
]
INTEGERS = ["int4", "uint4", "int2", "uint2"]


@pytest.mark.parametrize("name", [*FLOATS, *INTEGERS])
@pytest.mark.parametrize("size", [1, 8, 37])
def test_a_round_trip_rounds_as_ml_dtypes_does(name, size):
    dtype = np.dtype(getattr(ml_dtypes, name))
    info = ml_dtypes.finfo(dtype) if "float" in name else ml_dtypes.iinfo(dtype)
    x = np.random.default_rng(size).uniform(float(info.min), float(info.max), size).astype(np.float32)
    number = helper.np_dtype_to_tensor_dtype(dtype)
    there = model([node("Cast", "x", to=number), node("Cast", "y", "z", to=1)], {"x": x}, ["y", "z"], opset=28)
    found, expected = lumir.compile(there).run({"x": x}), x.astype(dtype)
    assert found["y"].dtype == dtype
    np.testing.assert_array_equal(found["y"].astype(np.float32), expected.astype(np.float32))
    np.testing.assert_array_equal(found["z"], expected.astype(np.float32))
    back = model([node("Cast", "x", to=1)], {"x": expected}, ["y"], opset=28)
    np.testing.assert_array_equal(lumir.compile(back).run({"x": expected})["y"], expected.astype(np.float32))
