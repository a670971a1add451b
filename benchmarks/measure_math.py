"""Measures the accuracy of the expansions on this CPU: the tables of docs/math.md.

python benchmarks/measure_math.py                       largest error in ulp for each function and format
python benchmarks/measure_math.py --emit build/math     PTX of both formula sets, for measure_math_gpu.py
"""

import json
from pathlib import Path

import click
import numpy as np

from lumir.codegen.expand_math import expand_math
from lumir.codegen.math.check import DTYPES, Case, compile_cases, nvidia_source, ulp_errors
from lumir.codegen.math.exact import UNARY, samples
from lumir.codegen.nvidia import ptx_of
from lumir.mlir import ir

LANES = {"f16": 16, "bf16": 16, "f32": 16, "f64": 8}
BINARY = {
    "math.powf": np.power,
    "math.atan2": np.arctan2,
}


def cases_of(kind: str, lanes: int | None) -> list[Case]:
    """Every function of one argument, then of two."""
    unary = [Case(f"math.{name}", (kind,), kind, lanes) for name in UNARY]
    return unary + [Case(name, (kind, kind), kind, lanes) for name in BINARY]


def binary_samples(name: str, dtype: np.dtype, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Random bits and moderate numbers; for powers, exponents that keep the result in range."""
    rng = np.random.default_rng(43)
    x, y = samples(rng, dtype, -10, 10, count), rng.permutation(samples(rng, dtype, -10, 10, count))
    if name == "math.powf":
        largest = {"f2": 11, "f4": 100, "f8": 720}.get(dtype.str[1:], 100)
        fitting = rng.uniform(-largest, largest, count) / np.log(np.abs(x).astype(np.float64))
        y = np.where(rng.random(count) < 0.7, fitting, y.astype(np.float64)).astype(dtype)
    return x, y


def measure(kind: str, count: int) -> dict[str, float]:
    """The largest error of each function in one format. 16-bit formats: every argument (of one-argument functions)."""
    wide = np.longdouble if kind == "f64" else np.float64
    errors = {}
    for case, function in zip(cases_of(kind, LANES[kind]), compile_cases(cases_of(kind, LANES[kind])), strict=True):
        name = case.op.removeprefix("math.")
        if name in UNARY:
            exact, low, high = UNARY[name]
            few = count // 16 if name.startswith("erf") else count
            operands = (samples(np.random.default_rng(47), DTYPES[kind], low, high, few - few % 16),)
            if kind in ("f16", "bf16"):
                operands = (np.arange(1 << 16, dtype=np.uint16).view(DTYPES[kind]),)
        else:
            exact, operands = BINARY[case.op], binary_samples(case.op, DTYPES[kind], count - count % 16)
            wide = np.longdouble
        reference = exact(*(x.astype(wide) for x in operands))
        errors[name] = float(ulp_errors(function(*operands), reference, kind).max())
    return errors


def emit(folder: Path, arch: str) -> None:
    """PTX of every f32 kernel by the formulas of either target, and results of this CPU to compare bits with."""
    folder.mkdir(parents=True, exist_ok=True)
    cases = [*cases_of("f32", None), Case("arith.remf", ("f32", "f32"), "f32", None)]
    for target in ("cpu", "nvidia"):
        with ir.Context(), ir.Location.unknown():
            module = ir.Module.parse(nvidia_source(cases))
            expand_math(module, target)
            (folder / f"{target}.ptx").write_text(ptx_of(module.body.operations[0], arch))
    rng = np.random.default_rng(53)
    x, y = (samples(rng, DTYPES["f32"], -8, 8, 96_000) for _ in range(2))
    functions = compile_cases(cases)
    results = {case.name: f(*(x, y)[: len(case.operands)]) for case, f in zip(cases, functions, strict=True)}
    np.savez(folder / "cpu.npz", x=x, y=y, **results)  # pyright: ignore[reportArgumentType]
    (folder / "cases.json").write_text(json.dumps({case.name: [case.op, len(case.operands)] for case in cases}))


@click.command()
@click.option("--samples", "count", default=1_600_000, show_default=True, help="Samples for each function and format.")
@click.option("--emit", "folder", type=click.Path(path_type=Path), help="Write PTX for the GPU and stop.")
@click.option("--arch", default="sm_90a", show_default=True, help="Architecture of that PTX.")
def main(count: int, folder: Path | None, arch: str) -> None:
    """Print a Markdown table of the largest errors, in ulp."""
    if folder is not None:
        emit(folder, arch)
        return
    with np.errstate(all="ignore"):
        columns = {kind: measure(kind, count) for kind in LANES}
    click.echo("| function | " + " | ".join(columns) + " |\n|---|" + "---|" * len(columns))
    for name in columns["f32"]:
        click.echo(f"| {name} | " + " | ".join(f"{column[name]:.3f}" for column in columns.values()) + " |")


if __name__ == "__main__":
    main()
