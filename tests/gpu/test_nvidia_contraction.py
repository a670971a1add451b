"""The NVIDIA family contraction on a GPU, against the numpy reference in float64."""

import zlib

import contraction_cases
import harness
import numpy as np
import pytest

from lumir.kernels.nvidia.contraction import ContractionFamily, ContractionSchedule

pytestmark = pytest.mark.gpu
FEW = 3
LAYOUTS = ("mk,kn->mn", "mk,nk->mn", "km,kn->mn", "km,nk->mn")
MMA = [
    ContractionSchedule("mma", 32, 32, 32, 2, 2, 2),
    ContractionSchedule("mma", 64, 32, 64, 2, 2, 3),
    ContractionSchedule("mma", 128, 128, 32, 2, 2, 4),
    ContractionSchedule("mma", 128, 128, 64, 2, 2, 3, group=1),
    ContractionSchedule("mma", 256, 128, 32, 4, 2, 4, group=3),
    ContractionSchedule("mma", 32, 64, 128, 1, 4, 3),
]
SIMT = [
    ContractionSchedule("simt", 128, 128, 16, 4, 2, 2),
    ContractionSchedule("simt", 128, 64, 32, 4, 2, 3),
    ContractionSchedule("simt", 64, 64, 16, 2, 2, 4, group=1),
]


@pytest.mark.parametrize("name", contraction_cases.CASES)
def test_schedules_of_the_space(name):
    """The first choice and a few others, each on inputs of its own."""
    text = contraction_cases.CASES[name]()
    schedules = harness.legal_schedules(text, ContractionFamily())
    for number, schedule in enumerate([schedules[0], *schedules[1 :: max(1, len(schedules) // FEW)]]):
        built = harness.build(text, ContractionFamily(), schedule=schedule)
        harness.check(built, seed=zlib.crc32(name.encode()) + number)


@pytest.mark.parametrize("schedule", [*MMA, *SIMT], ids=str)
@pytest.mark.parametrize("equation", LAYOUTS)
def test_every_layout_with_every_kind_of_tile(equation, schedule):
    dtype = "float16" if schedule.instruction == "mma" else "float32"
    for sizes in ({"m": 300, "n": 264, "k": 200}, {"m": 131, "n": 259, "k": 77}):
        text = contraction_cases.product(equation, sizes, dtype)
        harness.check(harness.build(text, ContractionFamily(), schedule=schedule), seed=5)


@pytest.mark.parametrize("k", [1, 15, 16, 17, 31, 32, 33, 64, 127])
def test_sums_around_whole_tiles(k):
    text = contraction_cases.product("mk,kn->mn", {"m": 33, "n": 40, "k": k}, "bfloat16")
    for stages in (2, 3, 4):
        schedule = ContractionSchedule("mma", 32, 32, 32, 2, 2, stages)
        harness.check(harness.build(text, ContractionFamily(), schedule=schedule), seed=k)


@pytest.mark.parametrize("schedule", [*MMA[1:], SIMT[0]], ids=str)
@pytest.mark.parametrize(
    ("left", "right"), [("int8", "int8"), ("uint8", "int8"), ("int8", "uint8"), ("uint8", "uint8")]
)
@pytest.mark.parametrize("turned", [False, True])
def test_bytes_of_every_sign(schedule, left, right, turned):
    """All of a byte's values, the extremes more often: sums are exact, and so is what float32 makes of them."""
    rng, family = np.random.default_rng(3), ContractionFamily()
    if turned and schedule.instruction == "mma":
        pytest.skip("bytes must lie along the sum")
    for m, n, k in ((131, 70, 78), (64, 96, 160)):
        text = contraction_cases.products_of_bytes(m, n, k, left, right, turned)
        built = harness.build(text, family, schedule=schedule)
        arrays = []
        for type_, shape in ((left, (m, k)), (right, (k, n) if turned else (n, k))):
            limits = np.iinfo(type_)
            whole = rng.integers(limits.min, limits.max + 1, shape)
            arrays.append(
                np.where(rng.random(shape) < 0.2, rng.choice([limits.min, limits.max], shape), whole).astype(type_)
            )
        scale = rng.uniform(1e-4, 3e-4, n).astype(np.float32)
        sums, bias = rng.integers(-1000, 1000, n).astype(np.int32), rng.normal(size=n).astype(np.float32)
        harness.check(built, inputs=[*arrays, sums, scale, bias], precision="declared")
