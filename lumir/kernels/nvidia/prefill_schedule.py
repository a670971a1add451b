"""How the family `prefill` is tiled, and what follows from it for one dispatch."""

from dataclasses import dataclass
from functools import cached_property

from lumir.artifact.tensor_map import TensorMap
from lumir.kernels.attention_mask import Band, plain_scale
from lumir.kernels.attention_space import AttentionSpace
from lumir.kernels.dispatch import Dispatch, remembered
from lumir.kernels.nvidia.attention import scores_scatter
from lumir.kernels.nvidia.attention_tma import LINE_ELEMENTS, TiledAttention, matrices_along
from lumir.kernels.nvidia.contraction_store import store_lanes
from lumir.kernels.nvidia.tma_operand import Matrices
from lumir.kernels.nvidia.wgmma import LINE, ROWS, WARPGROUP
from lumir.schedule.schedule import Schedule
from lumir.sizes import Dim, divisor, typical

REGISTERS = {
    (1, 1): (24, 240),
    (2, 1): (24, 240),
    (3, 1): (32, 160),
    (1, 2): (24, 232),
    (2, 2): (32, 104),
    (1, 3): (24, 136),
}
"""Of a thread that copies and of one that multiplies, by multiplying warpgroups and blocks of a multiprocessor."""
_BARRIER_BYTES = 256
_L2_BYTES = 24e6  # keys and values that blocks which run together should share at most


@dataclass(frozen=True)
class PrefillSchedule(Schedule):
    """Args:
    groups: warpgroups that multiply, each for 64 query rows.
    n: keys of a step, a multiple of 16.
    stages: tiles of keys, and as many of values, in shared memory at once.
    turns: the warpgroups take turns at starting products.
    resident: blocks of a multiprocessor at once.
    """

    groups: int = 2
    n: int = 128
    stages: int = 2
    turns: bool = True
    resident: int = 1

    @property
    def m(self) -> int:
        return ROWS * self.groups

    @property
    def threads(self) -> int:
        return (self.groups + 1) * WARPGROUP


@dataclass(frozen=True)
class Reading:
    """How TMA reads queries and keys, lines along their depth, and values, lines along their columns."""

    query: Matrices
    key: Matrices
    value: Matrices


@dataclass(frozen=True)
class PrefillProblem(TiledAttention):
    """A dispatch and schedule, with what the kernel needs to know of them."""

    dispatch: Dispatch
    schedule: PrefillSchedule
    space: AttentionSpace
    reading: Reading

    @property
    def heads(self) -> Dim:
        """Query heads that share a key head."""
        return self.space.shape[1] // self.space.queries

    @property
    def columns(self) -> int:
        """Columns that are multiplied."""
        return -(-self.space.shape[4] // 8) * 8

    @property
    def query_tiles(self) -> Dim:
        return -(-self.space.queries // self.schedule.m)

    @property
    def query_bytes(self) -> int:
        return self.depth_lines * self.schedule.m * LINE

    @property
    def key_bytes(self) -> int:
        """Of one stage."""
        return self.depth_lines * self.schedule.n * LINE

    @property
    def value_bytes(self) -> int:
        return self.column_lines * self.schedule.n * LINE

    @property
    def shared_bytes(self) -> int:
        return self.query_bytes + self.schedule.stages * (self.key_bytes + self.value_bytes) + _BARRIER_BYTES

    @property
    def registers(self) -> tuple[int, int]:
        return REGISTERS[self.schedule.groups, self.schedule.resident]

    @property
    def scale(self) -> float | None:
        """Where scores are products times this, in a band at most; None where the dispatch does more to them."""
        return remembered(self.dispatch, "plain_scale", lambda _: plain_scale(self.space.scores))

    @property
    def is_banded(self) -> bool:
        """Whether which keys count depends on the query, by a rule that `scale` leaves out."""
        return self.scale is not None and self.space.band != Band()

    @property
    def is_masked(self) -> bool:
        """Whether some keys of the last tile may not count."""
        return self.is_banded or self.space.shape[2] % self.schedule.n != 0

    @cached_property
    def lanes(self) -> int:
        """Neighbouring columns that are stored at once: a thread's two, or eight of four threads."""
        lanes = store_lanes(self.dispatch, self.space.second)
        return 8 if lanes == 8 and self.columns % 32 == 0 else min(lanes, 2)

    @cached_property
    def score_lanes(self) -> int:
        """Neighbouring keys whose scores are computed at once."""
        return 2 if self.space.shape[2] % 2 == 0 and not scores_scatter(self.dispatch, self.space, 2) else 1

    @property
    def tensor_maps(self) -> tuple[TensorMap, ...]:
        s, read = self.schedule, self.reading
        return (
            read.query.tensor_map(s.m, LINE_ELEMENTS),
            read.key.tensor_map(s.n, LINE_ELEMENTS),
            read.value.tensor_map(s.n, LINE_ELEMENTS),
        )

    def broken_boxes(self) -> list[str]:
        """Why tiles of queries, keys and values are not one box of each line, where they lie in several runs."""
        s, queries, read = self.schedule, self.space.queries, self.reading
        reasons = [r for matrices in (read.key, read.value) for r in matrices.problems(s.n, LINE_ELEMENTS)]
        run = read.query.lines[-1][0] if len(read.query.lines) > 1 else queries
        if run % queries != 0 and (run % s.m != 0 or queries % s.m != 0):
            reasons.append(f"runs of {run} queries are neither whole heads nor whole boxes of {s.m}")
        return reasons

    @property
    def blocks(self) -> Dim:
        return self.space.shape[0] * self.heads * self.query_tiles

    @property
    def together(self) -> int:
        """Heads (of all batches) whose tiles run side by side: a divisor of their number."""
        batch, _, keys, depth, columns = self.space.shape
        heads = batch * self.heads
        most = max(int(_L2_BYTES * typical(self.heads) / (typical(keys) * (depth + columns) * 2)), 1)
        return max(d for d in range(1, divisor(heads) + 1) if heads % d == 0 and d <= most)


def problem_of(dispatch: Dispatch, schedule: PrefillSchedule) -> PrefillProblem:
    space, reading = remembered(dispatch, "attention_space", AttentionSpace.of), reading_of(dispatch)
    assert space is not None and reading is not None
    return PrefillProblem(dispatch, schedule, space, reading)


def reading_of(dispatch: Dispatch) -> Reading | None:
    return remembered(dispatch, "prefill_reading", _read)


def _read(dispatch: Dispatch) -> Reading | None:
    space = remembered(dispatch, "attention_space", AttentionSpace.of)
    assert space is not None
    query = matrices_along(dispatch, space.first, space.first.lhs, along_k=True)
    key = matrices_along(dispatch, space.first, space.first.rhs, along_k=True)
    value = matrices_along(dispatch, space.second, space.second.rhs, along_k=False)
    return None if query is None or key is None or value is None else Reading(query, key, value)
