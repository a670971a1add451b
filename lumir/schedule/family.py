"""What a kernel family says, and the table of families by target."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from lumir.artifact.tensor_map import TensorMap
from lumir.kernels.dispatch import Dispatch
from lumir.schedule.schedule import Schedule
from lumir.target import Target


@dataclass(frozen=True)
class KernelCode:
    """What `emit` returns: the launch that the kernel it wrote expects.

    Args:
        grid: workgroups along x, y, z; a `lumir.sizes.Size` stands where a number depends on the launch.
        block: threads of a workgroup; 1 on a CPU.
        shared_bytes: dynamic shared memory of a workgroup.
        workspace_bytes: memory of the launch alone, with any contents, whose pointer follows those of the results.
        counters: 32-bit counters that are zero before the launch and that it leaves so; their pointer comes last.
        tensor_maps: parameters by value, between the buffers and the scalars.
        cluster: workgroups of a cluster along x, y, z; the grid is whole clusters.
        pdl: the kernel may start before the launch ahead of it is done (programmatic dependent launch), and waits
            for it itself (`griddepcontrol.wait`) before it touches what another kernel may have written, or read.
    """

    grid: tuple[int, int, int]
    block: int = 1
    shared_bytes: int = 0
    workspace_bytes: int = 0
    counters: int = 0
    tensor_maps: tuple[TensorMap, ...] = ()
    cluster: tuple[int, int, int] = (1, 1, 1)
    pdl: bool = False


class Family(Protocol):
    """One kind of kernel on one kind of target.

    A family whose class says `symbolic = True` also takes dispatches with sizes that are not fixed. One with a method
    `contested(dispatch)` says where even the general family, which computes every element by itself, may be faster.
    """

    name: ClassVar[str]
    schedule: ClassVar[type[Schedule]]

    def match(self, dispatch: Dispatch, target: Target) -> bool:
        """Whether this family can run the dispatch."""
        ...

    def space(self, dispatch: Dispatch, target: Target) -> Iterable[Schedule]:
        """Schedules worth trying, the most promising first."""
        ...

    def legal(self, dispatch: Dispatch, schedule: Any, target: Target) -> list[str]:
        """Why the schedule cannot run; empty if it can."""
        ...

    def cost(self, dispatch: Dispatch, schedule: Any, target: Target) -> float:
        """Estimated seconds, for choosing where nothing was measured."""
        ...

    def emit(self, dispatch: Dispatch, schedule: Any, target: Target, name: str) -> KernelCode:
        """Write the kernel function `name` at the insertion point."""
        ...
