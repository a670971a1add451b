"""The NVIDIA family wgmma on a GPU, against the numpy reference in float64."""

import zlib
from collections.abc import Sequence
from dataclasses import replace

import device
import harness
import pytest
import wgmma_cases

from lumir.kernels.nvidia.contraction_wgmma import WgmmaFamily
from lumir.kernels.nvidia.wgmma_schedule import WgmmaSchedule
from lumir.measure import compile_dispatch
from lumir.runtime.cuda import device_capability
from lumir.size_text import declare

pytestmark = pytest.mark.gpu
FAMILY = WgmmaFamily()


@pytest.fixture(autouse=True)
def _hopper():
    if device_capability() != (9, 0):
        pytest.skip("no GPU of compute capability 9.0")


def legal(text: str, schedules: Sequence[WgmmaSchedule] = wgmma_cases.SCHEDULES) -> list[WgmmaSchedule]:
    module, dispatch = harness.lowered(text)
    target = harness.target_named("sm_90a")
    found = [s for s in schedules if not FAMILY.legal(dispatch, s, target)]
    del module
    return found


@pytest.mark.parametrize("name", wgmma_cases.CASES)
def test_every_kind_of_schedule(name):
    text = wgmma_cases.CASES[name]()
    schedules = [*harness.legal_schedules(text, FAMILY)[:2], *legal(text)]
    for number, schedule in enumerate(schedules):
        built = harness.build(text, FAMILY, schedule=schedule)
        harness.check(built, seed=zlib.crc32(name.encode()) + number, tolerance=wgmma_cases.TOLERANCES.get(name))


@pytest.mark.parametrize("name", wgmma_cases.OPEN)
def test_one_kernel_for_every_size(name):
    case = wgmma_cases.OPEN[name]
    text = wgmma_cases.open_text(name)
    with declare(wgmma_cases.SYMBOLS):
        schedules = [*harness.legal_schedules(text, FAMILY)[:1], *legal(text)[::3]]
    for number, schedule in enumerate(schedules):
        kernel = compile_dispatch(text, "sm_90a", FAMILY, schedule)
        for binding in wgmma_cases.BINDINGS:
            built = harness.build(case(binding), FAMILY)
            inputs = harness.random_inputs(built, number)
            found = device.run(kernel.at(binding), inputs, case(binding))
            for got, wanted in zip(found, harness.expected(built, inputs), strict=True):
                harness.compare(got, wanted)


@pytest.mark.parametrize("n", [64, 192])
@pytest.mark.parametrize(("m", "consumers"), [(64, 1), (128, 2), (192, 3)])
def test_many_tiles_of_an_odd_number_of_chunks(m, consumers, n):
    """Of few steps each, so that the store of one is still under way when the next is staged."""
    text = wgmma_cases.product("mk,nk->mn", {"m": 192 * 600, "n": n, "k": 64}, "float16")
    case = device.bench().case(text)
    schedule = WgmmaSchedule(m, n, 3, consumers)
    case.check(compile_dispatch(text, "sm_90a", FAMILY, schedule), whole=True)


@pytest.mark.parametrize("k", [8, 56, 64, 72, 128, 192, 264, 520])
def test_sums_around_whole_stages(k):
    text = wgmma_cases.product("mk,nk->mn", {"m": 40, "n": 48, "k": k}, "bfloat16")
    schedules = [
        replace(schedule, m=128, n=64, stages=stages)
        for stages in (2, 3, 4)
        for schedule in (
            WgmmaSchedule(),
            WgmmaSchedule(pingpong=True),
            WgmmaSchedule(cluster=2),
            WgmmaSchedule(parts=2),
            WgmmaSchedule(parts=3),
            WgmmaSchedule(parts=2, cluster=2),
            WgmmaSchedule(parts=4, cluster=4),
        )
    ]
    for schedule in legal(text, schedules):
        harness.check(harness.build(text, FAMILY, schedule=schedule), seed=k)


@pytest.mark.parametrize("name", ["mk,nk->mn-bfloat16", "linear-float16"])
def test_the_same_inputs_give_the_same_bits(name):
    text = wgmma_cases.CASES[name]()
    for schedule in legal(text):
        built = harness.build(text, FAMILY, schedule=schedule)
        inputs = harness.random_inputs(built, 1)
        first, second = harness.run(built, inputs), harness.run(built, inputs)
        assert all((a.view("u1") == b.view("u1")).all() for a, b in zip(first, second, strict=True))
