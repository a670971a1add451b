"""The NVIDIA family transpose without a GPU: PTX that ptxas takes, and kernels run by the emulator."""

import numpy as np
import pytest
from nvidia_helpers import emulator, harness, needs_ptxas, transpose_cases

from lumir.kernels.nvidia.transpose import TransposeFamily, TransposeSchedule
from lumir.kernels.nvidia.transpose_plan import TransposeFacts
from lumir.target import target_named

FAMILY, TARGET = TransposeFamily(), target_named("sm_90a")
EMULATED = ("float16-77x130", "bool-33x5", "to-channels-last", "fused-float32", "two-turned", "heads", "flattened")


@pytest.fixture(autouse=True)
def _context():
    with harness.kernel_context():
        yield


@needs_ptxas
@pytest.mark.parametrize("name", transpose_cases.CASES)
def test_assembles(name):
    built = harness.build(transpose_cases.CASES[name](), FAMILY)
    harness.assemble_cleanly(built)


@needs_ptxas
def test_assembles_for_every_architecture():
    harness.assemble_everywhere(transpose_cases.CASES["fused-float16"](), FAMILY)


@pytest.mark.parametrize("name", EMULATED)
def test_computes_what_the_reference_does(name):
    built = harness.build(transpose_cases.CASES[name](), FAMILY, schedule=TransposeSchedule(32, 32, 64))
    inputs = harness.random_inputs(built, seed=3)
    for found, wanted in zip(emulator.run_on_cpu(built, inputs), harness.expected(built, inputs), strict=True):
        harness.compare(found, wanted)


def facts(text: str) -> TransposeFacts | None:
    module, dispatch = harness.lowered(text)
    found = TransposeFacts.of(dispatch)
    del module
    return found


def test_neighbouring_dimensions_are_walked_as_one():
    found = facts(transpose_cases.plain((2, 24, 14, 14), [0, 2, 3, 1], "float16"))
    assert found is not None
    assert (found.groups, found.slow, found.extents, found.along) == (((0,), (1, 2), (3,)), 1, (196, 24), (4, 8))


def test_wide_accesses_in_both_directions():
    ptx = harness.build(transpose_cases.plain((512, 512), [1, 0], "bfloat16"), FAMILY).ptx
    assert "ld.global.v4.b32" in ptx and "st.global.v4.b32" in ptx and "ld.shared.v4.b32" in ptx


@pytest.mark.parametrize(
    "text",
    [
        lambda: transpose_cases.plain((8, 50, 4, 64), [0, 2, 1, 3], "float16"),
        lambda: transpose_cases.plain((2, 500), [1, 0], "float16"),
        lambda: transpose_cases.cases.bias_gelu((8, 64), (64,), "float32"),
        lambda: transpose_cases.cases.softmax((8, 64), 1, "float32"),
    ],
    ids=("same last dimension", "two rows", "nothing turned", "reduction"),
)
def test_what_it_does_not_match(text):
    assert facts(text()) is None


def test_what_cannot_run_is_refused():
    module, dispatch = harness.lowered(transpose_cases.plain((512, 512), [1, 0], "float32"))
    for schedule, reason in (
        (TransposeSchedule(48, 64, 256), "powers of two"),
        (TransposeSchedule(128, 128, 256), "shared memory"),
        (TransposeSchedule(64, 64, 2048), "threads"),
    ):
        assert any(reason in text for text in FAMILY.legal(dispatch, schedule, TARGET))
    assert np.isfinite(FAMILY.cost(dispatch, TransposeSchedule(), TARGET))
    del module
