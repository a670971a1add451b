"""Measurement where there is no GPU: references of sampled rows, comparison, and compiling one dispatch."""

import ml_dtypes
import numpy as np
import pytest
from nvidia_helpers import attention_cases, contraction_cases, harness, row_cases

from lumir.diagnostics import UserError
from lumir.measure import WrongResult, compile_dispatch, schedules_of
from lumir.measure.compare import check_result
from lumir.measure.operands import random_tensor
from lumir.measure.reference import Reference
from lumir.measure.timing import Timing, calls_in_graph, time_together

TEXTS = {
    "linear": (lambda: contraction_cases.linear(40, 24, 16, "float16"), [0, 0]),
    "product": (lambda: contraction_cases.product("bmk,nk->bmn", {"b": 2, "m": 50, "n": 9, "k": 7}, "float16"), [1]),
    "heads": (lambda: contraction_cases.heads(2, 40, 3, 5, 8, "float32"), [2]),
    "causal": (lambda: attention_cases.Attention(m=40, n=40, causal=True, offset=3).text(), [2]),
    "masked": (lambda: attention_cases.Attention(m=40, n=30, mask="bool", g=2).text(), [2]),
    "convolution": (lambda: contraction_cases.convolution((2, 3, 9, 9), (20, 3, 3, 3), "float16", pad=1), [1]),
    "channels-last": (lambda: contraction_cases.channels_last(20, 3, 7, 4, 3, "float16"), [0]),
}


@pytest.mark.parametrize("name", TEXTS)
def test_sampled_rows_are_those_of_the_whole(name):
    make, dims = TEXTS[name]
    with harness.kernel_context():
        text = make()
    sampled, whole = Reference(text, whole=0), Reference(text)
    assert sampled.result_dims == dims and whole.result_dims == [None] * len(dims)
    rng = np.random.default_rng(0)
    inputs = [random_tensor(spec, rng) for spec in whole.inputs]
    for found, all_of_it, dim in zip(sampled.evaluate(inputs), whole.evaluate(inputs), dims, strict=True):
        assert found.shape[dim] == 16 < all_of_it.shape[dim]
        np.testing.assert_allclose(found, all_of_it.take(sampled.rows, dim), rtol=1e-12, atol=1e-12)


def test_a_sum_over_everything_is_computed_whole():
    with harness.kernel_context():
        text = contraction_cases.cases.reduce("sum", (50, 60), [0], "float32")
        scan = contraction_cases.cases.op(
            "scan", ((90,), "float32"), kind="sum", axis=0, exclusive=False, reverse=False
        )
    assert Reference(text, whole=0).result_dims == [0]
    assert Reference(scan, whole=0).result_dims == [None]


def test_wrong_results_are_refused():
    wanted = np.linspace(-3, 5, 1000).reshape(10, 100)
    assert check_result(wanted.astype(np.float16), wanted).relative < 5e-4
    for change in (np.nan, np.inf, 100.0):
        wrong = wanted.astype(np.float32)
        wrong[3, 4] = change
        with pytest.raises(WrongResult):
            check_result(wrong, wanted)
    with pytest.raises(WrongResult):
        check_result(np.arange(4), np.array([0, 1, 2, 4]))
    with pytest.raises(WrongResult):  # an error of half a unit everywhere is not one element's
        check_result((wanted * 1.02).astype(ml_dtypes.bfloat16), wanted)


def test_integers_that_floats_were_rounded_to_may_be_one_off_next_to_a_tie():
    wanted = np.arange(10_000).reshape(100, 100) % 255 - 127
    one_off = wanted.copy()
    one_off[3, :20] += 1
    check_result(one_off, wanted, rounded=True)
    one_off[4:5] += 1
    two_off = wanted.copy()
    two_off[0, 0] += 2
    for wrong in (one_off, two_off):
        with pytest.raises(WrongResult, match="differ"):
            check_result(wrong, wanted, rounded=True)


