"""The NVIDIA families contraction and attention without a GPU: PTX that ptxas takes, schedules that say why not."""

import attention_cases
import contraction_cases
import harness
import pytest
from nvidia_helpers import needs_ptxas

from lumir.kernels.attention_mask import Band
from lumir.kernels.attention_space import AttentionSpace
from lumir.kernels.nvidia.attention import AttentionFamily, AttentionSchedule
from lumir.kernels.nvidia.contraction import ContractionFamily, ContractionSchedule, problem_of
from lumir.target import target_named

CONTRACTION, ATTENTION = ContractionFamily(), AttentionFamily()
SQUARE = {"m": 1024, "n": 1024, "k": 1024}
EVERYWHERE = ("linear-float16", "linear-bfloat16", "linear-float32", "channels-last-float16")
EVERYWHERE_ATTENTION = ("everything-float16", "depth-128-bfloat16", "causal-float32")
SOME = list(contraction_cases.CASES)[::2]
SOME_ATTENTION = list(attention_cases.CASES)[::4]


@pytest.fixture(autouse=True)
def _context():
    with harness.kernel_context():
        yield


@needs_ptxas
@pytest.mark.parametrize("name", EVERYWHERE)
def test_contractions_assemble_for_every_architecture(name):
    harness.assemble_everywhere(contraction_cases.CASES[name](), CONTRACTION)


@needs_ptxas
@pytest.mark.parametrize("name", EVERYWHERE_ATTENTION)
def test_attention_assembles_for_every_architecture(name):
    harness.assemble_everywhere(attention_cases.CASES[name](), ATTENTION)


@needs_ptxas
@pytest.mark.parametrize("name", SOME)
def test_contractions_assemble(name):
    harness.assemble_cleanly(harness.build(contraction_cases.CASES[name](), CONTRACTION))


@needs_ptxas
@pytest.mark.parametrize("name", SOME_ATTENTION)
def test_attention_assembles(name):
    harness.assemble_cleanly(harness.build(attention_cases.CASES[name](), ATTENTION))


