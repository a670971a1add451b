"""The CUDA runtime's logic on a stand-in for the driver; tests/gpu repeats it on a GPU."""

import gc

import ml_dtypes
import numpy as np
import pytest

pytest.importorskip("cuda.bindings.driver")

from fake_cuda import FakeDriver, floats, real
from runtime_helpers import mlp_plan

import lumir
from lumir.artifact.launches import Copy, Launch
from lumir.artifact.manifest import KernelEntry
from lumir.artifact.plan import Plan
from lumir.artifact.read import Artifact
from lumir.artifact.tensors import BufferRef, TensorSpec
from lumir.artifact.write import write_artifact
from lumir.diagnostics import InternalError, UserError
from lumir.measure.model import LaunchBench
from lumir.runtime import cuda_driver
from lumir.runtime.cuda import CudaDevice, check_arch, device_capability
from lumir.runtime.cuda_session import _gpu_source
from lumir.runtime.dlpack import ForeignTensor, to_dlpack

KERNELS = {
    "matmul": KernelEntry("kernels/k0.ptx", "matmul", block=128, shared_bytes=1000),
    "add": KernelEntry("kernels/k1.ptx", "add", block=256, shared_bytes=100_000),
}
MODULES = {"kernels/k0.ptx": b"ptx with matmul", "kernels/k1.ptx": b"ptx with add"}


def numpy_kernels(m: int) -> dict:
    def matmul(a, b, c, n, k):
        floats(c, m, n)[:] = floats(a, m, k) @ floats(b, k, n)

    def add(a, b, c, n):
        floats(c, n)[:] = floats(a, n) + floats(b, n)

    return {"matmul": matmul, "add": add}


@pytest.fixture
def driver(monkeypatch):
    fake = FakeDriver(numpy_kernels(5))
    monkeypatch.setattr(cuda_driver, "api", lambda: fake)
    return fake


def write(path, plans=None, arch="sm_90a", **changes) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    weights = {"w": rng.standard_normal((7, 33), np.float32), "bias": rng.standard_normal((5, 33), np.float32)}
    options = {"kernels": KERNELS, "modules": MODULES, "weights": weights.items()} | changes
    write_artifact(path, target={"kind": "cuda", "arch": arch}, plans=plans or [mlp_plan(5, 7, 33)], **options)
    return weights


class Tensor:
    """What a tensor on GPU 0 looks like through DLPack; the stand-in's GPU memory is host memory."""

    def __init__(self, array: np.ndarray, ordinal: int = 0):
        self.array, self.ordinal, self.streams = array, ordinal, []

    def __dlpack_device__(self):
        return 2, self.ordinal

    def __dlpack__(self, *, stream=None, **_):
        self.streams.append(stream)
        array = self.array
        return to_dlpack(array.ctypes.data, array.dtype.name, array.shape, (2, self.ordinal), owner=array)


def random_x() -> np.ndarray:
    return np.random.default_rng().standard_normal((5, 7), np.float32)


def test_one_graph_serves_every_run(driver, tmp_path):
    weights = write(tmp_path / "m.lumir")
    executable = lumir.load(tmp_path / "m.lumir")
    for _ in range(4):
        x = random_x()
        outputs = executable.run({"x": x})
        np.testing.assert_allclose(outputs["y"], x @ weights["w"] + weights["bias"], rtol=1e-5)
        assert (outputs["x_copy"] == x).all()
    assert driver.launched == [("matmul", (5, 1, 1), (128, 1, 1), 1000), ("add", (3, 1, 1), (256, 1, 1), 100_000)]
    assert driver.calls["cuGraphLaunch"] == 4
    assert driver.calls["cuFuncSetAttribute"] == 1
    assert driver.contexts == []


def test_outputs_are_copies_and_out_is_written(driver, tmp_path):
    write(tmp_path / "m.lumir")
    executable = lumir.load(tmp_path / "m.lumir")
    first = executable.run({"x": random_x()})
    kept = first["y"].copy()
    out = np.empty((5, 33), np.float32)
    second = executable.run({"x": random_x()}, out={"y": out})
    assert second["y"] is out
    assert (first["y"] == kept).all()
    assert not (out == kept).any()


def test_gpu_tensors_in_and_out(driver, tmp_path):
    weights = write(tmp_path / "m.lumir")
    executable = lumir.load(tmp_path / "m.lumir")
    x = random_x()
    tensor = Tensor(x)
    outputs = executable.run_device({"x": tensor})
    assert tensor.streams == [77]
    assert outputs["y"].__dlpack_device__() == (2, 0)
    np.testing.assert_allclose(outputs["y"].numpy(), x @ weights["w"] + weights["bias"], rtol=1e-5)
    again = executable.run_device({"x": outputs["x_copy"]})
    assert (again["y"].numpy() == outputs["y"].numpy()).all()
    assert driver.calls["cuMemcpyHtoDAsync"] == 0


