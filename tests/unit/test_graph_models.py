"""The graph step on exported models: attention and normalisation are whole again, and the outputs stay."""

import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from lumir.context import make_context
from lumir.frontend import import_onnx
from lumir.graph.known import use_store
from lumir.mlir import ir
from lumir.passes import run_pipeline
from lumir.reference import evaluate

sys.path.insert(0, str(Path(__file__).parents[1] / "models"))
import catalog

PASSES = (
    "lumir-canonicalize,lumir-fuse-normalization,lumir-fuse-attention,lumir-fold-constants,"
    "lumir-merge-contractions,lumir-canonicalize"
)
ATTENTIONS = {"resnet": 0}
NORMALIZATIONS = {"resnet": 0, "qwen3": 9}


def cases():
    for path in catalog.MODELS:
        for number, dims in enumerate(catalog.default_dims(path)):
            yield pytest.param(path, dims, id=f"{path.stem}-{number}")


def compute(path, dims, passes):
    """Outputs before and after the passes (the second ones in the declared precision), and the ops that are left."""
    with make_context(), ir.Location.unknown():
        module, store = import_onnx(path, dims=dims)
        inputs = catalog.random_inputs(path, 5, dims)
        before = evaluate(module, store, inputs, "float64")
        with use_store(store):
            run_pipeline(f"builtin.module({passes})", module)
        after = [evaluate(module, store, inputs, precision) for precision in ("float64", "declared")]
        main = next(f for f in module.body if f.operation.name == "func.func")
        count = Counter(op.operation.name.removeprefix("lumir.") for op in main.operation.regions[0].blocks[0])
    return before, *after, count


@pytest.mark.parametrize(("path", "dims"), list(cases()))
def test_models(path, dims):
    before, after, _, count = compute(path, dims, PASSES)
    for name, expected in before.items():
        np.testing.assert_allclose(after[name], expected, 1e-6, 1e-6)
    assert count["attention"] == ATTENTIONS.get(path.stem, 2)
    assert count["normalize"] == NORMALIZATIONS.get(path.stem, 5)
    assert not {"isnan", "rsqrt", "pow", "gather_nd"} & set(count) or path.stem == "mixtral"
    if path.stem != "mixtral":
        assert not {"broadcast", "softmax"} & set(count)


@pytest.mark.parametrize("to", ["f16", "bf16"])
@pytest.mark.parametrize(("path", "dims"), [case for case in cases() if str(case.id).endswith("-1")])
def test_models_in_half_precision(path, dims, to):
    """Largest error relative to the spread of the output: a few roundings of 2**-11 or 2**-8 a layer."""
    passes = f"{PASSES.rsplit(',', 3)[0]},lumir-convert-precision{{to={to}}},lumir-canonicalize"
    before, _, short, _ = compute(path, dims, passes)
    for name, expected in before.items():
        assert short[name].dtype == np.float32
        error = np.abs(short[name] - expected).max() / np.std(expected)
        assert error < (0.02 if to == "f16" else 0.15), (name, error)
