# type: ignore  # torch and transformers are needed to regenerate, not to test
"""Writes the model fixtures of this folder, and README.md, which lists them.

    python tests/models/make_models.py            # all
    python tests/models/make_models.py llama bert # the fixtures whose names start so

Needs torch, transformers, onnxscript and onnxruntime; the project itself needs none of them but onnxruntime (in tests).
Each export is stripped of what the exporter adds for debugging (stack traces, docs), saved as one file, and run by
onnxruntime on fresh inputs at every default shape against torch: a fixture that disagrees is not written.
"""

import sys
import tempfile
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import catalog
import numpy as np
import onnx
import onnxruntime
import torch
from architectures import BUILDERS, Architecture, randomize

TOLERANCE = 2e-5
LARGEST_FILE = 1_000_000


@dataclass(frozen=True)
class Fixture:
    """One exported file: which network, which exporter, which opset."""

    name: str
    architecture: str
    opset: int
    dynamo: bool = True
    attention: str | None = None


FIXTURES = [
    Fixture("bert", "bert", 20),
    Fixture("bert_opset23", "bert", 23),
    Fixture("bert_torchscript_opset14", "bert", 14, dynamo=False, attention="eager"),
    Fixture("vit", "vit", 20),
    Fixture("resnet", "resnet", 20),
    Fixture("gpt2", "gpt2", 20),
    Fixture("llama", "llama", 20),
    Fixture("llama_opset23", "llama_positions", 23),
    Fixture("llama_decode", "llama_decode", 20),
    Fixture("qwen3", "qwen3", 20),
    Fixture("whisper_encoder", "whisper_encoder", 20),
    Fixture("mixtral", "mixtral", 20),
]


def build(fixture: Fixture) -> Architecture:
    options = {"attention": fixture.attention} if fixture.attention else {}
    architecture = BUILDERS[fixture.architecture](**options)
    randomize(architecture.module, seed=len(fixture.architecture))
    architecture.module.eval()
    return architecture


def export(fixture: Fixture, architecture: Architecture, path: Path) -> None:
    arguments = tuple(architecture.inputs.values())
    names = {"input_names": list(architecture.inputs), "output_names": architecture.outputs}
    if not fixture.dynamo:
        torch.onnx.export(
            architecture.module, arguments, str(path), dynamo=False, opset_version=fixture.opset,
            dynamic_axes=architecture.symbols, **names,
        )  # fmt: skip
        return
    program = torch.onnx.export(
        architecture.module, arguments, dynamo=True, opset_version=fixture.opset,
        dynamic_shapes=(_dynamic_shapes(architecture),), verbose=False, **names,
    )  # fmt: skip
    assert program is not None
    program.save(str(path), external_data=False)


def _dynamic_shapes(architecture: Architecture) -> tuple[dict[int, object], ...]:
    dims: dict[str, object] = {}

    def dim(symbol: str) -> object:
        base, _, offset = symbol.partition(" + ")
        dims.setdefault(base, torch.export.Dim(base, min=1, max=32))
        return dims[base] + int(offset) if offset else dims[base]

    return tuple(
        {axis: dim(symbol) for axis, symbol in architecture.symbols.get(name, {}).items()}
        for name in architecture.inputs
    )


def strip(path: Path) -> onnx.ModelProto:
    """Removes stack traces and documentation: they hold paths of the machine that exported."""
    model = onnx.load(path)
    model.ClearField("doc_string")
    model.graph.ClearField("doc_string")
    del model.graph.metadata_props[:]
    values = [*model.graph.value_info, *model.graph.input, *model.graph.output]
    for item in [*model.graph.node, *model.graph.initializer, *values]:
        item.ClearField("doc_string")
        del item.metadata_props[:]
    onnx.checker.check_model(model, full_check=True)
    return model


def largest_error(path: Path, architecture: Architecture) -> float:
    """onnxruntime against torch over all outputs and default shapes, relative to each output's standard deviation."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    worst = 0.0
    for seed, dims in enumerate(catalog.default_dims(path)):
        feeds = catalog.random_inputs(path, seed, dims)
        with torch.no_grad():
            expected = architecture.module(*(torch.from_numpy(feeds[name]) for name in architecture.inputs))
        for name, want, got in zip(architecture.outputs, expected, session.run(None, feeds), strict=True):
            want = want.numpy()
            spread = want.std()
            assert 0.2 < spread < 5, f"{path.stem}: output {name} has standard deviation {spread}"
            worst = max(worst, float(np.abs(want - got).max() / spread))
    return worst


def make(fixture: Fixture) -> None:
    architecture = build(fixture)
    with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(scratch) / f"{fixture.name}.onnx"
        export(fixture, architecture, path)
        onnx.save(strip(path), path)
        error = largest_error(path, architecture)
        size = path.stat().st_size
        if error > TOLERANCE or size > LARGEST_FILE:
            raise SystemExit(f"{fixture.name}: error {error:.1e}, {size} bytes")
        (catalog.FOLDER / path.name).write_bytes(path.read_bytes())
    print(f"{fixture.name}: {size} bytes, error {error:.1e}")


def describe(path: Path) -> str:
    """One section of README.md."""
    model = onnx.load(path)

    def signature(values) -> str:
        def shape(value) -> str:
            return ", ".join(dim.dim_param or str(dim.dim_value) for dim in value.type.tensor_type.shape.dim)

        def dtype(value) -> str:
            return onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type).name

        return ", ".join(f"`{value.name}` {dtype(value)} [{shape(value)}]" for value in values)

    counts = Counter(node.op_type for node in model.graph.node)
    ops = ", ".join(f"{op} {count}" for op, count in sorted(counts.items()))
    return "\n".join([
        f"## {path.stem}",
        "",
        f"- opset {model.opset_import[0].version}, {path.stat().st_size / 1000:.0f} kB, "
        f"{model.producer_name} {model.producer_version}",
        f"- inputs: {signature(model.graph.input)}",
        f"- outputs: {signature(model.graph.output)}",
        f"- {sum(counts.values())} nodes: {ops}",
        "",
    ])  # fmt: skip


HEADER = """# Model fixtures

Tiny exports of real architectures with seeded random weights, made by `make_models.py` from the classes in
`architectures.py`. Outputs have a standard deviation near one, so a lost operand or a wrong axis shows. Every file
agrees with torch to 2e-5 of that deviation when onnxruntime runs it at both default shapes. `catalog.py` lists the
files and draws inputs; `handmade.py` and `broken.py` write small models, valid and not, into a test's folder.

Oddities kept on purpose: `bert_torchscript_opset14` names its output dimensions after nothing in its inputs and is full
of Constant nodes; `llama_decode` has an input of extent `past + 1`; `llama_opset23` takes `position_ids`, without which
torch writes rotary tables of batch one that RotaryEmbedding does not broadcast; `gpt2` and `qwen3` tie the logits to
the embedding, which the exporter stores twice, once transposed; `mixtral` gathers the chosen experts' weights for each
token.

This page is written by `make_models.py`.

"""


def main() -> None:
    wanted = tuple(sys.argv[1:])
    for fixture in FIXTURES:
        if not wanted or fixture.name.startswith(wanted):
            make(fixture)
    sections = [describe(path) for path in sorted(catalog.FOLDER.glob("*.onnx"))]
    (catalog.FOLDER / "README.md").write_text(HEADER + "\n".join(sections))


if __name__ == "__main__":
    main()
