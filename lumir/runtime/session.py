"""What an executable asks of a device: prepare a plan once, then run it many times."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from lumir.artifact.plan import Plan
from lumir.artifact.tensors import BufferRef
from lumir.runtime.inputs import Tensor


@dataclass(frozen=True)
class LaunchResult:
    """What one launch left behind.

    Args:
        index: the launch's place in the plan.
        kernel: its kernel's name, or `copy`.
        outputs: the tensors that the plan names as results of this launch, copied to host memory.
        microseconds: wall time of this launch alone, with its overhead.
    """

    index: int
    kernel: str
    nodes: tuple[str, ...]
    outputs: Mapping[str, np.ndarray]
    microseconds: float


class Session(Protocol):
    """One plan on one device. Inputs are checked; not reentrant."""

    def run(self, inputs: Sequence[Tensor], outputs: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        """Run the plan; a given output array (dense, of the right type) is written in place."""
        ...

    def run_device(self, inputs: Sequence[Tensor]) -> list[Any]:
        """Run the plan; outputs stay in the device's memory and have `__dlpack__`."""
        ...

    def run_each(self, inputs: Sequence[Tensor]) -> Iterator[LaunchResult]:
        """Run the plan launch by launch."""
        ...


class DeviceSession(Session, Protocol):
    """A session whose plan is one list of launches: what a device prepares."""

    def read(self, source: BufferRef) -> int:
        """The int64 at a place in the arena, after a run."""
        ...


class Device(Protocol):
    """A device with an artifact's code and weights on it."""

    name: str
    stream: int | None

    def session(self, plan: Plan) -> DeviceSession: ...

    def close(self) -> None: ...
