"""Kernels of NVIDIA families, run on the CPU by emulation, against the numpy reference.

Types of 16 bits are left to the tests on a GPU where none is needed: a host needs library calls to round to them.
"""

import zlib
from dataclasses import replace

import pytest
from nvidia_helpers import attention_cases, contraction_cases, decode_cases, emulator, harness, map_cases, row_cases

from lumir.kernels.nvidia.attention import AttentionFamily, AttentionSchedule
from lumir.kernels.nvidia.contraction import ContractionFamily
from lumir.kernels.nvidia.decode import DecodeFamily
from lumir.kernels.nvidia.decode_schedule import DecodeSchedule
from lumir.kernels.nvidia.map import MapFamily
from lumir.kernels.nvidia.row_schedule import RowsSchedule
from lumir.kernels.nvidia.rows import RowsFamily
from lumir.size_text import declare
from lumir.symbols import Symbol

NARROW = (
    "float16",
    "bfloat16",
    "mixed",
    "half",
    "heads",
    "gather",
    "large",
    "regrouped",
    "two-columns",
    "images",
    "across",
)
LONG = ("-long", "one-row-of-floats", "log-softmax")
ALIKE = ("int64", "int32", "uint8", "int16", "float64-last", "min-int8", "prod-int8")


def emulated(cases):
    return [
        name for name in cases if not any(word in name for word in (*NARROW, *LONG, *ALIKE)) or name == "small-images"
    ]


@pytest.fixture(autouse=True)
def _context():
    with harness.kernel_context():
        yield


def check(text, family, schedule, seed):
    built = harness.build(text, family, schedule=schedule)
    inputs = harness.random_inputs(built, seed)
    for found, wanted in zip(emulator.run_on_cpu(built, inputs), harness.expected(built, inputs), strict=True):
        harness.compare(found, wanted)


@pytest.mark.parametrize("name", emulated(map_cases.CASES))
def test_map(name):
    text = map_cases.CASES[name]()
    small = [s for s in harness.legal_schedules(text, MapFamily()) if getattr(s, "block", 0) == 128]
    for schedule in (small[0], small[-1]):
        check(text, MapFamily(), schedule, zlib.crc32(name.encode()))


@pytest.mark.parametrize("name", emulated(row_cases.CASES))
def test_rows(name):
    text = row_cases.CASES[name]()
    small = [s for s in harness.legal_schedules(text, RowsFamily()) if getattr(s, "block", 0) == 64]
    for schedule in (small[0], small[-1]):
        check(text, RowsFamily(), schedule, zlib.crc32(name.encode()))


@pytest.mark.parametrize(
    "schedule",
    [
        RowsSchedule(64, 1, 1, 6),
        RowsSchedule(128, 1, 2, 2),
        RowsSchedule(64, 2, 2, 1),
        RowsSchedule(4, 16, 2, 3),
        RowsSchedule(64, 2, 1, 2, across=True),
        RowsSchedule(16, 8, 1, 8, across=True),
    ],
)
def test_threads_join_through_shuffles_and_shared_memory(schedule):
    for text in (
        row_cases.cases.softmax((5, 384), 1, "float64"),
        row_cases.cases.arg_reduce("max", (5, 250), 1, "int64"),
    ):
        check(text, RowsFamily(), schedule, 1)


@pytest.mark.parametrize(("image", "window"), [((2, 3, 5, 2), (3, 1)), ((2, 3, 2, 5), (2, 3)), ((1, 2, 7, 7), (3, 3))])
def test_a_convolution_with_one_window_position(image, window):
    """Where only one position is left, the window still covers but a part of the image."""
    text = contraction_cases.convolution(image, (4, image[1], *window), "float32", stride=5)
    family = ContractionFamily()
    check(text, family, harness.legal_schedules(text, family)[0], 11)


_DECODED = attention_cases.Attention(b=1, h=4, g=2, m=1, n=40, d=64, e=64)
_DECODES = {
    "grouped": ({}, DecodeSchedule(1, 16, 2)),
    "three-warps": ({"n": 77, "h": 2, "g": 1}, DecodeSchedule(3, 16, 2)),
    "two-keys-tiles": ({"n": 70}, DecodeSchedule(1, 32, 1)),
    "causal": ({"h": 4, "g": 1, "m": 3, "n": 50, "causal": True, "offset": 47}, DecodeSchedule(2, 16, 2)),
    "twenty-rows": ({"h": 4, "g": 1, "m": 5, "n": 33}, DecodeSchedule(1, 16, 3)),
    "bool-mask": ({"h": 8, "g": 1, "m": 2, "mask": "bool"}, DecodeSchedule(1, 16, 1)),
    "window": ({"n": 70, "causal": True, "offset": 69, "window": 21}, DecodeSchedule(2, 16, 2)),
    "band": ({"h": 4, "g": 1, "m": 3, "n": 50, "causal": True, "offset": 20, "window": 9}, DecodeSchedule(1, 16, 1)),
    "narrow": ({"d": 32, "e": 32, "softcap": 3.0, "packed": True}, DecodeSchedule(1, 16, 3)),
}


