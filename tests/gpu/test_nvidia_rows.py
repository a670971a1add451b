"""The NVIDIA family rows on a GPU, against the numpy reference."""

import zlib
from dataclasses import replace

import device
import harness
import numpy as np
import pytest
import row_cases

from lumir.kernels.nvidia.row_schedule import RowsSchedule
from lumir.kernels.nvidia.rows import RowsFamily
from lumir.measure import compile_dispatch
from lumir.target import target_named

pytestmark = pytest.mark.gpu
FEW = 10


@pytest.mark.parametrize("name", [name for name in row_cases.CASES if not name.startswith("norm-quantised")])
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


LONG = [
    "softmax-long",
    "layer-norm-long",
    "one-row",
    "one-row-of-floats",
    "arg-max-long",
    "softmax-beyond-registers",
    "norm-quantised-int8",
    "norm-quantised-float8_e4m3fn",
]


@pytest.mark.parametrize("cluster", [2, 4, 8])
@pytest.mark.parametrize("name", LONG)
def test_rows_of_a_cluster(name, cluster):
    """A few ways to deal out a row, against the reference, twice with the same bits."""
    text, family, target = row_cases.CASES[name](), RowsFamily(), target_named("sm_90a")
    module, dispatch = harness.lowered(text)
    case = device.bench().case(text, seed=zlib.crc32(name.encode()) + cluster)
    ran = 0
    for threads, lanes, unroll in ((128, 1, 1), (128, 8, 2), (512, 4, 4), (1024, 2, 8), (32, 1, 4)):
        schedule = RowsSchedule(threads, 1, lanes, unroll, cluster=cluster)
        if not family.legal(dispatch, schedule, target):
            case.check(compile_dispatch(text, "sm_90a", family, schedule), whole=True)
            ran += 1
    assert ran >= 2
    del module


@pytest.mark.parametrize("ahead", [1, 3, 100])
@pytest.mark.parametrize(
    ("name", "schedule"),
    [
        ("layer-norm-bfloat16-wide", RowsSchedule(128, 1, 8, 4)),
        ("layer-norm-bfloat16-wide", RowsSchedule(64, 2, 8, 8)),
        ("softmax-bfloat16", RowsSchedule(16, 4, 8, 3)),
        ("norm-quantised-int8", RowsSchedule(32, 1, 8, 6)),
        ("softmax-long", RowsSchedule(128, 1, 4, 4)),
    ],
    ids=str,
)
def test_rows_fetched_ahead(name, schedule, ahead):
    text, schedule = row_cases.CASES[name](), replace(schedule, ahead=ahead)
    device.bench().case(text, seed=11).check(compile_dispatch(text, "sm_90a", RowsFamily(), schedule), whole=True)


@pytest.mark.parametrize("name", [name for name in row_cases.CASES if name.startswith("norm-quantised")])
def test_quantised_rows(name):
    """Residual, norm and quantisation as one kernel; a byte may be one off next to a tie."""
    text = row_cases.CASES[name]()
    schedules = harness.legal_schedules(text, RowsFamily())
    case = device.bench().case(text, seed=7)
    for schedule in [schedules[0], *schedules[1 :: max(1, len(schedules) // FEW)]]:
        case.check(compile_dispatch(text, "sm_90a", RowsFamily(), schedule), whole=True)
