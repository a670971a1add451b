"""Step 7, first half: kernels in arith, scf, vector and llvm -> LLVM IR text that llvmlite's LLVM reads."""

import math
import re
import struct
from collections.abc import Sequence

import ml_dtypes
import numpy as np

from lumir.diagnostics import InternalError
from lumir.mlir import PassManager, ir, llvm

_TO_LLVM = (
    "canonicalize",
    "cse",
    "convert-vector-to-llvm{reassociate-fp-reductions=true}",
    "convert-scf-to-cf",
    "convert-cf-to-llvm",
    "convert-math-to-llvm",
    "arith-expand{include-bf16=true}",
    "convert-arith-to-llvm",
    "convert-func-to-llvm",
    "reconcile-unrealized-casts",
)

_FLOAT = re.compile(
    r"\bf0x([0-9A-F]+)\b|(?<![\w.])-?\d+\.\d+(?:e[+-]?\d+)?(?![\w.])|(?<=[ (])[+-]?q?(?:inf|nan)(?=[,)\s>\]]|$)"
)
_DECIMAL = re.compile(r"\d\.\d")
_TYPE = re.compile(r"\b(half|bfloat|float|double)\b")


def to_llvm_dialect(module: ir.Operation) -> None:
    """Lower a module of functions to the LLVM dialect, in place."""
    run_passes(module, _TO_LLVM)


def run_passes(module: ir.Operation, passes: Sequence[str]) -> None:
    """Run upstream passes on a builtin.module, in place. What they make is verified once, by `to_llvm_ir`.

    Raises:
        InternalError: `bad-kernel`, with MLIR's message and the operation it stopped at.
    """
    manager = PassManager.parse(f"builtin.module({','.join(passes)})", module.context)
    manager.enable_verifier(False)
    try:
        manager.run(module)
    except ir.MLIRError as error:
        raise InternalError(f"a kernel cannot be lowered to LLVM: {error}", code="bad-kernel") from error


def to_llvm_ir(module: ir.Operation) -> str:
    """The LLVM IR text of a module in the LLVM dialect, in the syntax of LLVM 22.

    Raises:
        InternalError: `bad-kernel`, if the module is not valid, or an operation of another dialect is left: the
            translation would crash.
    """
    _require_llvm_only(module)
    try:
        module.verify()
    except ir.MLIRError as error:
        raise InternalError(f"a kernel was lowered to invalid IR: {error}", code="bad-kernel") from error
    return with_old_floats(llvm.translate_module_to_llvmir(module))


def _require_llvm_only(module: ir.Operation) -> None:
    left: list[ir.Operation] = []

    def look(op: ir.Operation) -> ir.WalkResult:
        if op.name.startswith(("llvm.", "nvvm.")) or op.name == "builtin.module":
            return ir.WalkResult.ADVANCE
        left.append(op)
        return ir.WalkResult.INTERRUPT

    module.walk(look)
    if left:
        message = f"{left[0].name} is left in a kernel that should be in the LLVM dialect"
        raise InternalError(message, code="bad-kernel", op=left[0].name, node=str(left[0].location))


def with_old_floats(text: str) -> str:
    """Float constants as LLVM 22 reads them.

    LLVM 24 prints a float's bits as `f0x3F800000`, or the shortest decimal that rounds to it; LLVM 22 wants the bits of
    the double that equals it, and takes a decimal only where it is exact.
    """
    return "\n".join(_FLOAT.sub(_OldFloat(line), line) if _may_hold_float(line) else line for line in text.split("\n"))


def _may_hold_float(line: str) -> bool:
    """Quickly: most lines hold none."""
    return "f0x" in line or "inf" in line or "nan" in line or _DECIMAL.search(line) is not None


class _OldFloat:
    """Rewrites the constants of one line; a constant's type is the nearest type name before it."""

    def __init__(self, line: str):
        self.line = line

    def __call__(self, match: re.Match[str]) -> str:
        types = _TYPE.findall(self.line[: match.start()])
        if not types:
            return match[0]
        if match[1] is not None:
            return _from_bits(match[1], types[-1])
        return _from_decimal(float(match[0].replace("q", "")), types[-1])


def _from_decimal(value: float, type_: str) -> str:
    if type_ == "double":
        return _double_hex(value)
    if type_ == "float":
        return _double_hex(float(np.float32(value)))
    narrow = np.array(value, dtype=ml_dtypes.bfloat16 if type_ == "bfloat" else np.float16)
    return _from_bits(f"{narrow.view(np.uint16):04X}", type_)


def _from_bits(digits: str, type_: str) -> str:
    if len(digits) == 4:
        return f"0x{'R' if type_ == 'bfloat' else 'H'}{digits}"
    if len(digits) == 16:
        return f"0x{digits}"
    (value,) = struct.unpack(">f", bytes.fromhex(digits))
    return f"0x{_nan_as_double(int(digits, 16)):016X}" if math.isnan(value) else _double_hex(value)


def _double_hex(value: float) -> str:
    return f"0x{struct.pack('>d', value).hex().upper()}"


def _nan_as_double(bits: int) -> int:
    """A float NaN's sign and payload in a double: conversion by hardware would quiet it."""
    return (bits >> 31) << 63 | 0x7FF << 52 | (bits & 0x7FFFFF) << 29
