"""One kernel for every number of rows against one that is compiled for that number: products on a Hopper GPU.

    python benchmarks/open_products.py [--json FILE]

x [m, 4096] w [4096, 4096]^T in bfloat16. Both kernels are what the cost model chooses; a third has the schedule of the
fixed size and open rows, which tells what the openness alone costs. Results are checked; times are medians, in turns.
"""

import json
from pathlib import Path

import click

from lumir.dialects import build
from lumir.dtypes import mlir_type
from lumir.measure import Bench, compile_dispatch
from lumir.measure.texts import dispatch
from lumir.measure.timing import time_together
from lumir.mlir import ir
from lumir.size_text import declare
from lumir.sizes import Dim, size_of
from lumir.symbols import Symbol

WIDTH, ARCH, SAMPLES = 4096, "sm_90a", 20
RUNS = ((512, 17), (512, 300), (512, 512), (2048, 2048), (4096, 512), (4096, 4096))
"""The high end of the rows' range, which begins at 1, and how many there are."""


def product(m: Dim) -> str:
    def body(x: ir.Value, w: ir.Value) -> ir.Value:
        return build("contract", x, w, equation="mk,nk->mn", to=mlir_type("bfloat16"))

    return dispatch(body, ((m, WIDTH), "bfloat16"), ((WIDTH, WIDTH), "bfloat16"), unwritten=[1])


def measure(bench: Bench, most: int, rows: int) -> dict[str, object]:
    """Microseconds of each kernel, and which schedules they have."""
    symbol = Symbol("m", 1, most)
    with declare({"m": symbol}):
        open_text = product(size_of(symbol))
    fixed = compile_dispatch(product(rows), ARCH, "wgmma")
    kernels = {
        "fixed": fixed,
        "open": compile_dispatch(open_text, ARCH, "wgmma").at({"m": rows}),
        "open, same schedule": compile_dispatch(open_text, ARCH, "wgmma", fixed.schedule).at({"m": rows}),
    }
    case = bench.case(product(rows))
    loaded = [case.prepare(kernel) for kernel in kernels.values()]
    for one in loaded:
        case.check(one)
    times = {name: t.median * 1e6 for name, t in zip(kernels, time_together(loaded, SAMPLES), strict=True)}
    schedules = {name: dict(kernel.schedule) for name, kernel in kernels.items()}
    return {"range": symbol.range, "rows": rows, "us": times, "schedules": schedules}


@click.command()
@click.option("--json", "path", type=click.Path(path_type=Path), help="Also write the rows there.")
def main(path: Path | None) -> None:
    bench, found = Bench(), []
    print(f"{bench.gpu.name}\n{'range':>8} {'rows':>5} {'fixed':>8} {'open':>8} {'same schedule':>14}  us")
    for most, rows in RUNS:
        row = measure(bench, most, rows)
        found.append(row)
        times = "{:8.1f} {:8.1f} {:14.1f}".format(*row["us"].values())  # pyright: ignore[reportAttributeAccessIssue]
        print(f"{row['range']:>8} {rows:5} {times}", flush=True)
    if path:
        path.write_text(json.dumps({"device": bench.gpu.name, "rows": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
