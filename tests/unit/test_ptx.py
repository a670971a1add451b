"""LLVM IR -> PTX for every architecture, checked with ptxas."""

import pytest
from nvidia_helpers import needs_ptxas

from lumir.codegen import ptx
from lumir.codegen.ptx import PTX_VERSIONS, assemble, compile_ptx
from lumir.diagnostics import InternalError, UserError

ADD = """
declare i32 @llvm.nvvm.read.ptx.sreg.tid.x()
declare i32 @llvm.nvvm.read.ptx.sreg.ctaid.x()

define ptx_kernel void @add(ptr %a, ptr %b, ptr %c, i64 %n) {
entry:
  %t = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %w = call i32 @llvm.nvvm.read.ptx.sreg.ctaid.x()
  %base = mul i32 %w, 128
  %i32 = add i32 %base, %t
  %i = zext i32 %i32 to i64
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
}
"""

SHARED = """
@pool = internal addrspace(3) global [1024 x float] undef, align 16
declare void @llvm.nvvm.barrier.cta.sync.aligned.all(i32)
define ptx_kernel void @shared(ptr %out, i64 %i) {
  %at = getelementptr [1024 x float], ptr addrspace(3) @pool, i64 0, i64 %i
  store float 1.0, ptr addrspace(3) %at
  call void @llvm.nvvm.barrier.cta.sync.aligned.all(i32 0)
  %j = sub i64 1023, %i
  %from = getelementptr [1024 x float], ptr addrspace(3) @pool, i64 0, i64 %j
  %v = load float, ptr addrspace(3) %from
  store float %v, ptr %out
  ret void
}
"""


@needs_ptxas
@pytest.mark.parametrize("arch", PTX_VERSIONS)
def test_each_architecture_assembles(arch):
    text = compile_ptx(ADD, arch)
    assert f".target {arch}" in text
    assert ".visible .entry add(" in text
    report = assemble(text, arch)
    assert report.cubin[:4] == b"\x7fELF"
    assert 0 < report.registers < 64
    assert (report.spills, report.shared, report.stack, report.warnings) == (0, 0, 0, ())
    assert report.kernels.keys() == {"add"}


@needs_ptxas
def test_static_shared_memory_is_reported():
    assert assemble(compile_ptx(SHARED, "sm_90a"), "sm_90a").shared == 4096


@needs_ptxas
def test_ptxas_errors_are_shown():
    with pytest.raises(InternalError, match=r"ptxas rejects the PTX for sm_80.*syntax error") as caught:
        assemble(".version 8.0\n.target sm_80\nnonsense", "sm_80")
    assert caught.value.code == "bad-ptx"


def test_missing_ptxas(monkeypatch):
    monkeypatch.setattr(ptx, "find_ptxas", lambda: None)
    with pytest.raises(UserError, match="ptxas is not installed") as caught:
        assemble("", "sm_80")
    assert caught.value.code == "no-ptxas"


def test_unknown_architecture():
    with pytest.raises(UserError, match="unknown GPU architecture 'sm_20'") as caught:
        compile_ptx(ADD, "sm_20")
    assert caught.value.code == "bad-arch"


def test_same_ir_gives_the_same_text():
    assert compile_ptx(ADD, "sm_90a") == compile_ptx(ADD, "sm_90a")


def test_usage_of_several_kernels():
    messages = """
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'a' for 'sm_90a'
ptxas info    : Function properties for a
    16 bytes stack frame, 24 bytes spill stores, 32 bytes spill loads
ptxas info    : Used 168 registers, used 1 barriers, 16 bytes cumulative stack size, 1024 bytes smem
ptxas info    : Compiling entry function 'b' for 'sm_90a'
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 12 registers, used 0 barriers
"""
    usage = ptx._parse_usage(messages)
    assert usage == {"a": ptx.KernelUsage(168, 24, 32, 16, 1024), "b": ptx.KernelUsage(12)}
