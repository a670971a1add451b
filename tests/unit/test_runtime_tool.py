"""`lumir-run` as a user meets it: what it prints, writes and returns."""

from dataclasses import replace

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from runtime_helpers import KERNELS, host_modules, mlp_plan, write_add, write_mlp

from lumir.artifact.manifest import SCHEMA_VERSION
from lumir.artifact.tensors import Result
from lumir.artifact.write import write_artifact
from lumir.codegen.host import host_target
from lumir.tools.lumir_run import main
from lumir.tools.run_report import human_bytes
from lumir.tools.run_verify import compare


@pytest.fixture
def run(capsys):
    def call(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return caught.value.code, captured.out, captured.err  # pyright: ignore[reportReturnType]

    return call


def save_mlp_onnx(path, weights: dict[str, np.ndarray], m: int, *, external: bool = False) -> None:
    """The ONNX model that `write_mlp` is an artifact of."""
    k = weights["w"].shape[0]
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["product"], name="/matmul"),
        helper.make_node("Add", ["product", "bias"], ["y"], name="/add"),
        helper.make_node("Identity", ["x"], ["x_copy"], name="/identity"),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [m, k])
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("y", "x_copy")]
    tensors = [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "mlp", [x], outputs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, path, save_as_external_data=external, location="weights.bin", size_threshold=0)


def test_outputs_are_summarised_and_written(tmp_path, run):
    write_add(tmp_path / "m.lumir", (6,))
    x = np.arange(6, dtype=np.float32)
    np.save(tmp_path / "x.npy", x)
    status, out, _ = run(
        tmp_path / "m.lumir", "--input", f"x=@{tmp_path}/x.npy", "--input", "y=ones", "--output-dir", tmp_path / "o"
    )
    assert status == 0
    assert "float32  [6]" in out
    assert (np.load(tmp_path / "o" / "z.npy") == x + 1).all()


def test_the_seed_decides_random_inputs(tmp_path, run):
    write_add(tmp_path / "m.lumir", (50,))
    outputs = []
    for i, seed in enumerate((1, 1, 2)):
        run(tmp_path / "m.lumir", "--seed", seed, "--output-dir", tmp_path / str(i), "--threads", 1)
        outputs.append(np.load(tmp_path / str(i) / "z.npy"))
    assert (outputs[0] == outputs[1]).all()
    assert not (outputs[0] == outputs[2]).any()
    run(tmp_path / "m.lumir", "--input", "x=random:5:6", "--input", "y=zeros", "--output-dir", tmp_path / "u")
    z = np.load(tmp_path / "u" / "z.npy")
    assert ((z >= 5) & (z < 6)).all()


def test_files_choose_the_plan(tmp_path, run):
    write_add(tmp_path / "m.lumir", (6, 9))
    np.save(tmp_path / "x.npy", np.zeros(9, np.float32))
    assert "[9]" in run(tmp_path / "m.lumir", "--input", f"x=@{tmp_path}/x.npy")[1]
    assert "[6]" in run(tmp_path / "m.lumir")[1]


def test_bench(tmp_path, run):
    write_add(tmp_path / "m.lumir")
    status, out, _ = run(tmp_path / "m.lumir", "--bench", "--iterations", 5, "--warmup", 1)
    assert status == 0
    assert "latency on cpu: p50" in out
    assert "n=5" in out


def test_inspect(tmp_path, run):
    write_mlp(tmp_path / "m.lumir", 5, 7, 33)
    status, out, _ = run(tmp_path / "m.lumir", "--inspect")
    assert status == 0
    for part in (
        "kind=cpu",
        f"schema {SCHEMA_VERSION}",
        "2, and 1 copies",
        "matmul",
        "contraction",
        "kernels/host.bin",
        "weights: 2, 1.5 KiB",
        "[7, 33]",
        "x: float32[5, 7]",
        "916 B",
    ):
        assert part in out, part


