"""The NVIDIA family map on a GPU, against the numpy reference."""

import zlib

import harness
import map_cases
import numpy as np
import pytest

from lumir.kernels.nvidia.map import MapFamily, MapSchedule

pytestmark = pytest.mark.gpu
FEW = 5


@pytest.mark.parametrize("name", map_cases.CASES)
def test_schedules_of_the_space(name):
    """The first choice and a few others, each on inputs of its own."""
    text = map_cases.CASES[name]()
    schedules = harness.legal_schedules(text, MapFamily())
    for number, schedule in enumerate([schedules[0], *schedules[1 :: max(1, len(schedules) // FEW)]]):
        built = harness.build(text, MapFamily(), schedule=schedule)
        harness.check(built, seed=zlib.crc32(name.encode()) + number)


@pytest.mark.parametrize("unroll", [1, 2, 4])
@pytest.mark.parametrize("count", [1, 31, 8 * 128 * 4, 8 * 128 * 4 + 1, 8 * 128 * 4 + 9])
def test_counts_around_a_whole_workgroup(count, unroll):
    text = map_cases.cases.op("sub", ((count,), "float16"), ((count,), "float16"))
    harness.check(harness.build(text, MapFamily(), schedule=MapSchedule(8, unroll, 128)), seed=count)


def test_infinities_and_nans_pass_through():
    text = map_cases.cases.op("max", ((2048,), "float32"), ((2048,), "float32"))
    rng = np.random.default_rng(7)
    special = np.array([np.nan, np.inf, -np.inf, 0.0, 1.0, -1.0], np.float32)
    inputs = [rng.choice(special, 2048) for _ in range(2)]
    harness.check(harness.build(text, MapFamily()), inputs=inputs)
