"""Step 7: kernels become machine code."""

from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import ClassVar

from lumir.codegen.host import compile_host
from lumir.codegen.llvm_ir import to_llvm_dialect, to_llvm_ir
from lumir.mlir import ir
from lumir.target import Target, target_named


@dataclass(frozen=True)
class CompileKernels:
    """Compile each kernel module to PTX text or to a host object.

    Requires: modules `@<dispatch>.kernel`.
    Guarantees: each has become a `lumir.code` of the same name.
    """

    target: str = "cpu"
    name: ClassVar[str] = "lumir-compile-kernels"

    def run(self, module: ir.Module) -> None:
        target = target_named(self.target)
        kernels = [op for op in module.body.operations if op.operation.name in ("builtin.module", "gpu.module")]
        texts = [_lowered(op.operation, target) for op in kernels]
        with ThreadPoolExecutor() as pool:
            codes = list(pool.map(lambda text: _machine_code(text, target), texts))
        for op, code in zip(kernels, codes, strict=True):
            _replace(op, code, target)


def _lowered(kernel: ir.Operation, target: Target) -> str:
    if target.kind == "cpu":
        from lumir.codegen.expand_math import expand_math

        expand_math(kernel, "cpu")
        to_llvm_dialect(kernel)
        return to_llvm_ir(kernel)
    from lumir.codegen.nvidia import llvm_ir_of

    return llvm_ir_of(kernel, target.arch)


def _machine_code(text: str, target: Target) -> str:
    if target.kind == "cpu":
        return b64encode(compile_host(text)).decode()
    from lumir.codegen.ptx import compile_ptx

    return compile_ptx(text, target.arch)


def _replace(kernel: ir.OpView, code: str, target: Target) -> None:
    with ir.InsertionPoint(kernel), kernel.location:
        ir.Operation.create(
            "lumir.code",
            attributes={
                "sym_name": kernel.attributes["sym_name"],
                "target": ir.StringAttr.get(str(target)),
                "format": ir.StringAttr.get("elf" if target.kind == "cpu" else "ptx"),
                "data": ir.StringAttr.get(code),
            },
        )
    kernel.operation.erase()
