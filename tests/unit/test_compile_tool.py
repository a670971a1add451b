"""`lumir-compile`: its flags, what it writes, what it prints, and its exit status."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import catalog
import handmade
import numpy as np
import onnx
import onnxruntime
import pytest

from lumir.artifact.read import Artifact
from lumir.compile import Request, compile_to
from lumir.diagnostics import InternalError
from lumir.mlir import ir
from lumir.plan.flops import flops
from lumir.runtime import load
from lumir.step_files import IR_STEPS
from lumir.tools.failures import run_tool
from lumir.tools.lumir_compile import command
from lumir.tools.lumir_opt import run as reproducer_tool

BERT = catalog.FOLDER / "bert.onnx"
DIMS = ("--dim", "batch=1", "--dim", "seq=8")


@pytest.fixture
def tool(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Runs the tool in an empty folder: (status, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        capsys.readouterr()
        status = run_tool(command, "lumir-compile", [str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


@pytest.fixture
def linear(tmp_path: Path) -> Path:
    """y = x W + b, [batch, 12] -> [batch, 5]."""
    return handmade.write(tmp_path, "linear", handmade.linear())


def outputs_match(artifact: Path, model: Path, dims: dict[str, int], seed: int = 0) -> None:
    feeds = catalog.random_inputs(model, seed, dims)
    found = load(artifact).run(feeds)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    for name, reference in zip(names, session.run(names, feeds), strict=True):
        np.testing.assert_allclose(found[name], np.asarray(reference), rtol=1e-4, atol=1e-5)


def test_compiles_and_says_what_it_made(tool, linear: Path, tmp_path: Path):
    status, out, err = tool(linear, "--dim", "batch=7", "-o", "m.lumir", "--verify")
    assert (status, err) == (0, "")
    plain = re.sub(r"\s+", " ", out)
    assert "m.lumir " in plain
    assert "batch=7 1 launch, arena 0 B, 840 FLOP" in plain
    assert "dispatches 1 weights 2, " in plain
    assert re.search(r"compiled in \d+\.\d\d s", plain)
    assert "verified 1 output agrees with onnxruntime" in plain
    outputs_match(tmp_path / "m.lumir", linear, {"batch": 7})


def test_the_default_output_is_named_after_the_model_and_lies_here(tool, linear: Path, tmp_path: Path):
    (tmp_path / "models").mkdir()
    moved = shutil.move(linear, tmp_path / "models")
    assert tool(moved, "--dim", "batch=1")[0] == 0
    assert (tmp_path / "linear.lumir").is_file()
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["linear.onnx"]


def test_quiet_prints_nothing(tool, linear: Path):
    assert tool(linear, "--dim", "batch=1", "-q") == (0, "", "")


def test_profiles_become_plans_of_one_artifact(tool, tmp_path: Path):
    status, out, err = tool(
        BERT, "--dim", "batch=2", "--profile", "seq=13", "--profile", "seq=8", "-o", "b.lumir", "--verify"
    )
    assert (status, err) == (0, "")
    assert "batch=2, seq=13" in out
    assert "4 outputs agree" in out
    artifact = Artifact.open(tmp_path / "b.lumir")
    assert [dict(plan.symbols) for plan in artifact.plans] == [{"batch": 2, "seq": 13}, {"batch": 2, "seq": 8}]
    for seed, seq in enumerate((13, 8)):
        outputs_match(tmp_path / "b.lumir", BERT, {"batch": 2, "seq": seq}, seed)


def test_profiles_share_their_weights_and_keep_apart_what_depends_on_a_shape(tool, tmp_path: Path):
    assert tool(BERT, *DIMS, "-o", "one.lumir")[0] == 0
    assert tool(BERT, "--profile", "batch=1,seq=8", "--profile", "batch=1,seq=11", "-o", "two.lumir")[0] == 0
    one, two = (Artifact.open(tmp_path / f"{name}.lumir").weights for name in ("one", "two"))
    assert sum(w.nbytes for w in two.values()) < 1.1 * sum(w.nbytes for w in one.values())
    outputs_match(tmp_path / "two.lumir", BERT, {"batch": 1, "seq": 11})


def test_equal_requests_give_equal_bytes(tool, tmp_path: Path):
    for name in ("a", "b"):
        assert tool(BERT, *DIMS, "-o", f"{name}.lumir")[0] == 0
    assert (tmp_path / "a.lumir").read_bytes() == (tmp_path / "b.lumir").read_bytes()


@pytest.fixture(scope="module")
def dumped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with bert.lumir, and every step's text in `steps`."""
    folder = tmp_path_factory.mktemp("dumped")
    arguments = [str(BERT), *DIMS, "-q", "-o", str(folder / "bert.lumir"), "--dump", str(folder / "steps")]
    assert run_tool(command, "lumir-compile", arguments) == 0
    return folder


