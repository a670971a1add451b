"""The GPU of this machine, for tests: whether there is one, and a dispatch run on it between guard zones."""

import functools
from collections.abc import Sequence

import numpy as np

from lumir.diagnostics import LumirError
from lumir.measure import Bench, CompiledDispatch
from lumir.runtime.cuda import device_capability


@functools.cache
def gpu_is_there() -> bool:
    """Whether the driver loads and sees a GPU."""
    try:
        device_capability()
    except LumirError:
        return False
    return True


@functools.cache
def bench() -> Bench:
    return Bench()


def run(kernel: CompiledDispatch, inputs: Sequence[np.ndarray], text: str | None = None) -> list[np.ndarray]:
    """What a kernel makes of these inputs; its outputs are poisoned before, and so is the memory around every buffer.

    Args:
        text: the dispatch with the sizes of the kernel's plan, if they were open when it was compiled.

    Raises:
        WrongResult: it wrote outside its outputs.
    """
    case = bench().case(text or kernel.text, sets=1)
    case.set_inputs(inputs)
    return case.results(kernel)
