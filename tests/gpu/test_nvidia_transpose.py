"""The NVIDIA family transpose on a GPU, against the numpy reference."""

import zlib

import harness
import pytest
import transpose_cases

from lumir.kernels.nvidia.transpose import TransposeFamily, TransposeSchedule

pytestmark = pytest.mark.gpu
TILES = [
    TransposeSchedule(32, 32, 64),
    TransposeSchedule(64, 64, 256),
    TransposeSchedule(128, 32, 128),
    TransposeSchedule(32, 64, 512),
]


@pytest.mark.parametrize("name", transpose_cases.CASES)
def test_schedules_of_the_space(name):
    """The first choice and a few others, each on inputs of its own."""
    text = transpose_cases.CASES[name]()
    schedules = harness.legal_schedules(text, TransposeFamily())
    for number, schedule in enumerate([schedules[0], *schedules[1 :: max(1, len(schedules) // 3)]]):
        built = harness.build(text, TransposeFamily(), schedule=schedule)
        harness.check(built, seed=zlib.crc32(name.encode()) + number)


@pytest.mark.parametrize("schedule", TILES, ids=str)
@pytest.mark.parametrize("shape", [(64, 64), (1000, 520), (65, 33), (8, 8), (31, 2048)], ids=str)
def test_tiles_and_their_ends(shape, schedule):
    text = transpose_cases.plain(shape, [1, 0], "float16")
    harness.check(harness.build(text, TransposeFamily(), schedule=schedule), seed=sum(shape))
