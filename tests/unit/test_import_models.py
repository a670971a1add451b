"""Whole exported models: every fixture imports, and computes what onnxruntime computes."""

import importlib.util
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from lumir.context import make_context
from lumir.diagnostics import LumirError
from lumir.frontend import import_onnx
from lumir.mlir import ir
from lumir.reference import evaluate

FOLDER = Path(__file__).parents[1] / "models"


def _load(name: str):
    spec = importlib.util.spec_from_file_location(f"model_{name}", FOLDER / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


catalog = _load("catalog")


@pytest.mark.parametrize("path", catalog.MODELS, ids=lambda path: path.stem)
def test_model_computes_what_onnxruntime_computes(path):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    for dims in catalog.default_dims(path):
        inputs = catalog.random_inputs(path, seed=3, dims=dims)
        with make_context(), ir.Location.unknown():
            module, store = import_onnx(path, dims=dims)
            assert module.operation.verify()
            found = evaluate(module, store, inputs)
        for item, expected in zip(session.get_outputs(), session.run(None, inputs), strict=True):
            expected = np.asarray(expected)
            assert found[item.name].dtype == expected.dtype
            np.testing.assert_allclose(found[item.name], expected, rtol=1e-4, atol=1e-5, err_msg=item.name)


def test_broken_models_get_a_clear_error(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    broken = _load("broken")
    for name, make in broken.BAD.items():
        with make_context(), ir.Location.unknown(), pytest.raises(LumirError) as caught:
            import_onnx(make(tmp_path), dims={"batch": 3})
        assert caught.value.kind != "internal error", name
        assert caught.value.code not in ("error", "user-error", "unsupported"), name
        assert caught.value.code != "dimension-unknown", name