def test_dump_writes_each_step(dumped: Path):
    names = sorted(path.name for path in (dumped / "steps").glob("*.mlir"))
    assert names == [f"{number:02}-{step}.mlir" for number, step in enumerate(IR_STEPS, 1)]
    for step in ("01-import", "05-schedule", "08-plan"):
        assert 'loc("node_embedding")' in (dumped / "steps" / f"{step}.mlir").read_text()


@pytest.mark.parametrize("step", IR_STEPS)
def test_every_dumped_step_enters_again_and_gives_the_same_bytes(tool, dumped: Path, step: str, tmp_path: Path):
    (file,) = (dumped / "steps").glob(f"*-{step}.mlir")
    status, out, err = tool(file, "-o", "again.lumir")
    assert (status, err) == (0, "")
    assert "batch=1, seq=8" in out
    assert (tmp_path / "again.lumir").read_bytes() == (dumped / "bert.lumir").read_bytes()


@pytest.mark.parametrize("step", IR_STEPS)
def test_to_writes_a_text_that_stands_alone(tool, dumped: Path, step: str, tmp_path: Path):
    (tmp_path / "there").mkdir()
    text = Path("there") / f"bert.{step}.mlir"
    assert tool(BERT, *DIMS, "--to", step, "-o", text) == (0, "", "")
    assert tool(text, "-o", "again.lumir")[0] == 0
    assert (tmp_path / "again.lumir").read_bytes() == (dumped / "bert.lumir").read_bytes()


def test_weights_names_the_folder_of_a_text_that_was_moved(tool, tmp_path: Path):
    there, elsewhere = tmp_path / "there", tmp_path / "else" / "where"
    there.mkdir()
    elsewhere.mkdir(parents=True)
    model = Path(shutil.copy(catalog.FOLDER / "resnet.onnx", there))
    assert tool(model, "--dim", "batch=2", "--to", "graph", "-o", "there/resnet.graph.mlir")[0] == 0
    text = there / "resnet.graph.mlir"
    assert 'path = "resnet.onnx"' in text.read_text()
    moved = Path(shutil.move(text, elsewhere))
    status, _, err = tool(moved, "-o", "m.lumir")
    assert (status, "error[weight-missing]" in err) == (1, True)
    assert tool(moved, "-o", "m.lumir", "--weights", "there")[0] == 0
    outputs_match(tmp_path / "m.lumir", model, {"batch": 2})


def test_to_standard_output_says_which_bytes_are_missing(tool, tmp_path: Path):
    status, out, err = tool(BERT, *DIMS, "--to", "import")
    assert status == 0
    assert "lumir.weight" in out
    assert 'path = ":memory:"' in out
    assert "the bytes of 1 weight(s) are not in this text" in err
    (tmp_path / "b.import.mlir").write_text(out)
    status, _, err = tool("b.import.mlir")
    assert (status, "error[weight-missing]" in err) == (1, True)
    assert "with --to STEP -o FILE" in err


def test_override_replaces_a_step(tool, linear: Path, tmp_path: Path):
    arguments = (linear, "--dim", "batch=2")
    assert tool(*arguments, "--to", "graph", "-o", "steps/02-graph.mlir")[0] == 1  # no such folder
    (tmp_path / "steps").mkdir()
    assert tool(*arguments, "--to", "graph", "-o", "steps/02-graph.mlir")[0] == 0
    file = tmp_path / "steps" / "02-graph.mlir"
    text = file.read_text()
    assert text.count('"lumir.add"') == 1
    file.write_text(text.replace('"lumir.add"', '"lumir.sub"'))
    assert tool(*arguments, "--override", "steps", "-o", "m.lumir")[0] == 0
    x = np.random.default_rng(0).standard_normal((2, 12)).astype(np.float32)
    expected = x @ handmade.WEIGHT - handmade.BIAS
    np.testing.assert_allclose(load(tmp_path / "m.lumir").run({"x": x})["y"], expected, rtol=1e-5, atol=1e-5)
    status, _, err = tool(*arguments, "--override", "steps", "-o", "m.lumir", "--verify")
    assert status == 70
    assert "internal error[verify]: 1 of 1 outputs differ" in err
    np.testing.assert_allclose(load(tmp_path / "m.lumir").run({"x": x})["y"], expected, rtol=1e-5, atol=1e-5)


