"""The NVIDIA family wgmma without a GPU: PTX that ptxas takes, what it refuses, and how it reads and writes."""

import re
from dataclasses import replace

import contraction_cases
import pytest
import wgmma_cases
from nvidia_helpers import harness, needs_ptxas

from lumir.artifact.launches import Launch
from lumir.kernels.families import choose
from lumir.kernels.nvidia.contraction_wgmma import WgmmaFamily
from lumir.kernels.nvidia.skinny import SkinnyFamily
from lumir.kernels.nvidia.wgmma_schedule import WgmmaSchedule
from lumir.measure import compile_dispatch
from lumir.size_text import declare
from lumir.target import NVIDIA_ARCHS, target_named

FAMILY, TARGET = WgmmaFamily(), target_named("sm_90a")
LARGE = {"m": 2048, "n": 1024, "k": 512}


@pytest.fixture(autouse=True)
def _context():
    with harness.kernel_context():
        yield


def assemble(text: str, schedule: WgmmaSchedule) -> None:
    """No serialised wgmma (C7510), no setmaxnreg ignored (C7508), no spills but a word or two.

    128 sums and what a fused chunk needs are nearly all registers that there are.
    """
    report = harness.build(text, FAMILY, schedule=schedule).assemble()
    assert report.spills <= 16 and not report.warnings, (schedule, report.kernels, report.warnings)


@needs_ptxas
@pytest.mark.parametrize("schedule", wgmma_cases.SCHEDULES, ids=str)
def test_schedules_assemble(schedule):
    sizes = {"m": 384, "n": 256, "k": 1024} if schedule.parts > 1 else LARGE
    assemble(wgmma_cases.product("mk,nk->mn", sizes, "bfloat16"), schedule)


@pytest.mark.parametrize(("family", "rows"), [(FAMILY, 256), (SkinnyFamily(), 24)])
def test_bands_that_begin_within_a_box_are_left_to_others(family, rows):
    """48 columns of a band, in runs of 32: a box of 32 rows from the second band on would cross the end of a run."""
    module, dispatch = harness.lowered(wgmma_cases.bands_of_runs(rows, 3, 32, 256, "float16"))
    found = family.space(dispatch, TARGET) if family.match(dispatch, TARGET) else ()
    assert all(getattr(schedule, "instruction", "wgmma") != "wgmma" for schedule in found)
    del module


def test_blocks_of_a_cluster_that_have_no_rows_store_none():
    """Three whole tiles of rows are four blocks in clusters of two: the stores of the last one must be guarded."""
    guards = []
    for m in (384, 512):
        text = wgmma_cases.product("mk,nk->mn", {"m": m, "n": 67, "k": 72}, "float16")
        (ptx,) = compile_dispatch(text, "sm_90a", FAMILY, WgmmaSchedule(128, 64, 3, cluster=2)).files.values()
        guards.append(ptx.count(b"setp"))
    assert guards[0] > guards[1]


@needs_ptxas
@pytest.mark.parametrize("name", list(wgmma_cases.CASES)[::3])
def test_cases_assemble(name):
    text = wgmma_cases.CASES[name]()
    module, dispatch = harness.lowered(text)
    assert FAMILY.match(dispatch, TARGET)
    schedules = [s for s in wgmma_cases.SCHEDULES if not FAMILY.legal(dispatch, s, TARGET)]
    for schedule in (schedules[0], schedules[-1]):
        assemble(text, schedule)
    del module


@needs_ptxas
@pytest.mark.parametrize("name", wgmma_cases.OPEN)
def test_open_sizes_assemble(name):
    text = wgmma_cases.open_text(name)
    with declare(wgmma_cases.SYMBOLS):
        for schedule in (None, WgmmaSchedule(128, 128, 4, cluster=2), WgmmaSchedule(128, 64, 4, pingpong=True)):
            report = harness.build(text, FAMILY, schedule=schedule).assemble()
            assert report.spills <= 16 and not report.warnings


