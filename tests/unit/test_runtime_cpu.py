"""The CPU runtime on hand-made artifacts: results, threads, plans, buffers and lifetime."""

import gc
import os
import subprocess
import sys
import threading

import ml_dtypes
import numpy as np
import pytest
from runtime_helpers import HOST_FILE, KERNELS, host_modules, mlp_plan, write_add, write_mlp

import lumir
from lumir.artifact.launches import Copy, Launch
from lumir.artifact.manifest import KernelEntry
from lumir.artifact.plan import Plan
from lumir.artifact.read import Artifact
from lumir.artifact.tensors import BufferRef, Result, TensorSpec
from lumir.artifact.write import write_artifact
from lumir.codegen.host import compile_host, host_target
from lumir.codegen.host_link import link_host
from lumir.diagnostics import UserError
from lumir.runtime import cpu_features, pool
from lumir.runtime.cpu import COPY_CHUNK_BYTES
from lumir.runtime.memory import aligned_empty

COUNT_IR = """
; count(hits): hits[workgroup] += 1
define void @count(i64 %workgroup, ptr %args) {
  %hits = load ptr, ptr %args
  %at = getelementptr i32, ptr %hits, i64 %workgroup
  %old = load i32, ptr %at
  %new = add i32 %old, 1
  store i32 %new, ptr %at
  ret void
}
"""


def write_copies(path, dtype: str, shape: tuple[int, ...]) -> None:
    """y = x, by a copy."""
    spec = TensorSpec("x", dtype, shape)
    plan = Plan(
        inputs=(spec,),
        outputs=(TensorSpec("y", dtype, shape),),
        launches=(Copy(spec.nbytes, (BufferRef.input(0), BufferRef.output(0))),),
    )
    write_artifact(path, target=host_target(), kernels={}, modules=host_modules(), plans=[plan])


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
@pytest.mark.parametrize(("m", "k", "n"), [(1, 1, 1), (5, 7, 33), (64, 31, 129)])
def test_mlp(tmp_path, threads, m, k, n):
    weights = write_mlp(tmp_path / "m.lumir", m, k, n)
    executable = lumir.load(tmp_path / "m.lumir", threads=threads)
    rng = np.random.default_rng()
    for _ in range(5):
        x = rng.standard_normal((m, k), np.float32)
        outputs = executable.run({"x": x})
        assert list(outputs) == ["y", "x_copy"]
        np.testing.assert_allclose(outputs["y"], x @ weights["w"] + weights["bias"], rtol=1e-4, atol=1e-4)
        assert (outputs["x_copy"] == x).all()


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
@pytest.mark.parametrize("grid", [(0, 1, 1), (1, 1, 1), (2, 1, 1), (13, 1, 1), (5, 4, 3), (1000, 1, 1)])
def test_each_workgroup_runs_once_in_each_launch(tmp_path, threads, grid):
    total, launches = grid[0] * grid[1] * grid[2], 20
    size = max(total, 1)
    arena = BufferRef.arena(0)
    count = Launch("count", grid, (arena,))
    plan = Plan(
        inputs=(TensorSpec("start", "int32", (size,)),),
        outputs=(TensorSpec("hits", "int32", (size,)),),
        launches=(
            Copy(4 * size, (BufferRef.input(0), arena)),
            *[count] * launches,
            Copy(4 * size, (arena, BufferRef.output(0))),
        ),
        arena_bytes=4 * size,
    )
    image = link_host({"count": compile_host(COUNT_IR)})
    write_artifact(
        tmp_path / "m.lumir",
        target=host_target(),
        kernels={"count": KernelEntry(HOST_FILE, "count")},
        modules={HOST_FILE: image.to_bytes()},
        plans=[plan],
    )
    executable = lumir.load(tmp_path / "m.lumir", threads=threads)
    for _ in range(30):
        start = np.random.default_rng().integers(0, 100, size).astype(np.int32)
        hits = executable.run({"start": start})["hits"]
        assert (hits == start + (launches if total else 0)).all()


@pytest.mark.parametrize("nbytes", [0, 1, 63, 64, 1000, COPY_CHUNK_BYTES, 3 * COPY_CHUNK_BYTES + 17])
@pytest.mark.parametrize("threads", [1, 3])
def test_copies_of_any_size(tmp_path, nbytes, threads):
    write_copies(tmp_path / "m.lumir", "uint8", (nbytes,))
    x = np.random.default_rng().integers(0, 256, nbytes, np.uint8)
    assert (lumir.load(tmp_path / "m.lumir", threads=threads).run({"x": x})["y"] == x).all()


