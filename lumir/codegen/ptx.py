"""LLVM IR -> PTX through llvmlite's LLVM, and `ptxas` as a check."""

import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import llvmlite.binding as llvm

from lumir.codegen.host import optimize, parse_ir
from lumir.diagnostics import InternalError, UserError

TRIPLE = "nvptx64-nvidia-cuda"
PTX_VERSIONS = {
    "sm_80": "ptx80",
    "sm_86": "ptx80",
    "sm_89": "ptx84",
    "sm_90": "ptx80",
    "sm_90a": "ptx86",
    "sm_100a": "ptx86",
    "sm_120": "ptx87",
}
"""The PTX version for each architecture: as old as its instructions allow, so that older drivers take it."""


@dataclass(frozen=True)
class KernelUsage:
    """What `ptxas` reports for one kernel: registers a thread; bytes of spills, stack and static shared memory."""

    registers: int = 0
    spill_stores: int = 0
    spill_loads: int = 0
    stack: int = 0
    shared: int = 0


@dataclass(frozen=True)
class AssemblyReport:
    """The result of `assemble`.

    Args:
        registers: the most that a kernel of the file uses; likewise `stack`, `shared` and `spills` (bytes stored
            and loaded).
        cubin: the machine code.
        kernels: each kernel's own numbers.
        warnings: lines that `ptxas` printed as warnings, such as serialised wgmma.
    """

    registers: int
    spills: int
    shared: int
    stack: int
    cubin: bytes
    kernels: dict[str, KernelUsage]
    warnings: tuple[str, ...]


@lru_cache(maxsize=1)
def _initialize() -> None:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()


def compile_ptx(llvm_ir: str, arch: str, *, opt_level: int = 3) -> str:
    """Compile a module of LLVM IR to PTX.

    Args:
        arch: a key of `PTX_VERSIONS`.

    Raises:
        UserError: `bad-arch`.
        InternalError: `bad-llvm-ir`, also for instructions that the architecture does not have.
    """
    if arch not in PTX_VERSIONS:
        raise UserError(f"unknown GPU architecture {arch!r}", code="bad-arch", rule=f"one of {', '.join(PTX_VERSIONS)}")
    _initialize()
    target = llvm.Target.from_triple(TRIPLE)
    machine = target.create_target_machine(cpu=arch, features=f"+{PTX_VERSIONS[arch]}", opt=opt_level)
    module = parse_ir(llvm_ir, llvm.create_context())
    module.triple, module.data_layout = TRIPLE, str(machine.target_data)
    optimize(module, machine, opt_level)
    try:
        return machine.emit_assembly(module)
    except RuntimeError as error:
        raise InternalError(f"LLVM cannot emit PTX for {arch}: {error}", code="bad-llvm-ir") from error


def find_ptxas() -> Path | None:
    """`ptxas` of the package nvidia-cuda-nvcc, else the one on PATH."""
    packages = Path(sysconfig.get_paths()["purelib"]) / "nvidia"
    roots = [packages, *(Path(entry) / "nvidia" for entry in sys.path if entry.endswith("site-packages"))]
    found = (path for root in roots for path in sorted(root.glob("*/bin/ptxas")))
    on_path = shutil.which("ptxas")
    return next(found, Path(on_path) if on_path else None)


def assemble(ptx: str, arch: str) -> AssemblyReport:
    """Assemble PTX with `ptxas`.

    Raises:
        UserError: `no-ptxas`.
        InternalError: `bad-ptx`, with the messages of `ptxas`.
    """
    ptxas = find_ptxas()
    if ptxas is None:
        raise UserError("ptxas is not installed", code="no-ptxas", hint="pip install nvidia-cuda-nvcc")
    with tempfile.TemporaryDirectory() as folder:
        source, cubin = Path(folder) / "kernel.ptx", Path(folder) / "kernel.cubin"
        source.write_text(ptx)
        command = [str(ptxas), "-v", f"-arch={arch}", "-o", str(cubin), str(source)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        messages = result.stdout + result.stderr
        if result.returncode:
            raise InternalError(f"ptxas rejects the PTX for {arch}: {messages.strip()}", code="bad-ptx")
        kernels = _parse_usage(messages)
        return AssemblyReport(
            registers=max((usage.registers for usage in kernels.values()), default=0),
            spills=max((usage.spill_stores + usage.spill_loads for usage in kernels.values()), default=0),
            shared=max((usage.shared for usage in kernels.values()), default=0),
            stack=max((usage.stack for usage in kernels.values()), default=0),
            cubin=cubin.read_bytes(),
            kernels=kernels,
            warnings=tuple(line for line in messages.splitlines() if "warning" in line.lower()),
        )


def _parse_usage(messages: str) -> dict[str, KernelUsage]:
    """The numbers in the output of `ptxas -v`, for each entry function."""
    kernels = {}
    for section in re.split(r"Compiling entry function '", messages)[1:]:
        name = section.partition("'")[0]
        kernels[name] = KernelUsage(
            registers=_number(r"Used (\d+) registers", section),
            spill_stores=_number(r"(\d+) bytes spill stores", section),
            spill_loads=_number(r"(\d+) bytes spill loads", section),
            stack=_number(r"(\d+) bytes stack frame", section),
            shared=_number(r"(\d+) bytes smem", section),
        )
    return kernels


def _number(pattern: str, text: str) -> int:
    match = re.search(pattern, text)
    return int(match.group(1)) if match else 0
