"""How long lumir takes to compile: single ops in a warm process, and the small models under tests/models.

    python benchmarks/compile_time.py [--target cpu|sm_90a] [--precision fp16] [--repeat 5]
    python benchmarks/compile_time.py --target sm_90a --precision fp16 --only llama --dim batch=1..4 --dim seq=1..128

Prints medians of the time and the least time of a processor. Of all cases, with their own sizes, both go to
benchmarks/results/compile-time-<target>.json.
"""

import datetime
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import click
import onnx
from onnx import TensorProto, helper
from rich.console import Console
from rich.table import Table

from lumir.compile import Request, compile_to, write
from lumir.dims import Dims
from lumir.tools.compile_flags import profiles_of

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests" / "models"))
OPS = {"Add": 2, "Relu": 1, "Erf": 1, "Softmax": 1, "Transpose": 1, "ReduceSum": 1, "MatMul": 2, "MaxPool": 1}


def single_op(op: str, operands: int) -> onnx.ModelProto:
    """A model of one node on float32 operands of shape [2, 4, 16, 16]."""
    names = [f"x{i}" for i in range(operands)]
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 4, 16, 16]) for name in names]
    attributes: dict[str, Any] = {"kernel_shape": [2, 2]} if op == "MaxPool" else {}
    node = helper.make_node(op, names, ["y"], name=op, **attributes)
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([node], "g", inputs, [output])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])


@dataclass(frozen=True)
class Times:
    """Of some compiles, from the model to the artifact on disk, in seconds."""

    wall: list[float]
    processor: list[float]

    def to_json(self) -> dict[str, float]:
        return {"median": median(self.wall), "least of the processor": min(self.processor)}


def times(model: Any, request: dict[str, Any], dims: Dims, repeat: int) -> Times:
    """Of `repeat` compiles after one that warms the process up."""
    found = Times([], [])
    for number in range(repeat + 1):
        wall, processor = time.perf_counter(), time.process_time()
        with tempfile.TemporaryDirectory() as folder:
            write(compile_to(Request(model, profiles=[dims], **request)), Path(folder) / "model.lumir")
        if number:
            found.wall.append(time.perf_counter() - wall)
            found.processor.append(time.process_time() - processor)
    return found


def cases(ranges: Dims) -> dict[str, tuple[Any, Dims]]:
    """Models by name, and the sizes that they are compiled for: `ranges` where they have these dimensions."""
    from catalog import default_dims

    found: dict[str, tuple[Any, Dims]] = {f"one {op}": (single_op(op, n), {}) for op, n in OPS.items()}
    for path in sorted((ROOT / "tests" / "models").glob("*.onnx")):
        sizes = default_dims(path)[0]
        found[path.stem] = path, {name: ranges.get(name, size) for name, size in sizes.items()}
    return found


@click.command()
@click.option("--target", default="cpu", show_default=True)
@click.option("--precision", default="fp32", show_default=True)
@click.option("--only", multiple=True, help="Cases whose name holds this text.")
@click.option("--dim", "dims", multiple=True, metavar="NAME=SIZE", help="In place of the default size, or a range.")
@click.option("--repeat", default=5, show_default=True)
def main(target: str, precision: str, only: tuple[str, ...], dims: tuple[str, ...], repeat: int) -> None:
    """Measure each case `repeat` times after one warm-up."""
    (ranges,) = profiles_of(dims, ())
    table, results = Table("compile", "median ms", "processor, least ms", box=None), {}
    for name, (model, sizes) in cases(ranges).items():
        if only and not any(text in name for text in only):
            continue
        found = times(model, {"target": target, "precision": precision}, sizes, repeat)
        results[name] = found.to_json()
        table.add_row(name, *(f"{value * 1e3:.0f}" for value in results[name].values()))
    Console().print(table)
    if only or dims:
        return
    report = {
        "command": f"python benchmarks/compile_time.py --target {target} --precision {precision} --repeat {repeat}",
        "date": datetime.date.today().isoformat(),
        "seconds": results,
    }
    (ROOT / "benchmarks" / "results" / f"compile-time-{target}.json").write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
