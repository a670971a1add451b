"""Hand-written kernels and plans, so that artifact and runtime are tested without the compiler."""

from pathlib import Path

import numpy as np

from lumir.artifact.launches import Copy, Launch
from lumir.artifact.manifest import KernelEntry
from lumir.artifact.plan import Plan
from lumir.artifact.tensors import BufferRef, Result, TensorSpec
from lumir.artifact.write import write_artifact
from lumir.codegen.host import compile_host, host_target
from lumir.codegen.host_link import link_host

ADD_BLOCK = 64
"""Elements that one workgroup of `add` computes."""

ADD_IR = f"""
declare i64 @llvm.umin.i64(i64, i64)

; add(a, b, c; n): c = a + b on float32
define void @add(i64 %workgroup, ptr %args) {{
entry:
  %a = load ptr, ptr %args
  %b_at = getelementptr ptr, ptr %args, i64 1
  %b = load ptr, ptr %b_at
  %c_at = getelementptr ptr, ptr %args, i64 2
  %c = load ptr, ptr %c_at
  %n_at = getelementptr i64, ptr %args, i64 3
  %n = load i64, ptr %n_at
  %low = mul i64 %workgroup, {ADD_BLOCK}
  %next_low = add i64 %low, {ADD_BLOCK}
  %high = call i64 @llvm.umin.i64(i64 %next_low, i64 %n)
  br label %loop
loop:
  %i = phi i64 [ %low, %entry ], [ %i_next, %loop ]
  %a_i = getelementptr float, ptr %a, i64 %i
  %b_i = getelementptr float, ptr %b, i64 %i
  %c_i = getelementptr float, ptr %c, i64 %i
  %x = load float, ptr %a_i
  %y = load float, ptr %b_i
  %z = fadd float %x, %y
  store float %z, ptr %c_i
  %i_next = add i64 %i, 1
  %more = icmp ult i64 %i_next, %high
  br i1 %more, label %loop, label %done
done:
  ret void
}}
"""

MATMUL_IR = """
; matmul(a, b, c; n, k): row `workgroup` of c[m, n] = a[m, k] @ b[k, n] on float32
define void @matmul(i64 %workgroup, ptr %args) {
entry:
  %a = load ptr, ptr %args
  %b_at = getelementptr ptr, ptr %args, i64 1
  %b = load ptr, ptr %b_at
  %c_at = getelementptr ptr, ptr %args, i64 2
  %c = load ptr, ptr %c_at
  %n_at = getelementptr i64, ptr %args, i64 3
  %n = load i64, ptr %n_at
  %k_at = getelementptr i64, ptr %args, i64 4
  %k = load i64, ptr %k_at
  %a_offset = mul i64 %workgroup, %k
  %a_row = getelementptr float, ptr %a, i64 %a_offset
  %c_offset = mul i64 %workgroup, %n
  %c_row = getelementptr float, ptr %c, i64 %c_offset
  %c_bytes = shl i64 %n, 2
  call void @llvm.memset.p0.i64(ptr %c_row, i8 0, i64 %c_bytes, i1 false)
  br label %outer
outer:
  %p = phi i64 [ 0, %entry ], [ %p_next, %outer_end ]
  %a_p = getelementptr float, ptr %a_row, i64 %p
  %x = load float, ptr %a_p
  %b_offset = mul i64 %p, %n
  %b_row = getelementptr float, ptr %b, i64 %b_offset
  br label %inner
inner:
  %j = phi i64 [ 0, %outer ], [ %j_next, %inner ]
  %b_j = getelementptr float, ptr %b_row, i64 %j
  %c_j = getelementptr float, ptr %c_row, i64 %j
  %y = load float, ptr %b_j
  %z = load float, ptr %c_j
  %product = fmul float %x, %y
  %sum = fadd float %z, %product
  store float %sum, ptr %c_j
  %j_next = add i64 %j, 1
  %j_more = icmp ult i64 %j_next, %n
  br i1 %j_more, label %inner, label %outer_end
outer_end:
  %p_next = add i64 %p, 1
  %p_more = icmp ult i64 %p_next, %k
  br i1 %p_more, label %outer, label %done
done:
  ret void
}
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
"""

HOST_FILE = "kernels/host.bin"
KERNELS = {
    "add": KernelEntry(HOST_FILE, "add", family="elementwise", schedule={"block": ADD_BLOCK}),
    "matmul": KernelEntry(HOST_FILE, "matmul", family="contraction"),
}


def host_modules() -> dict[str, bytes]:
    image = link_host({"add": compile_host(ADD_IR), "matmul": compile_host(MATMUL_IR)})
    return {HOST_FILE: image.to_bytes()}


def blocks(n: int) -> int:
    return -(-n // ADD_BLOCK)


def mlp_plan(m: int, k: int, n: int, symbols: dict[str, int] | None = None) -> Plan:
    """y[m, n] = x[m, k] @ w[k, n] + bias[m, n], through the arena; `x_copy` is a copy of `x`."""
    product = BufferRef.arena(256)
    return Plan(
        inputs=(TensorSpec("x", "float32", (m, k)),),
        outputs=(TensorSpec("y", "float32", (m, n)), TensorSpec("x_copy", "float32", (m, k))),
        launches=(
            Launch(
                kernel="matmul",
                grid=(m, 1, 1),
                args=(BufferRef.input(0), BufferRef.weight("w"), product),
                scalars=(n, k),
                nodes=("/matmul",),
                results=(Result(2, "product", "float32", (m, n)),),
            ),
            Launch(
                kernel="add",
                grid=(blocks(m * n), 1, 1),
                args=(product, BufferRef.weight("bias"), BufferRef.output(0)),
                scalars=(m * n,),
                nodes=("/add",),
                results=(Result(2, "y", "float32", (m, n)),),
            ),
            Copy(4 * m * k, (BufferRef.input(0), BufferRef.output(1)), nodes=("/identity",)),
        ),
        arena_bytes=256 + 4 * m * n,
        symbols=symbols or {},
    )


def write_mlp(path: Path, m: int = 5, k: int = 7, n: int = 33, seed: int = 0) -> dict[str, np.ndarray]:
    """Write the artifact of `mlp_plan` with random weights, and return those."""
    rng = np.random.default_rng(seed)
    weights = {"w": rng.standard_normal((k, n), np.float32), "bias": rng.standard_normal((m, n), np.float32)}
    write_artifact(
        path,
        target=host_target(),
        kernels=KERNELS,
        modules=host_modules(),
        plans=[mlp_plan(m, k, n)],
        weights=weights.items(),
        schedules={"matmul": {"rows": 1}},
    )
    return weights


def write_add(path: Path, sizes: tuple[int, ...] = (100,)) -> None:
    """z[n] = x[n] + y[n], one plan for each size."""
    plans = [
        Plan(
            inputs=(TensorSpec("x", "float32", (n,)), TensorSpec("y", "float32", (n,))),
            outputs=(TensorSpec("z", "float32", (n,)),),
            launches=(
                Launch("add", (blocks(n), 1, 1), (BufferRef.input(0), BufferRef.input(1), BufferRef.output(0)), (n,)),
            ),
            symbols={"n": n},
        )
        for n in sizes
    ]
    kernels = {"add": KERNELS["add"]}
    write_artifact(path, target=host_target(), kernels=kernels, modules=host_modules(), plans=plans)
