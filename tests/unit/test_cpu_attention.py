"""CPU family `attention`: masks, causality, groups of heads, ragged sizes, and rows that see no key."""

import numpy as np
import pytest
from cpu_helpers import check, run, values

from lumir.dialects import build

# b, h, g, m, n, d, e
SIZES = [(1, 1, 1, 1, 1, 1, 1), (2, 4, 4, 9, 9, 16, 16), (1, 6, 2, 5, 33, 24, 8), (1, 8, 1, 1, 70, 32, 32),
         (2, 3, 3, 17, 16, 7, 5), (1, 2, 2, 40, 100, 64, 64)]  # fmt: skip
LOOSE = {"float16": 4e-3, "bfloat16": 3e-2}


def _operands(rng, size, dtype="float32"):
    b, h, g, m, n, d, e = size
    return [values(rng, dims, dtype) for dims in ((b, h, m, d), (b, g, n, d), (b, g, n, e))]


def _attention(scale=0.3, causal=False, offset=0, window=0, softcap=0.0):
    return lambda *operands: build(
        "attention", *operands, scale=scale, causal=causal, offset=offset, window=window, softcap=softcap
    )


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("causal", [True, False])
def test_sizes(size, causal):
    ran = check(
        _attention(causal=causal, offset=size[4] - size[3]),
        *_operands(np.random.default_rng(1), size),
        rtol=3e-5,
        atol=3e-5,
    )
    assert ran.families == ["attention"]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_types(dtype):
    tolerance = LOOSE.get(dtype, 1e-10)
    check(_attention(), *_operands(np.random.default_rng(2), SIZES[2], dtype), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dims", [(2, 4, 9, 9), (1, 1, 9, 9), (2, 1, 1, 9), (9, 9), (9,), (1, 4, 1, 1)])
@pytest.mark.parametrize("dtype", ["float32", "bool"])
def test_masks(dims, dtype):
    rng = np.random.default_rng(3)
    mask = values(rng, dims, dtype)
    if dtype == "bool":
        mask[..., 0] = True
    check(_attention(softcap=1.5), *_operands(rng, SIZES[1]), mask, rtol=3e-5, atol=3e-5)


def test_mask_and_causality_together():
    rng = np.random.default_rng(4)
    operands = _operands(rng, SIZES[5])
    mask = values(rng, (1, 1, 40, 100))
    check(_attention(causal=True, offset=60), *operands, mask, rtol=3e-5, atol=3e-5)


def test_large_scores_do_not_overflow():
    q, k, v = _operands(np.random.default_rng(5), SIZES[1])
    check(_attention(scale=30.0), 10 * q, k, v, rtol=2e-4, atol=2e-4)


def test_a_row_without_keys_is_zero():
    q, k, v = _operands(np.random.default_rng(6), SIZES[1])
    mask = np.ones((9, 9), bool)
    mask[4] = False
    ran = run(_attention(), q, k, v, mask)
    np.testing.assert_array_equal(ran.results[0][:, :, 4], 0)
    np.testing.assert_allclose(ran.results[0], ran.expected[0], rtol=3e-5, atol=3e-5)
    ran = run(_attention(causal=True, offset=-3), q, k, v)
    np.testing.assert_array_equal(ran.results[0][:, :, :3], 0)
    np.testing.assert_allclose(ran.results[0], ran.expected[0], rtol=3e-5, atol=3e-5)


@pytest.mark.parametrize("fill", [np.finfo(np.float32).min, -1e30])
def test_a_row_that_finite_addends_mask_is_the_mean_of_its_values(fill):
    """The lowest number was below where a row's maximum started, and the row became zero."""
    q, k, v = _operands(np.random.default_rng(6), SIZES[1])
    mask = np.zeros((9, 9), np.float32)
    mask[4] = fill
    ran = check(_attention(), q, k, v, mask, rtol=3e-5, atol=3e-5)
    if fill < -1e20:
        np.testing.assert_allclose(
            ran.results[0][:, :, 4], np.repeat(v, q.shape[1] // v.shape[1], 1).mean(2), 1e-5, 1e-5
        )


def test_no_keys_and_no_queries():
    rng = np.random.default_rng(7)
    check(_attention(), *_operands(rng, (1, 2, 2, 3, 0, 4, 5)))
    check(_attention(), *_operands(rng, (1, 2, 2, 0, 3, 4, 5)))


def test_heads_are_read_and_written_through_views():
    """What surrounds attention in every transformer: split heads before, joined heads after, in one launch."""
    rng = np.random.default_rng(8)
    q, k, v = values(rng, (2, 9, 48)), values(rng, (2, 9, 48)), values(rng, (2, 9, 48))

    def heads(x):
        return build("transpose", build("reshape", x, shape=[2, 9, 3, 16]), permutation=[0, 2, 1, 3])

    def body(q, k, v):
        out = build("attention", heads(q), heads(k), heads(v), scale=0.25, causal=True, offset=0, window=0, softcap=0.0)
        return build("reshape", build("transpose", out, permutation=[0, 2, 1, 3]), shape=[2, 9, 48])

    ran = check(body, q, k, v, rtol=3e-5, atol=3e-5)
    assert ran.families == ["attention"]


def test_more_keys_than_the_stack_holds():
    """Keys are transposed a part at a time; the last part is ragged."""
    size = (1, 2, 2, 16, 4500, 128, 64)
    ran = check(_attention(causal=True, offset=4484), *_operands(np.random.default_rng(9), size), rtol=1e-4, atol=1e-4)
    assert ran.families == ["attention"]


def test_scores_that_no_stack_holds_are_split():
    """What no family takes whole is split: nothing is computed once for every element of the result."""
    ran = check(_attention(), *_operands(np.random.default_rng(10), (1, 1, 1, 2, 530_000, 2, 3)), rtol=1e-4, atol=1e-6)
    assert ran.families.count("contraction") == 2


@pytest.mark.parametrize(("queries", "launches"), [(1, 1), (16, 1), (17, 3)])
def test_a_cache_in_pages_is_read_where_it_lies(queries, launches):
    """Where few queries read it; many have it put in order first."""
    rng = np.random.default_rng(queries)
    cache = [values(rng, (11, 8, 2, 16)) for _ in range(2)]
    table = rng.integers(-11, 11, (3, 4))

    def seen(x, table):
        turned = build("transpose", build("gather", x, table, axis=0), permutation=[0, 3, 1, 2, 4])
        return build("reshape", turned, shape=[3, 2, 32, 16])

    def body(q, k, v, table):
        return _attention()(q, seen(k, table), seen(v, table))

    ran = check(body, values(rng, (3, 4, queries, 16)), *cache, table, rtol=3e-5, atol=3e-5)
    assert ran.families.count("attention") == 1 and len(ran.families) == launches


@pytest.mark.parametrize("size", [(5, 4, 2, 3, 70, 32, 32), (5, 2, 2, 20, 33, 16, 24), (5, 1, 1, 2, 4500, 128, 8)])
@pytest.mark.parametrize("band", [{}, {"causal": True, "offset": -3}, {"offset": -3, "window": 9, "causal": True}])
def test_keys_past_a_number_that_the_data_says_are_not_read(size, band):
    """They may be anything: a part of a cache that no one has written yet."""
    rng = np.random.default_rng(size[4])
    operands = _operands(rng, size)
    lengths = np.array([0, 1, size[4], size[4] + 3, size[4] // 2 + 1]).reshape(-1, 1, 1, 1)
    wanted = run(_attention(**band), *operands, lengths).expected[0]
    for b, length in enumerate(lengths.reshape(-1)):
        for cache in operands[1:]:
            cache[b, :, length:] = np.nan
    ran = run(_attention(**band), *operands, lengths.astype(np.int32 if band else np.int64))
    assert ran.families == ["attention"] and not wanted[0].any()
    np.testing.assert_allclose(ran.results[0], wanted, rtol=1e-4, atol=1e-4)