@pytest.mark.parametrize(
    "dtype", ["bool", "int8", "uint64", "float16", "float64", "bfloat16", "float8_e4m3fn", "int4", "uint4", "complex64"]
)
@pytest.mark.parametrize("shape", [(), (3, 5), (0, 4)])
def test_element_types(tmp_path, dtype, shape):
    write_copies(tmp_path / "m.lumir", dtype, shape)
    values = np.random.default_rng().integers(-8, 8, shape) % 16
    x = np.asarray(values - 8 if dtype == "int4" else values).astype(np.dtype(getattr(ml_dtypes, dtype, dtype)))
    y = lumir.load(tmp_path / "m.lumir").run({"x": x})["y"]
    assert (y.dtype, y.shape) == (x.dtype, x.shape)
    assert (y == x).all()


def test_plan_is_chosen_by_shape_and_they_share_the_arena(tmp_path):
    write_add(tmp_path / "m.lumir", (10, 100, 1000))
    executable = lumir.load(tmp_path / "m.lumir")
    assert executable.inputs[0].shape == ("n",)
    assert str(executable.outputs[0]) == "z: float32[n]"
    for n in (1000, 10, 100, 10):
        x, y = np.random.default_rng().random((2, n), np.float32)
        assert (executable.run({"x": x, "y": y})["z"] == x + y).all()


def test_strided_unaligned_and_foreign_inputs(tmp_path):
    write_add(tmp_path / "m.lumir", (100,))
    executable = lumir.load(tmp_path / "m.lumir")
    base = np.random.default_rng().random((100, 3), np.float32)
    unaligned = np.frombuffer(bytearray(b"\0" + base[:, 1].tobytes()), np.uint8)[1:].view(np.float32)
    z = executable.run({"x": base[:, 0], "y": unaligned})["z"]
    assert (z == base[:, 0] + base[:, 1]).all()
    z = executable.run({"x": base[::-1, 2], "y": base[:, 1].astype(">f4")})["z"]
    assert (z == base[::-1, 2] + base[:, 1]).all()
    frozen = np.ones(100, np.float32)
    frozen.flags.writeable = False
    assert (executable.run({"x": frozen, "y": frozen})["z"] == 2).all()


def test_inputs_are_not_changed_and_outputs_are_fresh(tmp_path):
    write_add(tmp_path / "m.lumir", (100,))
    executable = lumir.load(tmp_path / "m.lumir")
    x, y = np.ones(100, np.float32), np.ones(100, np.float32)
    first = executable.run({"x": x, "y": y})["z"]
    second = executable.run({"x": x * 5, "y": y})["z"]
    assert (first == 2).all()
    assert (second == 6).all()
    assert (x == 1).all()


def test_torch_tensors(tmp_path):
    torch = pytest.importorskip("torch")
    write_copies(tmp_path / "m.lumir", "bfloat16", (4, 6))
    executable = lumir.load(tmp_path / "m.lumir")
    x = torch.randn(6, 4).to(torch.bfloat16).T
    y = executable.run({"x": x})["y"]
    assert (torch.from_numpy(y.astype(np.float32)) == x.float()).all()


def test_out_arrays_are_written_in_place(tmp_path):
    write_add(tmp_path / "m.lumir", (100,))
    executable = lumir.load(tmp_path / "m.lumir")
    x = np.random.default_rng().random(100, np.float32)
    for out in (aligned_empty(np.dtype(np.float32), (100,)), np.empty(101, np.float32)[1:]):
        assert executable.run({"x": x, "y": x}, out={"z": out})["z"] is out
        assert (out == x + x).all()
    expected = x + x
    assert executable.run({"x": x, "y": x}, out={"z": x})["z"] is x
    assert (x == expected).all()


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ({"zz": np.zeros(100, np.float32)}, "the model has no output 'zz'"),
        ({"z": np.zeros(100)}, r"the array for output 'z' is float64\[100\], not z: float32\[100\]"),
        ({"z": np.zeros(99, np.float32)}, r"is float32\[99\], not"),
        ({"z": np.zeros(200, np.float32)[::2]}, "is not dense and writable"),
    ],
)
def test_bad_out(tmp_path, out, message):
    write_add(tmp_path / "m.lumir", (100,))
    x = np.zeros(100, np.float32)
    with pytest.raises(UserError, match=message) as caught:
        lumir.load(tmp_path / "m.lumir").run({"x": x, "y": x}, out=out)
    assert caught.value.code == "bad-out"