def test_an_artifact_is_replaced_whole_or_left_alone(tool, linear: Path, tmp_path: Path, monkeypatch):
    (tmp_path / "m.lumir").write_bytes(b"before")
    monkeypatch.setattr("lumir.artifact.build.write_artifact", _broken_write)
    status, _, err = tool(linear, "--dim", "batch=1", "-o", "m.lumir")
    assert status == 70
    assert (tmp_path / "m.lumir").read_bytes() == b"before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "linear.onnx", "m.lumir"]
    reproducer = re.search(r"reproducer: lumir-compile (\S+)", err)
    assert reproducer
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert tool(reproducer[1], "-o", "m.lumir")[0] == 0
    outputs_match(tmp_path / "m.lumir", linear, {"batch": 1})


def _broken_write(path: Path, **_: object) -> None:
    Path(path).write_bytes(b"half a")
    raise RuntimeError("the disk is on fire")


def test_a_crash_leaves_its_traceback_in_a_file(tool, linear: Path, monkeypatch):
    monkeypatch.setattr("lumir.artifact.build.write_artifact", _broken_write)
    status, _, err = tool(linear, "--dim", "batch=1", "-o", "m.lumir")
    assert status == 70
    assert err.startswith("internal error[crash]: RuntimeError: the disk is on fire\n")
    assert "Traceback" not in err
    kept = re.search(r"traceback: (\S+)", err)
    assert kept
    text = Path(kept[1]).read_text()
    assert text.startswith(f"lumir-compile {linear} --dim batch=1 -o m.lumir\n")
    assert "_broken_write" in text


def test_sizes_for_which_there_is_no_memory(tool, linear: Path, monkeypatch):
    def exhausted(*_: object, **__: object) -> None:
        raise MemoryError("Unable to allocate 263. TiB")

    monkeypatch.setattr("lumir.artifact.build.write_artifact", exhausted)
    status, _, err = tool(linear, "--dim", "batch=1", "-o", "m.lumir")
    assert status == 1 and err.startswith(
        "error[out-of-memory]: this machine has not the memory that this takes: Unable"
    )
    assert "narrower ranges" in err


def _fails(self: object, module: ir.Module) -> None:
    raise InternalError("no dispatch can be formed", code="test")


def _leaves_a_buffer(self: object, module: ir.Module) -> None:
    with ir.InsertionPoint.at_block_begin(module.body), ir.Location.name("a node"):
        attributes = {"sym_name": ir.StringAttr.get("left"), "type": ir.TypeAttr.parse("memref<1xf32>")}
        ir.Operation.create("memref.global", attributes=attributes)


@pytest.mark.parametrize(
    ("defect", "message"),
    [
        (_fails, "internal error[test]: no dispatch can be formed"),
        (_leaves_a_buffer, "internal error[boundary]: step 'dispatch' left 1 op(s) that may not follow it"),
    ],
)
def test_a_defect_in_a_pass_leaves_a_reproducer_that_shows_it(tool, linear: Path, defect, message: str, monkeypatch):
    monkeypatch.setattr("lumir.dispatch.form.FormDispatches.run", defect)
    status, _, err = tool(linear, "--dim", "batch=1")
    assert status == 70
    assert err.startswith(message)
    reproducer = re.search(r"reproducer: (\S+\.mlir)", err)
    assert reproducer, err
    assert reproducer_tool(["--run-reproducer", reproducer[1]]) == 1
    monkeypatch.undo()
    assert reproducer_tool(["--run-reproducer", reproducer[1]]) == 0


def test_the_console_script_ends_with_the_status(tmp_path: Path):
    script = [sys.executable, "-m", "lumir.tools.lumir_compile"]
    done = subprocess.run([*script, "missing.onnx"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error[model-missing]: 'missing.onnx' does not exist\n")
    done = subprocess.run([*script, "--help"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "--precision" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing argument 'MODEL'"),
        (["m.onnx", "--dim", "seq"], "--dim 'seq' cannot be read: write NAME=SIZE"),
        (["m.onnx", "--dim", "seq=-1"], "--dim 'seq=-1' cannot be read"),
        (["m.onnx", "--dim", "seq=1", "--dim", "seq=2"], "two sizes are given for seq: 1 and 2"),
        (["m.onnx", "--dim", "seq=1", "--profile", "seq=2"], "two sizes are given for seq: 1 and 2"),
        (["m.onnx", "--profile", ""], "--profile '' cannot be read"),
        (["m.onnx", "--to", "nowhere"], "'nowhere' is not one of"),
        (["m.onnx", "--to", "graph", "--verify"], "--verify needs an artifact"),
        (["m.onnx", "--to", "graph", "--profile", "a=1", "--profile", "a=2"], "--to takes one --profile"),
        (["m.onnx", "--override", "nowhere"], "Directory 'nowhere' does not exist"),
        (["m.onnx", "--no-such-flag"], "No such option"),
    ],
)
def test_wrong_usage(tool, arguments: list[str], message: str):
    status, out, err = tool(*arguments)
    assert (status, out) == (2, "")
    assert message in err
    assert "Usage: lumir-compile" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--target", "sm_42"], "error[unknown-target]: unknown target 'sm_42'"),
        (["--precision", "fp8"], "error[unknown-precision]: unknown precision 'fp8'"),
        (["--dim", "sequence=4"], "error[dimension-unknown]: the model has no dimension 'sequence'"),
        (
            ["--dim", "batch=1", "-o", "no/such/folder.lumir"],
            "error[unwritable]: no/such/folder.lumir cannot be written",
        ),
        (["--dim", "batch=1", "-o", "."], "error[unwritable]: . cannot be written: it is a folder"),
    ],
)
def test_wrong_requests(tool, linear: Path, arguments: list[str], message: str):
    status, out, err = tool(linear, *arguments)
    assert (status, out) == (1, "")
    assert err.startswith(message)


