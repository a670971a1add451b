"""The NVIDIA families top_k and scan without a GPU: PTX that ptxas takes, kernels run by the emulator, choices."""

import re
import zlib

import numpy as np
import pytest
from nvidia_helpers import emulator, harness, needs_ptxas, scan_cases, top_k_cases

from lumir.kernels.families import choose
from lumir.kernels.nvidia.scan import ScanFamily
from lumir.kernels.nvidia.scan_writer import ScanSchedule
from lumir.kernels.nvidia.top_k import TopKFamily
from lumir.kernels.nvidia.top_k_writer import TopKSchedule
from lumir.size_text import declare
from lumir.symbols import Symbol
from lumir.target import target_named

TARGET = target_named("sm_90a")
TEXTS = {f"top-k/{name}": (make, TopKFamily()) for name, make in top_k_cases.CASES.items()} | {
    f"scan/{name}": (make, ScanFamily()) for name, make in scan_cases.CASES.items()
}
ORDERS = [
    TopKSchedule(8, 8),
    TopKSchedule(64, 2),
    TopKSchedule(128, 1),
    TopKSchedule(1, 64, by_rank=True),
    TopKSchedule(16, 4, by_rank=True),
]
TURNS = [
    ScanSchedule(32, 2),
    ScanSchedule(64, 2),
    ScanSchedule(16, 4),
    ScanSchedule(32, 2, 1, 16),
    ScanSchedule(4, 16, 1, 4, across=True),
    ScanSchedule(16, 4, 1, 1, across=True),
]


@pytest.fixture(autouse=True)
def _context():
    with harness.kernel_context():
        yield


def check(text, family, schedule, seed=0, inputs=None):
    built = harness.build(text, family, schedule=schedule)
    inputs = harness.random_inputs(built, seed) if inputs is None else inputs
    for found, wanted in zip(emulator.run_on_cpu(built, inputs), harness.expected(built, inputs), strict=True):
        harness.compare(found, wanted)


