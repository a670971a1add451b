"""The NVIDIA families top_k and scan on a GPU, against the numpy reference."""

import zlib

import harness
import numpy as np
import pytest
import scan_cases
import top_k_cases

from lumir.kernels.nvidia.scan import ScanFamily
from lumir.kernels.nvidia.scan_writer import ScanSchedule
from lumir.kernels.nvidia.top_k import TopKFamily
from lumir.kernels.nvidia.top_k_writer import TopKSchedule

pytestmark = pytest.mark.gpu
FEW = 6
ORDERS = [
    TopKSchedule(8, 16),
    TopKSchedule(32, 4),
    TopKSchedule(64, 2),
    TopKSchedule(256, 1),
    TopKSchedule(1, 128, by_rank=True),
    TopKSchedule(16, 8, by_rank=True),
]


def check_some(text, family, seed):
    """The first choice and a few others, each on inputs of its own."""
    schedules = harness.legal_schedules(text, family)
    for number, schedule in enumerate([schedules[0], *schedules[1 :: max(1, len(schedules) // FEW)]]):
        harness.check(harness.build(text, family, schedule=schedule), seed=seed + number)


@pytest.mark.parametrize("name", top_k_cases.CASES)
def test_first_of_rows(name):
    check_some(top_k_cases.CASES[name](), TopKFamily(), zlib.crc32(name.encode()))


@pytest.mark.parametrize("name", scan_cases.CASES)
def test_running_totals(name):
    check_some(scan_cases.CASES[name](), ScanFamily(), zlib.crc32(name.encode()))


@pytest.mark.parametrize("schedule", ORDERS, ids=str)
@pytest.mark.parametrize("name", ["largest-float32", "smallest-float16", "largest-float16"])
def test_equals_nans_and_infinities_in_order(name, schedule):
    """Of equal elements the first comes first; NaN counts as larger than any number."""
    text = top_k_cases.CASES[name]()
    built = harness.build(text, TopKFamily(), schedule=schedule)
    (type_,) = built.input_types
    rng = np.random.default_rng(11)
    values = rng.integers(-2, 3, type_.shape).astype(name.partition("-")[2])
    values.flat[3::17] = np.nan
    values.flat[5::13] = np.inf
    values.flat[7::11] = -np.inf
    harness.check(built, inputs=[values])


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("size", [1, 31, 32, 129, 2051, 4096])
def test_turns_of_every_length(size, exclusive, reverse):
    text = scan_cases.cases.op("scan", ((3, size), "int32"), kind="sum", axis=1, exclusive=exclusive, reverse=reverse)
    for schedule in (
        ScanSchedule(32, 4),
        ScanSchedule(128, 1),
        ScanSchedule(512, 1),
        ScanSchedule(1, 64),
        ScanSchedule(64, 2, 1, 16),
    ):
        harness.check(harness.build(text, ScanFamily(), schedule=schedule), seed=size)
