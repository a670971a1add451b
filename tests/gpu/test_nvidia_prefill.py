"""The NVIDIA family prefill on a GPU, against the numpy reference in float64."""

import zlib

import harness
import numpy as np
import prefill_cases
import pytest
from attention_cases import Attention

from lumir.kernels.nvidia.prefill import PrefillFamily
from lumir.kernels.nvidia.prefill_schedule import PrefillSchedule

pytestmark = pytest.mark.gpu
FEW = 2


@pytest.mark.parametrize("name", prefill_cases.CASES)
def test_schedules_of_the_space(name):
    """The first choice and a few others, each on inputs of its own."""
    text = prefill_cases.CASES[name]()
    schedules = harness.legal_schedules(text, PrefillFamily())
    for number, schedule in enumerate([schedules[0], *schedules[1 :: max(1, len(schedules) // FEW)]]):
        built = harness.build(text, PrefillFamily(), schedule=schedule)
        harness.check(built, seed=zlib.crc32(name.encode()) + number)


@pytest.mark.parametrize("turns", [True, False])
@pytest.mark.parametrize("groups", [2, 3])
def test_warpgroups_that_take_turns(groups, turns):
    """Many tiles of keys, so that each warpgroup has its turn often, and some stages are used again and again."""
    text = Attention(h=3, g=3, b=2, m=500, n=1500, d=64, e=64).text()
    built = harness.build(text, PrefillFamily(), schedule=PrefillSchedule(groups, 64, 2, turns))
    harness.check(built, seed=groups)


def test_rows_without_keys_give_zeros():
    text = Attention(h=4, g=2, b=1, m=100, n=300, d=64, mask="bool").text()
    built = harness.build(text, PrefillFamily())
    inputs = harness.random_inputs(built, 3)
    inputs[3][0, 0, 7] = False
    inputs[3][0, 0, 40:] = False
    (found,) = harness.run(built, inputs)
    assert not found[0, :, 7].any() and not found[0, :, 40:].any()
    harness.compare(found, harness.expected(built, inputs)[0])


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_large_scores_do_not_overflow(dtype, causal):
    text = Attention(dtype=dtype, h=2, g=1, b=1, m=130, n=333, d=64, e=64, causal=causal, offset=203).text()
    built = harness.build(text, PrefillFamily())
    inputs = [(10 * a).astype(a.dtype) for a in harness.random_inputs(built, 11)]
    harness.check(built, inputs=inputs, tolerance={"float16": 5e-3, "bfloat16": 3e-2}[dtype])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_rows_that_the_lowest_number_masks_are_means(dtype):
    """As on other paths: the addend swallows the product, and all keys weigh the same."""
    text = Attention(dtype=dtype, h=2, g=1, b=1, m=130, n=333, d=64, e=64, mask="float32").text()
    built = harness.build(text, PrefillFamily())
    inputs = harness.random_inputs(built, 3)
    lowest = np.finfo(np.float32).min
    inputs[3][:, :] = np.where(np.random.default_rng(1).random(inputs[3].shape) < 0.3, lowest, 0)
    inputs[3][[7, *range(40, 60)]] = lowest
    (found,) = harness.run(built, inputs)
    assert np.abs(found[0, :, 7].astype(np.float32)).max() > 0
    harness.compare(found, harness.expected(built, inputs)[0])