@needs_ptxas
@pytest.mark.parametrize("name", TEXTS)
def test_assembles(name):
    make, family = TEXTS[name]
    text = make()
    schedules = harness.legal_schedules(text, family)
    for schedule in {schedules[0], schedules[len(schedules) // 2]}:
        built = harness.build(text, family, schedule=schedule)
        harness.assemble_cleanly(built)


@needs_ptxas
@pytest.mark.parametrize("name", ["top-k/largest-bfloat16", "scan/exclusive-float16"])
def test_assembles_for_every_architecture(name):
    make, family = TEXTS[name]
    harness.assemble_everywhere(make(), family)


@pytest.mark.parametrize("schedule", ORDERS, ids=str)
def test_first_of_rows(schedule):
    check(top_k_cases.CASES["smallest-int64"](), TopKFamily(), schedule, seed=4)
    values = np.random.default_rng(2).integers(-2, 3, (7, 130)).astype(np.float32)
    values.flat[3::17], values.flat[5::13], values.flat[7::11] = np.nan, np.inf, -np.inf
    check(top_k_cases.CASES["largest-float32"](), TopKFamily(), schedule, inputs=[values])


@pytest.mark.parametrize("schedule", TURNS, ids=str)
@pytest.mark.parametrize("name", ["both", "exclusive-float32", "max-int64"])
def test_running_totals(name, schedule):
    text = scan_cases.CASES[name]()
    if schedule.across and name == "max-int64":
        pytest.skip("its axis is the last one")
    check(text, ScanFamily(), schedule, zlib.crc32(name.encode()))


def test_they_are_chosen_and_say_what_they_cannot_run():
    for name, (make, family) in TEXTS.items():
        module, dispatch = harness.lowered(make())
        assert choose(dispatch, TARGET)[0].name == family.name, name
        del module
    _module, dispatch = harness.lowered(scan_cases.CASES["both"]())
    assert "powers of two" in ScanFamily().legal(dispatch, ScanSchedule(3, 32), TARGET)[0]
    assert "side by side" in ScanFamily().legal(dispatch, ScanSchedule(8, 8, 2, 1, across=True), TARGET)[0]
    assert "at most 32 threads" in ScanFamily().legal(dispatch, ScanSchedule(64, 2, 1, 1, across=True), TARGET)[0]
    _module, dispatch = harness.lowered(top_k_cases.CASES["one-row"]())
    assert "of one warp" in TopKFamily().legal(dispatch, TopKSchedule(64, 2, by_rank=True), TARGET)[0]
    assert "32 to 1024 threads" in TopKFamily().legal(dispatch, TopKSchedule(8, 1), TARGET)[0]


@pytest.mark.parametrize("size", [100_000, 99_999])
def test_a_long_line_is_many_elements_a_turn(size):
    """Also where its elements are not whole groups of neighbours."""
    _module, dispatch = harness.lowered(
        scan_cases.cases.op("scan", ((1, size), "float32"), kind="sum", axis=1, exclusive=False, reverse=False)
    )
    schedule = choose(dispatch, TARGET)[1]
    assert isinstance(schedule, ScanSchedule) and schedule.turn >= 2048


def test_few_of_a_long_row_go_in_rounds_and_many_of_a_short_one_by_rank():
    for size, k, by_rank in ((128256, 50, False), (8400, 1000, True)):
        _module, dispatch = harness.lowered(top_k_cases.cases.op("top_k", ((1, size), "float32"), k=k, largest=True))
        assert vars(choose(dispatch, TARGET)[1])["by_rank"] == by_rank, (size, k)


_OPEN = {
    "scan": (
        """func.func private @d(%x: T) -> T attributes {lumir.dispatch} {
          %0 = "lumir.scan"(%x) {kind = "sum", axis = AXIS : i64, exclusive = false, reverse = true} : (T) -> T
          return %0 : T }""",
        ScanFamily(),
    ),
    "top-k": (
        """func.func private @d(%x: T) -> (V, I) attributes {lumir.dispatch} {
          %0:2 = "lumir.top_k"(%x) {k = 3 : i64, largest = true} : (T) -> (V, I)
          return %0#0, %0#1 : V, I }""",
        TopKFamily(),
    ),
}


def _typed(text, shape, few, axis):
    """The text with the types of a tensor of two dimensions, and of its first three columns."""
    types = {"T": f"tensor<{shape}", "V": f"tensor<{few}", "I": f"tensor<{few.replace('f32', 'i64')}", "AXIS": axis}
    return re.sub(r"\b(T|V|I|AXIS)\b", lambda match: str(types[match[0]]), text)


@pytest.mark.parametrize(("name", "axis"), [("scan", 0), ("scan", 1), ("top-k", 1)])
def test_sizes_that_are_known_at_the_launch(name, axis):
    """One kernel for every size, for a few schedules."""
    text, family = _OPEN[name]
    with declare({"b": Symbol("b", 1, 9), "n": Symbol("n", 3, 300)}):
        open_text = _typed(text, '?x?xf32, ["b", "n"]>', '?x3xf32, ["b"]>', axis)
        schedules = [
            s for s in harness.legal_schedules(open_text, family) if vars(s)["threads"] * vars(s)["rows"] <= 128
        ]
        kernels = [harness.build(open_text, family, schedule=s) for s in schedules[:: len(schedules) // 3]]
    for b, n in ((1, 3), (4, 37), (7, 130)):
        reference = harness.build(_typed(text, f"{b}x{n}xf32>", f"{b}x3xf32>", axis), family)
        inputs = harness.random_inputs(reference, n)
        for kernel in kernels:
            found = emulator.run_on_cpu(kernel, inputs, b=b, n=n)
            for one, wanted in zip(found, harness.expected(reference, inputs), strict=True):
                harness.compare(one, wanted)
