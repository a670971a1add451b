"""The CUDA runtime on a GPU: hand-written kernels, numpy and torch in and out, compiling PTX, and errors."""

import gc
import os
from functools import cache
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

import lumir
from lumir.artifact.launches import Copy, Launch
from lumir.artifact.manifest import KernelEntry
from lumir.artifact.plan import Plan
from lumir.artifact.tensors import BufferRef, Result, TensorSpec
from lumir.artifact.write import write_artifact
from lumir.codegen.ptx import assemble, compile_ptx
from lumir.diagnostics import LumirError, UserError
from lumir.measure.kernel import compile_dispatch
from lumir.measure.suite.gemm import product
from lumir.runtime.cuda import device_capability
from lumir.runtime.cuda_driver import call, enum
from lumir.runtime.cuda_gpu import Gpu
from lumir.runtime.cuda_memory import current


@cache
def has_gpu() -> bool:
    try:
        return device_capability() >= (8, 0)
    except LumirError:
        return False


pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not has_gpu(), reason="no GPU of compute capability 8.0 or newer")]

ADD_BLOCK, MATMUL_BLOCK, SHARED_BYTES = 128, 64, 96 << 10

ADD_IR = f"""
declare i32 @llvm.nvvm.read.ptx.sreg.tid.x()
declare i32 @llvm.nvvm.read.ptx.sreg.ctaid.x()

; add(a, b, c; n): c = a + b on float32
define ptx_kernel void @add(ptr %a, ptr %b, ptr %c, i64 %n) {{
entry:
  %t32 = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %w32 = call i32 @llvm.nvvm.read.ptx.sreg.ctaid.x()
  %t = zext i32 %t32 to i64
  %w = zext i32 %w32 to i64
  %base = mul i64 %w, {ADD_BLOCK}
  %i = add i64 %base, %t
  %inside = icmp ult i64 %i, %n
  br i1 %inside, label %body, label %done
body:
  %a_i = getelementptr float, ptr %a, i64 %i
  %b_i = getelementptr float, ptr %b, i64 %i
  %c_i = getelementptr float, ptr %c, i64 %i
  %x = load float, ptr %a_i
  %y = load float, ptr %b_i
  %z = fadd float %x, %y
  store float %z, ptr %c_i
  br label %done
done:
  ret void
}}
"""

MATMUL_IR = f"""
declare i32 @llvm.nvvm.read.ptx.sreg.tid.x()
declare i32 @llvm.nvvm.read.ptx.sreg.ctaid.x()
declare i32 @llvm.nvvm.read.ptx.sreg.ctaid.y()

; matmul(a, b, c; n, k): c[m, n] = a[m, k] @ b[k, n] on float32; a thread an element, y is the row
define ptx_kernel void @matmul(ptr %a, ptr %b, ptr %c, i64 %n, i64 %k) {{
entry:
  %t32 = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %w32 = call i32 @llvm.nvvm.read.ptx.sreg.ctaid.x()
  %r32 = call i32 @llvm.nvvm.read.ptx.sreg.ctaid.y()
  %t = zext i32 %t32 to i64
  %w = zext i32 %w32 to i64
  %row = zext i32 %r32 to i64
  %base = mul i64 %w, {MATMUL_BLOCK}
  %j = add i64 %base, %t
  %inside = icmp ult i64 %j, %n
  br i1 %inside, label %body, label %done
body:
  %a_start = mul i64 %row, %k
  br label %loop
loop:
  %p = phi i64 [ 0, %body ], [ %p_next, %loop ]
  %sum = phi float [ 0.0, %body ], [ %sum_next, %loop ]
  %a_at = add i64 %a_start, %p
  %a_p = getelementptr float, ptr %a, i64 %a_at
  %b_start = mul i64 %p, %n
  %b_at = add i64 %b_start, %j
  %b_p = getelementptr float, ptr %b, i64 %b_at
  %x = load float, ptr %a_p
  %y = load float, ptr %b_p
  %product = fmul float %x, %y
  %sum_next = fadd float %sum, %product
  %p_next = add i64 %p, 1
  %more = icmp ult i64 %p_next, %k
  br i1 %more, label %loop, label %end
end:
  %c_start = mul i64 %row, %n
  %c_at = add i64 %c_start, %j
  %c_p = getelementptr float, ptr %c, i64 %c_at
  store float %sum_next, ptr %c_p
  br label %done
done:
  ret void
}}
"""

