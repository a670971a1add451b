"""Convolutions by the NVIDIA family wgmma on a GPU, against the numpy reference in float64."""

import zlib

import convolution_cases
import harness
import pytest

from lumir.kernels.nvidia.contraction_wgmma import WgmmaFamily
from lumir.runtime.cuda import device_capability

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


TOLERANCES = {"float8_e4m3fn": 2e-3}
"""Products of 8-bit floats are added to sums of about 14 bits."""
