"""Masks that compare the places of query and key become `causal` and `window` of their attention."""

import numpy as np
import pytest
from graph_helpers import Case, scalar

from lumir.dialects import attributes_of, build
from lumir.dialects.constants import constant
from lumir.dtypes import mlir_type
from lumir.graph.attention_band import Band
from lumir.graph.attention_band import band_of as read_band
from lumir.mlir import ir

B, H, M, N, D = 2, 3, 5, 8, 4
PAST = N - M
LOWEST = float(np.finfo(np.float32).min)
PASSES = "lumir-canonicalize,lumir-fuse-normalization,lumir-fuse-attention,lumir-canonicalize"
KEEPING = PASSES.replace("fuse-attention", "fuse-attention{keep-empty-rows=true}")


def number(value):
    return scalar(value, np.int64)


def iota(length):
    return build("iota", type=ir.RankedTensorType.get([length], ir.IntegerType.get_signless(64)), axis=0)


def reshape(x, *dims):
    return build("reshape", x, shape=list(dims))


def places():
    """Queries [M, 1], counted behind the past, and keys [1, N]."""
    queries = build("add", reshape(iota(M), 1, 1, M, 1), number(PAST))
    return queries, reshape(iota(N), 1, 1, 1, N)


def causal():
    queries, keys = places()
    return build("le", keys, queries)


def window(size):
    """As transformers write it: key > query - size."""
    queries, keys = places()
    return build("gt", keys, build("sub", queries, number(size)))


def distance():
    queries, keys = places()
    return build("sub", queries, keys)


MASKS = {
    "causal": (causal, (True, PAST, 0)),
    "mirrored": (lambda: build("ge", *places()), (True, PAST, 0)),
    "before": (lambda: build("lt", places()[1], build("add", places()[0], number(1))), (True, PAST, 0)),
    "window": (lambda: build("and", causal(), window(3)), (True, PAST, 3)),
    "window first": (lambda: build("and", window(3), causal()), (True, PAST, 3)),
    "window alone": (lambda: window(3), (False, PAST - 2, 1)),
    "not beyond": (lambda: build("not", build("or", build("not", causal()), build("not", window(2)))), (True, PAST, 2)),
    "distance": (
        lambda: build("and", build("ge", distance(), number(0)), build("lt", distance(), number(4))),
        (True, PAST, 4),
    ),
    "both sides": (lambda: build("le", build("abs", distance()), number(2)), (True, PAST + 2, 5)),
    "scaled": (lambda: build("ge", build("mul", distance(), number(-1)), number(-2)), (False, PAST - 2, 1)),
    "table": (lambda: constant(np.tri(M, N, PAST, dtype=bool) & ~np.tri(M, N, PAST - 3, dtype=bool)), (True, PAST, 3)),
    "spread": (lambda: build("broadcast", build("and", causal(), window(3)), shape=[B, 1, M, N]), (True, PAST, 3)),
    "reversed keys": (
        lambda: build("le", build("sub", number(N - 1), reshape(iota(N), 1, 1, 1, N)), places()[0]),
        None,
    ),
    "twice as fast": (lambda: build("le", places()[1], build("mul", reshape(iota(M), 1, 1, M, 1), number(2))), None),
    "keys alone": (lambda: build("le", places()[1], number(5)), None),
}


def case_of(mask, fill=-np.inf):
    """An attention with a mask, given to it as the operand that exporters add."""

    def body(_, q, k, v):
        options = {"scale": 0.5, "causal": False, "offset": 0, "window": 0, "softcap": 0.0}
        return build("attention", q, k, v, build("select", mask(), scalar(0), scalar(fill)), **options)

    shapes = [(B, H, M, D), (B, H, N, D), (B, H, N, D)]
    return Case(body, *(np.zeros(shape, np.float32) for shape in shapes))


def band_of(case):
    with case.context:
        op = case.op("attention")
        found = attributes_of(op)
        return (found["causal"], found["offset"], found["window"]) if len(op.operands) == 3 else None


@pytest.mark.parametrize("name", MASKS)
def test_masks_of_places(name):
    mask, wanted = MASKS[name]
    case = case_of(mask)
    case.check(PASSES)
    assert band_of(case) == wanted


def test_a_finite_fill_is_dropped_where_each_row_keeps_a_key():
    case = case_of(MASKS["window"][0], LOWEST)
    case.check(KEEPING)
    assert band_of(case) == (True, PAST, 3)


@pytest.mark.parametrize("first", [PAST + 4, PAST - 1])
def test_a_finite_fill_stays_where_a_row_may_have_no_key(first):
    """The last query sees keys from N on only, or the first one none."""

    def mask():
        queries, keys = places()
        later = build("gt", keys, build("add", queries, number(first - PAST - 1)))
        return later if first > PAST else build("and", later, build("lt", keys, build("sub", queries, number(PAST))))

    case = case_of(mask, LOWEST)
    case.run(KEEPING)
    assert band_of(case) is None


