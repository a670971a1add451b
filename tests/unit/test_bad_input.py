"""Everything a user can get wrong, and the message for it, as the tools print it."""

import json
import os
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import broken
import handmade
import numpy as np
import pytest
from device import gpu_is_there

from lumir.artifact.manifest import SCHEMA_VERSION
from lumir.tools.failures import run_tool
from lumir.tools.lumir_compile import command
from lumir.tools.lumir_run import main as lumir_run

Tool = Callable[..., tuple[int, str]]

REFUSED = {
    "empty_file": "error[model-truncated]: '{path}' is empty",
    "not_protobuf": "error[model-not-onnx]: '{path}' is not an ONNX model",
    "truncated": "error[model-truncated]: '{path}' ends too early or is damaged",
    "cyclic": "error[graph-cyclic]: the graph has a cycle\n"
    '  where: at node "/a/Add"\n  cycle: /b/Tanh -> /a/Add -> /b/Tanh',
    "unsorted": "error[graph-unordered]: value 'h' is used before it is produced\n"
    '  where: at node "/y/Relu"\n  used by: /y/Relu\n  produced by: /h/Tanh',
    "undefined_value": "error[value-missing]: value 'ghost' is used and never produced",
    "defined_twice": "error[value-duplicate]: value 'y' is produced twice",
    "missing_output": "error[value-missing]: graph output 'y' is not produced by any node",
    "wrong_shapes": "error[invalid-node]: 1 node of the model's 1 breaks ONNX's rules\n"
    '  where: onnx.MatMul at node "/y/MatMul"\n'
    "  MatMul at '/y/MatMul': the inner dimensions of [3, 12] and [11, 5] must agree",
    "short_initializer": "error[weight-mistyped]: the data of weight 'w' does not fit its type\n"
    "  type: tensor<12x5xf32>\n  bytes needed: 240\n  bytes found: 236",
    "external_absolute": "error[weight-path]: the data of weight 'w' must lie in the model's folder\n  location: /",
    "external_parent": "error[weight-path]: the data of weight 'w' must lie in the model's folder\n"
    "  location: ../outside.bin",
    "external_link": "error[weight-path]: the file that holds weight 'w' is a link that leaves the model's folder",
    "external_short": "error[weight-short]: weight 'b' ends outside its file\n"
    "  file: short.bin\n  bytes needed: 260\n  bytes found: 252",
    "external_wrong_length": "error[weight-mistyped]: the data of weight 'b' does not fit its type\n"
    "  type: tensor<5xf32>\n  bytes needed: 20\n  bytes found: 16",
    "external_negative": "error[weight-invalid]: the external data of weight 'w' has no valid offset\n  offset: '-4'",
    "external_missing": "error[weight-missing]: the file that holds weight 'w' is missing",
    "unknown_ops": "unsupported[unsupported-op]: 2 nodes of the model's 3 cannot be compiled: "
    "Frobnicate (ai.onnx), Transmogrify (ai.onnx)",
    "unknown_domain": "unsupported[unsupported-op]: 1 node of the model's 1 cannot be compiled: "
    'Relu (com.example.accelerator)\n  where: onnx.Relu at node "/y/Relu"',
    "no_opset": "error[opset-missing]: the model does not say which opset of ai.onnx it uses",
    "future_opset": "unsupported[opset-unsupported]: opset 9999 of ai.onnx is not supported",
}


