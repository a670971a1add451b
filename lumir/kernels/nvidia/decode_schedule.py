"""How the family `decode` splits its work, and what follows from it for one dispatch."""

from dataclasses import dataclass
from functools import cached_property

from lumir.artifact.tensor_map import TensorMap
from lumir.kernels.attention_space import AttentionSpace
from lumir.kernels.contraction_space import ContractionSpace
from lumir.kernels.dispatch import Dispatch, element_of, remembered
from lumir.kernels.nvidia.attention_tma import LINE_ELEMENTS, TiledAttention, matrices_along
from lumir.kernels.nvidia.contraction_store import store_lanes
from lumir.kernels.nvidia.decode_parts import Parts
from lumir.kernels.nvidia.mbarrier import BYTES
from lumir.kernels.nvidia.mma import WARP
from lumir.kernels.nvidia.tiles_plan import plan_operand
from lumir.kernels.nvidia.tma_operand import Matrices
from lumir.kernels.nvidia.tma_pages import PagedMatrices, paged_along
from lumir.kernels.nvidia.wgmma import LINE
from lumir.schedule.schedule import Schedule
from lumir.sizes import Dim, low, maximum

ROWS = 16
"""Query rows of a block at most, in tiles of eight: what an `mma.sync` multiplies with sixteen keys."""


@dataclass(frozen=True)
class DecodeSchedule(Schedule):
    """Args:
    warps: of a block, that multiply.
    keys: of a warp's step, a multiple of 16.
    splits: blocks that share the keys of one batch and key head.
    stages: tiles of keys and values, a step of every warp, that TMA has in shared memory or on the way at once; 0 for
        warps that load what they multiply themselves.
    """

    warps: int = 8
    keys: int = 16
    splits: int = 1
    stages: int = 0

    @property
    def threads(self) -> int:
        return (self.warps + (self.stages > 0)) * WARP


@dataclass(frozen=True)
class Reading:
    """How TMA reads keys, lines along their depth, and values, lines along their columns."""

    key: Matrices | PagedMatrices
    value: Matrices | PagedMatrices


