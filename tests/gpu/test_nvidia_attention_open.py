"""One kernel of attention for every size, and for every number of keys, on a GPU, against the reference in float64."""

from dataclasses import replace

import attention_cases
import decode_cases
import device
import harness
import numpy as np
import prefill_cases
import pytest
from attention_cases import Attention

from lumir.kernels.nvidia.attention import AttentionFamily
from lumir.kernels.nvidia.decode import DecodeFamily
from lumir.kernels.nvidia.decode_schedule import DecodeSchedule
from lumir.kernels.nvidia.map import MapFamily
from lumir.kernels.nvidia.prefill import PrefillFamily
from lumir.kernels.nvidia.prefill_schedule import PrefillSchedule
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


@pytest.mark.parametrize("stages", [0, 3])
@pytest.mark.parametrize("queries", [1, 3, 100])
def test_what_lies_past_the_keys_that_count_is_not_read(queries, stages):
    """A part of a cache that no one has written yet may hold anything."""
    case = Attention(h=4, g=2, m=queries, n=500, d=64, e=64, b=5, mask="lengths", causal=True, offset=-queries)
    schedule = DecodeSchedule(4, 16, 3, stages) if queries < 32 else PrefillSchedule(2, 64, 2, bool(stages))
    check_garbage(harness.build(case.text(), DecodeFamily() if queries < 32 else PrefillFamily(), schedule=schedule))


@pytest.mark.parametrize("keys", [500, 512])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_what_lies_past_the_keys_that_count_weighs_nothing_elsewhere(dtype, keys):
    case = Attention(dtype, h=4, g=2, m=20, n=keys, d=64, e=64, b=5, mask="lengths", causal=True, offset=-20)
    check_garbage(harness.build(case.text(), AttentionFamily()))


def check_garbage(built):
    inputs = harness.random_inputs(built, 3)
    inputs[3][:, 0, 0, 0] = [-5, 0, 2, 4, 5]
    wanted = harness.expected(built, inputs)[0]
    for b, small in enumerate(inputs[3].reshape(-1)):
        for cache in inputs[1:3]:
            cache[b, :, max(160 + 40 * int(small), 0) :] = np.nan
    harness.compare(harness.run(built, inputs)[0], wanted)
