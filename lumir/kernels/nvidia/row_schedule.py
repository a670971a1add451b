"""How the family `rows` deals out a dispatch."""

from dataclasses import dataclass

from lumir.kernels.nvidia.exchange import WARP
from lumir.kernels.row_space import RowSpace
from lumir.schedule.schedule import Schedule
from lumir.sizes import is_static


@dataclass(frozen=True)
class RowsSchedule(Schedule):
    """How rows are dealt out.

    Args:
        threads: threads of a workgroup that share a row, a power of two.
        rows: rows side by side in a workgroup, a power of two; groups of `lanes` rows if `across`.
        lanes: neighbouring elements of one access: of the last reduced dimension, or of the last kept one if `across`.
        unroll: accesses of a thread that are written out one after the other.
        across: neighbouring threads take neighbouring rows instead of neighbouring elements of one row.
        cluster: workgroups that share a row, and join what they have through their shared memory.
        ahead: each workgroup has the rows brought to the L2 cache that come so many workgroups later; 0 for none.
    """

    threads: int = 32
    rows: int = 4
    lanes: int = 1
    unroll: int = 1
    across: bool = False
    cluster: int = 1
    ahead: int = 0

    @property
    def block(self) -> int:
        return self.threads * self.rows

    @property
    def workgroups(self) -> int:
        """Workgroups that share a row."""
        return self.cluster

    @property
    def members(self) -> int:
        """Threads that share a row."""
        return self.threads * self.workgroups

    @property
    def columns(self) -> int:
        """Elements of a row that its threads take with one access each."""
        return self.members * (1 if self.across else self.lanes)

    @property
    def tile(self) -> int:
        """Rows of a workgroup, or of a cluster."""
        return self.rows * (self.lanes if self.across else 1)

    @property
    def apart(self) -> int:
        """In how many warps the threads of one row are, if `across`."""
        return self.threads // min(self.threads, max(1, WARP // self.rows))

    def keeps(self, space: RowSpace) -> bool:
        """Whether a row's values stay in registers from pass to pass."""
        return is_static(space.row_size) and self.unroll * self.columns >= space.row_size


@dataclass(frozen=True)
class RowPartsSchedule(RowsSchedule):
    """The same, with workgroups that leave what they have of a row in memory, where the last of them joins it.

    Args:
        parts: workgroups that share a row.
    """

    parts: int = 2

    @property
    def workgroups(self) -> int:
        return self.parts
