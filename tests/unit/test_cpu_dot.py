"""Products of bytes on a CPU: every sign, ragged sums, packed and plain operands, against exact integers."""

import itertools

import numpy as np
import pytest
from cpu_helpers import check, kind
from import_helpers import model, node

import lumir
from lumir.codegen.host import compile_assembly
from lumir.dialects import build
from lumir.target import host

TYPES = [*itertools.product(("int8", "uint8"), repeat=2)]
needs_byte_products = pytest.mark.skipif(not host().byte_products, reason="this CPU multiplies no bytes")


def values(rng, dtype, shape):
    """All bytes, the extremes more often."""
    limits = np.iinfo(dtype)
    array = rng.integers(limits.min, limits.max + 1, shape)
    return np.where(rng.random(shape) < 0.2, rng.choice([limits.min, limits.max, 0], shape), array).astype(dtype)


@pytest.mark.parametrize("types", TYPES, ids=str)
@pytest.mark.parametrize("equation", ["mk,kn->mn", "mk,nk->mn", "km,kn->nm", "bmk,bkn->bmn", "mjk,jkn->mn"])
def test_plain_operands(types, equation):
    rng = np.random.default_rng(1)
    for m, n, k in ((1, 16, 4), (9, 40, 33), (17, 100, 2), (5, 33, 7), (3, 7, 64), (8, 32, 1), (70, 35, 130)):
        sizes = {"b": 2, "m": m, "n": n, "k": k, "j": 3}
        left, right = equation.partition("->")[0].split(",")
        arrays = [values(rng, t, [sizes[c] for c in labels]) for t, labels in zip(types, (left, right), strict=True)]
        ran = check(lambda x, y: build("contract", x, y, equation=equation, to=kind("int32")), *arrays, rtol=0, atol=0)
        assert ran.families == ["contraction"]


@pytest.mark.parametrize("types", TYPES, ids=str)
@pytest.mark.parametrize("m, k, n", [(1, 1, 1), (5, 3, 8), (9, 70, 33), (33, 129, 100), (64, 256, 96)])
def test_packed_weights(types, m, k, n):
    """The weight is packed four rows deep; zero points are put right after the sum."""
    rng = np.random.default_rng(2)
    inputs, w = {"x": values(rng, types[0], (m, k))}, values(rng, types[1], (k, n))
    for x_zero, w_zero in itertools.product((0, 7, 100), repeat=2):
        weights = {"w": w, "a": np.array(x_zero, types[0]), "b": np.array(w_zero, types[1])}
        proto = model([node("MatMulInteger", "x w a b")], inputs, ["y"], weights)
        (found,) = lumir.compile(proto, target="cpu").run(inputs).values()
        expected = (inputs["x"].astype(np.int32) - x_zero) @ (w.astype(np.int32) - w_zero)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("types", TYPES, ids=str)
@pytest.mark.parametrize("groups, strides, pads", [(1, [1, 1], [1, 1]), (1, [2, 1], [0, 1]), (2, [1, 1], [1, 0])])
def test_convolutions(types, groups, strides, pads):
    rng = np.random.default_rng(3)
    attributes = {"strides": strides, "dilations": [1, 1], "low": pads, "high": pads, "groups": groups}
    for c, size, window in ((4, (12, 37), (3, 3)), (6, (9, 20), (1, 1)), (2, (5, 18), (2, 5))):
        arrays = values(rng, types[0], (2, c, *size)), values(rng, types[1], (8, c // groups, *window))
        check(lambda x, w: build("conv", x, w, **attributes, to=kind("int32")), *arrays, rtol=0, atol=0)


def test_sums_wrap_as_int32():
    x, w = np.full((1, 140_000), 255, np.uint8), np.full((140_000, 16), 127, np.int8)
    check(lambda x, y: build("contract", x, y, equation="mk,kn->mn", to=kind("int32")), x, w, rtol=0, atol=0)


@needs_byte_products
@pytest.mark.parametrize("types", TYPES, ids=str)
def test_bytes_are_multiplied_four_at_a_time(types, monkeypatch):
    """The inner loop has the instruction, and no wide multiplication."""
    import lumir.codegen.compile as step

    texts = []
    compiled = step.compile_host
    monkeypatch.setattr(step, "compile_host", lambda text: texts.append(text) or compiled(text))
    rng = np.random.default_rng(4)
    inputs, weights = {"x": values(rng, types[0], (64, 128))}, {"w": values(rng, types[1], (128, 64))}
    lumir.compile(model([node("MatMulInteger", "x w")], inputs, ["y"], weights), target="cpu")
    (text,) = texts
    assembly = compile_assembly(text)
    assert assembly.count("vpdpbusd") >= 16 and "vpmulld" not in assembly