def test_what_is_no_file_is_not_replaced_by_one(tool, linear: Path):
    os.mkfifo("pipe")
    status, out, err = tool(linear, "--dim", "batch=1", "-o", "pipe")
    assert (status, out) == (1, "") and err.startswith("error[unwritable]: pipe cannot be written: it is no regular")
    assert Path("pipe").is_fifo()


def test_this_folder_is_a_model_as_any_other(tool):
    status, _, err = tool(".")
    assert status == 1 and err.startswith("error[hf-no-config]: . has no config.json")


@pytest.mark.parametrize(
    ("name", "text", "arguments", "message"),
    [
        ("x.mlir", "", [], "error[unknown-step]: cannot tell which step 'x.mlir' stands after"),
        ("x.graph.mlir", "func.func @main(", [], "error[bad-ir]"),
        ("x.graph.mlir", "", [], "has no function @main"),
        ("x.graph.mlir", "func.func @main() { scf.execute_region { scf.yield }\n return }", [], "error[wrong-step]"),
        ("x.plan.mlir", "func.func @main() { return }", ["--to", "graph"], "error[step-passed]"),
        (
            "x.plan.mlir",
            "module attributes {lumir.dims = {seq = 8 : i64}} { func.func @main() { return } }",
            ["--dim", "seq=9"],
            "error[dims-fixed]",
        ),
        (
            "x.graph.mlir",
            'module attributes {lumir.target = "sm_80"} { func.func @main() { return } }',
            ["--target", "cpu"],
            "error[target-fixed]: the file was made for target 'sm_80', and 'cpu' is asked for",
        ),
        ("x.graph.mlir", "func.func @main() { return }", ["--precision", "fp16"], "error[precision-fixed]"),
        ("x.graph.mlir", "func.func @main() { return }", ["--verify"], "error[bad-option]: --verify needs the model"),
    ],
)
def test_wrong_step_files(tool, tmp_path: Path, name: str, text: str, arguments: list[str], message: str):
    (tmp_path / name).write_text(text)
    status, _, err = tool(name, *arguments)
    assert status == 1, err
    assert message in err


@pytest.mark.parametrize("last", ["import", "graph", "dispatch"])
def test_flops_are_those_of_the_contractions(last: str):
    """A transformer layer: 4 projections, 2 products of the feed-forward network, and the scores and their use."""
    dims = {"batch": 2, "seq": 13}
    compiled = compile_to(Request(BERT, profiles=[dims]), last)
    with compiled.context:
        found = flops(compiled.specialisations[0].module)
    proto = onnx.load(BERT)
    session_shapes = onnx.shape_inference.infer_shapes(_pinned(proto, dims), data_prop=True)
    assert found == _expected_flops(session_shapes)


def test_flops_of_ranges_are_those_of_their_high_ends():
    counts = []
    for dims in ({"batch": "1..2", "seq": "1..13"}, {"batch": 2, "seq": 13}):
        compiled = compile_to(Request(BERT, profiles=[dims]), "graph")
        with compiled.context:
            counts.append(flops(compiled.specialisations[0].module))
    assert counts[0] == counts[1]


def _pinned(proto: onnx.ModelProto, dims: dict[str, int]) -> onnx.ModelProto:
    for value in proto.graph.input:
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.dim_value = dims[dim.dim_param]
    del proto.graph.value_info[:]
    for value in proto.graph.output:
        value.type.tensor_type.ClearField("shape")
    return proto


def _expected_flops(proto: onnx.ModelProto) -> int:
    """2 * size of the product * what is summed, from ONNX's own shape inference."""
    shapes = {item.name: list(item.dims) for item in proto.graph.initializer}
    for value in (*proto.graph.value_info, *proto.graph.output, *proto.graph.input):
        shapes[value.name] = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
    total = 0
    for node in proto.graph.node:
        if node.op_type in ("MatMul", "Gemm"):
            summed = shapes[node.input[0]][-1]
            total += 2 * int(np.prod(shapes[node.output[0]])) * summed
    return total
