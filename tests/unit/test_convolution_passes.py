"""Passes that give convolutions other channels: the interpreter finds the same numbers before and after."""

import convolution_cases
import numpy as np
import pytest
from nvidia_helpers import harness

from lumir.graph.fold_columns import FoldColumns
from lumir.graph.merge_groups import MergeGroups
from lumir.mlir import ir
from lumir.module import dispatches
from lumir.reference import Interpreter

FOLDED = {
    "7x7": {"x": (2, 15, 16, 4), "w": (8, 7, 7, 4), "strides": 2, "low": 3},
    "3x3": {"x": (2, 16, 16, 4), "w": (8, 3, 3, 4), "strides": 2, "low": 1},
    "3x3-unpadded": {"x": (2, 16, 14, 4), "w": (8, 3, 3, 4), "strides": 2},
    "3x3-padded-behind": {"x": (2, 16, 14, 4), "w": (8, 3, 3, 4), "strides": 2, "low": 0, "high": 1},
    "4x4": {"x": (2, 16, 16, 4), "w": (8, 4, 4, 4), "strides": 2, "low": 1},
    "2x2": {"x": (2, 16, 16, 4), "w": (8, 2, 2, 4), "strides": 2},
    "fours": {"x": (2, 16, 16, 2), "w": (8, 5, 6, 2), "strides": 4, "low": 2, "high": 1},
    "one-dimensional": {"x": (2, 32, 4), "w": (8, 5, 4), "strides": 2, "low": 2},
}
MERGED = {
    "fours": {"x": (1, 33, 33, 128), "w": (128, 3, 3, 4), "low": 1, "groups": 32},
    "thirty-twos": {"x": (1, 33, 33, 128), "w": (64, 1, 1, 32), "groups": 4},
    "more-filters": {"x": (1, 33, 33, 64), "w": (128, 3, 3, 16), "groups": 4, "strides": 1, "low": 1},
    "strided": {"x": (2, 65, 65, 64), "w": (64, 3, 3, 8), "groups": 8, "strides": 2, "low": 1, "residual": True},
}


@pytest.fixture(autouse=True)
def _context():
    with harness.kernel_context():
        yield


@pytest.mark.parametrize(("kind", "name"), [(FoldColumns, n) for n in FOLDED] + [(MergeGroups, n) for n in MERGED])
def test_the_numbers_stay(kind, name):
    text = convolution_cases.convolution(**(FOLDED if kind is FoldColumns else MERGED)[name])
    before, after = ir.Module.parse(text), ir.Module.parse(text)
    kind().run(after)
    assert str(before) != str(after)
    results = []
    for module in (before, after):
        rng = np.random.default_rng(7)
        (function,) = dispatches(module)
        block, interpreter = function.regions[0].blocks[0], Interpreter(module.operation, precision="float64")
        types = [ir.RankedTensorType(a.type) for a in block.arguments]
        held = [interpreter.hold(rng.standard_normal(tuple(t.shape)).astype(np.float16)) for t in types]
        results.append(interpreter.region(block, held))
    for first, second in zip(*results, strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-12, atol=1e-12)
