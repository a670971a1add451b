"""Shared by the tests of the CPU path: lumir ops compiled, run on poisoned memory, and held against the reference."""

import ctypes
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from reference_helpers import make_module

from lumir.artifact.build import Specialisation, build_artifact
from lumir.artifact.launches import Launch
from lumir.compile import run_step
from lumir.context import make_context
from lumir.dtypes import mlir_type
from lumir.mlir import ir
from lumir.reference import evaluate
from lumir.runtime.executable import Executable, load
from lumir.runtime.memory import aligned_empty
from lumir.step_files import IR_STEPS
from lumir.target import target_named
from lumir.weights import WeightStore

Arrays = list[np.ndarray]
POISON = 0xA7
"""The byte that outputs and the arena are filled with: no plausible number in any element type."""


@dataclass
class Ran:
    """What a program gave.

    Attributes:
        results: its results, in order.
        expected: the same, computed in float64 by the reference and not rounded.
        families: the kernel families of its launches, in order.
        dispatches: the ops of each dispatch, as short names.
    """

    results: Arrays
    expected: Arrays
    families: list[str]
    dispatches: list[list[str]]


def run(body: Callable[..., Any], *arrays: np.ndarray, first: str = "dispatch", threads: int = 2) -> Ran:
    """Compile `@main`, whose body is `body(values...)`, from the step `first` on, and run it twice."""
    with make_context(), ir.Location.unknown():
        module = make_module(body, *arrays)
        return run_module(module, WeightStore(), {f"x{i}": a for i, a in enumerate(arrays)}, first, threads)


def run_module(
    module: ir.Module, store: WeightStore, inputs: dict[str, np.ndarray], first: str = "dispatch", threads: int = 2
) -> Ran:
    """As `run`, for a module with weights; in its context, and the module is changed."""
    target, dispatches = target_named("cpu"), []
    expected = list(evaluate(module, store, inputs, "float64").values())
    for step in IR_STEPS[IR_STEPS.index(first) :]:
        module = run_step(module, step, target)
        if step == "dispatch":
            dispatches = _dispatches(module)
    with tempfile.TemporaryDirectory() as folder:
        build_artifact(Path(folder) / "m.lumir", [Specialisation(module, store)], target)
        executable = load(Path(folder) / "m.lumir", threads=threads)
        launches = [k for k in executable.artifact.plans[0].launches if isinstance(k, Launch)]
        families = [executable.artifact.manifest.kernels[k.kernel].family for k in launches]
        first_results, results = (_run_poisoned(executable, inputs) for _ in range(2))
        executable.close()
    for one, two in zip(first_results, results, strict=True):
        assert one.tobytes() == two.tobytes(), "two runs differ: something was read that was not written"
    return Ran(results, expected, families, dispatches)


def _dispatches(module: ir.Module) -> list[list[str]]:
    functions = [op for op in module.body.operations if "lumir.dispatch" in op.attributes]
    bodies = [[op.operation.name.removeprefix("lumir.") for op in f.regions[0].blocks[0].operations] for f in functions]
    return [[name for name in names if name not in ("func.return", "constant")] for names in bodies]


def _run_poisoned(executable: Executable, inputs: dict[str, np.ndarray]) -> Arrays:
    """One run with every byte of the outputs and of the arena poisoned before."""
    plan = executable.artifact.plans[0]
    ctypes.memset(executable.device.arena.address, POISON, plan.arena_bytes)  # pyright: ignore[reportAttributeAccessIssue]
    given = {}
    for spec in plan.outputs:
        array = aligned_empty(np.dtype(dtype_of(spec.dtype)), spec.dims)
        array.reshape(-1).view(np.uint8)[...] = POISON
        given[spec.name] = array
    found = executable.run(inputs, out=given)
    return [found[spec.name] for spec in plan.outputs]


def dtype_of(name: str) -> np.dtype:
    return np.dtype(getattr(ml_dtypes, name)) if hasattr(ml_dtypes, name) else np.dtype(name)


def check(body: Callable[..., Any], *arrays: np.ndarray, rtol: float = 2e-6, atol: float = 2e-6, **options: Any) -> Ran:
    """Run, and hold every result against the reference: exactly, or to the tolerance for floats."""
    ran = run(body, *arrays, **options)
    for found, expected in zip(ran.results, ran.expected, strict=True):
        assert_close(found, expected, rtol, atol)
    return ran


def assert_close(found: np.ndarray, expected: np.ndarray, rtol: float, atol: float) -> None:
    """Floats within `atol + rtol * |expected|` after rounding to the result's type; everything else equal."""
    assert found.shape == expected.shape
    if expected.dtype != np.float64:
        assert found.dtype == expected.dtype
        assert found.dtype != np.bool_ or np.isin(found.reshape(-1).view(np.uint8), (0, 1)).all(), "a bool is 0 or 1"
        np.testing.assert_array_equal(found.astype(np.int64), expected.astype(np.int64))
        return
    with np.errstate(over="ignore"):
        wanted = expected.astype(found.dtype).astype(np.float64)
    resolution = float(ml_dtypes.finfo(found.dtype).eps)
    np.testing.assert_allclose(
        found.astype(np.float64), wanted, rtol=max(rtol, resolution), atol=max(atol, resolution / 16)
    )


def sizes(rng: np.random.Generator, rank: int, largest: int = 40) -> tuple[int, ...]:
    """A ragged shape: mostly odd sizes, sometimes 1, seldom 0."""
    choices = [0, 1, 1, 2, 3, 7, 16, 17, 31, largest]
    odds = [0.03, *[0.97 / 9] * 9]
    return tuple(int(n) for n in rng.choice(choices, size=rank, p=odds))


def values(rng: np.random.Generator, shape: Sequence[int], dtype: Any = "float32") -> np.ndarray:
    """Normal floats, integers over most of their range, coin flips."""
    dtype = dtype_of(str(np.dtype(dtype).name)) if not isinstance(dtype, str) else dtype_of(dtype)
    if dtype.kind == "b":
        return rng.random(shape) < 0.5
    if "int" in dtype.name:
        limits = ml_dtypes.iinfo(dtype)
        low, high = max(int(limits.min), -100), min(int(limits.max), 100)
        return rng.integers(low, high, shape, endpoint=True).astype(dtype)
    return rng.standard_normal(shape).astype(dtype)


def kind(name: str) -> ir.Type:
    """The element type of a dtype's name, for attributes `to`."""
    return mlir_type(name)