def test_maps_grid_and_tiles_follow_the_sizes():
    kernel = compile_dispatch(wgmma_cases.open_text("bmk,bkn->bmn-float16"), "sm_90a", FAMILY, WgmmaSchedule(128, 256))
    for b, m, blocks in ((1, 1, 2), (5, 700, 60), (3, 129, 12)):
        (launch,) = kernel.plan.at({"b": b, "m": m}).work
        assert isinstance(launch, Launch)
        left, right, result = launch.tensor_maps
        assert (left.dims, left.strides) == ((200, m, b), (400, 400 * m))
        assert (right.dims, result.dims) == ((264, 200, b), (264, m, b))
        assert launch.grid == (blocks, 1, 1)
    assert not kernel.plan.at({"b": 0, "m": 9}).work


@pytest.mark.parametrize(
    ("equation", "along_k"),
    [
        ("mk,nk->mn", (True, True)),
        ("mk,kn->mn", (True, False)),
        ("km,nk->mn", (False, True)),
        ("km,kn->mn", (False, False)),
    ],
)
def test_every_layout_is_read_where_it_lies(equation, along_k):
    ptx = harness.build(wgmma_cases.product(equation, LARGE, "float16"), FAMILY, schedule=WgmmaSchedule(128, 128)).ptx
    transposed = ", ".join("0" if along else "1" for along in along_k)
    assert f"p, 1, 1, {transposed};" in ptx
    assert "ld.global" not in ptx and "st.global" not in ptx


def test_results_that_tma_cannot_write_are_stored_from_registers():
    ptx = harness.build(wgmma_cases.CASES["odd-result"](), FAMILY, schedule=WgmmaSchedule(128, 128)).ptx
    assert "st.global.b16" in ptx and "cp.async.bulk.tensor.2d.global" not in ptx


def test_heads_are_written_in_place():
    built = harness.build(wgmma_cases.CASES["heads"](), FAMILY, schedule=WgmmaSchedule(128, 128))
    assert built.code.tensor_maps[-1].dims == (64, 128, 2, 4)
    assert "st.global" not in built.ptx


@pytest.mark.parametrize(("n", "waits"), [(64, [0, 0]), (128, [1, 1, 0]), (192, [0, 1, 1, 0])])
def test_a_buffer_is_read_before_it_is_written_again(n, waits):
    """A tile of an odd number of chunks begins with the buffer that the one before ended with; the last wait is all."""
    built = harness.build(wgmma_cases.product("mk,nk->mn", LARGE, "float16"), FAMILY, schedule=WgmmaSchedule(128, n, 3))
    assert [int(n) for n in re.findall(r"cp.async.bulk.wait_group.read\s+(\d)", built.ptx)] == waits


def test_a_cluster_copies_the_right_operand_once():
    built = harness.build(
        wgmma_cases.product("mk,nk->mn", LARGE, "float16"), FAMILY, schedule=WgmmaSchedule(128, 128, cluster=2)
    )
    assert built.code.cluster == (2, 1, 1) and "multicast::cluster" in built.ptx
    assert built.code.tensor_maps[1].box == (64, 64)


@pytest.mark.parametrize(
    ("schedule", "reason"),
    [
        (WgmmaSchedule(96, 128), "not a multiple of 64"),
        (WgmmaSchedule(256, 256), "sums and what else it needs"),
        (WgmmaSchedule(192, 208, consumers=3), "sums and what else it needs"),
        (WgmmaSchedule(128, 40), "not a multiple of 16"),
        (WgmmaSchedule(128, 128, stages=1), "at least 2 stages"),
        (WgmmaSchedule(128, 256, stages=5), "bytes of shared memory"),
        (WgmmaSchedule(64, 128, consumers=1, pingpong=True), "2 for ping-pong"),
        (WgmmaSchedule(128, 128, cluster=3), "clusters of 1, 2, 4 or 8"),
        (WgmmaSchedule(320, 64, consumers=5), "1 to 3 consumers"),
        (WgmmaSchedule(128, 64, parts=3), "not equal numbers of stages"),
        (WgmmaSchedule(128, 64, parts=2, cluster=4), "by clusters of as many blocks"),
        (WgmmaSchedule(192, 64, consumers=3, parts=2, cluster=2), "at most as many consumers"),
        (WgmmaSchedule(128, 64, parts=2, cluster=2), "received once only"),
        (WgmmaSchedule(128, 64, parts=2, pingpong=True), "not with ping-pong"),
    ],
)
def test_schedules_that_cannot_run_say_why(schedule, reason):
    module, dispatch = harness.lowered(wgmma_cases.product("mk,nk->mn", LARGE, "float16"))
    assert any(reason in found for found in FAMILY.legal(dispatch, schedule, TARGET))
    del module


