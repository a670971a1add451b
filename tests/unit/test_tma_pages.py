"""Keys and values in pages: the boxes that TMA brings are those that the gather would have copied."""

from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
from nvidia_helpers import decode_cases, harness

from lumir.kernels.index import Index, IndexMath
from lumir.kernels.nvidia.decode import DecodeFamily
from lumir.kernels.nvidia.decode_schedule import DecodeSchedule, problem_of
from lumir.kernels.nvidia.tma_pages import PagedMatrices
from lumir.mlir import ir
from lumir.target import target_named

CASES = {
    "plain": decode_cases.Paged(),
    "heads first": decode_cases.Paged(heads_first=True, page=8, table=7),
    "one head": decode_cases.Paged(g=1, page=64, table=3, d=64),
    "one page": decode_cases.Paged(table=1, page=32, b=5),
    "one sequence": decode_cases.Paged(b=1, table=9),
}


@pytest.fixture(autouse=True)
def _context():
    with harness.kernel_context():
        yield


class Recorded:
    """An evaluator of index arithmetic, and in place of the gather what says which entry of the table was asked for."""

    def __init__(self):
        self.index, self.number = IndexMath(ir.IntegerType.get_signless(32)), 0

    def page(self, _evaluator, number: Index) -> None:
        self.number = number.base


@pytest.mark.parametrize("name", CASES)
def test_boxes_are_what_the_gather_copies(name):
    case = CASES[name]
    module, dispatch = harness.lowered(case.text())
    problem = problem_of(dispatch, DecodeSchedule(4, 16, 1, 3))
    assert problem.reading is not None and problem.reads_ahead
    table = np.random.default_rng(1).permutation(case.pages)[: case.b * case.table].reshape(case.b, case.table)
    inner = (case.g, case.page, case.d) if case.heads_first else (case.page, case.g, case.d)
    cache = np.arange(case.pages * case.page * case.g * case.d).reshape(case.pages, *inner)
    order = (0, 2, 1, 3, 4) if case.heads_first else (0, 3, 1, 2, 4)
    gathered = cache[table].transpose(order).reshape(case.b, case.g, case.table * case.page, case.d)
    for matrices in (problem.reading.key, problem.reading.value):
        assert isinstance(matrices, PagedMatrices)
        lines = matrices.box_lines(problem.tile)
        strides = [1, *(stride // 2 for stride in matrices.tensor_map(lines, 64).strides)]
        for batch in range(case.b * case.g):
            for line in range(0, case.table * case.page, lines):
                coordinates = boxes(matrices, batch, line, lines, table)
                first = sum(at * stride for at, stride in zip(coordinates, strides, strict=True))
                rows = [first + row * strides[1] for row in range(lines)]
                wanted = gathered[batch // case.g, batch % case.g, line : line + lines, 0]
                np.testing.assert_array_equal(cache.reshape(-1)[rows], wanted)
    del module


def boxes(matrices: PagedMatrices, batch: int, line: int, lines: int, table: np.ndarray) -> list[int]:
    """The coordinates of a box, with the page that the table has at the place that was asked for."""
    recorded = Recorded()
    patched = replace(matrices, gathered=cast(Any, recorded))
    with ir.InsertionPoint(ir.Module.create().body):
        *inner, _page = patched.boxes(cast(Any, recorded), Index(batch), Index(line), lines)(Index(0))
        coordinates = [value.owner.attributes["value"].value for value in inner]
    return [*coordinates, int(table.reshape(-1)[recorded.number])]


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        (decode_cases.Paged(page=24, table=4), "not whole pages of 24"),
        (decode_cases.Paged(length=311), "TMA cannot bring"),
        (decode_cases.Paged(page=4, table=16), "TMA cannot bring"),
    ],
)
def test_pages_that_tma_cannot_bring(case, reason):
    module, dispatch = harness.lowered(case.text())
    reasons = DecodeFamily().legal(dispatch, DecodeSchedule(4, 16, 1, 3), target_named("sm_90a"))
    assert any(reason in why for why in reasons), reasons
    assert harness.legal_schedules(case.text(), DecodeFamily())
    del module
