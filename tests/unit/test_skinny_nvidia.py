"""The NVIDIA family skinny without a GPU: PTX that ptxas takes, and schedules that say why they cannot run."""

import pytest
from nvidia_helpers import harness, needs_ptxas, skinny_cases

from lumir.kernels.nvidia.skinny import SkinnyFamily
from lumir.kernels.nvidia.skinny_facts import SkinnyFacts
from lumir.kernels.nvidia.skinny_plan import SkinnySchedule
from lumir.target import target_named

FAMILY, TARGET = SkinnyFamily(), target_named("sm_90a")
EVERYWHERE = ("bfloat16-5x130x4104", "float32-3x40x96", "linear-float16", "uint4-bfloat16", "int8-bfloat16")
FAST_PACKED = [name for name in skinny_cases.CASES if "int4" in name or "int8-" in name or "channel" in name]
SMALL_BLOCKS = ("uint4-float16-blocks-of-32", "uint4-float16-real-zero", "int8-float16")
SLOW_PACKED = ("uint4-float32", "uint4-float16-blocks-of-16")


@pytest.fixture(autouse=True)
def _context():
    with harness.kernel_context():
        yield


@needs_ptxas
@pytest.mark.parametrize("name", skinny_cases.CASES)
def test_assembles(name):
    built = harness.build(skinny_cases.CASES[name](), FAMILY)
    harness.assemble_cleanly(built)


@needs_ptxas
@pytest.mark.parametrize("name", EVERYWHERE)
def test_assembles_for_every_architecture(name):
    harness.assemble_everywhere(skinny_cases.CASES[name](), FAMILY)


@pytest.mark.parametrize("name", FAST_PACKED)
def test_packed_weights_are_read_as_words(name):
    text = skinny_cases.CASES[name]()
    module, dispatch = harness.lowered(text)
    facts = SkinnyFacts.of(dispatch)
    assert facts is not None
    assert (facts.packed is None) == (name in SLOW_PACKED)
    if facts.packed is not None:
        assert facts.signed == name.startswith(("int", "per"))
        assert facts.grouped == (name not in SMALL_BLOCKS)
    del module


@pytest.mark.parametrize(
    ("schedule", "reason"),
    [
        (SkinnySchedule("mma", 24, 4), "whole tiles"),
        (SkinnySchedule("simt", 64, 4), "sums"),
        (SkinnySchedule("mma", 64, 32, 1), "shared memory"),
        (SkinnySchedule("mma", 16, 8, 8), "threads"),
        (SkinnySchedule("mma", 16, 0, 1), "at least 1"),
        (SkinnySchedule("mma", 16, 8, split=2), "clusters"),
        (SkinnySchedule("wgmma", 72, 4, 1, 1, stages=4), "warpgroups"),
        (SkinnySchedule("wgmma", 64, 4, 1, 1), "at least 2 stages"),
        (SkinnySchedule("wgmma", 64, 4, 1, 1, split=3, stages=2), "clusters"),
        (SkinnySchedule("wgmma", 64, 4, 1, 1, stages=30), "shared memory"),
    ],
    ids=str,
)
def test_what_cannot_run_is_refused(schedule, reason):
    module, dispatch = harness.lowered(skinny_cases.skinny(16, 512, 1024, "bfloat16"))
    assert any(reason in text for text in FAMILY.legal(dispatch, schedule, TARGET))
    del module


@pytest.mark.parametrize(
    "text",
    [
        lambda: skinny_cases.skinny(65, 512, 1024, "bfloat16"),
        lambda: skinny_cases.skinny(17, 512, 1024, "float32"),
        lambda: skinny_cases.computed(17, 512, 1024, "bfloat16"),
        lambda: skinny_cases.skinny(1, 512, 1023, "bfloat16"),
        lambda: skinny_cases.product("mk,kn->mn", {"m": 1, "n": 512, "k": 512}, "bfloat16"),
    ],
    ids=("many rows", "more than few of float32", "more than few that are computed", "odd k", "weight along n"),
)
def test_what_it_does_not_match(text):
    module, dispatch = harness.lowered(text())
    assert not FAMILY.match(dispatch, TARGET)
    del module


