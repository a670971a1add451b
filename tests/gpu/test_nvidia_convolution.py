"""Convolutions by the NVIDIA family wgmma on a GPU, against the numpy reference in float64."""

import zlib
from dataclasses import replace

import convolution_cases
import device
import harness
import pytest

from lumir.kernels.nvidia.contraction_wgmma import WgmmaFamily
from lumir.measure import compile_dispatch
from lumir.runtime.cuda import device_capability
from lumir.size_text import declare

pytestmark = pytest.mark.gpu
FAMILY = WgmmaFamily()


@pytest.fixture(autouse=True)
def _hopper():
    if device_capability() != (9, 0):
        pytest.skip("no GPU of compute capability 9.0")


@pytest.mark.parametrize("name", convolution_cases.CASES)
def test_every_kind_of_schedule(name):
    text, target = convolution_cases.CASES[name](), harness.target_named("sm_90a")
    _module, dispatch = harness.lowered(text)
    schedules = [s for s in convolution_cases.SCHEDULES if not FAMILY.legal(dispatch, s, target)]
    for number, schedule in enumerate([*harness.legal_schedules(text, FAMILY)[:2], *schedules]):
        built = harness.build(text, FAMILY, schedule=schedule)
        harness.check(built, seed=zlib.crc32(name.encode()) + number, tolerance=TOLERANCES.get(name))


@pytest.mark.parametrize("name", convolution_cases.OPEN)
def test_one_kernel_for_any_number_of_images(name):
    text, case = convolution_cases.open_text(name), convolution_cases.OPEN[name]
    with declare(convolution_cases.SYMBOLS):
        (schedule,) = harness.legal_schedules(text, FAMILY)[:1]
    for other in (schedule, convolution_cases.SCHEDULES[1], convolution_cases.SCHEDULES[3]):
        kernel = compile_dispatch(text, "sm_90a", FAMILY, other)
        for number, binding in enumerate(convolution_cases.BINDINGS):
            built = harness.build(case(binding), FAMILY)
            inputs = harness.random_inputs(built, number)
            found = device.run(replace(kernel, plan=kernel.plan.at(binding)), inputs, case(binding))
            for got, wanted in zip(found, harness.expected(built, inputs), strict=True):
                harness.compare(got, wanted)


TOLERANCES = {"float8_e4m3fn": 2e-3}
"""Products of 8-bit floats are added to sums of about 14 bits."""