@pytest.mark.parametrize("name", _DECODES)
def test_decode(name):
    """Tensor cores, the order of lanes, the joining of warps and of blocks through workspace and counters."""
    changes, schedule = _DECODES[name]
    check(replace(_DECODED, **changes).text(), DecodeFamily(), schedule, zlib.crc32(name.encode()))


_BOUNDED = {
    "splits": ({}, DecodeSchedule(1, 16, 3)),
    "one-split": ({}, DecodeSchedule(2, 16, 1)),
    "two-keys-tiles": ({"n": 64}, DecodeSchedule(1, 32, 2)),
    "more-splits-than-joined-at-once": ({"b": 1, "n": 300}, DecodeSchedule(1, 16, 19)),
    "causal": ({"m": 3, "causal": True, "offset": -3}, DecodeSchedule(1, 16, 2)),
    "window": ({"m": 3, "causal": True, "offset": -3, "window": 19, "mask": "wide-lengths"}, DecodeSchedule(1, 16, 2)),
    "first-keys-dropped": ({"offset": -1, "window": 20, "softcap": 3.0}, DecodeSchedule(1, 16, 2)),
}


@pytest.mark.parametrize("name", _BOUNDED)
def test_decode_of_as_many_keys_as_the_data_says(name):
    """None, some of them, and more than there are; what lies past them may be anything."""
    changes, schedule = _BOUNDED[name]
    case = replace(_DECODED, **{"b": 3, "g": 1, "n": 70, "mask": "lengths"} | changes)
    check_bounded(case, DecodeFamily(), schedule)


@pytest.mark.parametrize("n", [70, 96])
def test_attention_of_as_many_keys_as_the_data_says(n):
    """Also where tiles are whole, and what no one has written is in one with what counts."""
    changes = {"dtype": "float32", "b": 3, "h": 2, "g": 1, "m": 3, "n": n, "d": 32, "e": 32, "mask": "lengths"}
    case = replace(_DECODED, **changes, causal=True, offset=-3)
    check_bounded(case, AttentionFamily(), AttentionSchedule("simt", 16, 32, 4, 2))


def check_bounded(case, family, schedule):
    built = harness.build(case.text(), family, schedule=schedule)
    inputs = harness.random_inputs(built, case.n)
    small = [3] if case.b == 1 else [-4, -3, -2]
    inputs[3].reshape(-1)[:] = small
    (wanted,) = harness.expected(built, inputs)
    for b, number in enumerate(small):
        for cache in inputs[1:3]:
            cache[b, :, 160 + 40 * number :] = float("nan")
    (found,) = emulator.run_on_cpu(built, inputs)
    harness.compare(found, wanted)
    assert case.b == 1 or not found[0].any()


@pytest.mark.parametrize("length", [0, 37])
@pytest.mark.parametrize("heads_first", [True, False])
def test_decode_of_a_cache_in_pages(heads_first, length):
    """Pages in the order of a table, whose negative entries count from the end; the last page may count in part."""
    case = decode_cases.Paged(b=2, h=4, g=2, d=64, page=8, pages=6, table=5, heads_first=heads_first, length=length)
    check(case.text(), DecodeFamily(), DecodeSchedule(2, 16, 2), length)


def test_decode_of_a_part_of_the_pages():
    case = decode_cases.Paged(b=2, h=4, g=2, d=64, page=32, pages=14, table=7, heads_first=True, lengths=True)
    built = harness.build(case.text(), DecodeFamily(), schedule=DecodeSchedule(2, 16, 2))
    inputs = harness.random_inputs(built, 5)
    inputs[4].reshape(-1)[:] = [-3, 1]
    harness.compare(emulator.run_on_cpu(built, inputs)[0], harness.expected(built, inputs)[0])


def test_decode_with_batch_and_context_that_are_known_at_the_launch():
    """One kernel for every size, also for lengths that leave some of the blocks without keys."""
    q, kv = 'tensor<?x4x1x64xf16, ["batch"]>', 'tensor<?x2x?x64xf16, ["batch", "context"]>'
    text = f"""func.func private @d(%q: {q}, %k: {kv}, %v: {kv}) -> {q} attributes {{lumir.dispatch}} {{
      %0 = "lumir.attention"(%q, %k, %v) {{causal = false, offset = 0 : i64, scale = 0.125 : f64, softcap = 0.0 : f64,
        window = 0 : i64}}
        : ({q}, {kv}, {kv}) -> {q}
      return %0 : {q} }}"""
    with declare({"batch": Symbol("batch", 1, 4), "context": Symbol("context", 0, 200)}):
        built = harness.build(text, DecodeFamily(), schedule=DecodeSchedule(2, 16, 3))
    for batch, length in ((1, 17), (2, 32), (1, 70), (3, 101)):
        fixed = text.replace(', ["batch", "context"]', "").replace(', ["batch"]', "")
        fixed = fixed.replace("?x2x?", f"{batch}x2x{length}").replace("?", str(batch))
        reference = harness.build(fixed, DecodeFamily(), schedule=DecodeSchedule(2, 16, 1))
        inputs = harness.random_inputs(reference, length)
        (found,) = emulator.run_on_cpu(built, inputs, batch=batch, context=length)
        harness.compare(found, harness.expected(reference, inputs)[0])