REVERSE_IR = """
@pool = external addrspace(3) global [0 x i32], align 16
declare i32 @llvm.nvvm.read.ptx.sreg.tid.x()
declare void @llvm.nvvm.barrier.cta.sync.aligned.all(i32)

; reverse(x, y; n, stride): y[i] = x[n - 1 - i] through dynamic shared memory, slots `stride` elements apart
define ptx_kernel void @reverse(ptr %x, ptr %y, i64 %n, i64 %stride) {
entry:
  %t32 = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %t = zext i32 %t32 to i64
  %x_t = getelementptr i32, ptr %x, i64 %t
  %v = load i32, ptr %x_t
  %slot = mul i64 %t, %stride
  %to = getelementptr i32, ptr addrspace(3) @pool, i64 %slot
  store i32 %v, ptr addrspace(3) %to
  call void @llvm.nvvm.barrier.cta.sync.aligned.all(i32 0)
  %last = sub i64 %n, 1
  %other = sub i64 %last, %t
  %other_slot = mul i64 %other, %stride
  %from = getelementptr i32, ptr addrspace(3) @pool, i64 %other_slot
  %u = load i32, ptr addrspace(3) %from
  %y_t = getelementptr i32, ptr %y, i64 %t
  store i32 %u, ptr %y_t
  ret void
}
"""

KERNELS = {
    "add": KernelEntry("kernels/add.ptx", "add", ADD_BLOCK),
    "matmul": KernelEntry("kernels/matmul.ptx", "matmul", MATMUL_BLOCK),
    "reverse": KernelEntry("kernels/reverse.ptx", "reverse", 256, SHARED_BYTES),
}
M, K, N = 17, 65, 133


def arch() -> str:
    """`sm_90a` where it fits, else PTX that every tested GPU takes."""
    return "sm_90a" if device_capability() == (9, 0) else "sm_80"


@cache
def modules() -> dict[str, bytes]:
    sources = {"add": ADD_IR, "matmul": MATMUL_IR, "reverse": REVERSE_IR}
    return {f"kernels/{name}.ptx": compile_ptx(text, arch()).encode() for name, text in sources.items()}