@pytest.mark.parametrize("external", [False, True])
@pytest.mark.parametrize("every", [False, True])
def test_verify(tmp_path, run, external, every):
    weights = write_mlp(tmp_path / "m.lumir", 5, 7, 33)
    save_mlp_onnx(tmp_path / "m.onnx", weights, 5, external=external)
    flags = ["--every-dispatch"] if every else []
    status, out, _ = run(tmp_path / "m.lumir", "--verify", tmp_path / "m.onnx", *flags)
    assert status == 0, out
    assert "all 2 agree" in out
    assert ("product" in out) == every
    assert ("x_copy" in out.partition("against onnxruntime")[2]) == (not every)


def verify_with_results(tmp_path, run, first: Result, second: Result, nodes: tuple[str, ...]):
    """Verify the MLP each dispatch, with other results of the two launches, and other nodes of the second."""
    weights = write_mlp(tmp_path / "m.lumir", 5, 7, 33)
    save_mlp_onnx(tmp_path / "m.onnx", weights, 5)
    plan = mlp_plan(5, 7, 33)
    launches = (
        replace(plan.launches[0], results=(first,)),
        replace(plan.launches[1], results=(second,), nodes=nodes),
        plan.launches[2],
    )
    write_artifact(
        tmp_path / "m.lumir",
        target=host_target(),
        kernels=KERNELS,
        modules=host_modules(),
        plans=[replace(plan, launches=launches)],
        weights=weights.items(),
    )
    return run(tmp_path / "m.lumir", "--verify", tmp_path / "m.onnx", "--every-dispatch")


def test_results_may_be_named_after_nodes(tmp_path, run):
    first, second = Result(2, "/matmul", "float32", (5, 33)), Result(2, "/add", "float32", (5, 33))
    status, out, _ = verify_with_results(tmp_path, run, first, second, ("/add",))
    assert status == 0
    assert "all 2 agree" in out
    assert "product" in out
    status, out, _ = verify_with_results(tmp_path, run, first, replace(second, name="/matmul"), ("/add",))
    assert status == 1
    assert "1 of 2 differ, first product after launch 1 add /add" in out


def test_steps_of_a_node_and_results_without_counterpart_are_not_compared(tmp_path, run):
    step, second = Result(2, "/add", "float32", (5, 33)), Result(2, "/add", "float32", (5, 33))
    status, out, _ = verify_with_results(tmp_path, run, step, second, ("/add",))
    assert status == 0
    assert "not compared: differs, and goes on in launch 1" in out
    assert "all 1 agree; 1 not compared" in out
    flat = Result(2, "product", "float32", (165,))
    status, out, _ = verify_with_results(tmp_path, run, flat, second, ("/add",))
    assert status == 0
    assert "not compared: shape [165], ONNX has [5, 33]" in out
    status, _, err = verify_with_results(tmp_path, run, flat, replace(second, name="own"), ("/add",))
    assert status == 2
    assert "error[no-results]: no dispatch could be compared" in err
    assert "own: not in the ONNX model" in err


def test_verify_names_the_first_dispatch_that_differs(tmp_path, run):
    weights = write_mlp(tmp_path / "m.lumir", 5, 7, 33)
    weights["bias"] = weights["bias"] + np.float32(0.01)
    save_mlp_onnx(tmp_path / "m.onnx", weights, 5)
    status, out, _ = run(tmp_path / "m.lumir", "--verify", tmp_path / "m.onnx", "--every-dispatch")
    assert status == 1
    assert "1 of 2 differ, first y after launch 1 add /add" in out
    status, out, _ = run(tmp_path / "m.lumir", "--verify", tmp_path / "m.onnx")
    assert status == 1
    assert "1 of 2 differ, first y" in out
    assert run(tmp_path / "m.lumir", "--verify", tmp_path / "m.onnx", "--atol", 0.1)[0] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.lumir"], "error[no-file]: there is no file nothing.lumir"),
        (["{m}", "--input", "q=zeros"], "error[bad-input]: the model has no input 'q'"),
        (["{m}", "--input", "x"], "error[bad-input]: --input 'x' cannot be read"),
        (["{m}", "--input", "x=fives"], "error[bad-input]: --input x=fives cannot be read"),
        (["{m}", "--input", "x=gone.npy"], "help:  a file is named by --input x=@gone.npy"),
        (["{m}", "--input", "x=random:1"], "error[bad-input]: --input x=random:1 cannot be read"),
        (["{m}", "--input", "x=random:a:b"], "error[bad-input]: --input x=random:a:b: could not convert"),
        (["{m}", "--input", "x=@gone.npy"], "error[bad-input]: the file for input 'x' cannot be read"),
        (["{m}", "--input", "x=@{m}"], "error[bad-input]: the file for input 'x' cannot be read"),
        (["{m}", "--verify", "gone.onnx"], "error[no-file]: there is no file gone.onnx"),
        (["{m}", "--verify", "{m}"], "error[not-onnx]"),
        (["{m}", "--every-dispatch"], "error[bad-option]: --every-dispatch needs --verify"),
        (["{m}", "--device", "cuda"], "error[wrong-target]"),
        (["{m}", "--threads", "0"], "error[bad-threads]"),
        (["{m}", "--iterations", "0"], "0 is not in the range"),
        (["{m}", "--frobnicate"], "No such option '--frobnicate'"),
        ([], "Missing argument 'MODEL.lumir'"),
    ],
)
def test_errors_go_to_stderr_with_status_2(tmp_path, run, arguments, message):
    write_add(tmp_path / "m.lumir")
    status, _, err = run(*[argument.replace("{m}", str(tmp_path / "m.lumir")) for argument in arguments])
    assert status == 2
    assert message in err


