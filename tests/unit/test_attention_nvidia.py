"""The NVIDIA families of attention without a GPU: which one a dispatch gets, PTX that ptxas takes, what is refused."""

from dataclasses import replace

import pytest
from nvidia_helpers import attention_cases, decode_cases, harness, needs_ptxas, prefill_cases

from lumir.artifact.launches import Launch
from lumir.kernels.attention_mask import plain_scale
from lumir.kernels.attention_space import AttentionSpace
from lumir.kernels.families import choose
from lumir.kernels.nvidia import decode_schedule, prefill_schedule
from lumir.kernels.nvidia.decode import DecodeFamily
from lumir.kernels.nvidia.decode_schedule import DecodeSchedule
from lumir.kernels.nvidia.prefill import PrefillFamily
from lumir.kernels.nvidia.prefill_schedule import PrefillSchedule
from lumir.kernels.nvidia.valid_keys import length_is_unwritten
from lumir.measure import compile_dispatch
from lumir.size_text import declare
from lumir.target import target_named

ONE_QUERY = attention_cases.Attention(b=1, h=32, g=8, m=1, n=2048, d=128, e=128)
MANY = attention_cases.Attention(b=1, h=4, g=2, m=512, n=512, d=128, e=128)


@pytest.fixture(autouse=True)
def _context():
    with harness.kernel_context():
        yield


def chosen(case: attention_cases.Attention, arch: str = "sm_90a") -> str:
    _module, dispatch = harness.lowered(case.text())
    return choose(dispatch, target_named(arch))[0].name


@pytest.mark.parametrize(
    ("case", "arch", "family"),
    [
        (ONE_QUERY, "sm_90a", "decode"),
        (ONE_QUERY, "sm_80", "decode"),
        (replace(ONE_QUERY, dtype="float32"), "sm_90a", "attention"),
        (replace(ONE_QUERY, m=16), "sm_90a", "decode"),
        (replace(ONE_QUERY, m=20, h=64), "sm_90a", "attention"),
        (replace(ONE_QUERY, d=40, e=40), "sm_90a", "attention"),
        (replace(ONE_QUERY, n=16), "sm_90a", "attention"),
        (replace(ONE_QUERY, m=64, h=8), "sm_90a", "decode"),
        (replace(ONE_QUERY, m=64, h=8, n=64), "sm_90a", "prefill"),
        (MANY, "sm_90a", "prefill"),
        (MANY, "sm_80", "attention"),
        (replace(MANY, dtype="float32"), "sm_90a", "attention"),
        (replace(MANY, d=37, e=53), "sm_90a", "attention"),
        (replace(MANY, packed=True), "sm_90a", "prefill"),
    ],
)
def test_which_family_a_dispatch_gets(case, arch, family):
    assert chosen(case, arch) == family


@pytest.mark.parametrize(
    ("family", "case"),
    [(PrefillFamily(), case) for case in prefill_cases.OPEN.values()]
    + [(DecodeFamily(), case) for case in decode_cases.OPEN.values()],
)
@needs_ptxas
def test_sizes_that_are_known_at_the_launch(family, case):
    text = attention_cases.open_text(case)
    with declare(attention_cases.SYMBOLS):
        built = harness.build(text, family)
        report = built.assemble()
    assert not report.spills and not report.warnings
    kernel = compile_dispatch(text, "sm_90a")
    assert kernel.family == family.name
    (launch,) = kernel.plan.at({"b": 2, "m": 129, "past": 65}).work
    assert isinstance(launch, Launch) and launch.tensor_maps and all(not m.problems() for m in launch.tensor_maps)


@needs_ptxas
@pytest.mark.parametrize("name", ["grouped-float16", "causal-bfloat16", "everything-bfloat16", "depth-96-float16"])
def test_decode_assembles_for_every_architecture(name):
    harness.assemble_everywhere(decode_cases.CASES[name](), DecodeFamily())


@needs_ptxas
@pytest.mark.parametrize("name", [n for n in prefill_cases.CASES if n.endswith("-bfloat16")])
def test_prefill_assembles_without_serialised_products(name):
    report = harness.build(prefill_cases.CASES[name](), PrefillFamily()).assemble()
    assert not report.spills
    assert not report.warnings


@needs_ptxas
@pytest.mark.parametrize("splits", [1, 8])
@pytest.mark.parametrize("stages", [0, 3])
def test_decode_leaves_the_parts_of_splits_in_the_workspace(splits, stages):
    built = harness.build(ONE_QUERY.text(), DecodeFamily(), schedule=DecodeSchedule(8, 16, splits, stages))
    assert not built.assemble().warnings
    assert built.code.grid == (8 * splits, 1, 1)
    assert bool(built.code.workspace_bytes) == bool(built.code.counters) == (splits > 1)
    assert built.ptx.count("atom.") == built.ptx.count("fence.acq_rel") // 2 == (splits > 1)
    assert len(built.code.tensor_maps) == (2 if stages else 0)


def test_warps_load_keys_and_values_in_sixteen_bytes():
    ptx = harness.build(ONE_QUERY.text(), DecodeFamily(), schedule=DecodeSchedule(4, 16)).ptx
    loads = [line for line in ptx.splitlines() if "ld.global" in line]
    assert len(loads) == 4 + 8 + 8
    assert all("v4.b32" in line and ".nc" not in line for line in loads)  # the launch ahead may have written them
    assert ptx.index("griddepcontrol.wait") < ptx.index("ld.global")


