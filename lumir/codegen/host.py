"""LLVM IR -> x86-64 object code, through llvmlite.

Code is position-independent and calls no library: functions are compiled with `no-builtins`, so that LLVM does not turn
a loop into a call of `memset`, and `link_host` names whatever symbol is left over.
"""

import os
import platform
import re
from functools import lru_cache
from typing import Any

import llvmlite.binding as llvm

from lumir.diagnostics import InternalError, UserError

TRIPLE = "x86_64-unknown-linux-gnu"
_LEVEL_2 = ("cx16", "popcnt", "sse3", "sse4.1", "sse4.2", "ssse3")
_LEVEL_3 = (*_LEVEL_2, "avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe")
_LEVEL_4 = (*_LEVEL_3, "avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl")
LEVELS = {"x86-64": (), "x86-64-v2": _LEVEL_2, "x86-64-v3": _LEVEL_3, "x86-64-v4": _LEVEL_4}
"""The psABI's micro-architecture levels, and what each adds to plain x86-64."""

_ATTRIBUTES = '"no-builtins" "prefer-vector-width"="512"'
_AFTER_ARGUMENTS = re.compile(r"\s*(?:(?:local_)?unnamed_addr)?\s*(?:addrspace\(\d+\))?")
_DEFINE = re.compile(r"^[ \t]*define\b[^@\n]*@(?:\"[^\"]*\"|[\w.$-]+)\(", re.MULTILINE)


@lru_cache(maxsize=1)
def _initialize() -> None:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()


def host_target(cpu: str = "host") -> dict[str, Any]:
    """The `target` of an artifact for `cpu`.

    Args:
        cpu: `host`, or a level of `LEVELS`.

    Returns:
        `{"kind": "cpu", "triple", "cpu", "features"}`; features are LLVM's names, sorted.

    Raises:
        UserError: `bad-cpu`, for another name or a machine that is not x86-64 Linux.
    """
    name, features = _cpu_and_features(cpu)
    return {"kind": "cpu", "triple": TRIPLE, "cpu": name, "features": features}


def _cpu_and_features(cpu: str) -> tuple[str, list[str]]:
    if cpu in LEVELS:
        return cpu, sorted(LEVELS[cpu])
    if cpu != "host":
        known = ", ".join(["host", *LEVELS])
        raise UserError(f"unknown CPU {cpu!r}", code="bad-cpu", rule=f"one of {known}")
    if platform.machine() != "x86_64" or os.name != "posix":
        raise UserError(
            f"the CPU target is x86-64 Linux, and this machine is {platform.system()} {platform.machine()}",
            code="bad-cpu",
            hint=f"name the CPU to compile for, one of {', '.join(LEVELS)}",
        )
    features = llvm.get_host_cpu_features()
    return llvm.get_host_cpu_name(), sorted(name for name, present in features.items() if present)


def _target_machine(cpu: str, opt_level: int) -> llvm.TargetMachine:
    _initialize()
    name, features = _cpu_and_features(cpu)
    flags = [f"+{feature}" for feature in features] + ["-prefer-256-bit"]
    target = llvm.Target.from_triple(TRIPLE)
    return target.create_target_machine(
        cpu=name, features=",".join(flags), opt=opt_level, reloc="pic", codemodel="small"
    )


def with_attributes(llvm_ir: str) -> str:
    """`llvm_ir` with `no-builtins` and 512-bit vectors asked for on each function it defines."""
    pieces, done = [], 0
    for match in _DEFINE.finditer(llvm_ir):
        attributes_at = _AFTER_ARGUMENTS.match(llvm_ir, _end_of_arguments(llvm_ir, match.end()))
        at = attributes_at.end() if attributes_at else match.end()
        pieces += [llvm_ir[done:at].rstrip(" "), f" {_ATTRIBUTES} "]
        done = at
    return "".join([*pieces, llvm_ir[done:]])


def _end_of_arguments(text: str, start: int) -> int:
    """The place after the parenthesis that closes the one before `start`; the end of a text that never closes it."""
    depth = 1
    for i in range(start, len(text)):
        depth += (text[i] == "(") - (text[i] == ")")
        if depth == 0:
            return i + 1
    return len(text)


def parse_ir(llvm_ir: str, context: llvm.ContextRef) -> llvm.ModuleRef:
    """Parse and verify LLVM IR.

    Raises:
        InternalError: `bad-llvm-ir`, with LLVM's message.
    """
    try:
        module = llvm.parse_assembly(llvm_ir, context)
        module.verify()
    except RuntimeError as error:
        raise InternalError(f"LLVM rejects the IR: {error}", code="bad-llvm-ir") from error
    return module


def optimize(module: llvm.ModuleRef, machine: llvm.TargetMachine, opt_level: int) -> None:
    """Run LLVM's standard pipeline of `opt_level`, from level 2 on with superword vectors.

    Kernels have their loops' vectors already. LLVM 22's loop vectorizer adds no speed to them, and can take forever: it
    asks whether a value is uniform once for each path to it.
    """
    options = llvm.create_pipeline_tuning_options(speed_level=opt_level)
    options.loop_vectorization, options.slp_vectorization = False, opt_level >= 2
    options.loop_unrolling = options.loop_interleaving = opt_level >= 2
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)


def _compile(llvm_ir: str, cpu: str, opt_level: int) -> tuple[llvm.TargetMachine, llvm.ModuleRef]:
    machine = _target_machine(cpu, opt_level)
    module = parse_ir(with_attributes(llvm_ir), llvm.create_context())
    module.triple, module.data_layout = TRIPLE, str(machine.target_data)
    optimize(module, machine, opt_level)
    return machine, module


def compile_host(llvm_ir: str, *, cpu: str = "host", opt_level: int = 3) -> bytes:
    """Compile a module of LLVM IR to an ELF object.

    Args:
        cpu: `host`, or a level of `LEVELS`.
        opt_level: 0 to 3, as in `-O3`.

    Raises:
        InternalError: `bad-llvm-ir`.
        UserError: `bad-cpu`.
    """
    machine, module = _compile(llvm_ir, cpu, opt_level)
    return machine.emit_object(module)


def compile_assembly(llvm_ir: str, *, cpu: str = "host", opt_level: int = 3) -> str:
    """As `compile_host`, but the assembly: to look for spills."""
    machine, module = _compile(llvm_ir, cpu, opt_level)
    return machine.emit_assembly(module)
