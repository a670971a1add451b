"""The NVIDIA family skinny on a GPU, against the numpy reference in float64."""

import zlib

import harness
import pytest
import skinny_cases

from lumir.kernels.nvidia.skinny import SkinnyFamily
from lumir.kernels.nvidia.skinny_plan import SkinnySchedule

pytestmark = pytest.mark.gpu
FEW = 3
MMA = [
    SkinnySchedule("mma", 16, 1, 1, 1),
    SkinnySchedule("mma", 16, 8, 1, 4, ahead=64),
    SkinnySchedule("mma", 32, 4, 2, 2),
    SkinnySchedule("mma", 64, 2, 4, 1, ahead=16),
    SkinnySchedule("mma", 16, 16, 1, 8),
]
RING = [
    SkinnySchedule("mma", 16, 8, 1, 8, stages=2),
    SkinnySchedule("mma", 16, 4, 1, 4, stages=3, resident=2),
    SkinnySchedule("mma", 32, 4, 1, 3, stages=4),
    SkinnySchedule("mma", 64, 1, 1, 1, stages=5),
    SkinnySchedule("mma", 32, 2, 1, 4, stages=2),
]
WGMMA = [
    SkinnySchedule("wgmma", 64, 4, 1, 1, stages=2),
    SkinnySchedule("wgmma", 32, 4, 1, 1, stages=6, resident=2),
    SkinnySchedule("wgmma", 56, 4, 2, 1, stages=3),
    SkinnySchedule("wgmma", 64, 4, 1, 1, split=2, stages=4, resident=2),
    SkinnySchedule("wgmma", 8, 4, 4, 1, split=4, stages=2),
    SkinnySchedule("wgmma", 64, 4, 2, 1, split=8, stages=3),
]
UNPACKED = [
    SkinnySchedule("wgmma", 64, 4, 1, 1, stages=2),
    SkinnySchedule("wgmma", 56, 8, 2, 2, stages=4),
    SkinnySchedule("wgmma", 64, 4, 4, 4, split=4, stages=2),
    SkinnySchedule("wgmma", 8, 16, 1, 1, split=2, stages=8, resident=2),
    SkinnySchedule("wgmma", 40, 8, 1, 2, split=8, stages=4),
]
FORMULAS = [
    ("float16", "uint4", 128, "uint4"),
    ("bfloat16", "uint4", 128, None),
    ("float16", "int4", 256, "int4"),
    ("float16", "uint4", 32, "float16"),
    ("bfloat16", "int8", 128, "int8"),
    ("float16", "uint8", 64, None),
]
SIMT = [
    SkinnySchedule("simt", 1, 1, 8, 4),
    SkinnySchedule("simt", 2, 4, 2, 2, ahead=8),
    SkinnySchedule("simt", 4, 8, 1, 1),
]