def test_wgmma_multiplies_some_more_rows_where_there_is_one():
    module, dispatch = harness.lowered(skinny_cases.skinny(17, 512, 1024, "bfloat16"))
    assert FAMILY.match(dispatch, TARGET) and not FAMILY.match(dispatch, target_named("sm_120"))
    assert {schedule.instruction for schedule in FAMILY.space(dispatch, TARGET)} == {"wgmma"}
    del module


@needs_ptxas
@pytest.mark.parametrize("rows", [1, 9, 64])
def test_both_operands_through_a_ring_assemble(rows):
    for schedule in (
        SkinnySchedule("wgmma", 56, 4, 2, 1, stages=3, resident=2),
        SkinnySchedule("wgmma", 64, 4, 1, 1, split=4, stages=3),
    ):
        text = skinny_cases.skinny(rows, 500, 1000, "bfloat16")
        report = harness.build(text, FAMILY, schedule=schedule).assemble()
        assert report.spills == 0 and not report.warnings, (schedule, report.kernels, report.warnings)


@pytest.mark.parametrize(
    ("text", "schedule", "reason"),
    [
        (lambda: skinny_cases.packed(4, 90, 1120, "float16", "uint4", 32, None), {}, "whole lines"),
        (lambda: skinny_cases.packed(4, 90, 1120, "float16", "uint4", 128, None), {}, "one after the other"),
        (lambda: skinny_cases.packed(4, 90, 1024, "float16", "uint4", 128, None), {"warps": 12}, "four warps"),
        (lambda: skinny_cases.packed(4, 90, 1024, "float16", "uint4", 128, None), {"unroll": 300}, "a box"),
        (
            lambda: skinny_cases.packed(4, 90, 1024, "float16", "uint4", 128, None),
            {"warps": 16, "stages": 6},
            "whole turns of 4 teams",
        ),
        (
            lambda: skinny_cases.packed(4, 90, 1024, "float16", "uint4", 128, None),
            {"split": 8, "unroll": 2},
            "clusters",
        ),
    ],
    ids=("short lines", "padded", "warps", "box", "turns", "parts"),
)
def test_what_cannot_be_unpacked_for_wgmma(text, schedule, reason):
    module, dispatch = harness.lowered(text())
    full = SkinnySchedule("wgmma", **{"rows": 64, "warps": 4, "unroll": 1, "stages": 2, **schedule})
    assert any(reason in each for each in FAMILY.legal(dispatch, full, TARGET)), FAMILY.legal(dispatch, full, TARGET)
    assert not FAMILY.legal(dispatch, SkinnySchedule("mma", 16, 4, 1, 1), TARGET)
    del module


@needs_ptxas
@pytest.mark.parametrize("rows", [1, 16])
@pytest.mark.parametrize("kind", [("float16", "uint4", 128, "uint4"), ("bfloat16", "int8", 128, None)], ids=str)
def test_weights_unpacked_for_wgmma_assemble(kind, rows):
    for schedule in (
        SkinnySchedule("wgmma", 56, 8, 1, 1, stages=4),
        SkinnySchedule("wgmma", 64, 4, 1, 2, split=4, stages=2),
    ):
        report = harness.build(skinny_cases.packed(rows, 500, 896, *kind), FAMILY, schedule=schedule).assemble()
        assert report.spills == 0 and not report.warnings, (schedule, report.kernels, report.warnings)


def test_a_kernel_waits_before_it_reads_activations():
    built = harness.build(skinny_cases.skinny(1, 256, 512, "bfloat16"), FAMILY, schedule=SkinnySchedule(ahead=64))
    start, wait = built.ptx.index("griddepcontrol.launch_dependents"), built.ptx.index("griddepcontrol.wait")
    first_load = built.ptx.index("ld.global")
    assert start < built.ptx.index("cp.async.bulk.prefetch.L2") < wait < first_load
    assert built.code.pdl


def test_older_architectures_do_without_dependent_launch():
    built = harness.build(skinny_cases.skinny(1, 256, 512, "bfloat16"), FAMILY, "sm_80")
    assert "griddepcontrol" not in built.ptx and not built.code.pdl
