"""How a schedule of the family `skinny` deals out a dispatch's work."""

import math
from dataclasses import dataclass
from functools import cached_property

from lumir.dtypes import bit_size, byte_size
from lumir.kernels.contraction_space import ContractionSpace
from lumir.kernels.dispatch import Dispatch, element_of, shape_of
from lumir.kernels.nvidia.mbarrier import BYTES
from lumir.kernels.nvidia.mma import CHUNK_BYTES, WARP
from lumir.kernels.nvidia.skinny_facts import QUAD, SkinnyFacts
from lumir.mlir import ir
from lumir.schedule.schedule import Schedule

Value = ir.Value


@dataclass(frozen=True)
class SkinnySchedule(Schedule):
    """How the weight is dealt out. Its rows are the product's many columns.

    Args:
        instruction: "mma" (tensor cores, the weight as the 16-row operand) or "simt" (multiply-adds on any type).
        rows: of the weight that a warp sums side by side.
        warps: that share those rows and split k between them.
        across: how many such groups of warps stand side by side in a workgroup, each with rows of its own.
        unroll: 16-byte loads of a row that a thread has under way.
        split: workgroups that split k between them, as one cluster.
        ahead: KiB of its part of the weight that a workgroup asks for before it waits for the kernels ahead of it.
        stages: 0 to load into registers; else the weight goes through rings in shared memory, of so many places for
            each warp. A place takes `unroll` loads of every row, and the workgroups stay, from tile to tile.
        resident: workgroups that a multiprocessor holds, where they stay.
        keep: they keep their part of the activations in shared memory.
    """

    instruction: str = "mma"
    rows: int = 16
    warps: int = 8
    across: int = 1
    unroll: int = 4
    split: int = 1
    ahead: int = 0
    stages: int = 0
    resident: int = 1
    keep: bool = False

    @property
    def block(self) -> int:
        return WARP * self.warps * self.across

    @property
    def tile(self) -> int:
        """Rows of the weight that a workgroup (or a cluster) sums."""
        return self.rows * self.across

    @property
    def parts(self) -> int:
        """Sums of different k that make up one element."""
        return self.warps * self.split


