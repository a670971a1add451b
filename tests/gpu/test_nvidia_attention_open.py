"""One kernel of attention for every size on a GPU, against the numpy reference in float64."""

from dataclasses import replace

import attention_cases
import decode_cases
import device
import harness
import prefill_cases
import pytest

from lumir.kernels.nvidia.decode import DecodeFamily
from lumir.kernels.nvidia.map import MapFamily
from lumir.kernels.nvidia.prefill import PrefillFamily
from lumir.measure import compile_dispatch
from lumir.size_text import declare

pytestmark = pytest.mark.gpu
FEW = 2
CASES = {f"decode-{name}": (DecodeFamily(), case) for name, case in decode_cases.OPEN.items()}
CASES |= {f"prefill-{name}": (PrefillFamily(), case) for name, case in prefill_cases.OPEN.items()}


@pytest.mark.parametrize("name", CASES)
def test_one_kernel_for_every_size(name):
    """The first choice and a few others, each at sizes from one row on."""
    family, case = CASES[name]
    text = attention_cases.open_text(case)
    with declare(attention_cases.SYMBOLS):
        schedules = harness.legal_schedules(text, family)
    for number, schedule in enumerate([schedules[0], *schedules[1 :: max(1, len(schedules) // FEW)]]):
        kernel = compile_dispatch(text, "sm_90a", family, schedule)
        for binding in attention_cases.BINDINGS:
            fixed = case(binding).text()
            built = harness.build(fixed, MapFamily())
            inputs = harness.random_inputs(built, number)
            (found,) = device.run(replace(kernel, plan=kernel.plan.at(binding)), inputs, fixed)
            harness.compare(found, harness.expected(built, inputs)[0])
