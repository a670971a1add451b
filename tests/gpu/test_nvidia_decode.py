"""The NVIDIA family decode on a GPU, against the numpy reference in float64."""

import zlib

import decode_cases
import harness
import numpy as np
import pytest
from attention_cases import Attention

from lumir.kernels.nvidia.decode import DecodeFamily
from lumir.kernels.nvidia.decode_schedule import DecodeSchedule

pytestmark = pytest.mark.gpu
FEW = 2


@pytest.mark.parametrize("name", decode_cases.CASES)
def test_schedules_of_the_space(name):
    """The first choice and a few others, each on inputs of its own."""
    text = decode_cases.CASES[name]()
    schedules = harness.legal_schedules(text, DecodeFamily())
    for number, schedule in enumerate([schedules[0], *schedules[1 :: max(1, len(schedules) // FEW)]]):
        built = harness.build(text, DecodeFamily(), schedule=schedule)
        harness.check(built, seed=zlib.crc32(name.encode()) + number)


@pytest.mark.parametrize("splits", [1, 5])
def test_rows_without_keys_give_zeros(splits):
    text = Attention(h=4, g=2, m=2, n=300, d=64, mask="bool").text()
    built = harness.build(text, DecodeFamily(), schedule=DecodeSchedule(4, 16, splits))
    inputs = harness.random_inputs(built, 3)
    inputs[3][0, 0, 1] = False
    (found,) = harness.run(built, inputs)
    assert not found[0, :, 1].any()
    harness.compare(found, harness.expected(built, inputs)[0])


@pytest.mark.parametrize("stages", [0, 3])
def test_the_same_inputs_give_the_same_bits(stages):
    """Which block is the last differs from run to run; what it does must not."""
    text = Attention(h=32, g=8, m=1, n=3000, d=128, e=128).text()
    built = harness.build(text, DecodeFamily(), schedule=DecodeSchedule(8, 16, 8, stages))
    inputs = harness.random_inputs(built, 5)
    first = harness.run(built, inputs)[0]
    for _ in range(20):
        np.testing.assert_array_equal(harness.run(built, inputs)[0].view(np.uint16), first.view(np.uint16))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_large_scores_do_not_overflow(dtype):
    text = Attention(dtype=dtype, h=4, g=1, m=1, n=333, d=64, e=64).text()
    built = harness.build(text, DecodeFamily(), schedule=DecodeSchedule(4, 16, 4))
    inputs = [(10 * a).astype(a.dtype) for a in harness.random_inputs(built, 11)]
    harness.check(built, inputs=inputs, tolerance={"float16": 5e-3, "bfloat16": 3e-2}[dtype])


def test_values_past_the_last_key_are_not_read():
    """An infinite last value stands for what lies behind: it counts where its weight does, and only there."""
    built = harness.build(Attention(h=4, g=2, m=1, n=37, d=64, e=64, mask="keys").text(), DecodeFamily())
    inputs = harness.random_inputs(built, 9)
    inputs[3][...] = True
    inputs[2][:, :, -1] = np.inf
    (found,) = harness.run(built, inputs)
    assert np.isposinf(found).all()