def test_run_each(driver, tmp_path):
    weights = write(tmp_path / "m.lumir")
    x = random_x()
    launches = list(lumir.load(tmp_path / "m.lumir").run_each({"x": x}))
    assert [(r.kernel, r.nodes) for r in launches] == [
        ("matmul", ("/matmul",)),
        ("add", ("/add",)),
        ("copy", ("/identity",)),
    ]
    np.testing.assert_allclose(launches[0].outputs["product"], x @ weights["w"], rtol=1e-5)
    np.testing.assert_allclose(launches[1].outputs["y"], x @ weights["w"] + weights["bias"], rtol=1e-5)


def test_everything_is_freed(driver, tmp_path):
    write(tmp_path / "m.lumir")
    executable = lumir.load(tmp_path / "m.lumir")
    outputs = executable.run_device({"x": random_x()})
    assert len(driver.allocations) == 6  # weights, arena, staging, pinned and two outputs
    del executable
    gc.collect()
    assert len(driver.allocations) == 2
    del outputs
    gc.collect()
    assert driver.allocations == {}
    assert driver.calls["cuLibraryUnload"] == 2
    assert driver.calls["cuGraphExecDestroy"] == driver.calls["cuStreamDestroy"] == 1


@pytest.mark.parametrize("dtype", ["bool", "bfloat16", "int4", "float64", "float8_e4m3fn"])
@pytest.mark.parametrize("shape", [(), (3, 5), (0, 4)])
def test_element_types(driver, tmp_path, dtype, shape):
    spec = TensorSpec("x", dtype, shape)
    copy = Copy(spec.nbytes, (BufferRef.input(0), BufferRef.output(0)))
    empty = Launch("add", (0, 1, 1), (BufferRef.input(0),))
    plan = Plan((spec,), (TensorSpec("y", dtype, shape),), (copy, empty))
    write(tmp_path / "m.lumir", [plan])
    x = np.asarray(np.random.default_rng().integers(-8, 8, shape)).astype(np.dtype(getattr(ml_dtypes, dtype, dtype)))
    y = lumir.load(tmp_path / "m.lumir").run({"x": x})["y"]
    assert (y.dtype, y.shape) == (x.dtype, x.shape)
    assert (y == x).all()
    assert driver.launched == []


def test_counters_are_zero_at_first_and_kept_between_launches(driver, tmp_path):
    seen = []

    def count(counters):
        seen.append(floats(counters, 4).copy())
        floats(counters, 4)[:] += 1

    driver.kernels["add"] = count
    launch = Launch("add", (1, 1, 1), (BufferRef.counters(),))
    write(tmp_path / "m.lumir", [Plan((), (), (launch, launch), counter_bytes=16)])
    lumir.load(tmp_path / "m.lumir").run({})
    assert [list(values) for values in seen] == [[0] * 4, [1] * 4]


def test_plans_share_code_and_weights(driver, tmp_path):
    write(tmp_path / "m.lumir", [mlp_plan(5, 7, 33, {"m": 5}), mlp_plan(4, 7, 33, {"m": 4})])
    executable = lumir.load(tmp_path / "m.lumir")
    executable.run({"x": random_x()})
    driver.kernels.update(numpy_kernels(4))
    assert executable.run({"x": random_x()[:4]})["y"].shape == (4, 33)
    assert driver.calls["cuLibraryLoadData"] == 2
    assert driver.calls["cuGraphInstantiate"] == 2


def error_of(path, kind: type[Exception] = UserError, device=None) -> str:
    with pytest.raises(kind) as caught:
        lumir.load(path, device).run({"x": random_x()})
    return str(caught.value)


def test_no_gpu(driver, tmp_path):
    write(tmp_path / "m.lumir")
    assert "error[no-gpu]: there is no GPU 1\n  GPUs found: 1" in error_of(tmp_path / "m.lumir", device="cuda:1")
    driver.count = 0
    assert "error[no-gpu]: there is no NVIDIA GPU" in error_of(tmp_path / "m.lumir")


def test_rejected_ptx_shows_the_drivers_log(driver, tmp_path):
    write(tmp_path / "m.lumir")
    driver.rejects = b"line 7: unknown instruction"
    text = error_of(tmp_path / "m.lumir")
    assert "error[bad-ptx]: the driver cannot compile kernels/k1.ptx: the driver rejects the PTX" in text
    assert "log: line 7: unknown instruction" in text
    assert "driver call: cuLibraryLoadData: CUDA_ERROR_INVALID_PTX" in text


def test_memory_that_does_not_fit(driver, tmp_path):
    write(tmp_path / "m.lumir")
    driver.free = 1000
    text = error_of(tmp_path / "m.lumir")
    assert "error[gpu-memory]: the GPU has no room for the weights" in text
    assert "bytes free: 1000" in text
    driver.free = 3000
    assert "no room for the inputs and outputs" in error_of(tmp_path / "m.lumir")
    gc.collect()
    assert driver.allocations == {}


