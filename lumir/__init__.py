"""lumir: an ahead-of-time compiler for neural networks.

executable = lumir.compile("model.onnx")      # lumir.api.compile
executable = lumir.load("model.lumir")        # lumir.runtime.load
outputs = executable.run({"x": array})
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lumir.api import compile  # pyright: ignore[reportMissingImports]
    from lumir.runtime import Executable, load

__version__ = "0.1.0"
__all__ = ["Executable", "__version__", "compile", "load"]

_HOMES = {"compile": "lumir.api", "load": "lumir.runtime", "Executable": "lumir.runtime"}


def __getattr__(name: str) -> Any:
    """Import on first use: loading an artifact must not import the compiler."""
    if name not in _HOMES:
        raise AttributeError(f"module 'lumir' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
