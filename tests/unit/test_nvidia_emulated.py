"""Kernels of the NVIDIA families map and rows, run on the CPU by emulation, against the numpy reference.

Types of 16 bits are left to the tests on a GPU: a host needs library calls to round to them.
"""

import zlib

import pytest
from nvidia_helpers import contraction_cases, emulator, harness, map_cases, row_cases

from lumir.kernels.nvidia.contraction import ContractionFamily
from lumir.kernels.nvidia.map import MapFamily
from lumir.kernels.nvidia.row_schedule import RowsSchedule
from lumir.kernels.nvidia.rows import RowsFamily

NARROW = (
    "float16",
    "bfloat16",
    "mixed",
    "half",
    "heads",
    "gather",
    "large",
    "regrouped",
    "two-columns",
    "images",
    "across",
)
LONG = ("-long", "one-row-of-floats", "log-softmax")
ALIKE = ("int64", "int32", "uint8", "int16", "float64-last", "min-int8", "prod-int8")


def emulated(cases):
    return [
        name for name in cases if not any(word in name for word in (*NARROW, *LONG, *ALIKE)) or name == "small-images"
    ]


@pytest.fixture(autouse=True)
def _context():
    with harness.kernel_context():
        yield


def check(text, family, schedule, seed):
    built = harness.build(text, family, schedule=schedule)
    inputs = harness.random_inputs(built, seed)
    for found, wanted in zip(emulator.run_on_cpu(built, inputs), harness.expected(built, inputs), strict=True):
        harness.compare(found, wanted)


@pytest.mark.parametrize("name", emulated(map_cases.CASES))
def test_map(name):
    text = map_cases.CASES[name]()
    small = [s for s in harness.legal_schedules(text, MapFamily()) if getattr(s, "block", 0) == 128]
    for schedule in (small[0], small[-1]):
        check(text, MapFamily(), schedule, zlib.crc32(name.encode()))


@pytest.mark.parametrize("name", emulated(row_cases.CASES))
def test_rows(name):
    text = row_cases.CASES[name]()
    small = [s for s in harness.legal_schedules(text, RowsFamily()) if getattr(s, "block", 0) == 64]
    for schedule in (small[0], small[-1]):
        check(text, RowsFamily(), schedule, zlib.crc32(name.encode()))


@pytest.mark.parametrize(
    "schedule",
    [
        RowsSchedule(64, 1, 1, 6),
        RowsSchedule(128, 1, 2, 2),
        RowsSchedule(64, 2, 2, 1),
        RowsSchedule(4, 16, 2, 3),
        RowsSchedule(64, 2, 1, 2, across=True),
        RowsSchedule(16, 8, 1, 8, across=True),
    ],
)
def test_threads_join_through_shuffles_and_shared_memory(schedule):
    for text in (
        row_cases.cases.softmax((5, 384), 1, "float64"),
        row_cases.cases.arg_reduce("max", (5, 250), 1, "int64"),
    ):
        check(text, RowsFamily(), schedule, 1)


@pytest.mark.parametrize(("image", "window"), [((2, 3, 5, 2), (3, 1)), ((2, 3, 2, 5), (2, 3)), ((1, 2, 7, 7), (3, 3))])
def test_a_convolution_with_one_window_position(image, window):
    """Where only one position is left, the window still covers but a part of the image."""
    text = contraction_cases.convolution(image, (4, image[1], *window), "float32", stride=5)
    family = ContractionFamily()
    check(text, family, harness.legal_schedules(text, family)[0], 11)