@pytest.mark.parametrize("name", skinny_cases.CASES)
def test_schedules_of_the_space(name):
    """The first choice and a few others, each on inputs of its own."""
    text = skinny_cases.CASES[name]()
    schedules = harness.legal_schedules(text, SkinnyFamily())
    for number, schedule in enumerate([schedules[0], *schedules[1 :: max(1, len(schedules) // FEW)]]):
        built = harness.build(text, SkinnyFamily(), schedule=schedule)
        harness.check(built, seed=zlib.crc32(name.encode()) + number)


@pytest.mark.parametrize("schedule", [*MMA, *RING, *SIMT], ids=str)
@pytest.mark.parametrize("k", [8, 24, 32, 40, 256, 1016, 4096])
def test_sums_around_whole_turns(k, schedule):
    for m, n in ((1, 48), (3, 50)):
        text = skinny_cases.skinny(m, n, k, "float16")
        harness.check(harness.build(text, SkinnyFamily(), schedule=schedule), seed=k)


@pytest.mark.parametrize("schedule", RING, ids=str)
@pytest.mark.parametrize("n", [1, 16, 130, 4300, 9001])
def test_workgroups_that_stay(n, schedule):
    """One tile, a few, and more than there are workgroups."""
    for m, dtype in ((2, "bfloat16"), (16, "float16")):
        harness.check(harness.build(skinny_cases.skinny(m, n, 520, dtype), SkinnyFamily(), schedule=schedule), seed=n)


@pytest.mark.parametrize("schedule", WGMMA, ids=str)
@pytest.mark.parametrize("k", [512, 1000, 1016, 4096])
def test_both_operands_through_a_ring(k, schedule):
    for m, n, dtype in ((1, 48, "float16"), (9, 400, "bfloat16"), (16, 200, "float16"), (61, 330, "bfloat16")):
        harness.check(harness.build(skinny_cases.skinny(m, n, k, dtype), SkinnyFamily(), schedule=schedule), seed=k)


@pytest.mark.parametrize("split", [2, 4, 8])
def test_workgroups_of_a_cluster_with_uneven_parts_of_k(split):
    for m, n, k in ((1, 48, 520), (9, 400, 840)):
        schedule = SkinnySchedule("wgmma", 64, 4, 1, 1, split=split, stages=3)
        harness.check(harness.build(skinny_cases.skinny(m, n, k, "float16"), SkinnyFamily(), schedule=schedule), seed=k)


@pytest.mark.parametrize("schedule", WGMMA, ids=str)
def test_both_operands_through_a_ring_with_what_surrounds_them(schedule):
    for text in (
        skinny_cases.linear(4, 200, 1032, "float16"),
        skinny_cases.skinny(4, 300, 1032, "float16", "mk,nk->nm"),
        skinny_cases.skinny(2, 50, 1032, "float16", "bmk,bnk->bmn", b=3),
        skinny_cases.product("mk,nk->mn", {"m": 4, "n": 300, "k": 1024}, "float16"),
    ):
        harness.check(harness.build(text, SkinnyFamily(), schedule=schedule), seed=8)


@pytest.mark.parametrize("schedule", [s for s in WGMMA if s.split == 1], ids=str)
def test_both_operands_through_a_ring_in_bands(schedule):
    for m, n, k in ((5, 72, 512), (16, 333, 1000)):
        text = skinny_cases.weight(skinny_cases.gated(m, n, k, "float16"))
        harness.check(harness.build(text, SkinnyFamily(), schedule=schedule), seed=k)


@pytest.mark.parametrize("schedule", RING, ids=str)
def test_rings_without_a_mark_on_the_weight(schedule):
    text = skinny_cases.product("mk,nk->mn", {"m": 4, "n": 300, "k": 1024}, "float16")
    harness.check(harness.build(text, SkinnyFamily(), schedule=schedule), seed=7)


@pytest.mark.parametrize("schedule", [*MMA, *RING], ids=str)
@pytest.mark.parametrize("k", [32, 64, 128, 160, 1152, 4096])
def test_packed_sums_around_whole_turns(k, schedule):
    for m, block in ((1, 32), (9, 128)):
        text = skinny_cases.packed(m, 70, k, "float16", "uint4", block, "uint4")
        harness.check(harness.build(text, SkinnyFamily(), schedule=schedule), seed=k)


@pytest.mark.parametrize("schedule", UNPACKED, ids=str)
@pytest.mark.parametrize("formula", FORMULAS, ids=str)
def test_weights_unpacked_for_wgmma(formula, schedule):
    """Parts of k that are even and that are not, tiles that end beyond the rows, one and two columns of matrices."""
    for m, n, k in ((1, 72, 2304), (9, 500, 3840), (16, 130, 2816)):
        text = skinny_cases.packed(m, n, k, *formula)
        harness.check(harness.build(text, SkinnyFamily(), schedule=schedule), seed=k + m)


@pytest.mark.parametrize("schedule", [s for s in UNPACKED if s.split == 1], ids=str)
@pytest.mark.parametrize("k", [128, 384, 1152])
def test_short_sums_of_weights_unpacked_for_wgmma(k, schedule):
    for m, marked in ((3, True), (12, False)):
        text = skinny_cases.packed(m, 70, k, "float16", "uint4", 128, "uint4")
        text = text if marked else text.replace(" {lumir.unwritten}", "")
        harness.check(harness.build(text, SkinnyFamily(), schedule=schedule), seed=k)


def test_stages_that_come_back_at_once():
    """A stage may be written again as soon as it has been read: rings of few stages, many times, on many workgroups."""
    text = skinny_cases.packed(15, 60000, 4096, "float16", "uint4", 128, None)
    for unroll, stages in ((1, 4), (2, 2)):
        schedule = SkinnySchedule("wgmma", 64, 4, 2, unroll, split=2, stages=stages, resident=2)
        harness.check(harness.build(text, SkinnyFamily(), schedule=schedule), seed=stages)
