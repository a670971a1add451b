"""The small ones of ONNX's light models with random weights; `benchmarks/light_models.py` runs all nine."""

import numpy as np
import onnxruntime
import pytest
from light_models import NAMES, filled_model, image

import lumir


def test_there_are_nine():
    assert len(NAMES) == 9


@pytest.mark.parametrize("name", ["shufflenet", "squeezenet"])
def test_equals_onnxruntime(name: str):
    model = filled_model(name)
    inputs = image(model)
    found = lumir.compile(model).run(inputs)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    for output, expected in zip(session.get_outputs(), map(np.asarray, session.run(None, inputs)), strict=True):
        scale = np.abs(expected).max()
        assert np.ptp(expected) > 0.1 * scale, "a uniform output would show nothing"
        np.testing.assert_allclose(found[output.name], expected, rtol=0, atol=1e-5 * scale)