@needs_ptxas
@pytest.mark.parametrize("equation", ["mk,kn->mn", "mk,nk->mn", "km,kn->mn", "km,nk->mn"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_large_products_run_on_tensor_cores_by_wide_asynchronous_copies(equation, dtype):
    built = harness.build(contraction_cases.product(equation, SQUARE, dtype), CONTRACTION)
    assert "mma.sync.aligned.m16n8k16" in built.ptx and "ldmatrix" in built.ptx
    assert "cp.async.cg.shared.global" in built.ptx and "ld.global" not in built.ptx
    assert "st.global.v4.b32" in built.ptx
    harness.assemble_cleanly(built)


def test_float32_is_exact():
    """No tensor cores, which would round the operands; sums by fused multiply-adds."""
    ptx = harness.build(contraction_cases.product("mk,kn->mn", SQUARE, "float32"), CONTRACTION).ptx
    assert "mma" not in ptx and "fma.rn.f32" in ptx


def test_channels_last_convolutions_copy_chunks_and_fill_the_padding_with_zeros():
    ptx = harness.build(contraction_cases.CASES["channels-last-float16"](), CONTRACTION).ptx
    assert "cp.async.cg.shared.global" in ptx and "ld.global" not in ptx


def test_convolution_sums_channels_innermost_where_tiles_fit_them():
    schedule = ContractionSchedule("mma", 64, 64, 32, 2, 2, 3)
    for channels, inner in ((64, 64), (12, 3)):
        text = contraction_cases.convolution((1, channels, 8, 8), (8, channels, 3, 3), "float16", pad=1)
        _module, dispatch = harness.lowered(text)
        space = problem_of(dispatch, schedule).space
        assert space.sizes(space.k)[-1] == inner


@pytest.mark.parametrize(
    ("schedule", "reason"),
    [
        (ContractionSchedule("mma", 128, 128, 64, 2, 2, 6), "bytes of shared memory"),
        (ContractionSchedule("mma", 48, 64, 32, 2, 2, 2), "16x16"),
        (ContractionSchedule("mma", 64, 64, 24, 2, 2, 2), "multiple of 16"),
        (ContractionSchedule("mma", 64, 64, 32, 2, 2, 1), "stages"),
        (ContractionSchedule("simt", 256, 256, 16, 4, 2, 2), "64 registers"),
        (ContractionSchedule("mma", 32, 32, 16, 2, 2, 2), "16-byte chunks for each"),
    ],
)
def test_illegal_contraction_schedules_say_why(schedule, reason):
    _module, dispatch = harness.lowered(contraction_cases.product("mk,kn->mn", SQUARE, "float16"))
    reasons = CONTRACTION.legal(dispatch, schedule, target_named("sm_86"))
    assert any(reason in r for r in reasons), reasons


def test_tensor_cores_are_for_sixteen_bits():
    _module, dispatch = harness.lowered(contraction_cases.product("mk,kn->mn", SQUARE, "float32"))
    reasons = CONTRACTION.legal(dispatch, ContractionSchedule("mma", 64, 64, 32), target_named("sm_90a"))
    assert any("f16" in r for r in reasons)


@pytest.mark.parametrize(
    ("schedule", "reason"),
    [
        (AttentionSchedule("mma", 40, 64, 4, 2), "multiple of 16"),
        (AttentionSchedule("mma", 256, 128, 4, 2), "144 registers"),
        (AttentionSchedule("simt", 64, 16, 4, 2), "n a multiple of 32"),
        (AttentionSchedule("mma", 64, 64, 4, 9), "bytes of shared memory"),
    ],
)
def test_illegal_attention_schedules_say_why(schedule, reason):
    _module, dispatch = harness.lowered(attention_cases.CASES["depth-128-float16"]())
    reasons = ATTENTION.legal(dispatch, schedule, target_named("sm_86"))
    assert any(reason in r for r in reasons), reasons


def test_causal_attention_skips_tiles_of_keys():
    """The loop's end then depends on the block; it is a constant where every key counts."""
    spaces = {}
    for name in ("plain-float16", "causal-long-float16", "causal-offset-float16", "band-float16"):
        module, dispatch = harness.lowered(attention_cases.CASES[name]())
        assert ATTENTION.match(dispatch, target_named("sm_90a"))
        space = AttentionSpace.of(dispatch)
        assert space is not None
        spaces[name] = space.band
        del module
    assert list(spaces.values()) == [Band(), Band(last=0), Band(last=27), Band(first=-9, last=9)]


def test_attention_is_one_kernel_that_reads_each_operand_in_its_own_layout():
    ptx = harness.build(attention_cases.CASES["packed-float16"](), ATTENTION).ptx
    assert "cp.async.cg.shared.global" in ptx and "mma.sync" in ptx and "ex2.approx" in ptx


def test_attention_over_more_scores_than_32_bits_count():
    text = attention_cases.Attention(b=8, h=16, g=16, m=4096, n=4096, d=16, e=16).text()
    assert "mma.sync" in harness.build(text, ATTENTION).ptx


@pytest.mark.parametrize("name", ["linear-float16", "conv-float16", "row"])
def test_schedules_are_offered_cheapest_first(name):
    _module, dispatch = harness.lowered(contraction_cases.CASES[name]())
    target = target_named("sm_90a")
    costs = [CONTRACTION.cost(dispatch, s, target) for s in CONTRACTION.space(dispatch, target)]
    assert costs == sorted(costs) and len(costs) > 10 and min(costs) > 0


def test_schedules_survive_as_attributes():
    for schedule in (ContractionSchedule("mma", 64, 32, 64, 2, 2, 3), AttentionSchedule("simt", 32, 32, 4, 3)):
        assert type(schedule).from_attribute(schedule.to_attribute()) == schedule