@pytest.mark.parametrize(
    ("family", "case", "schedule", "reason"),
    [
        (DecodeFamily(), ONE_QUERY, DecodeSchedule(keys=24), "multiple of 16"),
        (DecodeFamily(), ONE_QUERY, DecodeSchedule(splits=100), "leave one without keys"),
        (
            DecodeFamily(),
            replace(ONE_QUERY, d=32, n=2000, packed=True, g=1),
            DecodeSchedule(16, 32, stages=1),
            "tile of 512",
        ),
        (DecodeFamily(), ONE_QUERY, DecodeSchedule(stages=4), "shared memory"),
        (DecodeFamily(), ONE_QUERY, DecodeSchedule(keys=128), "registers"),
        (PrefillFamily(), MANY, PrefillSchedule(4), "one of"),
        (PrefillFamily(), MANY, PrefillSchedule(n=100), "multiple of 16"),
        (PrefillFamily(), MANY, PrefillSchedule(n=208), "registers"),
        (PrefillFamily(), MANY, PrefillSchedule(stages=4), "shared memory"),
        (PrefillFamily(), MANY, PrefillSchedule(1), "take turns"),
    ],
)
def test_schedules_that_cannot_run_say_why(family, case, schedule, reason):
    _module, dispatch = harness.lowered(case.text())
    target = target_named("sm_90a")
    assert family.match(dispatch, target)
    assert any(reason in found for found in family.legal(dispatch, schedule, target))


@pytest.mark.parametrize(
    ("changes", "scale"),
    [
        ({}, 128**-0.5),
        ({"causal": True}, 128**-0.5),
        ({"mask": "lengths", "causal": True, "offset": -512}, 128**-0.5),
        ({"mask": "bool"}, None),
        ({"softcap": 5.0}, None),
    ],
)
def test_scores_that_are_only_scaled_are_known(changes, scale):
    _module, dispatch = harness.lowered(replace(MANY, **changes).text())
    space = AttentionSpace.of(dispatch)
    assert space is not None
    assert plain_scale(space.scores) == (scale if scale is None else pytest.approx(scale))


@pytest.mark.parametrize("queries", [1, 4])
@pytest.mark.parametrize(
    ("changes", "band"),
    [
        ({}, (None, None)),
        ({"causal": True, "offset": -4}, (None, -4)),
        ({"causal": True, "offset": -4, "window": 30}, (-33, -4)),
        ({"offset": -4, "window": 30, "softcap": 2.0}, (-33, None)),
    ],
)
def test_numbers_of_keys_are_told_from_other_masks(changes, band, queries):
    _module, dispatch = harness.lowered(replace(ONE_QUERY, m=queries, b=3, mask="lengths", **changes).text())
    space = AttentionSpace.of(dispatch)
    assert space is not None and space.band.length is not None
    assert (space.band.first, space.band.last) == band
    assert [int(n) for n in space.band.keys_of(queries, 2048)] == [0, 2048]
    assert length_is_unwritten(dispatch, space) is False


def test_a_number_of_keys_that_no_kernel_writes_is_read_at_once():
    case = replace(ONE_QUERY, b=3, mask="lengths")
    text = attention_cases.cases.dispatch(case.body, *case.arguments, unwritten=(1, 2, 3))
    for marked, early in ((text, True), (case.text(), False)):
        ptx = harness.build(marked, DecodeFamily(), schedule=DecodeSchedule(4, 16, 4, 3)).ptx
        assert (ptx.index("ld.global") < ptx.index("griddepcontrol.wait")) == early


def test_a_block_has_sixty_four_rows_of_a_head_for_each_warpgroup():
    code = harness.build(replace(MANY, causal=True).text(), PrefillFamily(), schedule=PrefillSchedule(2)).code
    assert code.grid == (4 * 4, 1, 1)
    assert code.block == 3 * 128
    assert [m.box[1] for m in code.tensor_maps] == [128, 128, 128]


@pytest.mark.parametrize("family", [PrefillFamily(), DecodeFamily()], ids=lambda family: family.name)
@pytest.mark.parametrize(("runs", "expected"), [((1, 64), True), ((1, 16), False)])
def test_keys_in_runs_come_in_whole_boxes(family, runs, expected):
    """TMA would bring zeros for what lies behind the end of a run."""
    case = replace(MANY, m=64 if family.name == "prefill" else 1, n=2048)
    _module, dispatch = harness.lowered(attention_cases.in_runs(case, runs))
    boxes = [
        [(tensor_map.dims[1], tensor_map.box[1]) for tensor_map in _maps(dispatch, family, schedule)]
        for schedule in family.space(dispatch, target_named("sm_90a"))
    ]
    assert any(boxes) == expected
    assert all(run % box == 0 for found in boxes for run, box in found)


@pytest.mark.parametrize(("run", "groups"), [(64, {1}), (128, {1, 2}), (512, {1, 2, 3}), (32, set())])
def test_queries_in_runs_come_in_whole_boxes(run, groups):
    _module, dispatch = harness.lowered(attention_cases.in_runs(MANY, (run, 512)))
    assert {schedule.groups for schedule in PrefillFamily().space(dispatch, target_named("sm_90a"))} == groups


def _maps(dispatch, family, schedule):
    """Of keys and values."""
    problem = {"prefill": prefill_schedule, "decode": decode_schedule}[family.name].problem_of(dispatch, schedule)
    return problem.tensor_maps[-2:]