def mlp_plan(m: int) -> Plan:
    """y[m, N] = x[m, K] @ w[K, N] + bias[:m], through the arena; `x_copy` is a copy of `x`."""
    product = BufferRef.arena(256)
    x, y = TensorSpec("x", "float32", (m, K)), TensorSpec("y", "float32", (m, N))
    matmul = Launch(
        kernel="matmul",
        grid=(-(-N // MATMUL_BLOCK), m, 1),
        args=(BufferRef.input(0), BufferRef.weight("w"), product),
        scalars=(N, K),
        nodes=("/matmul",),
        results=(Result(2, "product", "float32", (m, N)),),
    )
    add = Launch(
        kernel="add",
        grid=(-(-m * N // ADD_BLOCK), 1, 1),
        args=(product, BufferRef.weight("bias"), BufferRef.output(0)),
        scalars=(m * N,),
        nodes=("/add",),
        results=(Result(2, "y", "float32", (m, N)),),
    )
    copy = Copy(x.nbytes, (BufferRef.input(0), BufferRef.output(1)), ("/identity",))
    outputs = (y, TensorSpec("x_copy", "float32", (m, K)))
    return Plan((x,), outputs, (matmul, add, copy), 256 + y.nbytes, {"m": m})


def write_mlp(path: Path, sizes: tuple[int, ...] = (M,)) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    weights = {"w": rng.standard_normal((K, N), np.float32), "bias": rng.standard_normal((M, N), np.float32)}
    write(path, [mlp_plan(m) for m in sizes], weights)
    return weights


def write(path: Path, plans: list[Plan], weights: dict[str, np.ndarray] | None = None, **changes) -> None:
    options = {"kernels": KERNELS, "modules": modules(), "target": {"kind": "cuda", "arch": arch()}} | changes
    write_artifact(path, plans=plans, weights=(weights or {}).items(), **options)


def random_x(m: int = M) -> np.ndarray:
    return np.random.default_rng().standard_normal((m, K), np.float32)


def expected_y(x: np.ndarray, weights: dict[str, np.ndarray]) -> np.ndarray:
    return (x.astype(np.float64) @ weights["w"] + weights["bias"][: len(x)]).astype(np.float32)


def test_numpy_in_and_out(tmp_path):
    weights = write_mlp(tmp_path / "m.lumir")
    executable = lumir.load(tmp_path / "m.lumir")
    for _ in range(20):
        x = random_x()
        outputs = executable.run({"x": x})
        np.testing.assert_allclose(outputs["y"], expected_y(x, weights), rtol=1e-4, atol=1e-4)
        assert (outputs["x_copy"] == x).all()
    out = np.empty((M, N), np.float32)
    assert executable.run({"x": x}, out={"y": out})["y"] is out
    np.testing.assert_allclose(out, expected_y(x, weights), rtol=1e-4, atol=1e-4)


def test_plans_of_several_shapes(tmp_path):
    weights = write_mlp(tmp_path / "m.lumir", (M, 1, 8))
    executable = lumir.load(tmp_path / "m.lumir", "cuda:0")
    for m in (8, 1, M, 8):
        x = random_x(m)
        np.testing.assert_allclose(executable.run({"x": x})["y"], expected_y(x, weights), rtol=1e-4, atol=1e-4)
    with pytest.raises(UserError, match="no plan for"):
        executable.run({"x": random_x(3)})


def test_run_each(tmp_path):
    weights = write_mlp(tmp_path / "m.lumir")
    x = random_x()
    launches = list(lumir.load(tmp_path / "m.lumir").run_each({"x": x}))
    assert [launch.kernel for launch in launches] == ["matmul", "add", "copy"]
    np.testing.assert_allclose(launches[0].outputs["product"], x @ weights["w"], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(launches[1].outputs["y"], expected_y(x, weights), rtol=1e-4, atol=1e-4)


def test_dynamic_shared_memory_beyond_48_kb(tmp_path):
    n, stride = 256, SHARED_BYTES // 4 // 256
    launch = Launch("reverse", (1, 1, 1), (BufferRef.input(0), BufferRef.output(0)), (n, stride))
    plan = Plan((TensorSpec("x", "int32", (n,)),), (TensorSpec("y", "int32", (n,)),), (launch,))
    write(tmp_path / "m.lumir", [plan])
    x = np.random.default_rng().integers(0, 1000, n).astype(np.int32)
    assert (lumir.load(tmp_path / "m.lumir").run({"x": x})["y"] == x[::-1]).all()


@pytest.mark.parametrize("dtype", ["bool", "bfloat16", "int4", "float64", "float8_e4m3fn", "float16", "uint8"])
@pytest.mark.parametrize("shape", [(), (3, 5), (0, 4)])
def test_element_types(tmp_path, dtype, shape):
    spec = TensorSpec("x", dtype, shape)
    copy = Copy(spec.nbytes, (BufferRef.input(0), BufferRef.output(0)))
    write(tmp_path / "m.lumir", [Plan((spec,), (TensorSpec("y", dtype, shape),), (copy,))])
    x = np.asarray(np.random.default_rng().integers(0, 8, shape)).astype(np.dtype(getattr(ml_dtypes, dtype, dtype)))
    executable = lumir.load(tmp_path / "m.lumir")
    for y in (executable.run({"x": x})["y"], executable.run({"x": x})["y"]):
        assert (y.dtype, y.shape) == (x.dtype, x.shape)
        assert (y == x).all()


def test_torch_tensors_in_and_out(tmp_path):
    torch = pytest.importorskip("torch")
    weights = write_mlp(tmp_path / "m.lumir")
    executable = lumir.load(tmp_path / "m.lumir")
    for _ in range(20):
        x = torch.randn(4 * M, K, device="cuda").reshape(4, M, K).sum(0)  # still being computed when it is handed over
        outputs = {name: torch.from_dlpack(array) for name, array in executable.run_device({"x": x}).items()}
        assert outputs["y"].is_cuda
        assert torch.equal(outputs["x_copy"], x)
        expected = expected_y(x.cpu().numpy(), weights)
        np.testing.assert_allclose(outputs["y"].cpu().numpy(), expected, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(executable.run({"x": x})["y"], expected, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(executable.run({"x": x.cpu()})["y"], expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(UserError, match="not contiguous"):
        executable.run({"x": torch.zeros(K, M, device="cuda").T})


def test_outputs_stay_valid_and_memory_comes_back(tmp_path):
    weights = write_mlp(tmp_path / "m.lumir")
    executable = lumir.load(tmp_path / "m.lumir")
    xs = [random_x() for _ in range(3)]
    arrays = [executable.run_device({"x": x})["y"] for x in xs]
    del executable
    gc.collect()
    for x, array in zip(xs, arrays):
        np.testing.assert_allclose(array.numpy(), expected_y(x, weights), rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")) > 1, reason="other workers take memory too")
def test_loading_and_dropping_does_not_leak(tmp_path):
    write_mlp(tmp_path / "m.lumir")
    big = {"w": np.zeros((K, N), np.float32), "bias": np.zeros((M, N), np.float32), "z": np.zeros(16 << 20, np.uint8)}
    write(tmp_path / "m.lumir", [mlp_plan(M)], big)
    free = []
    for _ in range(6):
        executable = lumir.load(tmp_path / "m.lumir")
        executable.run({"x": random_x()})
        context = executable.device.context  # pyright: ignore[reportAttributeAccessIssue]
        del executable
        gc.collect()
        call("cuCtxPushCurrent", context)
        free.append(call("cuMemGetInfo")[0])
        call("cuCtxPopCurrent")
    assert free[1] - free[-1] < 32 << 20


def test_whole_programs_are_compiled():
    """A kernel compiled for linking would have the registers of its launch bounds, and `setmaxnreg` is then ignored."""
    gpu = Gpu()
    if gpu.capability != (9, 0):
        pytest.skip("wgmma kernels need compute capability 9.0")
    kernel = compile_dispatch(product(4096, 4096, 4096, "bfloat16"), "sm_90a", "wgmma")
    with current(gpu.context):
        code = gpu.load(kernel.kernels, kernel.files)
        (function,) = code.functions.values()
        registers = call("cuFuncGetAttribute", enum("CUfunction_attribute", "CU_FUNC_ATTRIBUTE_NUM_REGS"), function)
    assert registers == assemble(kernel.ptx, "sm_90a").registers


def test_rejected_ptx(tmp_path):
    bad = dict(modules()) | {"kernels/add.ptx": modules()["kernels/add.ptx"].replace(b"ret;", b"return;")}
    write(tmp_path / "m.lumir", [mlp_plan(M)], {"w": np.zeros((K, N)), "bias": np.zeros((M, N))}, modules=bad)
    with pytest.raises(UserError, match=r"the driver cannot compile kernels/add\.ptx") as caught:
        lumir.load(tmp_path / "m.lumir")
    assert caught.value.code == "bad-ptx"
    assert "return" in caught.value.values["log"]


def test_ptx_of_another_gpu_and_memory_that_is_not_there(tmp_path):
    write(tmp_path / "m.lumir", [Plan((), (), ())], target={"kind": "cuda", "arch": "sm_139a"})
    with pytest.raises(UserError, match="compiled for sm_139a and does not run on") as caught:
        lumir.load(tmp_path / "m.lumir")
    assert caught.value.code == "wrong-target"
    write(tmp_path / "m.lumir", [Plan((), (), (), arena_bytes=1 << 46)])
    with pytest.raises(UserError, match="the GPU has no room for the arena") as caught:
        lumir.load(tmp_path / "m.lumir")
    assert caught.value.code == "gpu-memory"
    with pytest.raises(UserError, match="there is no GPU 99"):
        lumir.load(tmp_path / "m.lumir", "cuda:99")


def test_overhead_of_a_run(tmp_path):
    write_mlp(tmp_path / "m.lumir")
    latency = lumir.load(tmp_path / "m.lumir").bench({"x": random_x()}, iterations=500)
    print(f"three launches, numpy in and out: {latency}")
    assert latency.p50 < 1000
