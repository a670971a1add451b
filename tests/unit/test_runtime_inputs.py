"""What `run` says about inputs that do not fit."""

import numpy as np
import pytest
from runtime_helpers import write_add

import lumir
from lumir.diagnostics import UserError

GOOD = np.zeros(100, np.float32)


@pytest.fixture(scope="module")
def executables(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    write_add(folder / "one.lumir", (100,))
    write_add(folder / "two.lumir", (100, 200))
    return {name: lumir.load(folder / f"{name}.lumir", threads=1) for name in ("one", "two")}


class Refusing:
    def __dlpack_device__(self):
        return 1, 0

    def __dlpack__(self, **_):
        raise BufferError("not today")


class OnGpu(Refusing):
    """What a tensor in GPU memory looks like: DLPack's device 2."""

    def __dlpack_device__(self):
        return 2, 0

    def __dlpack__(self, **_):
        from lumir.runtime.dlpack import to_dlpack

        return to_dlpack(0x1000, "float32", (100,), (2, 0), owner=self)


@pytest.mark.parametrize(
    ("inputs", "code", "parts"),
    [
        ([GOOD, GOOD], "input-type", ["the inputs are a list", "x: float32[100]; y: float32[100]"]),
        ({"x": GOOD}, "missing-input", ["no value for input 'y'"]),
        ({}, "missing-input", ["no value for input 'x', 'y'"]),
        ({"x": GOOD, "y": GOOD, "mask": GOOD}, "unknown-input", ["the model has no input 'mask'"]),
        ({"x": GOOD, "Y": GOOD}, "unknown-input", ["no input 'Y'"]),
        ({"x": GOOD, "yy": GOOD}, "unknown-input", ["no input 'yy'", "did you mean 'y'?"]),
        ({"x": GOOD, "y": [0.0] * 100}, "input-type", ["input 'y' is a list, not an array", "numpy.asarray"]),
        ({"x": GOOD, "y": None}, "input-type", ["input 'y' is a NoneType"]),
        ({"x": GOOD, "y": "zeros"}, "input-type", ["input 'y' is a str"]),
        ({"x": GOOD, "y": np.float32(1)}, "input-rank", ["rank 0, and the model takes rank 1"]),
        ({"x": GOOD, "y": np.zeros(100)}, "input-dtype", ["element type float64, and the model takes float32"]),
        ({"x": GOOD, "y": np.zeros(100, "U3")}, "input-dtype", ["element type str"]),
        ({"x": GOOD, "y": np.array([object()] * 100)}, "input-dtype", ["element type object"]),
        ({"x": GOOD, "y": GOOD[None]}, "input-rank", ["input 'y' has rank 2", "shape given: [1, 100]"]),
        ({"x": GOOD, "y": GOOD[:99]}, "input-shape", ["input 'y' has shape [99], and the model takes [100]"]),
        ({"x": GOOD, "y": Refusing()}, "bad-dlpack", ["Refusing does not share its memory: not today"]),
        ({"x": GOOD, "y": OnGpu()}, "input-device", ["input 'y' is on a GPU", "tensor.cpu()"]),
    ],
)
def test_messages(executables, inputs, code, parts):
    with pytest.raises(UserError) as caught:
        executables["one"].run(inputs)
    assert caught.value.code == code
    for part in parts:
        assert part in str(caught.value)
    x = np.random.default_rng().random(100, np.float32)
    assert (executables["one"].run({"x": x, "y": x})["z"] == x + x).all()


def test_no_plan_lists_the_shapes(executables):
    for x, y in ((150, 150), (100, 200)):
        with pytest.raises(UserError) as caught:
            executables["two"].run({"x": np.zeros(x, np.float32), "y": np.zeros(y, np.float32)})
        assert caught.value.code == "no-plan"
        text = str(caught.value)
        assert f"no plan for x[{x}], y[{y}]" in text
        assert "plan 0: x[100], y[100]" in text
        assert "plan 1: x[200], y[200]" in text


def test_wrong_type_with_several_plans(executables):
    with pytest.raises(UserError, match="element type float64"):
        executables["two"].run({"x": np.zeros(200), "y": np.zeros(200, np.float32)})