@pytest.fixture
def lumir_compile(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Tool:
    """Runs lumir-compile: (status, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def run(*arguments: str | Path) -> tuple[int, str]:
        capfd.readouterr()
        status = run_tool(command, "lumir-compile", [str(argument) for argument in (*arguments, "-q")])
        return status, capfd.readouterr().err

    return run


@pytest.fixture
def run_artifact(capfd: pytest.CaptureFixture[str]) -> Tool:
    """Runs lumir-run: (status, stderr)."""

    def run(*arguments: str | Path) -> tuple[int, str]:
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            lumir_run([str(argument) for argument in arguments])
        return int(ended.value.code or 0), capfd.readouterr().err

    return run


@pytest.fixture
def linear(tmp_path: Path) -> Path:
    return handmade.write(tmp_path, "linear", handmade.linear())


@pytest.fixture
def artifact(lumir_compile: Tool, linear: Path, tmp_path: Path) -> Path:
    """x: float32[3, 12] -> y: float32[3, 5]."""
    assert lumir_compile(linear, "--dim", "batch=3", "-o", "m.lumir") == (0, "")
    return tmp_path / "m.lumir"


def test_every_broken_model_has_its_message():
    assert set(REFUSED) == set(broken.BAD)


@pytest.mark.parametrize("name", REFUSED)
def test_a_broken_model_is_refused(lumir_compile: Tool, name: str, tmp_path: Path):
    path = broken.BAD[name](tmp_path)
    before = sorted(tmp_path.rglob("*"))
    status, err = lumir_compile(path, "--dim", "batch=3")
    assert status == 1
    assert err.startswith(REFUSED[name].format(path=path)), err
    assert name in {"external_negative", "wrong_shapes"} or "  help:  " in err
    assert sorted(p for p in tmp_path.rglob("*") if "cache" not in p.parts) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "error[dimension-missing]: the model has 1 dimension without a size: batch\n  batch: in x\n"),
        (["--dim", "bach=3"], "error[dimension-unknown]: the model has no dimension 'bach'"),
    ],
)
def test_sizes_of_symbols(lumir_compile: Tool, linear: Path, arguments: list[str], message: str):
    status, err = lumir_compile(linear, *arguments)
    assert status == 1
    assert err.startswith(message)
    assert "--dim batch=" in err


def test_a_range_that_no_kernel_serves(lumir_compile: Tool):
    model = Path(__file__).parents[1] / "models" / "vit.onnx"
    status, output = lumir_compile(model, "--dim", "batch=1..999999999999", "--target", "sm_90a")
    assert status == 1 and output.startswith("unsupported[no-schedule]: no kernel of sm_90a can compute dispatch_0\n")
    assert "node_transpose" in output and "narrower range" in output


def test_a_batch_of_nothing_is_a_size_like_others(lumir_compile: Tool):
    model = Path(__file__).parents[1] / "models" / "vit.onnx"
    assert lumir_compile(model, "--dim", "batch=0", "--to", "graph") == (0, "")


def test_a_precision_that_changes_nothing(lumir_compile: Tool, linear: Path):
    status, output = lumir_compile(linear, "--dim", "batch=1", "--precision", "tf32")
    assert status == 0 and "warning: precision tf32 changes nothing for cpu" in output


def test_there_is_no_such_model(lumir_compile: Tool, tmp_path: Path):
    assert lumir_compile("nowhere.onnx")[1].startswith("error[model-missing]: 'nowhere.onnx' does not exist")
    (tmp_path / "folder").mkdir()
    status, err = lumir_compile("folder")
    assert status == 1
    assert err.startswith("error[hf-no-config]: folder has no config.json: it is not a Hugging Face directory")


@pytest.mark.parametrize(("value", "word"), [(np.nan, "NaN"), (np.inf, "infinity")])
def test_damaged_weights_are_a_warning(lumir_compile: Tool, tmp_path: Path, value: float, word: str):
    weights = {"w": np.ones((40, 40), np.float32), "fine": np.ones((40, 40), np.float32)}
    weights["w"][3, 7] = value
    nodes = [handmade.node("MatMul", "x w", "h"), handmade.node("MatMul", "h fine", "y")]
    model = handmade.build(nodes, {"x": [2, 40]}, {"y": [2, 40]}, weights=weights)
    status, err = lumir_compile(handmade.write(tmp_path, "damaged", model))
    assert status == 0
    assert re.fullmatch(rf"warning: weight 'w\S*' holds {word}: the file may be damaged\n", err)
    assert (tmp_path / "damaged.lumir").is_file()


def test_a_mask_of_minus_infinity_is_no_damage(lumir_compile: Tool, tmp_path: Path):
    mask = np.triu(np.full((40, 40), -np.inf, np.float32), 1)
    model = handmade.build(
        [handmade.node("Add", "x mask", "y")], {"x": [40, 40]}, {"y": [40, 40]}, weights={"mask": mask}
    )
    assert lumir_compile(handmade.write(tmp_path, "masked", model)) == (0, "")


@pytest.mark.skipif(gpu_is_there(), reason="this machine has a GPU")
@pytest.mark.parametrize("arguments", [["--target", "cuda"], ["--target", "sm_90a", "--verify"]])
def test_there_is_no_gpu_to_compile_for(lumir_compile: Tool, linear: Path, arguments: list[str]):
    status, err = lumir_compile(linear, "--dim", "batch=3", *arguments)
    assert status == 1
    assert err.startswith(("error[no-gpu]: ", "error[no-cuda-bindings]: "))
    assert "  help:  " in err


@pytest.mark.skipif(gpu_is_there(), reason="this machine has a GPU")
def test_there_is_no_gpu_to_run_on(lumir_compile: Tool, run_artifact: Tool, linear: Path):
    assert lumir_compile(linear, "--dim", "batch=3", "--target", "sm_90a", "-o", "gpu.lumir") == (0, "")
    assert run_artifact("gpu.lumir", "--inspect")[0] == 0
    status, err = run_artifact("gpu.lumir")
    assert status != 0
    assert err.startswith(("error[no-gpu]: ", "error[no-cuda-bindings]: "))


def test_the_output_cannot_be_written(lumir_compile: Tool, linear: Path, tmp_path: Path):
    (tmp_path / "taken.lumir").mkdir()
    for output in ("taken.lumir", "no/such/folder/m.lumir", f"{linear}/m.lumir"):
        status, err = lumir_compile(linear, "--dim", "batch=3", "-o", output)
        assert status == 1
        assert err.startswith(f"error[unwritable]: {output} cannot be written")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_the_folder_is_read_only(lumir_compile: Tool, linear: Path, tmp_path: Path):
    (tmp_path / "closed").mkdir(mode=0o555)
    status, err = lumir_compile(linear, "--dim", "batch=3", "-o", "closed/m.lumir")
    assert status == 1
    assert "cannot be written to" in err


def _rewritten(path: Path, change: Callable[[dict], None]) -> None:
    """The artifact with another manifest."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(members["manifest.json"])
    change(manifest)
    members["manifest.json"] = json.dumps(manifest).encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def test_a_truncated_artifact(run_artifact: Tool, artifact: Path):
    artifact.write_bytes(artifact.read_bytes()[:-100])
    status, err = run_artifact(artifact)
    assert status != 0
    assert err.startswith(
        f"error[not-artifact]: {artifact} is not a lumir artifact: it is not a zip, or its end is missing"
    )
    assert "copy it again" in err


def test_an_altered_artifact(run_artifact: Tool, artifact: Path):
    data = bytearray(artifact.read_bytes())
    at = data.find(handmade.BIAS.tobytes())
    assert at > 0
    data[at] ^= 1
    artifact.write_bytes(bytes(data))
    status, err = run_artifact(artifact)
    assert status != 0
    assert err.startswith("error[altered-member]: ")
    assert "weights.safetensors" in err


def test_an_artifact_of_a_newer_schema(run_artifact: Tool, artifact: Path):
    _rewritten(artifact, lambda manifest: manifest.update(schema=SCHEMA_VERSION + 1))
    status, err = run_artifact(artifact)
    assert status != 0
    assert err.startswith("error[newer-schema]: ")


def test_an_artifact_that_another_program_packed_anew(run_artifact: Tool, artifact: Path):
    """Its members no longer start on pages, which kernels rely on."""
    _rewritten(artifact, lambda manifest: None)
    assert run_artifact(artifact, "--verify", artifact.with_name("linear.onnx")) == (0, "")


def test_an_artifact_for_another_machine(run_artifact: Tool, artifact: Path):
    status, err = run_artifact(artifact, "--device", "cuda")
    assert status != 0
    assert err.startswith("error[wrong-target]: the artifact was compiled for 'cpu' and cannot be loaded on 'cuda'")
    _rewritten(artifact, lambda manifest: manifest["target"].update(features=["xop"]))
    status, err = run_artifact(artifact)
    assert status != 0
    assert err.startswith("error[wrong-target]: ")
    assert "missing: xop" in err


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"z": np.zeros((3, 12), np.float32)}, "error[bad-input]: the model has no input 'z'\n  inputs: x"),
        ({"x": np.zeros((3, 12), np.float64)}, "error[input-dtype]: input 'x' has element type float64, and the model"),
        (
            {"x": np.zeros((3, 12, 1), np.float32)},
            "error[input-rank]: input 'x' has rank 3, and the model takes rank 2",
        ),
        (
            {"x": np.zeros((4, 12), np.float32)},
            "error[input-shape]: input 'x' has shape [4, 12], and the model takes [3, 12]",
        ),
    ],
)
def test_wrong_inputs(run_artifact: Tool, artifact: Path, tmp_path: Path, inputs: dict, message: str):
    for name, array in inputs.items():
        np.save(tmp_path / f"{name}.npy", array)
    flags = [part for name in inputs for part in ("--input", f"{name}=@{tmp_path / name}.npy")]
    status, err = run_artifact(artifact, *flags)
    assert status != 0
    assert err.startswith(message), err