def test_run_each_reads_back_what_each_launch_left(tmp_path):
    weights = write_mlp(tmp_path / "m.lumir", 4, 6, 50)
    x = np.random.default_rng().standard_normal((4, 6), np.float32)
    launches = list(lumir.load(tmp_path / "m.lumir", threads=2).run_each({"x": x}))
    assert [(r.index, r.kernel, r.nodes) for r in launches] == [
        (0, "matmul", ("/matmul",)),
        (1, "add", ("/add",)),
        (2, "copy", ("/identity",)),
    ]
    np.testing.assert_allclose(launches[0].outputs["product"], x @ weights["w"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(launches[1].outputs["y"], x @ weights["w"] + weights["bias"], rtol=1e-4, atol=1e-5)
    assert launches[2].outputs == {}
    assert all(r.microseconds > 0 for r in launches)


def test_run_each_reads_packed_results(tmp_path):
    copy = "define void @copy4(i64 %w, ptr %args) {\n call void @lumir_copy(i64 %w, ptr %args)\n ret void\n}\n"
    image = link_host({"k": compile_host(f"declare void @lumir_copy(i64, ptr)\n{copy}")})
    result = (Result(1, "t", "int4", (3,)),)
    launch = Launch("copy4", (1, 1, 1), (BufferRef.input(0), BufferRef.output(0)), (2, 64), results=result)
    specs = (TensorSpec("x", "int4", (3,)),), (TensorSpec("y", "int4", (3,)),)
    kernels = {"copy4": KernelEntry(HOST_FILE, "copy4")}
    modules = {HOST_FILE: image.to_bytes()}
    write_artifact(
        tmp_path / "m.lumir", target=host_target(), kernels=kernels, modules=modules, plans=[Plan(*specs, (launch,))]
    )
    x = np.array([1, -8, 7]).astype(ml_dtypes.int4)
    (left,) = lumir.load(tmp_path / "m.lumir").run_each({"x": x})
    assert left.outputs["t"].tolist() == x.tolist()


def test_calls_from_several_threads_follow_one_another(tmp_path):
    write_add(tmp_path / "m.lumir", (500,))
    executable = lumir.load(tmp_path / "m.lumir", threads=2)
    wrong = []

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(50):
            x, y = rng.random((2, 500), np.float32)
            if not (executable.run({"x": x, "y": y})["z"] == x + y).all():
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert wrong == []


def native_threads() -> int:
    return sum(thread.name.startswith("lumir-") for thread in threading.enumerate())


def test_workers_start_with_the_first_run_and_end_with_the_executable(tmp_path):
    write_add(tmp_path / "m.lumir", (100,))
    gc.collect()
    before = native_threads()
    executable = lumir.load(tmp_path / "m.lumir", threads=4)
    assert native_threads() == before
    x = np.zeros(100, np.float32)
    executable.run({"x": x, "y": x})
    assert native_threads() == before + 3
    del executable
    gc.collect()
    assert native_threads() == before


def test_sleeping_workers_wake(tmp_path):
    write_mlp(tmp_path / "m.lumir", 64, 8, 8)
    executable = lumir.load(tmp_path / "m.lumir", threads=3)
    x = np.ones((64, 8), np.float32)
    first = executable.run({"x": x})["y"]
    for _ in range(20):
        threading.Event().wait(0.005)
        assert (executable.run({"x": x})["y"] == first).all()


SCRIPT = """
import os, sys, numpy as np
import lumir
executable = lumir.load(sys.argv[1], threads=3)
x = np.arange(100, dtype=np.float32)
assert (executable.run({"x": x, "y": x})["z"] == 2 * x).all()
"""


def python(code: str, *args: object, **environment: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", code, *map(str, args)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, env={**os.environ, **environment}
    )


def test_the_runtime_imports_no_compiler(tmp_path):
    write_add(tmp_path / "m.lumir", (100,))
    check = """
banned = {"torch_mlir", "mlir", "onnx", "torch", "llvmlite", "cuda", "onnxruntime"}
loaded = {name.partition(".")[0] for name in sys.modules}
own = {name for name in sys.modules if name.startswith("lumir.")}
assert not banned & loaded, banned & loaded
shared = {"artifact", "runtime", "diagnostics", "dims", "sizes", "size_terms", "size_text", "symbols"}
assert {name.split(".")[1] for name in own} <= shared, own
"""
    result = python(SCRIPT + check, tmp_path / "m.lumir")
    assert result.returncode == 0, result.stderr


def test_a_forked_child_runs(tmp_path):
    write_add(tmp_path / "m.lumir", (100,))
    fork = """
import warnings
warnings.simplefilter("ignore")
child = os.fork()
if child == 0:
    ok = (executable.run({"x": x, "y": x})["z"] == 2 * x).all()
    os._exit(0 if ok else 1)
assert os.waitpid(child, 0)[1] == 0
assert (executable.run({"x": x, "y": x})["z"] == 2 * x).all()
"""
    result = python(SCRIPT + fork, tmp_path / "m.lumir")
    assert result.returncode == 0, result.stderr


def test_exit_with_live_workers_is_clean(tmp_path):
    write_add(tmp_path / "m.lumir", (100,))
    result = python(SCRIPT, tmp_path / "m.lumir")
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("value", ["0", "-1", "two", "1025", "1.5"])
def test_bad_thread_counts(tmp_path, monkeypatch, value):
    monkeypatch.setenv("LUMIR_NUM_THREADS", value)
    with pytest.raises(UserError, match="LUMIR_NUM_THREADS is") as caught:
        pool.default_threads()
    assert caught.value.code == "bad-threads"
    write_add(tmp_path / "m.lumir", (100,))
    with pytest.raises(UserError, match="threads is '0'"):
        lumir.load(tmp_path / "m.lumir", threads=0)


def test_threads_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("LUMIR_NUM_THREADS", "5")
    assert pool.default_threads() == 5
    monkeypatch.delenv("LUMIR_NUM_THREADS")
    assert 1 <= pool.default_threads() <= len(os.sched_getaffinity(0))


def test_wrong_device(tmp_path):
    write_add(tmp_path / "m.lumir", (100,))
    for device in ("cuda", "cuda:1", "cpu:0", "tpu"):
        with pytest.raises(UserError, match="compiled for 'cpu' and cannot be loaded on") as caught:
            lumir.load(tmp_path / "m.lumir", device)
        assert caught.value.code == "wrong-target"


def test_cpu_without_the_needed_instructions(tmp_path, monkeypatch):
    write_add(tmp_path / "m.lumir", (100,))
    plans, modules = [mlp_plan(1, 1, 1)], host_modules()
    weights = [("w", np.zeros((1, 1), np.float32)), ("bias", np.zeros((1, 1), np.float32))]
    target = {"kind": "cpu", "cpu": "future", "features": ["avx2", "avx2048f", "tsxldtrk99"]}
    write_artifact(tmp_path / "n.lumir", target=target, kernels=KERNELS, modules=modules, plans=plans, weights=weights)
    with pytest.raises(UserError, match="this CPU lacks instructions") as caught:
        lumir.load(tmp_path / "n.lumir")
    assert caught.value.code == "wrong-target"
    assert "missing: avx2048f\n" in str(caught.value)
    monkeypatch.setattr(cpu_features.platform, "machine", lambda: "aarch64")
    with pytest.raises(UserError, match="this machine is Linux aarch64") as caught:
        lumir.load(tmp_path / "m.lumir")
    assert "64-bit Arm is not supported" in str(caught.value)


def test_features_of_this_machine_are_all_found():
    assert cpu_features.missing_features(host_target()["features"], cpu_features.host_flags()) == []
    old = frozenset({"sse41", "sse42", "pni", "ssse3", "popcnt", "cx16"})
    assert cpu_features.missing_features(host_target("x86-64-v2")["features"], old) == []
    assert "avx2" in cpu_features.missing_features(host_target("x86-64-v3")["features"], old)


def test_kernel_symbol_that_is_not_in_the_code(tmp_path):
    plan = Plan((), (), (Launch("k", (1, 1, 1), ()),))
    kernels = {"k": KernelEntry(HOST_FILE, "nothing")}
    write_artifact(tmp_path / "m.lumir", target=host_target(), kernels=kernels, modules=host_modules(), plans=[plan])
    with pytest.raises(UserError, match="no function 'nothing'"):
        lumir.load(tmp_path / "m.lumir").run({})


def test_saved_copy_runs(tmp_path):
    weights = write_mlp(tmp_path / "a.lumir")
    lumir.load(tmp_path / "a.lumir").save(tmp_path / "b.lumir")
    (tmp_path / "a.lumir").unlink()
    x = np.ones((5, 7), np.float32)
    executable = lumir.load(Artifact.open(tmp_path / "b.lumir"))
    np.testing.assert_allclose(executable.run({"x": x})["y"], x @ weights["w"] + weights["bias"], rtol=1e-4, atol=1e-4)


def test_bench_reports_percentiles(tmp_path):
    write_add(tmp_path / "m.lumir", (100,))
    x = np.zeros(100, np.float32)
    latency = lumir.load(tmp_path / "m.lumir", threads=1).bench({"x": x, "y": x}, iterations=50, warmup=2)
    assert latency.iterations == 50
    assert 0 < latency.minimum <= latency.p50 <= latency.p90 <= latency.p99
    assert "p50" in str(latency)
