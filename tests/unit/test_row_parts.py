"""The NVIDIA family row_parts without a GPU: PTX that ptxas takes, kernels run by the emulator, choices."""

import pytest
from nvidia_helpers import emulator, harness, needs_ptxas, row_parts_cases

from lumir.kernels.families import choose
from lumir.kernels.nvidia.row_parts import RowPartsFamily
from lumir.kernels.nvidia.row_schedule import RowPartsSchedule
from lumir.target import target_named

FAMILY, TARGET = RowPartsFamily(), target_named("sm_90a")
SCHEDULES = [
    RowPartsSchedule(64, 1, 1, 2, parts=8),
    RowPartsSchedule(8, 8, 1, 8, parts=16),
    RowPartsSchedule(8, 8, 1, 4, True, parts=4),
    RowPartsSchedule(1, 64, 1, 4, True, parts=32),
    RowPartsSchedule(32, 4, 4, 1, parts=4),
    RowPartsSchedule(16, 4, 4, 2, True, parts=8),
]


@pytest.fixture(autouse=True)
def _context():
    with harness.kernel_context():
        yield


@needs_ptxas
@pytest.mark.parametrize("name", row_parts_cases.CASES)
def test_assembles(name):
    built = harness.build(row_parts_cases.CASES[name](), FAMILY)
    harness.assemble_cleanly(built)


@needs_ptxas
def test_assembles_for_every_architecture():
    harness.assemble_everywhere(row_parts_cases.CASES["arg-max"](), FAMILY)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
@pytest.mark.parametrize("name", ["leading-float32", "all-int64", "middle", "outer-and-inner", "arg-max", "rows"])
def test_the_last_workgroup_joins_all_parts(name, schedule):
    text = row_parts_cases.CASES[name]()
    module, dispatch = harness.lowered(text)
    if FAMILY.legal(dispatch, schedule, TARGET):
        pytest.skip("lanes do not lie side by side")
    built = harness.build(text, FAMILY, schedule=schedule)
    inputs = harness.random_inputs(built, 7)
    for found, wanted in zip(emulator.run_on_cpu(built, inputs), harness.expected(built, inputs), strict=True):
        harness.compare(found, wanted)
    del module


@pytest.mark.parametrize(
    ("shape", "axes", "family"),
    [
        ((4096, 4096), [0, 1], "row_parts"),
        ((65536, 768), [0], "row_parts"),
        ((4096, 4096), [1], "rows"),
        ((64, 131072), [1], "rows"),
        ((64, 64), [0, 1], "rows"),
    ],
)
def test_few_long_rows_are_reduced_in_parts(shape, axes, family):
    module, dispatch = harness.lowered(row_parts_cases.cases.reduce("sum", shape, axes, "bfloat16"))
    assert choose(dispatch, TARGET)[0].name == family
    del module


def test_both_joins_fit_into_the_shared_memory_that_needs_no_asking_for():
    module, dispatch = harness.lowered(row_parts_cases.CASES["arg-min-last"]())
    reasons = FAMILY.legal(dispatch, RowPartsSchedule(8, 64, 8, 1, True, parts=128), TARGET)
    assert len(reasons) == 1 and "join in 81920 bytes" in reasons[0]
    for schedule in harness.legal_schedules(row_parts_cases.CASES["arg-min-last"](), FAMILY)[::6]:
        assert not harness.build(row_parts_cases.CASES["arg-min-last"](), FAMILY, schedule=schedule).code.shared_bytes
    del module


def test_only_reductions_alone_are_taken_apart():
    module, dispatch = harness.lowered(row_parts_cases.cases.softmax((2, 100000), 1, "float32"))
    assert not FAMILY.match(dispatch, TARGET)
    module, dispatch = harness.lowered(row_parts_cases.CASES["rows"]())
    assert "parts" in FAMILY.legal(dispatch, RowPartsSchedule(32, 4, parts=3), TARGET)[0]
    assert "no cluster" in FAMILY.legal(dispatch, RowPartsSchedule(32, 1, cluster=2), TARGET)[-1]
    del module
