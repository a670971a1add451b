"""A finding as a table of nodes, and as a folder with the model and a script that shows it again; a run as JSON."""

import datetime
import json
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
from rich.table import Table

from tests.fuzz.check import Verdict
from tests.fuzz.strategy import Case
from tests.fuzz.values import Value

if TYPE_CHECKING:
    from tests.fuzz.campaign import Totals

SCRIPT = '''"""{title}"""

from pathlib import Path

import numpy as np
import onnxruntime

import lumir

folder = Path(__file__).parent
inputs = dict(np.load(folder / "inputs.npz"))
options = onnxruntime.SessionOptions()
options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
session = onnxruntime.InferenceSession(folder / "model.onnx", options, providers=["CPUExecutionProvider"])
expected = dict(zip([output.name for output in session.get_outputs()], session.run(None, inputs)))
found = lumir.compile(folder / "model.onnx", target="{target}", dims={dims}).run(inputs)
for name, array in expected.items():
    print(name, array.dtype, array.shape, "lumir:", found[name].dtype, found[name].shape)
    print("onnxruntime", array, "lumir", found[name], sep="\\n")
'''


def node_table(case: Case) -> Table:
    """The graph, one row a node."""
    table = Table(title=f"opset {case.model.opset_import[0].version}", title_justify="left")
    for head in ("operator", "inputs", "attributes", "outputs"):
        table.add_column(head, overflow="fold")
    for node in case.model.graph.node:
        if node.op_type == "Constant":
            continue
        attributes = ", ".join(f"{a.name}={_attribute(a)}" for a in node.attribute)
        inputs = "\n".join(_described(case, name) for name in node.input)
        table.add_row(node.op_type, inputs, attributes, "\n".join(_described(case, name) for name in node.output))
    return table


def _described(case: Case, name: str) -> str:
    if not name:
        return "-"
    value: Value = case.values[name]
    marks = {"input": "", "initializer": " weight", "constant": " constant"}
    text = f"{name} {value.dtype}{list(value.shape)}{marks.get(value.kind, '')}"
    if value.fixed or (value.kind != "result" and value.array.size <= 6):
        text += f" = {value.array.tolist()}"
    return f"{text} (output)" if name in case.expected else text


def _attribute(attribute: onnx.AttributeProto) -> str:
    value = onnx.helper.get_attribute_value(attribute)
    return value.decode() if isinstance(value, bytes) else str(value) if not hasattr(value, "dims") else "tensor"


def write_finding(case: Case, verdict: Verdict, folder: Path, target: str) -> None:
    """`model.onnx`, `inputs.npz`, `reproduce.py` and `finding.txt` in a folder of the finding's own."""
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(case.model, folder / "model.onnx")
    np.savez(folder / "inputs.npz", allow_pickle=False, **case.inputs)
    title = f"{verdict.kind}: {', '.join(node.op_type for node in case.model.graph.node)}"
    (folder / "reproduce.py").write_text(SCRIPT.format(title=title, target=target, dims=case.dims))
    (folder / "finding.txt").write_text("\n".join([title, *verdict.reasons]) + "\n")


def append_run(path: Path, totals: "Totals", seed: int, target: str, seconds: float) -> None:
    """Add a run to a list of runs: how many graphs, what became of them, and which operators were compared."""
    runs = json.loads(path.read_text()) if path.exists() else []
    runs.append(
        {
            "date": datetime.date.today().isoformat(),
            "command": f"python -m tests.fuzz.run --graphs {totals.graphs} --seed {seed} --target {target}",
            "onnxruntime": version("onnxruntime"),
            "graphs": totals.graphs,
            "verdicts": dict(totals.verdicts),
            "seconds": round(seconds),
            "nodes": totals.operators.total(),
            "operators": dict(totals.operators.most_common()),
            "refused": dict(totals.refused),
            "excluded": dict(_excluded(totals.skipped)),
        }
    )
    path.write_text(json.dumps(runs, indent=1) + "\n")


def _excluded(skipped: Counter[str]) -> Counter[str]:
    return Counter({reason: count for reason, count in skipped.items() if reason.startswith("excluded")})
