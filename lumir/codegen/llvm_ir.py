"""Step 7, first half: kernels in arith, scf, vector and llvm -> LLVM IR text that llvmlite's LLVM reads."""

import re
import struct

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

_FLOAT = re.compile(r"\bf0x([0-9A-F]+)\b")
_TYPE = re.compile(r"\b(half|bfloat|float|double)\b")


def to_llvm_dialect(module: ir.Operation) -> None:
    """Lower a module of functions to the LLVM dialect, in place."""
    PassManager.parse(f"builtin.module({','.join(_TO_LLVM)})").run(module)


def to_llvm_ir(module: ir.Operation) -> str:
    """The LLVM IR text of a module in the LLVM dialect, in the syntax of LLVM 22."""
    return with_old_floats(llvm.translate_module_to_llvmir(module))


def with_old_floats(text: str) -> str:
    """LLVM 24 prints a float's bits as `f0x3F800000`; LLVM 22 reads the bits of the double that equals it."""
    if "f0x" not in text:
        return text
    return "\n".join(_FLOAT.sub(_OldFloat(line), line) if "f0x" in line else line for line in text.split("\n"))


class _OldFloat:
    """Rewrites the constants of one line; 16-bit constants take the nearest type name before them."""

    def __init__(self, line: str):
        self.line = line

    def __call__(self, match: re.Match[str]) -> str:
        digits = match[1]
        if len(digits) == 4:
            type_ = _TYPE.findall(self.line[: match.start()])[-1]
            return f"0x{'R' if type_ == 'bfloat' else 'H'}{digits}"
        if len(digits) == 16:
            return f"0x{digits}"
        (value,) = struct.unpack(">f", bytes.fromhex(digits))
        if value != value:
            return f"0x{_nan_as_double(int(digits, 16)):016X}"
        return f"0x{struct.pack('>d', value).hex().upper()}"


def _nan_as_double(bits: int) -> int:
    """A float NaN's sign and payload in a double: conversion by hardware would quiet it."""
    return (bits >> 31) << 63 | 0x7FF << 52 | (bits & 0x7FFFFF) << 29
