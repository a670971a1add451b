"""The NVIDIA family row_parts on a GPU, against the numpy reference; the harness runs each kernel twice."""

import zlib

import harness
import numpy as np
import pytest
import row_parts_cases

from lumir.kernels.nvidia.row_parts import RowPartsFamily
from lumir.kernels.nvidia.row_schedule import RowPartsSchedule

pytestmark = pytest.mark.gpu
FEW = 6


@pytest.mark.parametrize("name", row_parts_cases.CASES)
def test_schedules_of_the_space(name):
    """The first choice and some others from the whole of the space, each on inputs of its own."""
    text, family = row_parts_cases.CASES[name](), RowPartsFamily()
    schedules = harness.legal_schedules(text, family)
    for number, schedule in enumerate([schedules[0], *schedules[1 :: max(1, len(schedules) // FEW)]]):
        harness.check(harness.build(text, family, schedule=schedule), seed=zlib.crc32(name.encode()) + number)


@pytest.mark.parametrize("parts", [2, 16, 256])
@pytest.mark.parametrize("across", [False, True])
def test_arg_max_takes_the_first_nan_and_the_right_one_of_equals(across, parts):
    text = row_parts_cases.cases.arg_reduce("max", (13, 4099), 1, "float32", False)
    rng = np.random.default_rng(5)
    values = rng.integers(-2, 3, (13, 4099)).astype("float32")
    values[3, 40] = values[3, 4090] = values[9, 0] = values[11, 4098] = np.nan
    values[5], values[6, :50] = -np.inf, -np.inf
    schedule = RowPartsSchedule(8, 32, 1, 2, across, parts=parts)
    harness.check(harness.build(text, RowPartsFamily(), schedule=schedule), inputs=[values])
