"""Run artifacts. Needs numpy and, for GPUs, the driver; imports no compiler."""

from lumir.runtime.executable import Executable, load

__all__ = ["Executable", "load"]
