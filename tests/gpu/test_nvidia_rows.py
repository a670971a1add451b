"""The NVIDIA family rows on a GPU, against the numpy reference."""

import zlib

import harness
import numpy as np
import pytest
import row_cases

from lumir.kernels.nvidia.row_schedule import RowsSchedule
from lumir.kernels.nvidia.rows import RowsFamily

pytestmark = pytest.mark.gpu
FEW = 10


@pytest.mark.parametrize("name", row_cases.CASES)
def test_schedules_of_the_space(name):
    """The first choice and some others from the whole of the space, each on inputs of its own."""
    text = row_cases.CASES[name]()
    schedules = harness.legal_schedules(text, RowsFamily())
    for number, schedule in enumerate([schedules[0], *schedules[1 :: max(1, len(schedules) // FEW)]]):
        built = harness.build(text, RowsFamily(), schedule=schedule)
        harness.check(built, seed=zlib.crc32(name.encode()) + number)


@pytest.mark.parametrize(
    "schedule",
    [
        RowsSchedule(1, 64, 1, 1),
        RowsSchedule(16, 8, 1, 2),
        RowsSchedule(32, 2, 1, 4),
        RowsSchedule(256, 2, 1, 1),
        RowsSchedule(1, 32, 1, 4, across=True),
        RowsSchedule(32, 16, 1, 1, across=True),
        RowsSchedule(8, 32, 1, 2, across=True),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("last", [False, True])
def test_arg_max_takes_the_first_nan_and_the_right_one_of_equals(schedule, dtype, last):
    text = row_cases.cases.arg_reduce("max", (37, 101), 1, dtype, last)
    rng = np.random.default_rng(5)
    values = rng.integers(-2, 3, (37, 101)).astype(dtype)
    values[3, 40] = values[9, 0] = values[11, 100] = np.nan
    if not last:
        values[3, 90] = np.nan
    values[5] = -np.inf
    values[6, :50] = -np.inf
    harness.check(harness.build(text, RowsFamily(), schedule=schedule), inputs=[values])


def test_softmax_of_infinities():
    text = row_cases.CASES["softmax-float32"]()
    values = np.random.default_rng(3).standard_normal((33, 384)).astype(np.float32)
    values[0, :100], values[1], values[2, 7], values[3, 8] = -np.inf, -np.inf, np.inf, np.nan
    harness.check(harness.build(text, RowsFamily()), inputs=[values])
