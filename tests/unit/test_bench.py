"""Checking and timing kernels, on a stand-in for the driver that runs them in numpy."""

import gc
from concurrent.futures import Future

import numpy as np
import pytest

pytest.importorskip("cuda.bindings.driver")

from fake_cuda import FakeDriver, floats
from nvidia_helpers import contraction_cases, harness

from lumir.diagnostics import UserError
from lumir.measure import Bench, WrongResult, compile_dispatch
from lumir.measure.search import search
from lumir.measure.timing import time_together
from lumir.runtime import cuda_driver

ROWS, COLUMNS = 40, 6


@pytest.fixture(scope="module")
def kernel():
    with harness.kernel_context():
        text = contraction_cases.cases.op("add", ((ROWS, COLUMNS), "float32"), ((COLUMNS,), "float32"))
    return compile_dispatch(text, "sm_90a")


def right(x, b, y):
    floats(y, ROWS, COLUMNS)[:] = floats(x, ROWS, COLUMNS) + floats(b, COLUMNS)


def slightly_off(x, b, y):
    right(x, b, y)
    floats(y, ROWS, COLUMNS)[7, 3] *= 1.01


def unwritten(x, b, y):
    floats(y, ROWS - 1, COLUMNS)[:] = floats(x, ROWS - 1, COLUMNS) + floats(b, COLUMNS)


def past_the_end(x, b, y):
    right(x, b, y)
    floats(y, ROWS * COLUMNS + 1)[-1] = 3


def over_an_input(x, b, y):
    right(x, b, y)
    floats(x - 4, 1)[0] = 3


class Random:
    """Right within the tolerance, and other bits each time."""

    def __init__(self):
        self.rng = np.random.default_rng(0)

    def __call__(self, x, b, y):
        right(x, b, y)
        floats(y, ROWS, COLUMNS)[0] *= 1 + 1e-6 * self.rng.random(COLUMNS, np.float32)


@pytest.fixture
def bench(monkeypatch, tmp_path):
    def make(function) -> tuple[Bench, FakeDriver]:
        fake = FakeDriver({"dispatch": function})
        monkeypatch.setattr(cuda_driver, "api", lambda: fake)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        return Bench(), fake

    yield make
    gc.collect()  # what is left of a test is freed by its own driver


def test_a_right_kernel_is_timed_by_the_gpus_clock(bench, kernel):
    gpu, fake = bench(right)
    case = gpu.case(kernel.text, seed=4)
    assert case.check(kernel, whole=True).relative < 1e-7
    timing = case.time(kernel, samples=10)
    assert timing.median == pytest.approx(fake.kernel_seconds) and timing.samples == 10
    assert case.operands.sets == 64  # as many as are worth it: this one is small
    np.testing.assert_array_equal(case.results(kernel)[0], case.inputs[0] + case.inputs[1])


@pytest.mark.parametrize("wrong", [slightly_off, unwritten, past_the_end, over_an_input, Random()])
def test_a_wrong_kernel_is_found(bench, kernel, wrong):
    gpu, _ = bench(wrong)
    with pytest.raises(WrongResult):
        gpu.case(kernel.text).check(kernel, whole=True)


def test_every_call_has_operands_of_its_own(bench, kernel):
    seen = set()

    def noting(x, b, y):
        seen.add((x, b, y))
        right(x, b, y)

    gpu, _ = bench(noting)
    case = gpu.case(kernel.text, sets=5)
    time_together([case.prepare(kernel)], samples=1)
    assert len(seen) == 5 and len({address for operands in seen for address in operands}) == 15


def compiling(kernel, choices):
    """What the pool of compilers gives, done already."""
    found = []
    for choice in choices:
        done = Future()
        try:
            done.set_result(compile_dispatch(kernel.text, "sm_90a", choice.family, choice.schedule))
        except UserError as error:
            done.set_exception(error)
        found.append((choice, done))
    return found


def test_a_search_ranks_right_kernels_and_reports_the_others(bench, kernel):
    from lumir.measure.kernel import Choice, schedules_of

    choices = schedules_of(kernel.text, "sm_90a")[:6]
    broken = Choice(choices[0].family, {**choices[0].schedule, "block": 7}, 1.0)
    gpu, fake = bench(right)
    told = []
    work = compiling(kernel, [*choices, broken])
    outcome = search(gpu.case(kernel.text), work, lambda *state: told.append(state[:2]))
    assert len(outcome.ranked) == len(choices) and outcome.ranked[0].timing.samples == 30
    assert [choice for choice, _ in outcome.failed] == [broken]
    assert told[-1] == (7, 7) and fake.calls["cuGraphLaunch"] > 100


def test_a_search_keeps_no_wrong_kernel(bench, kernel):
    from lumir.measure.kernel import schedules_of

    gpu, _ = bench(slightly_off)
    choices = schedules_of(kernel.text, "sm_90a")[:3]
    outcome = search(gpu.case(kernel.text), compiling(kernel, choices))
    assert not outcome.ranked and len(outcome.failed) == 3
