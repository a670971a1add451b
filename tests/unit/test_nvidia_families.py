"""The NVIDIA families map and rows without a GPU: PTX that ptxas takes, and schedules that say why they cannot run."""

import pytest
from nvidia_helpers import harness, map_cases, needs_ptxas, row_cases

from lumir.codegen.nvidia import ptx_of
from lumir.diagnostics import InternalError
from lumir.dialects import build
from lumir.dtypes import mlir_type
from lumir.kernels.families import choose
from lumir.kernels.nvidia.map import MapFamily, MapSchedule
from lumir.kernels.nvidia.row_schedule import RowsSchedule
from lumir.kernels.nvidia.rows import RowsFamily
from lumir.measure.texts import scalar

EVERYWHERE_MAP = (
    "add-float32",
    "less-bfloat16",
    "gelu-float16",
    "gelu-float64",
    "ragged-int64",
    "bool",
    "mixed",
    "conv",
)
EVERYWHERE_ROWS = (
    "softmax-float32",
    "layer-norm-bfloat16",
    "max-float16",
    "arg-max-int64",
    "sum-int8",
    "any",
    "softmax-float64",
)


@pytest.fixture(autouse=True)
def _context():
    with harness.kernel_context():
        yield


@needs_ptxas
@pytest.mark.parametrize("name", EVERYWHERE_MAP)
def test_map_assembles_for_every_architecture(name):
    harness.assemble_everywhere(map_cases.CASES[name](), MapFamily())


@needs_ptxas
@pytest.mark.parametrize("name", EVERYWHERE_ROWS)
def test_rows_assemble_for_every_architecture(name):
    harness.assemble_everywhere(row_cases.CASES[name](), RowsFamily())


@needs_ptxas
@pytest.mark.parametrize("name", map_cases.CASES)
def test_map_assembles(name):
    harness.assemble_cleanly(harness.build(map_cases.CASES[name](), MapFamily()))


@needs_ptxas
@pytest.mark.parametrize("name", row_cases.CASES)
def test_rows_assemble(name):
    harness.assemble_cleanly(harness.build(row_cases.CASES[name](), RowsFamily()))