@dataclass(frozen=True)
class DecodeProblem(TiledAttention):
    """A dispatch and schedule, with what the kernel needs to know of them.

    Args:
        overlaps: the kernel starts while the launch before it ends.
    """

    dispatch: Dispatch
    schedule: DecodeSchedule
    space: AttentionSpace
    overlaps: bool = False

    @property
    def rows(self) -> int:
        """Of a block."""
        return min(self.space.shape[1], ROWS)

    @property
    def row_tiles(self) -> int:
        return -(-self.rows // 8)

    @property
    def row_groups(self) -> int:
        """Blocks beside each other that have other rows of the same batch and key head, and read the same keys."""
        return -(-self.space.shape[1] // ROWS)

    @property
    def groups(self) -> Dim:
        """Of all batches; the blocks of one share its rows and its keys."""
        return self.space.shape[0] * self.row_groups

    @property
    def blocks(self) -> Dim:
        return self.groups * self.schedule.splits

    @property
    def chunk(self) -> int:
        """Columns of a value that a thread loads at once; the warp's eight groups of threads have one chunk each."""
        return 8 if self.space.shape[4] % 64 == 0 else 4

    @property
    def first_key(self) -> Dim:
        """The first key that counts for any row."""
        return self.space.band.keys_of(self.space.queries, self.space.shape[2])[0]

    @property
    def keys(self) -> Dim:
        """Keys from there to the last that counts for any row."""
        return self.space.band.keys_of(self.space.queries, self.space.shape[2])[1]

    @property
    def is_ragged(self) -> bool:
        """Whether a step may go past the last key."""
        return (self.space.shape[2] - self.first_key) % self.tile != 0

    @property
    def tile(self) -> int:
        """Keys of a step: of one warp where each loads for itself, else of all."""
        return self.schedule.keys * (self.schedule.warps if self.schedule.stages else 1)

    @property
    def steps(self) -> Dim:
        return -(-self.keys // self.tile)

    @property
    def steps_of_split(self) -> Dim:
        return maximum(-(-self.steps // self.schedule.splits), 1)

    @property
    def tile_bytes(self) -> int:
        """Of a stage."""
        return self.tile * (self.depth_lines + self.column_lines) * LINE

    @property
    def parts(self) -> Parts:
        """What one warp or block hands on: of every row, its sums and their statistics."""
        return Parts(8 * self.row_tiles, self.space.shape[4])

    @property
    def shared_bytes(self) -> int:
        """Of the tiles, and after them of the warps' parts in the same place."""
        s = self.schedule
        tiles = s.stages * (self.tile_bytes + 2 * BYTES)
        return max(tiles, s.warps * self.parts.bytes)

    @cached_property
    def lanes(self) -> int:
        """Columns that a thread joins and stores at once: few enough for every thread to have some."""
        lanes = store_lanes(self.dispatch, self.space.second)
        while lanes > 1 and self.rows * self.space.shape[4] // lanes < self.schedule.warps * WARP:
            lanes //= 2
        return lanes

    @property
    def registers(self) -> int:
        """Of a thread, roughly: sums, queries, and a step's keys or values."""
        _, _, _, depth, columns = self.space.shape
        return self.row_tiles * (depth + columns) // 4 + self.schedule.keys * max(depth, columns) // 64 + 46

    @cached_property
    def reading(self) -> Reading | None:
        """None also where there may be no keys: a tensor map spans something."""
        return remembered(self.dispatch, "decode_reading", _reading) if low(self.space.shape[2]) > 0 else None

    @property
    def reads_ahead(self) -> bool:
        """Whether no kernel writes what TMA reads."""
        unwritten = {self.dispatch.arguments.index(a) for a in self.dispatch.unwritten}
        return self.reading is not None and unwritten.issuperset((*self.reading.key.args, *self.reading.value.args))

    @property
    def tensor_maps(self) -> tuple[TensorMap, ...]:
        if not self.schedule.stages or self.reading is None:
            return ()
        matrices = (self.reading.key, self.reading.value)
        return tuple(m.tensor_map(m.box_lines(self.tile), LINE_ELEMENTS) for m in matrices)


def problem_of(dispatch: Dispatch, schedule: DecodeSchedule, overlaps: bool = False) -> DecodeProblem:
    space = remembered(dispatch, "attention_space", AttentionSpace.of)
    assert space is not None
    return DecodeProblem(dispatch, schedule, space, overlaps)


def _reading(dispatch: Dispatch) -> Reading | None:
    space = remembered(dispatch, "attention_space", AttentionSpace.of)
    assert space is not None
    key = _along(dispatch, space.first, along_k=True)
    value = _along(dispatch, space.second, along_k=False)
    return None if key is None or value is None else Reading(key, value)


def _along(dispatch: Dispatch, product: ContractionSpace, *, along_k: bool) -> Matrices | PagedMatrices | None:
    dense = matrices_along(dispatch, product, product.rhs, along_k=along_k)
    return dense or paged_along(dispatch, product, product.rhs, along_k=along_k, box_columns=LINE_ELEMENTS)


def reads_in_chunks(dispatch: Dispatch) -> bool:
    """Whether queries and keys come in whole chunks along their depth, values along their columns."""
    space = remembered(dispatch, "attention_space", AttentionSpace.of)
    assert space is not None
    _, _, _, depth, columns = space.shape
    if depth % 32 or columns % 32 or max(depth, columns) > 256:
        return False
    element = element_of(space.first.operand(0))
    reads = [(space.first, space.first.lhs, True), (space.first, space.first.rhs, True)]
    reads.append((space.second, space.second.rhs, False))
    plans = [plan_operand(dispatch, product, number, element, (along_k,)) for product, number, along_k in reads]
    return all(plan.lanes == 8 for plan in plans)
