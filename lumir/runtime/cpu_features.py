"""Can this CPU run that code? Answered from the kernel's list of CPU flags."""

import platform
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from lumir.diagnostics import UserError

_KERNEL_NAMES = {"bmi": "bmi1", "sha": "shani", "sse3": "pni", "lzcnt": "abm", "pclmul": "pclmulqdq"}
_CODE_GENERATION = frozenset(
    {
        *("abm", "adx", "aes", "bmi1", "bmi2", "cx16", "f16c", "fma", "fma4", "gfni", "movbe", "pclmulqdq", "popcnt"),
        *("pni", "shani", "sse41", "sse42", "sse4a", "ssse3", "tbm", "vaes", "vpclmulqdq", "xop"),
        *("amxtile", "amxbf16", "amxint8", "amxfp16"),
    }
)
"""What the compiler may emit, beside AVX; other features differ between CPUs that run the same code."""


def _flag(feature: str) -> str:
    """LLVM's name of a feature (`sse4.1`, `avx512bf16`, `bmi`) -> the kernel's without separators (`sse41`, `bmi1`)."""
    return "".join(c for c in _KERNEL_NAMES.get(feature, feature) if c not in "._-")


def _is_needed(flag: str) -> bool:
    is_avx = flag.startswith("avx") and not flag.startswith("avx10")  # AVX10 names what AVX-512 flags already say
    return flag in _CODE_GENERATION or is_avx


@lru_cache(maxsize=1)
def host_flags() -> frozenset[str]:
    """The flags of this machine's first CPU, without separators."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("flags"):
            return frozenset(_flag(flag) for flag in line.split(":", 1)[1].split())
    return frozenset()


def missing_features(features: Iterable[str], flags: frozenset[str]) -> list[str]:
    """The features that code may use and that `flags` lacks, sorted."""
    flag_of = {feature: _flag(feature) for feature in features}
    return sorted(feature for feature, flag in flag_of.items() if _is_needed(flag) and flag not in flags)


def check_cpu(target: Mapping[str, Any]) -> None:
    """Raise `UserError` (`wrong-target`) when code for `target` cannot run on this machine."""
    if platform.machine() not in ("x86_64", "AMD64") or platform.system() != "Linux":
        raise UserError(
            f"the artifact is for x86-64 Linux, and this machine is {platform.system()} {platform.machine()}",
            code="wrong-target",
            hint="CPU artifacts run on x86-64 Linux; 64-bit Arm is not supported",
        )
    missing = missing_features(target.get("features", ()), host_flags())
    if missing:
        raise UserError(
            "this CPU lacks instructions that the artifact uses",
            code="wrong-target",
            values={"missing": ", ".join(missing), "compiled for": target.get("cpu", "unknown")},
            hint="compile the model for this CPU, or for a level that all your machines have (x86-64-v3)",
        )
