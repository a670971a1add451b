"""Ops that move elements, through step 4 and the CPU's kernels: ragged, tiny and empty shapes."""

import numpy as np
import pytest
from cpu_helpers import check, sizes, values

from lumir.dialects import build

SEEDS = range(6)
DTYPES = ("float32", "int8", "bool", "float16", "int64", "uint16")


def _dtype(seed: int) -> str:
    return DTYPES[seed % len(DTYPES)]


@pytest.mark.parametrize("seed", SEEDS)
def test_views(seed):
    """reshape, transpose, broadcast and slice, alone and one after the other."""
    rng = np.random.default_rng(seed)
    dims = sizes(rng, 3)
    order = [int(i) for i in rng.permutation(3)]
    starts = [int(rng.integers(0, d + 1)) for d in dims]
    counts = [int(rng.integers(0, d - s + 1)) for d, s in zip(dims, starts, strict=True)]
    inside = [min(s, max(d - 1, 0)) for s, d in zip(starts, dims, strict=True)]

    def body(x):
        turned = build("transpose", x, permutation=order)
        flat = build("reshape", turned, shape=[dims[0] * dims[1] * dims[2]])
        cut = build("slice", x, starts=inside, sizes=counts, steps=[1, 1, 1])
        wide = build(
            "broadcast", build("reshape", x, shape=[dims[0], 1, dims[1], dims[2]]), shape=[dims[0], 5, *dims[1:]]
        )
        return [turned, flat, cut, wide, build("reshape", flat, shape=[dims[2], dims[0] * dims[1]])]

    check(body, values(rng, dims, _dtype(seed)))