def test_other_gpu(driver, tmp_path):
    write(tmp_path / "m.lumir", arch="sm_120")
    text = error_of(tmp_path / "m.lumir")
    assert "error[wrong-target]: the artifact was compiled for sm_120 and does not run on Imaginary GPU" in text
    assert "compute capability found: 9.0" in text
    assert device_capability() == (9, 0)


@pytest.mark.parametrize(
    ("arch", "capability", "fits"),
    [
        ("sm_80", (8, 0), True),
        ("sm_80", (9, 0), True),
        ("sm_86", (8, 0), False),
        ("sm_90a", (9, 0), True),
        ("sm_90a", (10, 0), False),
        ("sm_100a", (10, 0), True),
        ("sm_100a", (10, 3), False),
        ("sm_120", (12, 1), True),
        ("gfx942", (9, 4), False),
    ],
)
def test_which_gpus_an_architecture_runs_on(arch, capability, fits):
    if fits:
        check_arch({"arch": arch}, "GPU", capability)
    else:
        with pytest.raises(UserError):
            check_arch({"arch": arch}, "GPU", capability)


def test_too_much_shared_memory(driver, tmp_path):
    kernels = KERNELS | {"add": KernelEntry("kernels/k1.ptx", "add", 256, 300_000)}
    write(tmp_path / "m.lumir", kernels=kernels)
    text = error_of(tmp_path / "m.lumir")
    assert "error[wrong-target]: kernel 'add' needs more shared memory than Imaginary GPU has" in text


def test_missing_function_and_failing_kernel(driver, tmp_path, monkeypatch):
    write(tmp_path / "m.lumir", kernels=KERNELS | {"add": KernelEntry("kernels/k1.ptx", "subtract")})
    text = error_of(tmp_path / "m.lumir", InternalError)
    assert "cuModuleGetFunction: CUDA_ERROR_NOT_FOUND" in text
    write(tmp_path / "m.lumir")
    failed = (real.CUresult.CUDA_ERROR_ILLEGAL_ADDRESS,)
    monkeypatch.setattr(type(driver), "do_cuStreamSynchronize", lambda self, stream: failed)
    assert "CUDA_ERROR_ILLEGAL_ADDRESS" in error_of(tmp_path / "m.lumir", InternalError)
    assert driver.contexts == []


def test_a_failed_capture_leaves_the_capture(driver, tmp_path, monkeypatch):
    write(tmp_path / "m.lumir")
    failed = (real.CUresult.CUDA_ERROR_INVALID_VALUE,)
    monkeypatch.setattr(type(driver), "do_cuLaunchKernelEx", lambda self, *_: failed)
    text = error_of(tmp_path / "m.lumir", InternalError)
    assert "cuLaunchKernelEx: CUDA_ERROR_INVALID_VALUE" in text
    assert "kernel: matmul" in text
    assert "nodes: /matmul" in text
    assert driver.capturing is None


def test_tensors_elsewhere_or_strided(driver, tmp_path):
    write(tmp_path / "m.lumir")
    executable = lumir.load(tmp_path / "m.lumir")
    with pytest.raises(UserError, match="input 'x' is on GPU 1, and the model is on GPU 0"):
        executable.run({"x": Tensor(random_x(), 1)})
    strided = ForeignTensor(0x1000, "float32", (5, 7), (1, 5), 2, 0, None)
    with pytest.raises(UserError, match="input 'x' on the GPU is not contiguous") as caught:
        _gpu_source(executable.inputs[0], strided, 0)
    assert "strides: [1, 5]" in str(caught.value)


def test_missing_driver_and_bindings(monkeypatch, tmp_path):
    class NoLibrary:
        def cuInit(self, flags):
            raise RuntimeError("libcuda.so.1: cannot open shared object file")

    monkeypatch.setattr(cuda_driver, "api", NoLibrary)
    write(tmp_path / "m.lumir")
    text = error_of(tmp_path / "m.lumir")
    assert "error[no-gpu]: the NVIDIA driver cannot be used\n  cuInit: libcuda.so.1" in text


def test_each_kernel_is_timed_by_itself(driver, tmp_path):
    """On copies of what it reads in the model: the product's operand is what the first launch left."""
    weights = write(tmp_path / "m.lumir")
    device = CudaDevice(Artifact.open(tmp_path / "m.lumir"))
    plan = device.artifact.plans[0]
    session, x = device.session(plan), random_x()
    rows = list(LaunchBench(device, session, plan).measure([x], samples=5))
    assert [(row.kernel, row.calls, row.nodes) for row in rows] == [("matmul", 1, ("/matmul",)), ("add", 1, ("/add",))]
    assert [row.nbytes for row in rows] == [4 * (5 * 7 + 7 * 33 + 5 * 33), 4 * 3 * 5 * 33]
    assert all(row.timing.median == pytest.approx(driver.kernel_seconds) for row in rows)
    (y, _) = session.run([x], [None, None])
    np.testing.assert_allclose(y, x @ weights["w"] + weights["bias"], rtol=1e-5, atol=1e-5)
    assert session.graph_seconds(3) == pytest.approx(2 * driver.kernel_seconds)
