"""Skinny kernels run by the emulator against the numpy reference."""

import pytest
from contraction_cases import gated
from nvidia_helpers import emulator, harness, skinny_cases

from lumir.kernels.nvidia.skinny import SkinnyFamily
from lumir.kernels.nvidia.skinny_plan import SkinnySchedule

CASES = {
    "mma": (lambda: product(3, 20, 328, "float16"), SkinnySchedule("mma", 16, 2, 1, 2)),
    "mma-columns": (lambda: product(11, 33, 264, "float16"), SkinnySchedule("mma", 32, 2, 1, 1)),
    "gated": (lambda: gated(3, 20, 328, "float16"), SkinnySchedule("mma", 16, 2, 1, 2)),
    "gated-ragged": (lambda: gated(11, 33, 264, "float16"), SkinnySchedule("mma", 32, 2, 1, 1)),
    "gated-simt": (lambda: gated(2, 9, 140, "float32"), SkinnySchedule("simt", 2, 2, 2, 1)),
    "simt": (lambda: product(2, 9, 140, "float32"), SkinnySchedule("simt", 2, 2, 1, 1)),
    "uint4": (lambda: packed("float16", "uint4", 128, "uint4"), SkinnySchedule("mma", 16, 2, 1, 1)),
    "uint4-columns": (lambda: packed("float16", "uint4", 128, None, m=9), SkinnySchedule("mma", 16, 1, 1, 2)),
    "int4-small-blocks": (lambda: packed("float16", "int4", 32, None), SkinnySchedule("mma", 16, 2, 1, 1)),
    "uint4-row": (lambda: packed("float16", "uint4", 128, None, m=1), SkinnySchedule("mma", 32, 1, 1, 2)),
    "uint4-row-of-zeros": (lambda: packed("float16", "uint4", 128, "uint4", m=1), SkinnySchedule("mma", 48, 1, 1, 1)),
    "uint8-row": (lambda: packed("float16", "uint8", 128, None, m=1), SkinnySchedule("mma", 16, 2, 1, 1)),
    "int8-row-of-zeros": (lambda: packed("float16", "int8", 64, "int8", m=1), SkinnySchedule("mma", 16, 2, 1, 2)),
    "uint8": (lambda: packed("float16", "uint8", 128, "uint8"), SkinnySchedule("mma", 16, 2, 1, 1)),
    "int8": (lambda: packed("float16", "int8", 64, "int8"), SkinnySchedule("mma", 16, 2, 1, 1)),
}

UNPACKED = {
    "uint4": (("float16", "uint4", 128, "uint4"), SkinnySchedule("wgmma", 64, 4, 1, 1, stages=2), 9),
    "uint4-teams": (("float16", "uint4", 128, None), SkinnySchedule("wgmma", 40, 8, 1, 1, stages=2), 1),
    "uint4-side-by-side": (("float16", "uint4", 128, None), SkinnySchedule("wgmma", 8, 4, 2, 2, stages=2), 16),
    "uint4-bfloat16": (("bfloat16", "uint4", 128, "uint4"), SkinnySchedule("wgmma", 64, 4, 1, 2, stages=2), 3),
    "uint4-small-blocks": (("float16", "uint4", 32, "uint4"), SkinnySchedule("wgmma", 64, 4, 1, 1, stages=2), 11),
    "uint4-real-zero": (("float16", "uint4", 128, "float16"), SkinnySchedule("wgmma", 64, 4, 1, 1, stages=2), 2),
    "int4": (("float16", "int4", 128, "int4"), SkinnySchedule("wgmma", 64, 4, 1, 1, stages=2), 8),
    "uint8": (("float16", "uint8", 128, "uint8"), SkinnySchedule("wgmma", 16, 4, 1, 4, stages=2), 12),
    "int8": (("float16", "int8", 64, "int8"), SkinnySchedule("wgmma", 64, 8, 1, 1, stages=4), 5),
    "int8-bfloat16": (("bfloat16", "int8", 64, None), SkinnySchedule("wgmma", 64, 4, 1, 1, stages=2), 10),
    "uint4-many": (("float16", "uint4", 128, "uint4"), SkinnySchedule("wgmma", 64, 8, 1, 1, stages=2), 24),
    "int8-many": (("bfloat16", "int8", 64, "int8"), SkinnySchedule("wgmma", 40, 4, 2, 1, stages=2), 20),
}
"""By wgmma, with so many rows of activations: 18 or 70 rows of the weight, 384 along k, not always whole stages."""


def product(m: int, n: int, k: int, dtype: str) -> str:
    return skinny_cases.product("mk,nk->mn", {"m": m, "n": n, "k": k}, dtype)


def packed(dtype: str, bits: str, block: int, zero: str | None, m: int = 2) -> str:
    return skinny_cases.packed(m, 18, 384, dtype, bits, block, zero).replace(" {lumir.unwritten}", "")


@pytest.fixture(autouse=True)
def _context():
    with harness.kernel_context():
        yield


@pytest.mark.parametrize("name", CASES)
def test_computes_what_the_reference_does(name):
    text, schedule = CASES[name]
    built = harness.build(text(), SkinnyFamily(), schedule=schedule)
    inputs = harness.random_inputs(built, seed=4)
    for found, wanted in zip(emulator.run_on_cpu(built, inputs), harness.expected(built, inputs), strict=True):
        harness.compare(found, wanted)


@pytest.mark.parametrize("name", UNPACKED)
def test_unpacks_weights_for_wgmma(name):
    formula, schedule, m = UNPACKED[name]
    marked = skinny_cases.packed(m, 18 if m < 18 else 70, 384, *formula)
    for text in (marked, marked.replace(" {lumir.unwritten}", "")):
        built = harness.build(text, SkinnyFamily(), schedule=schedule)
        inputs = harness.random_inputs(built, seed=m)
        for found, wanted in zip(emulator.run_on_cpu(built, inputs), harness.expected(built, inputs), strict=True):
            harness.compare(found, wanted)