@pytest.mark.parametrize("steps", [(1, 2), (3, 1), (-1, 1), (1, -1), (-2, 3), (2, -3)])
def test_slices_with_steps(steps):
    rng = np.random.default_rng(1)
    dims = (13, 37)
    starts = [0 if s > 0 else d - 1 for s, d in zip(steps, dims, strict=True)]
    counts = [-(-d // abs(s)) for s, d in zip(steps, dims, strict=True)]
    check(lambda x: build("slice", x, starts=starts, sizes=counts, steps=list(steps)), values(rng, dims))


@pytest.mark.parametrize(
    ("low", "high", "interior"),
    [((1, 0), (0, 3), (0, 0)), ((-1, 2), (2, -5), (0, 0)), ((0, 1), (1, 0), (2, 1)), ((0, 0), (0, 16), (0, 0)),
     ((3, -2), (-1, 2), (1, 3)), ((0, -7), (0, -30), (0, 0))],
)  # fmt: skip
@pytest.mark.parametrize("dims", [(5, 37), (1, 64), (2, 0)])
def test_pad_with_a_constant(low, high, interior, dims):
    rng = np.random.default_rng(2)
    grown = [lo + d + max(d - 1, 0) * i + hi for lo, d, i, hi in zip(low, dims, interior, high, strict=True)]
    if min(grown) < 0:
        pytest.skip("cropped below nothing")
    x, fill = values(rng, dims), np.asarray(2.5, np.float32)
    check(
        lambda x, v: build("pad", x, v, low=list(low), high=list(high), interior=list(interior), mode="constant"),
        x,
        fill,
    )


@pytest.mark.parametrize("mode", ["edge", "reflect", "wrap"])
@pytest.mark.parametrize("low", [(0, 0), (2, 3), (7, 40), (-1, 5)])
def test_pad_that_reads_again(mode, low):
    rng = np.random.default_rng(3)
    x, fill = values(rng, (4, 17), "int32"), np.asarray(0, np.int32)
    check(lambda x, v: build("pad", x, v, low=list(low), high=[3, 1], interior=[0, 0], mode=mode), x, fill)


@pytest.mark.parametrize("seed", SEEDS)
def test_concat(seed):
    rng = np.random.default_rng(seed)
    dims, axis = list(sizes(rng, 3)), int(rng.integers(3))
    parts = []
    for _ in range(3):
        dims[axis] = int(rng.choice([0, 1, 5, 16, 32]))
        parts.append(values(rng, dims, _dtype(seed)))
    check(lambda x, y, z: build("concat", build("concat", x, y, axis=axis), z, axis=axis), *parts)


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8", "float32", "float16"])
def test_iota(dtype):
    from cpu_helpers import kind

    from lumir.mlir import ir

    def body(x):
        types = [ir.RankedTensorType.get(dims, kind(dtype)) for dims in ((37,), (3, 5, 20), (4, 1))]
        return [build("iota", type=t, axis=axis) for t, axis in zip(types, (0, 1, 0), strict=True)]

    check(body, np.zeros(1, np.float32))


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8"])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_gather(axis, dtype):
    """Negative indices count from the end."""
    rng = np.random.default_rng(4)
    dims = (5, 6, 33)
    low = 0 if dtype == "uint8" else -dims[axis]
    indices = rng.integers(low, dims[axis], (2, 3)).astype(dtype)
    check(lambda x, i: build("gather", x, i, axis=axis), values(rng, dims), indices)
    elements = rng.integers(low, dims[axis], (3, 4, 20)).astype(dtype)
    check(lambda x, i: build("gather_elements", x, i, axis=axis), values(rng, dims, "int16"), elements)


@pytest.mark.parametrize(("batch", "depth"), [(0, 1), (0, 3), (1, 1), (1, 2), (2, 1)])
def test_gather_nd(batch, depth):
    rng = np.random.default_rng(5)
    dims = (3, 4, 5)
    outer = (*dims[:batch], 7)
    indices = np.stack([rng.integers(-dims[batch + d], dims[batch + d], outer) for d in range(depth)], -1)
    check(lambda x, i: build("gather_nd", x, i, batch_dims=batch), values(rng, dims), indices)


def test_a_gather_of_a_gather():
    rng = np.random.default_rng(6)
    x, i = values(rng, (9, 31)), rng.integers(0, 9, (40,))
    check(lambda x, i: build("gather", build("gather", x, i, axis=0), i, axis=0), x, i)


def test_a_gather_without_indices():
    x = values(np.random.default_rng(6), (9, 31))
    check(lambda x, i: build("gather", x, i, axis=0), x, np.zeros((0, 2), np.int64))


SCATTERS = [((5,), (7,), 0), ((3, 40), (2, 9), 1), ((3, 40), (5, 40), 0), ((3, 40), (5, 33), 0),
            ((4, 5, 6), (2, 3, 6), 1), ((4, 0), (2, 0), 0), ((4, 3), (0, 3), 0)]  # fmt: skip
KINDS = ("set", "add", "mul", "max", "min")


@pytest.mark.parametrize(("dims", "span", "axis"), SCATTERS)
def test_scatter_elements(dims, span, axis):
    """Several updates of one element are applied in order."""
    rng = np.random.default_rng(7)
    indices = rng.integers(-dims[axis], dims[axis], span) if dims[axis] else np.zeros(span, np.int64)

    def body(x, i, u):
        return [build("scatter_elements", x, i, u, axis=axis, kind=k) for k in KINDS]

    for dtype in ("float32", "int8"):
        ran = check(body, values(rng, dims, dtype), indices, values(rng, span, dtype), rtol=1e-4, atol=1e-5)
        assert 0 in (*dims, *span) or set(ran.families) == {"scatter"}


@pytest.mark.parametrize(
    ("dims", "outer", "depth"),
    [((5,), (7,), 1), ((3, 40), (9,), 1), ((3, 40), (2, 5), 2), ((4, 5, 37), (30,), 1), ((300, 700), (999,), 2),
     ((4, 5), (0,), 1), ((3, 4, 64), (8,), 1)],
)  # fmt: skip
def test_scatter_nd(dims, outer, depth):
    rng = np.random.default_rng(8)
    indices = np.stack([rng.integers(-dims[d], dims[d], outer) for d in range(depth)], -1)
    updates = values(rng, (*outer, *dims[depth:]))

    def body(x, i, u):
        return [build("scatter_nd", x, i, u, kind=k) for k in KINDS]

    check(body, values(rng, dims), indices, updates, rtol=1e-4, atol=1e-4)


def test_a_narrow_float_is_added_up_in_float32():
    rng = np.random.default_rng(9)
    x, u = values(rng, (50,), "bfloat16"), values(rng, (20,), "bfloat16")
    check(
        lambda x, i, u: build("scatter_elements", x, i, u, axis=0, kind="add"),
        x, rng.permutation(50)[:20], u, rtol=1e-2, atol=1e-2,
    )  # fmt: skip


def test_what_follows_an_update_sees_the_last_one():
    """An element-wise op is not fused into a kernel that still changes its result."""
    x, i, u = np.zeros(4, np.float32), np.array([1, 1, 1]), np.array([1, 2, 3], np.float32)
    ran = check(lambda x, i, u: build("neg", build("scatter_elements", x, i, u, axis=0, kind="add")), x, i, u)
    np.testing.assert_array_equal(ran.results[0], [0, -6, 0, 0])
