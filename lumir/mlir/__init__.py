"""The one place that picks the MLIR Python bindings.

Everything else writes `from lumir.mlir import ir, arith, ...` and does not know which package hosts them:
LLVM's own `mlir` when it is installed, else the complete upstream bindings inside `torch_mlir`.
"""

import importlib
from typing import Any

try:
    import mlir.ir as _probe  # pyright: ignore[reportMissingImports]  # noqa: F401

    _HOST = "mlir"
except ImportError:
    _HOST = "torch_mlir"

ir = importlib.import_module(f"{_HOST}.ir")
PassManager = importlib.import_module(f"{_HOST}.passmanager").PassManager

_BASIC = {"affine", "arith", "cf", "func", "math", "memref", "scf", "tensor", "vector"}
_DIALECTS = frozenset({*_BASIC, "ext", "gpu", "irdl", "linalg", "llvm", "nvgpu", "nvvm"})


def __getattr__(name: str) -> Any:
    """Import a dialect's builders on first use: a tool that needs two of them does not pay for sixteen."""
    if name == "ods":
        return importlib.import_module(f"{_HOST}.dialects._ods_common")
    if name not in _DIALECTS:
        raise AttributeError(f"lumir.mlir has no dialect {name!r}")
    return importlib.import_module(f"{_HOST}.dialects.{name}")