def test_which_integers_are_rounded():
    with harness.kernel_context():
        text = row_cases.CASES["norm-quantised-int8"]()
        bytes_ = contraction_cases.products_of_bytes(4, 5, 6, "int8", "int8")
        index = row_cases.CASES["arg-max-float32"]()
    assert Reference(text).rounded == [False, True, False]
    assert Reference(bytes_).rounded == [True]
    assert Reference(index).rounded == [False]


def test_overflow_of_the_result_type_is_expected():
    check_result(np.array([np.inf, 1.0], np.float16), np.array([1e6, 1.0]))


def test_a_schedule_that_is_not_legal_is_refused():
    with harness.kernel_context():
        text = contraction_cases.linear(40, 24, 16, "float16")
    choices = schedules_of(text, "sm_90a")
    assert len(choices) > 50 and choices == sorted(choices, key=lambda choice: choice.cost)
    kernel = compile_dispatch(text, "sm_90a", choices[5].family, choices[5].schedule)
    assert kernel.schedule == choices[5].schedule and kernel.ptx.count(".entry") == 1
    with pytest.raises(UserError, match="not legal"):
        compile_dispatch(text, "sm_90a", "contraction", {**choices[5].schedule, "warps_m": 3})


def test_the_same_dispatch_gives_the_same_code():
    with harness.kernel_context():
        text = contraction_cases.linear(40, 24, 16, "float16")
    first, second = (compile_dispatch(text, "sm_90a") for _ in range(2))
    assert first.files == second.files and first.plan == second.plan


class Clock:
    def __init__(self, seconds):
        self.values, self.calls = iter(seconds), 0

    def seconds(self):
        self.calls += 1
        return next(self.values)


def test_things_are_timed_in_turns():
    fast, slow = Clock([9.0] * 3 + [9.0, 1.0, 1.0, 1.5] * 3), Clock([9.0] * 3 + [9.0, *[2.0] * 3] * 3)
    first, second = time_together([fast, slow], samples=8)
    assert (first.median, second.median) == (1.0, 2.0) and first.spread > second.spread == 0
    assert fast.calls == slow.calls == 14 and first.samples == 8
    assert str(Timing(2e-6, 0.02, 9)) == "2.00 us +- 1.0 %"


class Tiring:
    """Something that is timed on a card that gets slower with all that runs on it."""

    def __init__(self, seconds, card):
        self.own, self.card = seconds, card

    def seconds(self):
        self.card.append(self)
        return self.own * (1.0 + 0.01 * len(self.card))


def test_no_turn_is_better_than_another_on_a_card_that_gets_slower():
    card: list[Tiring] = []
    first, *_, last = time_together([Tiring(1.0, card) for _ in range(4)], samples=6)
    assert first.median == pytest.approx(last.median)


def test_graphs_hold_enough_calls():
    assert calls_in_graph(1e-3, 1) == 4
    assert calls_in_graph(2e-6, 64) == 250
    assert calls_in_graph(50e-6, 64) == 64


def test_a_dispatch_of_many_sizes_is_refused():
    with harness.kernel_context():
        text = contraction_cases.cases.op("exp", ((4, 8), "float32")).replace("4x8xf32", '?x8xf32, ["batch"]')
    with pytest.raises(UserError, match="ranges"):
        Reference(text)


def test_what_a_strided_convolution_does_not_see_is_not_counted():
    from lumir.measure.suite.convolution import Layer, convolution

    layer = Layer(56, 256, 128, 1, 2)
    image, rest = 56 * 56 * 256 * 2, (256 * 128 + 128 + 28 * 28 * 128) * 2
    assert Reference(convolution(1, layer, "float16")).nbytes == image // 4 + rest
    assert Reference(convolution(1, Layer(56, 256, 128, 3, 2), "float16")).nbytes == image + rest + 8 * 256 * 128 * 2