def test_plans_without_named_results(tmp_path, run):
    write_add(tmp_path / "m.lumir", (5,))
    node = helper.make_node("Add", ["x", "y"], ["z"])
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [5]) for name in "xyz"]
    graph = helper.make_graph([node], "add", infos[:2], infos[2:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, tmp_path / "m.onnx")
    status, _, err = run(tmp_path / "m.lumir", "--verify", tmp_path / "m.onnx", "--every-dispatch")
    assert status == 2
    assert "no dispatch could be compared with the ONNX model" in err


def test_model_of_other_inputs(tmp_path, run):
    write_add(tmp_path / "m.lumir", (5,))
    weights = {"w": np.zeros((7, 3), np.float32), "bias": np.zeros((5, 3), np.float32)}
    save_mlp_onnx(tmp_path / "m.onnx", weights, 5)
    status, _, err = run(tmp_path / "m.lumir", "--verify", tmp_path / "m.onnx")
    assert status == 2
    assert "error[onnxruntime]: onnxruntime cannot run" in err


def agree(found, reference, dtype="float32", reference_dtype=None) -> bool:
    ours = np.array(found).astype(np.dtype(getattr(ml_dtypes, dtype, dtype)))
    return compare("t", ours, np.array(reference, reference_dtype or dtype), rtol=None, atol=None).ok


def test_floats_agree_within_tolerance():
    assert agree([1, 2], [1.0005, 2])
    assert not agree([1, 2], [1.01, 2])
    assert agree([1.0, 2.0], [1.01, 2.03], "bfloat16", "float32")
    assert not agree([1.0, 2.0], [1.2, 2.0], "bfloat16", "float32")
    assert agree([1 + 2j], [1 + 2j], "complex64")
    assert not agree([1 + 2j], [1 + 3j], "complex64")


def test_nan_and_infinity_agree_with_themselves_alone():
    nan, inf = np.nan, np.inf
    assert agree([nan, inf, -inf], [nan, inf, -inf])
    for found, reference in ((nan, 0), (0, nan), (inf, -inf), (3e38, inf), (inf, 3e38), (nan, inf)):
        assert not agree([found], [reference]), (found, reference)
    assert agree([inf], [70000], "float16", "float32")


def test_integers_and_shapes_are_exact():
    assert agree([1, 2], [1, 2], "int64")
    assert not agree([1], [2], "int64")
    assert not agree([2**60], [2**60 + 1], "int64")
    assert not agree([1], [1.5], "int64", "float32")
    assert not agree([True], [False], "bool")
    assert not agree([[1]], [1])
    assert agree([], [])


def test_sizes():
    sizes = [human_bytes(n) for n in (0, 1023, 1024, 1536, 91 << 20, 5 << 40)]
    assert sizes == ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "91.0 MiB", "5.0 TiB"]
