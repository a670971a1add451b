"""Every graph pass, alone and in order, on random modules: what is computed may not change."""

import numpy as np
import pytest
from random_modules import Generator

PASSES = ["canonicalize", "fuse-normalization", "fuse-attention", "fold-constants", "merge-contractions"]
ALL = ",".join(f"lumir-{name}" for name in [*PASSES, "canonicalize"])


@pytest.mark.parametrize("seed", range(40))
def test_all_passes_in_order(seed):
    Generator(seed, 60).case().check(ALL, 1e-6)


@pytest.mark.parametrize("name", PASSES)
@pytest.mark.parametrize("seed", range(100, 106))
def test_each_pass_alone(name, seed):
    Generator(seed, 60).case().check(f"lumir-{name}", 1e-6)


@pytest.mark.parametrize("seed", range(200, 206))
def test_a_second_run_changes_nothing(seed):
    case = Generator(seed, 60).case()
    case.run("lumir-canonicalize")
    text = str(case.module)
    case.run("lumir-canonicalize")
    assert str(case.module) == text


@pytest.mark.parametrize("seed", range(300, 310))
def test_precision(seed):
    """In float16: inputs and outputs keep their types, and nothing but rounding happens."""
    case = Generator(seed, 25).case()
    inputs = case.inputs()
    before = case.evaluate(inputs)
    case.run("lumir-canonicalize,lumir-fuse-normalization,lumir-convert-precision,lumir-canonicalize")
    after = case.evaluate(inputs, "declared")
    for exact, short in zip(before, after, strict=True):
        assert short.dtype == np.float32
        good = np.abs(short - exact) <= 0.05 * np.abs(exact) + 0.05 * (np.abs(exact).max(initial=0) + 0.1)
        assert good.mean() > 0.9 or exact.size == 0


def test_a_thousand_ops_go_through_all_passes():
    case = Generator(0, 900).case()
    assert sum(case.count().values()) >= 1000
    case.run(f"{ALL},lumir-convert-precision")
