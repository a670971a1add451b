"""Step 3: what stands together in one launch, that nothing is computed twice without need, and that results stay."""

import numpy as np
import pytest
from cpu_helpers import assert_close, check, kind, run, run_module, values
from random_modules import Generator

from lumir.dialects import build
from lumir.dialects.constants import constant
from lumir.mlir import ir


def _float(number: float) -> ir.Value:
    return constant(np.asarray(number, np.float32))


def _ops(ran) -> int:
    return sum(len(ops) for ops in ran.dispatches)


def _doubling(depth: int):
    """A running sum by shifts of 1, 2, 4, ...: each step reads the one before in two places."""

    def body(x):
        for i in range(depth):
            shifted = build("pad", x, _float(0), low=[1 << i], high=[-(1 << i)], interior=[0], mode="constant")
            x = build("add", x, shifted)
        return x

    return body


def _shuffles(depth: int):
    def body(x):
        for _ in range(depth):
            half = x.type.shape[0] // 2
            parts = [build("slice", x, starts=[i], sizes=[half], steps=[2]) for i in (0, 1)]
            x = build("concat", *parts, axis=0)
        return x

    return body


def _differences(depth: int):
    def body(x):
        for _ in range(depth):
            size = x.type.shape[0] - 1
            left, right = (build("slice", x, starts=[i], sizes=[size], steps=[1]) for i in (0, 1))
            x = build("mul", build("sub", left, right), build("exp", build("neg", build("abs", left))))
        return x

    return body


@pytest.mark.parametrize("steps", [_doubling, _shuffles, _differences])
def test_code_does_not_double_with_each_step(steps):
    """Twice the steps take about twice the ops, not their square."""
    x = values(np.random.default_rng(1), (256,))
    few, many = check(steps(7), x, rtol=1e-4, atol=1e-4), check(steps(14), x, rtol=1e-4, atol=1e-4)
    assert _ops(many) <= 3 * _ops(few)
    assert len(many.families) <= 14


@pytest.mark.parametrize("length", [47, 48, 49, 300])
def test_long_chains_are_cut(length):
    """A kernel is written by descending through its ops: a chain may be longer than Python can descend."""

    def body(x):
        for i in range(length):
            x = build("tanh" if i % 3 == 0 else "neg", x)
        return x

    ran = check(body, values(np.random.default_rng(2), (5, 33)), rtol=1e-5, atol=1e-5)
    assert len(ran.families) == -(-length // 48)


def test_a_long_chain_after_a_root_is_cut():
    def body(x):
        x = build("softmax", x, axis=1, log=False)
        for _ in range(200):
            x = build("neg", build("add", x, _float(0.5)))
        return x

    check(body, values(np.random.default_rng(3), (5, 33)), rtol=1e-4, atol=1e-4)


def test_rotation_of_halves_is_one_launch():
    """x * cos + concat(-x2, x1) * sin reads x in three ways, which is few."""
    rng = np.random.default_rng(4)
    x, y, cos, sin = (values(rng, dims) for dims in ((2, 3, 7, 16), (2, 3, 7, 16), (7, 16), (7, 16)))

    def body(x, y, cos, sin):
        x = build("add", x, y)
        low, high = (build("slice", x, starts=[0, 0, 0, s], sizes=[2, 3, 7, 8], steps=[1] * 4) for s in (0, 8))
        turned = build("concat", build("neg", high), low, axis=3)
        return build("add", build("mul", x, cos), build("mul", turned, sin))

    assert check(body, x, y, cos, sin).families == ["map"]


def test_what_is_expensive_is_not_repeated():
    """exp of a tensor that is read in three ways is computed once, in a launch of its own."""

    def body(x):
        x = build("exp", x)
        parts = [build("slice", x, starts=[i], sizes=[30], steps=[1]) for i in range(3)]
        return build("add", build("mul", parts[0], parts[1]), parts[2])

    ran = check(body, values(np.random.default_rng(5), (32,)), rtol=1e-5)
    assert [("exp" in ops) for ops in ran.dispatches] == [True, False]


def test_packed_results_are_written_by_their_own_launch():
    x, y = values(np.random.default_rng(6), (9, 33)), values(np.random.default_rng(7), (33, 7))

    def body(x, y):
        return build("cast", build("contract", x, y, equation="mk,kn->mn", to=kind("float32")), to=kind("int4"))

    ran = run(body, x / 9, y / 9)
    assert ran.families == ["contraction", "map"]


class Smooth(Generator):
    """No op that jumps: a rounding may not change a result by more than itself."""

    def unary(self, _) -> ir.Value:
        return build(str(self.rng.choice(["tanh", "neg", "abs", "sigmoid"])), self.some())

    def select(self, _) -> ir.Value:
        return build("max", build("neg", self.some()), _float(0.25))


@pytest.mark.parametrize("first", ["graph", "dispatch"])
@pytest.mark.parametrize("seed", range(400, 412))
def test_random_functions(seed, first):
    """From step 3 on, and with the graph passes before it: the kernels compute what the ops say."""
    case = Smooth(seed, 40).case()
    inputs = case.inputs()
    with case.context, ir.Location.unknown():
        ran = run_module(case.module, case.store, inputs, first)
    for found, expected in zip(ran.results, ran.expected, strict=True):
        scale = float(np.abs(expected).max(initial=0.0))
        assert_close(found, expected, 1e-4, 1e-5 * scale if np.isfinite(scale) else 1e-5)
