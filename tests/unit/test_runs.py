"""Windows read with an overlap: copies and tiles in shared memory, as the producer places them, in numpy."""

import itertools
from typing import cast

import convolution_cases
import numpy as np
import pytest
from nvidia_helpers import harness

from lumir.artifact.tensor_map import TensorMap
from lumir.kernels.families import choose
from lumir.kernels.index import Index, IndexMath
from lumir.kernels.nvidia.contraction_wgmma import WgmmaFamily
from lumir.kernels.nvidia.tma_runs import RunMatrices
from lumir.kernels.nvidia.wgmma import OVERLAP
from lumir.kernels.nvidia.wgmma_reading import reading_of
from lumir.kernels.nvidia.wgmma_schedule import WgmmaSchedule, problem_of
from lumir.mlir import ir

NAMES = [name for name in convolution_cases.CASES if name.startswith("runs")]
SCHEDULE = WgmmaSchedule(128, 64, 3)


@pytest.fixture(autouse=True)
def _context():
    with harness.kernel_context():
        yield


def fixed(values: list[ir.Value]) -> list[int]:
    return [value.owner.attributes["value"].value for value in values]


def copied(array: np.ndarray, map_: TensorMap, place: list[int]) -> np.ndarray:
    """The elements of the box at a place, the innermost dimension last, zeros outside."""
    taken = [range(0, size, step) for size, step in zip(map_.box, map_.steps, strict=True)]
    at = np.meshgrid(*(start + np.array(i) for start, i in zip(place, taken, strict=True)), indexing="ij")
    inside = np.logical_and.reduce([(i >= 0) & (i < size) for i, size in zip(at, map_.dims, strict=True)])
    strides = [array.itemsize, *map_.strides]
    byte = map_.offset + sum(i * stride for i, stride in zip(at, strides, strict=True))
    elements = array.reshape(-1)[np.where(inside, byte, 0) // array.itemsize]
    return np.where(inside, elements, 0).T


@pytest.mark.parametrize("name", NAMES)
def test_lines_with_an_overlap_are_the_windows(name):
    text = convolution_cases.CASES[name]()
    built = harness.build(text, WgmmaFamily(), schedule=SCHEDULE)
    _module, dispatch = harness.lowered(text)
    problem = problem_of(dispatch, SCHEDULE)
    runs, (batch, lines, filters, _), taps = problem.reading.left.matrices, problem.reading.shape, problem.reading.taps
    assert isinstance(runs, RunMatrices) and problem.steps == 1 and problem.stage_taps == taps
    images, weights, bias, _, *rest = harness.random_inputs(built, 5)
    map_ = built.code.tensor_maps[0]
    total = np.zeros((batch, lines, filters))
    weights_of = weights.reshape(filters, taps, -1).astype(np.float64)
    index, module = IndexMath(ir.IntegerType.get_signless(32)), ir.Module.create()
    with ir.InsertionPoint(module.body):
        for number, first in itertools.product(range(batch), range(0, lines, SCHEDULE.m)):
            place = fixed(runs.place(index, Index(number * taps), Index(first), Index(0)))
            tile = copied(images, map_, place).reshape(taps, runs.row(SCHEDULE.m))
            rows = min(SCHEDULE.m, lines - first)
            starts = runs.lead + np.arange(rows)[:, None] * (OVERLAP // images.itemsize) + np.arange(runs.run)
            windows = tile[:, starts].astype(np.float64)
            total[number, first : first + rows] += np.einsum("trk,ftk->rf", windows, weights_of)
    lowest = np.full((), -400, bias.dtype)
    (wanted,) = harness.expected(built, [images, weights, 0 * bias, lowest, *(0 * other for other in rest)])
    np.testing.assert_allclose(total.reshape(wanted.shape), wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_they_assemble(name):
    for schedule in (*harness.legal_schedules(convolution_cases.CASES[name](), WgmmaFamily())[:1], SCHEDULE):
        report = harness.build(convolution_cases.CASES[name](), WgmmaFamily(), schedule=schedule).assemble()
        assert report.spills <= 16 and not report.warnings


def test_a_row_begins_on_16_bytes():
    """Elsewhere a copy is an illegal instruction."""
    text = convolution_cases.convolution((2, 20, 270, 4), (32, 5, 8, 4), strides=(3, 2), low=(2, 3))
    _module, dispatch = harness.lowered(text)
    reading = reading_of(dispatch)
    assert reading is None or reading.runs is None


def test_the_first_layer_of_a_residual_network_is_read_so():
    text = convolution_cases.convolution((32, 224, 112, 8), (64, 7, 4, 8), strides=(2, 1), low=(3, 2), high=(3, 1))
    _module, dispatch = harness.lowered(text)
    family, schedule = choose(dispatch, harness.target_named("sm_90a"))
    problem = problem_of(dispatch, cast(WgmmaSchedule, schedule))
    assert family.name == "wgmma" and problem.reading.runs is not None and problem.steps == 1
    assert problem.tiles[0] == 32 * 112 and problem.kept_bytes == 7 * 64 * 64
