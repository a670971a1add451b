"""The NVIDIA family attention on a GPU, against the numpy reference in float64."""

import zlib

import attention_cases
import harness
import numpy as np
import pytest

from lumir.kernels.nvidia.attention import AttentionFamily

pytestmark = pytest.mark.gpu
FEW = 2


@pytest.mark.parametrize("name", attention_cases.CASES)
def test_schedules_of_the_space(name):
    """The first choice and a few others, each on inputs of its own."""
    text = attention_cases.CASES[name]()
    schedules = harness.legal_schedules(text, AttentionFamily())
    for number, schedule in enumerate([schedules[0], *schedules[1 :: max(1, len(schedules) // FEW)]]):
        built = harness.build(text, AttentionFamily(), schedule=schedule)
        harness.check(built, seed=zlib.crc32(name.encode()) + number)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_rows_without_keys_give_zeros(dtype):
    text = attention_cases.Attention(dtype=dtype, mask="bool").text()
    built = harness.build(text, AttentionFamily())
    inputs = harness.random_inputs(built, 3)
    inputs[3][0, 0, 7] = False
    inputs[3][1, 0, 40:] = False
    (found,) = harness.run(built, inputs)
    assert not found[0, :, 7].any() and not found[1, :, 40:].any()
    harness.compare(found, harness.expected(built, inputs)[0])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_large_scores_do_not_overflow(dtype):
    """Scores up to about 450: their own rounding, 450 * 2^-24 in float32, is a relative error of every weight."""
    built = harness.build(attention_cases.Attention(dtype=dtype).text(), AttentionFamily())
    inputs = [(10 * a).astype(a.dtype) for a in harness.random_inputs(built, 11)]
    harness.check(built, inputs=inputs, tolerance={"float16": 5e-3, "bfloat16": 3e-2, "float32": 5e-5}[dtype])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("dropped", [-1e4, -1e9, -1e30])
def test_finite_masks_that_drop_whole_rows(dtype, dropped):
    """A row of equal, very negative scores weighs its keys alike."""
    built = harness.build(attention_cases.Attention(dtype=dtype, mask="float32").text(), AttentionFamily())
    inputs = harness.random_inputs(built, 13)
    inputs[3] = np.where(inputs[3] > 0, 0, dropped).astype(np.float32)
    inputs[3][5] = dropped
    (found,) = harness.run(built, inputs)
    assert np.isfinite(found.astype(np.float32)).all()
    others = [row for row in range(50) if row != 5]
    harness.compare(found[:, :, others], harness.expected(built, inputs)[0][:, :, others])


def test_most_negative_floats_as_a_mask():
    built = harness.build(attention_cases.Attention(dtype="float32", mask="float32").text(), AttentionFamily())
    inputs = harness.random_inputs(built, 12)
    inputs[3] = np.where(inputs[3] > 0, 0, np.finfo(np.float32).min).astype(np.float32)
    harness.check(built, inputs=inputs)
