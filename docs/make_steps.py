"""Writes docs/steps.md: what a model of three nodes looks like after every step.

python docs/make_steps.py
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from lumir.context import make_context
from lumir.mlir import ir
from lumir.pipelines.stages import STAGES

PAGE = Path(__file__).parent / "steps.md"
LONGEST_TEXT, LONGEST_LINE = 40, 250

INTRODUCTION = """# The ten steps

One line of ten steps takes a model to its results; `lumir/compile.py` is that line as code. Below is what
`y = relu(x W + 0.5)` looks like after each of them, for x: float32[4, 16], on a CPU. Long texts are cut, and say so.

```
lumir-compile tiny.onnx --dim batch=4 --dump steps            # all of them
lumir-compile tiny.onnx --dim batch=4 --to linalg             # one, on standard output
lumir-compile steps/05-schedule.mlir -o tiny.lumir            # go on from there: the same bytes as from the start
lumir-compile tiny.onnx --dim batch=4 --override mine         # with mine/schedule.mlir in place of step 5's result
```

A file's name says which step it stands after (`05-schedule.mlir`, `tiny.schedule.mlir`). Its weight paths start at its
own folder, or at the one that `--weights` names. It knows its sizes and its target; neither can be changed past
the step that used them. The passes of each step are in `pipelines/steps.py`; `lumir-opt` runs any of them alone.

This page is written by `python docs/make_steps.py`.
"""

NOTES = {
    "import": "Every ONNX node has become a few ops of the `lumir` dialect. A weight is a place in a file: none of it "
    "is in the IR. Each op's location, left out here, is its node's name.",
    "graph": "Canonical forms, recognition of normalisation and attention, precision, folding. Here: nothing to do.",
    "dispatch": "A dispatch is a private function marked `lumir.dispatch`: what one launch computes. The product took "
    "its element-wise consumers in. Equal dispatches are one function.",
    "linalg": "The bodies are now `linalg` on tensors, from rules in `lumir/linalg/`, one an op.",
    "schedule": "Each dispatch has a kernel family and one of its schedules: chosen, not yet applied. The CPU's "
    "contraction reads its weight packed: a derived weight says how to pack it, and the function begins by unpacking.",
    "kernel": "The family has written the kernel beside a declaration that says how to launch it. On a CPU that is a "
    "function of a workgroup's number and of the buffers; on a GPU it is a `gpu.func`.",
    "llvm": "Machine code: a host object in base64, or PTX as text.",
    "plan": "Every operand and result has its place: an input, an output, a weight, or an offset in the one arena.",
    "artifact": "One file holds the code, the plans and the weights.",
    "run": "The runtime walks the launch list. It imports no compiler.",
}


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        onnx.save(_model(), folder / "tiny.onnx")
        _tool("compile", folder, "tiny.onnx", "--dim", "batch=4", "--dump", ".", "-o", "tiny.lumir")
        sections = [_section(number, stage.name, folder) for number, stage in enumerate(STAGES, 1)]
    PAGE.write_text("\n".join([INTRODUCTION, *sections]))


def _model() -> onnx.ModelProto:
    weight = np.random.default_rng(0).standard_normal((16, 32)).astype(np.float32)
    names = (("MatMul", "x w", "product"), ("Add", "product half", "shifted"), ("Relu", "shifted", "y"))
    nodes = [helper.make_node(op, reads.split(), [writes], name=f"/{op.lower()}") for op, reads, writes in names]
    constants = [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(np.full(32, 0.5, np.float32), "half")]
    sides = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", size]) for n, size in (("x", 16), ("y", 32))]
    graph = helper.make_graph(nodes, "tiny", sides[:1], sides[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def _tool(name: str, folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", f"lumir.tools.lumir_{name}", *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def _section(number: int, step: str, folder: Path) -> str:
    if step in ("artifact", "run"):
        flags = ["--inspect"] if step == "artifact" else []
        command = " ".join(["lumir-run", *flags, "tiny.lumir"])
        language, text = "", f"$ {command}\n{_tool('run', folder, 'tiny.lumir', *flags)}"
    else:
        language, text = "mlir", _plain(folder / f"{number:02}-{step}.mlir")
    return f"## {number}. {step}\n\n{NOTES[step]}\n\n```{language}\n{_cut(text)}\n```\n"


def _plain(path: Path) -> str:
    """The module without its locations."""
    with make_context(), ir.Location.unknown():
        return str(ir.Module.parse(path.read_text()))


def _cut(text: str) -> str:
    lines = [line.rstrip() for line in text.rstrip().splitlines()]
    lines = [line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]} ..." for line in lines]
    if len(lines) <= LONGEST_TEXT:
        return "\n".join(lines)
    head, tail = LONGEST_TEXT - 13, 13
    return "\n".join([*lines[:head], f"... {len(lines) - head - tail} more lines", *lines[-tail:]])


if __name__ == "__main__":
    main()