def test_bands_of_tables():
    rng = np.random.default_rng(3)
    for _ in range(200):
        rows, columns = (int(n) for n in rng.integers(1, 7, 2))
        first, last = (int(n) if rng.random() < 0.7 else None for n in np.sort(rng.integers(-8, 9, 2)))
        table = Band(first, last).table(rows, columns)
        band = Band.of_table(table)
        assert band is None if not table.any() else band is not None and (band.table(rows, columns) == table).all()
        broken = table.copy()
        broken[rng.integers(rows), rng.integers(columns)] ^= True
        found = Band.of_table(broken)
        assert found is None or (found.table(rows, columns) == broken).all()
        keeps = Band(first, last).leaves_each_row_a_key(rows, columns)
        assert not keeps or table.any(axis=1).all()


@pytest.mark.parametrize("past", [0, PAST])
@pytest.mark.parametrize("size", [0, 1, 2, 100])
def test_rows_that_padding_leaves_without_keys_are_means(size, past):
    """Causality and windows become attributes beside a mask of keys, filled with a finite number as transformers do."""
    rows = N - past

    def body(_, q, k, v, keep):
        here = reshape(build("add", iota(rows), number(past)), 1, 1, rows, 1)
        keys = reshape(iota(N), 1, 1, 1, N)
        mask = build("le", keys, here)
        if size:
            mask = build("and", mask, build("gt", keys, build("sub", here, number(size))))
        mask = build("and", mask, reshape(keep, B, 1, 1, N))
        options = {"scale": 0.5, "causal": False, "offset": 0, "window": 0, "softcap": 0.0}
        return build("attention", q, k, v, build("select", mask, scalar(0), scalar(LOWEST)), **options)

    shapes = [(B, 4, rows, D), (B, 2, N, D), (B, 2, N, D)]
    case = Case(body, *(np.zeros(shape, np.float32) for shape in shapes), np.zeros((B, N), bool))
    inputs = case.inputs()
    inputs["x3"][0] = [False] * 4 + [True] * (N - 4)
    inputs["x3"][1] = [False, True, False, False, False, True, True, False]
    (before,) = case.evaluate(inputs, "declared")
    case.run(KEEPING)
    (after,) = case.evaluate(inputs, "declared")
    np.testing.assert_allclose(after, before, 1e-5, 1e-6)
    with case.context:
        found = attributes_of(case.op("attention"))
    assert (found["causal"], found["offset"], found["window"]) == (True, past, size if size < N else 0)


def test_a_mask_of_one_row_stays_an_addend():
    """Nothing would be skipped, and the values are read once."""

    def body(_, q, k, v, keep):
        mask = build("and", build("le", iota(N), number(N - 1)), keep)
        options = {"scale": 0.5, "causal": False, "offset": 0, "window": 0, "softcap": 0.0}
        return build("attention", q, k, v, build("select", mask, scalar(0), scalar(LOWEST)), **options)

    case = Case(body, *(np.zeros(s, np.float32) for s in [(1, 1, 1, D), (1, 1, N, D), (1, 1, N, D)]), np.zeros(N, bool))
    case.run(KEEPING)
    assert case.count()["reduce"] == 0


def test_a_mask_of_whole_sequences_stays_an_addend():
    """It says nothing of single keys."""

    def body(_, q, k, v, keep):
        mask = build("and", causal(), reshape(keep, B, 1, 1, 1))
        options = {"scale": 0.5, "causal": False, "offset": 0, "window": 0, "softcap": 0.0}
        return build("attention", q, k, v, build("select", mask, scalar(0), scalar(LOWEST)), **options)

    shapes = [(B, H, M, D), (B, H, N, D), (B, H, N, D)]
    case = Case(body, *(np.zeros(shape, np.float32) for shape in shapes), np.zeros(B, bool))
    inputs = case.inputs()
    inputs["x3"][:] = [True, False]
    (before,) = case.evaluate(inputs, "declared")
    case.run(KEEPING)
    np.testing.assert_allclose(case.evaluate(inputs, "declared")[0], before, 1e-5, 1e-6)
    assert case.count()["reduce"] == 0


@pytest.mark.parametrize(("dtype", "known"), [("int32", True), ("int8", False), ("uint32", False)])
def test_integers_that_may_wrap_are_no_places(dtype, known):
    found = []

    def body(_, q):
        here, keys = (build("cast", x, to=mlir_type(dtype), saturate=False) for x in places())
        found.append(read_band(build("le", keys, here)))
        return q

    Case(body, np.zeros(1, np.float32))
    assert found == [Band(last=PAST) if known else None]