@dataclass(frozen=True)
class SkinnyProblem:
    """A dispatch and schedule."""

    dispatch: Dispatch
    schedule: SkinnySchedule
    facts: SkinnyFacts
    programmatic: bool
    multiprocessors: int

    @property
    def bytes_ahead(self) -> int:
        """Of each row, fetched before the kernels ahead are done."""
        stored = self.facts.stored
        if stored not in self.dispatch.unwritten or not self.facts.contiguous:
            return 0
        whole = self.sizes[3] * bit_size(element_of(stored)) // 8
        return min(whole, self.schedule.ahead * 1024 // self.schedule.tile) // CHUNK_BYTES * CHUNK_BYTES

    @property
    def space(self) -> ContractionSpace:
        return self.facts.space

    @property
    def lanes(self) -> int:
        return self.facts.lanes

    @cached_property
    def sizes(self) -> tuple[int, int, int, int]:
        """Batches, rows of the activations, rows of the weight, k."""
        return self.space.shape

    @property
    def rows(self) -> int:
        """Of the weight in each band."""
        return self.sizes[2] // len(self.facts.bands)

    @property
    def columns(self) -> int:
        """Rows of the weight in each band of a tile."""
        return self.schedule.tile // len(self.facts.bands)

    @property
    def narrow(self) -> bool:
        """Whether every position is below 2**31."""
        tensors = (*self.dispatch.arguments, *self.dispatch.results, self.facts.weight)
        return all(math.prod(shape_of(v)) < 2**30 for v in tensors)

    @property
    def weight_bits(self) -> int:
        """Of an element of the weight in memory."""
        return bit_size(element_of(self.facts.stored))

    @property
    def chunk(self) -> int:
        """k that one load of each thread of a warp covers: four threads share a row with mma, all 32 without."""
        return self.lanes * (QUAD if self.schedule.instruction == "mma" else WARP)

    @property
    def steps(self) -> int:
        """Turns of the loop, in which each part of k is `unroll` whole chunks."""
        return self.sizes[3] // self.chunk // (self.schedule.parts * self.schedule.unroll)

    @property
    def rest(self) -> int:
        """Chunks after the loop; the last may be ragged."""
        whole = self.steps * self.schedule.parts * self.schedule.unroll
        return -(-self.sizes[3] // self.chunk) - whole

    @property
    def tiles(self) -> int:
        return -(-self.sizes[2] // self.schedule.tile)

    @property
    def grid(self) -> tuple[int, int, int]:
        if not self.schedule.stages:
            return self.tiles, self.sizes[0], 1
        return self.clusters * self.schedule.split, self.sizes[0], 1

    @property
    def clusters(self) -> int:
        """Groups of workgroups that take a tile together, where they stay."""
        return min(self.tiles, self.multiprocessors * self.schedule.resident // self.schedule.split)

    @property
    def pitch(self) -> int:
        """Elements between the partial sums of two rows of activations: padded, so that a warp meets all banks."""
        return self.schedule.tile + 4

    @property
    def partial_bytes(self) -> int:
        return self.schedule.warps * self.sizes[1] * self.pitch * byte_size(self.space.accumulator)

    @property
    def ring(self) -> "Ring":
        return Ring(self)

    @property
    def shared_bytes(self) -> int:
        return self.ring.nbytes if self.schedule.stages else self.partial_bytes


@dataclass(frozen=True)
class Ring:
    """The places in shared memory that the weight goes through, each warp's own.

    A line is what a place holds of one row: `unroll` loads of four threads. Lines lie an odd number of 64 bytes apart,
    so that the eight threads that read 16 bytes at once, of two rows, meet all banks.
    """

    problem: SkinnyProblem

    @property
    def line(self) -> int:
        """Bytes of a row."""
        return self.problem.schedule.unroll * QUAD * CHUNK_BYTES

    @property
    def pitch(self) -> int:
        return self.line if self.problem.schedule.unroll % 2 else self.line + QUAD * CHUNK_BYTES

    @property
    def place(self) -> int:
        """Bytes of a place."""
        return self.problem.schedule.tile * self.pitch

    @property
    def places(self) -> int:
        return self.problem.schedule.warps * self.problem.schedule.stages

    @property
    def nbytes(self) -> int:
        """Shared memory of a workgroup: the places, the sums of two tiles, and the activations that are kept."""
        problem, schedule = self.problem, self.problem.schedule
        sums = 2 * (problem.partial_bytes + (self.exchange * 4 if schedule.split > 1 else 0))
        kept = problem.sizes[1] * self.kept_pitch if schedule.keep else 0
        return self.places * (self.place + BYTES) + sums + kept + 3 * 128

    @property
    def exchange(self) -> int:
        """Sums that a workgroup gets from those of its cluster for one tile."""
        return self.problem.schedule.split * self.share

    @property
    def share(self) -> int:
        """Elements of a tile that one workgroup of a cluster stores."""
        return -(-self.problem.schedule.tile * self.problem.sizes[1] // self.problem.schedule.split)

    @property
    def kept(self) -> int:
        """k of a row of activations that a workgroup multiplies."""
        return self.turns * self.problem.schedule.warps * self.depth

    @property
    def kept_pitch(self) -> int:
        """Bytes between the rows of activations that are kept."""
        nbytes, line = self.kept * 2, QUAD * CHUNK_BYTES
        return nbytes if nbytes // line % 2 else nbytes + line

    @property
    def depth(self) -> int:
        """k of a place."""
        return self.problem.schedule.unroll * self.problem.chunk

    @property
    def turns(self) -> int:
        """Places that each warp reads for one tile; the last ones may lie beyond k."""
        return -(-self.problem.sizes[3] // (self.depth * self.problem.schedule.parts))

    @property
    def ragged(self) -> bool:
        return self.problem.sizes[3] % (self.depth * self.problem.schedule.parts) > 0