@needs_ptxas
def test_every_way_to_deal_out_rows_assembles_without_spills():
    text = row_cases.CASES["softmax-float16"]()
    schedules = harness.legal_schedules(text, RowsFamily())
    for schedule in schedules[:: max(1, len(schedules) // 12)]:
        harness.assemble_cleanly(harness.build(text, RowsFamily(), schedule=schedule))


def test_map_reads_and_writes_sixteen_bytes():
    text = map_cases.CASES["large"]()
    ptx = harness.build(text, MapFamily(), schedule=MapSchedule(8, 2, 128)).ptx
    assert ptx.count("ld.global.v4.b32") == 4 and ptx.count("st.global.v4.b32") == 2
    assert ".reqntid 128" in ptx and ".ptr .global .align 256" in ptx


def test_map_merges_dimensions_that_are_read_alike():
    text = map_cases.CASES["gelu-float16"]()
    built = harness.build(text, MapFamily(), schedule=MapSchedule(1, 1, 128))
    assert built.ptx.count("div") + built.ptx.count("rem") == 0
    assert built.code.grid == (-(-2 * 5 * 49 // 128), 1, 1)


def test_rows_keep_a_row_in_registers_between_passes():
    text = row_cases.CASES["softmax-float32"]()
    kept = harness.build(text, RowsFamily(), schedule=RowsSchedule(32, 4, 4, 3)).ptx
    assert kept.count("ld.global.v4") == 3 and kept.count("ex2.approx") == 12
    text = row_cases.CASES["softmax-long"]()
    again = harness.build(text, RowsFamily(), schedule=RowsSchedule(128, 1, 4, 8)).ptx
    assert again.count("ld.global.v4") >= 3 * 8


@needs_ptxas
def test_a_workgroup_fetches_the_rows_of_a_later_one():
    text = row_cases.CASES["layer-norm-bfloat16-wide"]()
    built = harness.build(text, RowsFamily(), schedule=RowsSchedule(64, 2, 8, 8, ahead=3))
    harness.assemble_cleanly(built)
    assert built.ptx.count("cp.async.bulk.prefetch.L2") == 2, "one for each of what is added"
    assert built.ptx.index("griddepcontrol.wait") < built.ptx.index("cp.async.bulk.prefetch.L2")
    assert "prefetch" not in harness.build(text, RowsFamily(), schedule=RowsSchedule(64, 2, 8, 8)).ptx


def test_rows_of_half_bytes_are_not_fetched():
    def body(x):
        return build("reduce", build("cast", x, to=mlir_type("float32")), axes=[1], kind="max")

    text = row_cases.cases.dispatch(body, ((3000, 64), "int4"))
    assert any(vars(s)["ahead"] for s in harness.legal_schedules(text.replace("i4", "i8"), RowsFamily()))
    assert not any(vars(s)["ahead"] for s in harness.legal_schedules(text, RowsFamily()))


def test_rows_of_a_warp_need_no_shared_memory():
    text = row_cases.CASES["softmax-float32"]()
    assert ".shared" not in harness.build(text, RowsFamily(), schedule=RowsSchedule(32, 4, 4, 3)).ptx
    assert "bar.sync" in harness.build(text, RowsFamily(), schedule=RowsSchedule(128, 1, 1, 3)).ptx


@needs_ptxas
@pytest.mark.parametrize("arch", ["sm_90a", "sm_100a", "sm_120"])
@pytest.mark.parametrize("name", ["softmax-long", "arg-max-long", "norm-quantised-int8", "one-row"])
def test_rows_of_a_cluster_assemble(name, arch):
    built = harness.build(row_cases.CASES[name](), RowsFamily(), arch, RowsSchedule(128, 1, 1, 4, cluster=4))
    harness.assemble_cleanly(built)
    started, first = (built.ptx.index(text) for text in ("barrier.cluster.wait", "st.shared::cluster"))
    assert started < first, "a workgroup's memory is written before it is known to have started"
    assert built.code.cluster == (4, 1, 1) and built.code.grid[0] % 4 == 0 and ".reqnctapercluster 4" in built.ptx


@pytest.mark.parametrize("size", [50256, 50257])
def test_long_rows_of_any_length_go_to_clusters(size):
    """Also where neighbours do not lie side by side on 16 bytes: a vocabulary may have an odd number of words."""
    _module, dispatch = harness.lowered(row_cases.cases.softmax((16, size), 1, "float32"))
    assert vars(choose(dispatch, harness.target_named("sm_90a"))[1])["cluster"] > 1


def test_older_architectures_have_no_clusters():
    _module, dispatch = harness.lowered(row_cases.CASES["softmax-long"]())
    target = harness.target_named("sm_89")
    assert all(s.cluster == 1 for s in RowsFamily().space(dispatch, target))
    assert "no clusters" in RowsFamily().legal(dispatch, RowsSchedule(128, 1, 1, 4, cluster=4), target)[0]


@needs_ptxas
def test_scales_of_rows_may_keep_their_dimension():
    """The reduction behind a reshape, read by the quantisation and returned."""

    def body(x):
        peak = build("reduce", build("abs", x), axes=[2], kind="max")
        steps = build("mul", build("reshape", peak, shape=[1, 7, 1]), scalar(1 / 127, x))
        return [build("cast", build("round", build("div", x, steps)), to=mlir_type("int8")), steps]

    text = row_cases.cases.dispatch(body, ((1, 7, 640), "float32"))
    built = harness.build(text, RowsFamily(), schedule=RowsSchedule(32, 4, 4, 5))
    harness.assemble_cleanly(built)
    assert built.ptx.count("st.global.b32") >= 1 and built.ptx.count("ld.global.v4") == 5


@pytest.mark.parametrize(
    ("name", "schedule", "reason"),
    [
        ("transpose", MapSchedule(4, 1, 128), "side by side"),
        ("add-float32", MapSchedule(1, 1, 100), "whole warps"),
        ("concat-ragged", MapSchedule(2, 1, 128), "side by side"),
    ],
)
def test_map_says_why_a_schedule_cannot_run(name, schedule, reason):
    (found,) = _reasons(map_cases.CASES[name](), MapFamily(), schedule)
    assert reason in found


@pytest.mark.parametrize(
    ("name", "schedule", "reason"),
    [
        ("softmax-float32", RowsSchedule(48, 2, 1, 1), "powers of two"),
        ("softmax-float32", RowsSchedule(16, 1, 1, 1), "32 to 1024 threads"),
        ("softmax-ragged-float32", RowsSchedule(32, 1, 4, 1), "whole groups of 4"),
        ("softmax-float32", RowsSchedule(32, 1, 4, 32), "under way"),
        ("softmax-across", RowsSchedule(32, 1, 2, 1), "side by side"),
        ("layer-norm-float64", RowsSchedule(4, 256, 8, 1, True), "shared memory"),
        ("softmax-beyond-registers", RowsSchedule(1024, 1, 4, 16), "registers"),
        ("softmax-long", RowsSchedule(256, 1, 4, 1, cluster=3), "1, 2, 4, 8 workgroups"),
        ("softmax-long", RowsSchedule(256, 2, 4, 1, cluster=2), "one row"),
        ("softmax-ragged-float32", RowsSchedule(32, 2, 1, 4, ahead=2), "one run of memory"),
        ("softmax-across", RowsSchedule(4, 8, 8, 8, across=True, ahead=2), "read along them"),
    ],
)
def test_rows_say_why_a_schedule_cannot_run(name, schedule, reason):
    assert any(reason in found for found in _reasons(row_cases.CASES[name](), RowsFamily(), schedule))


def _reasons(text, family, schedule):
    _module, dispatch = harness.lowered(text)
    return family.legal(dispatch, schedule, harness.target_named("sm_90a"))


def test_a_schedule_survives_as_an_attribute():
    for schedule in (MapSchedule(8, 2, 256), RowsSchedule(32, 4, 8, 2, True)):
        assert type(schedule).from_attribute(schedule.to_attribute()) == schedule


def test_the_same_dispatch_gives_the_same_ptx():
    text = row_cases.CASES["layer-norm-float16"]()
    assert harness.build(text, RowsFamily()).ptx == harness.build(text, RowsFamily()).ptx


def test_an_operation_that_cannot_be_lowered_is_named():
    kernel = harness.ir.Module.parse(
        """gpu.module @k { gpu.func @f(%p: !llvm.ptr<1>) kernel attributes {known_block_size = array<i32: 32, 1, 1>} {
          %0 = llvm.load %p : !llvm.ptr<1> -> i32
          %1 = builtin.unrealized_conversion_cast %0 : i32 to tensor<1xi32>
          %2 = builtin.unrealized_conversion_cast %1 : tensor<1xi32> to f32
          llvm.store %2, %p : f32, !llvm.ptr<1>
          gpu.return } }"""
    )
    with pytest.raises(InternalError, match="unrealized_conversion_cast"):
        ptx_of(next(iter(kernel.body.operations)), "sm_90a")


@pytest.mark.parametrize(
    ("text", "family"),
    [(map_cases.CASES["gelu-float16"], MapFamily()), (row_cases.CASES["layer-norm-bfloat16"], RowsFamily())],
    ids=("map", "rows"),
)
def test_nothing_is_read_before_the_kernels_ahead_are_done(text, family):
    built = harness.build(text(), family)
    assert built.ptx.index("griddepcontrol.launch_dependents") < built.ptx.index("griddepcontrol.wait")
    assert built.ptx.index("griddepcontrol.wait") < built.ptx.index("ld.global") and "ld.global.nc" not in built.ptx
    assert built.code.pdl
    older = harness.build(text(), family, "sm_89")
    assert "griddepcontrol" not in older.ptx and not older.code.pdl