REFUSED = {
    "lines that are not whole 16 bytes": lambda: wgmma_cases.product(
        "mk,kn->mn", {"m": 64, "n": 67, "k": 64}, "float16"
    ),
    "float32, which must stay exact": lambda: wgmma_cases.product("mk,nk->mn", LARGE, "float32"),
    "bytes with rows side by side": lambda: wgmma_cases.product("mk,kn->mn", LARGE, "int8", "int32"),
    "bytes of two kinds": lambda: wgmma_cases.mixed({"m": 64, "n": 64, "k": 64}, "int8", "float8_e5m2", "float32"),
    "rounded float32 with rows side by side": lambda: wgmma_cases.rounded_to_tf32(
        wgmma_cases.product("mk,kn->mn", LARGE, "float32")
    ),
    "an operand that is computed": contraction_cases.CASES["computed-float16"],
    "a convolution": contraction_cases.CASES["channels-last-float16"],
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_it_leaves_to_other_families(why):
    module, dispatch = harness.lowered(REFUSED[why]())
    assert not FAMILY.match(dispatch, TARGET)
    del module


@pytest.mark.parametrize("arch", NVIDIA_ARCHS)
def test_only_hopper_runs_it(arch):
    module, dispatch = harness.lowered(wgmma_cases.product("mk,nk->mn", LARGE, "float16"))
    family, _schedule = choose(dispatch, target_named(arch))
    assert family.name == ("wgmma" if arch == "sm_90a" else "contraction")
    del module


def test_few_tiles_are_offered_in_parts():
    text = wgmma_cases.product("mk,nk->mn", {"m": 128, "n": 512, "k": 4096}, "float16")
    first = harness.legal_schedules(text, FAMILY)[0]
    assert isinstance(first, WgmmaSchedule) and first.parts > 1
    first = replace(first, cluster=1)
    code = harness.build(text, FAMILY, schedule=first).code
    tiles = (128 // first.m) * -(-512 // first.n)
    assert code.grid == (tiles * first.parts, 1, 1)
    assert code.workspace_bytes == tiles * first.parts * first.m * first.n * 4
    assert code.counters == tiles * first.consumers


def test_parts_are_joined_in_a_cluster():
    text = wgmma_cases.product("mk,nk->mn", {"m": 128, "n": 512, "k": 4096}, "float16")
    built = harness.build(text, FAMILY, schedule=WgmmaSchedule(128, 64, 4, parts=2, cluster=2))
    assert built.code.cluster == (2, 1, 1) and not built.code.workspace_bytes and not built.code.counters
    assert "st.async" in built.ptx and "multicast" not in built.ptx


def test_weights_are_fetched_before_the_launch_ahead_is_done():
    from lumir.measure.suite.gemm import product

    ptx = harness.build(product(256, 256, 512, "float16"), FAMILY, schedule=WgmmaSchedule(128, 64, 4)).ptx
    before = ptx[: ptx.rindex("griddepcontrol.wait")]
    assert before.count("cp.async.bulk.tensor.2d.shared") == 4


def test_a_schedule_survives_as_an_attribute():
    for schedule in wgmma_cases.SCHEDULES:
        assert WgmmaSchedule.from_attribute(schedule.to_attribute()) == schedule
