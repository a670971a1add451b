"""How long lumir takes to compile: single ops in a warm process, and the small models under tests/models.

    python benchmarks/compile_time.py [--target cpu|sm_90a] [--repeat 5]

Prints medians in milliseconds and writes them to benchmarks/results/compile-time-<target>.json.
"""

import datetime
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import click
import onnx
from onnx import TensorProto, helper
from rich.console import Console
from rich.table import Table

from lumir.compile import Request, compile_to, write

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


def seconds(model: Any, target: str, dims: dict[str, int]) -> float:
    """One compile, from the model to the artifact on disk."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        write(compile_to(Request(model, target, [dims])), Path(folder) / "model.lumir")
        return time.perf_counter() - start


def cases() -> dict[str, Callable[[str], float]]:
    from catalog import default_dims

    found: dict[str, Callable[[str], float]] = {
        f"one {op}": lambda target, op=op, n=n: seconds(single_op(op, n), target, {}) for op, n in OPS.items()
    }
    for path in sorted((ROOT / "tests" / "models").glob("*.onnx")):
        found[path.stem] = lambda target, path=path: seconds(path, target, default_dims(path)[0])
    return found


@click.command()
@click.option("--target", default="cpu", show_default=True)
@click.option("--repeat", default=5, show_default=True)
def main(target: str, repeat: int) -> None:
    """Measure each case `repeat` times after one warm-up."""
    table, results = Table("compile", "median ms", box=None), {}
    for name, run in cases().items():
        run(target)
        results[name] = median(run(target) for _ in range(repeat))
        table.add_row(name, f"{results[name] * 1e3:.0f}")
    Console().print(table)
    report = {
        "command": f"python benchmarks/compile_time.py --target {target} --repeat {repeat}",
        "date": datetime.date.today().isoformat(),
        "seconds": results,
    }
    (ROOT / "benchmarks" / "results" / f"compile-time-{target}.json").write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
