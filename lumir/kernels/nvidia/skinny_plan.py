"""How a schedule of the family `skinny` deals out a dispatch's work."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from lumir.dtypes import bit_size, byte_size
from lumir.kernels.contraction_space import ContractionSpace
from lumir.kernels.dispatch import Dispatch, element_of, shape_of
from lumir.kernels.nvidia.dequantise import depends_on
from lumir.kernels.nvidia.mbarrier import BYTES
from lumir.kernels.nvidia.mma import CHUNK_BYTES, WARP
from lumir.kernels.nvidia.programmatic import is_programmatic
from lumir.kernels.nvidia.skinny_facts import QUAD, SkinnyFacts
from lumir.kernels.nvidia.skinny_packed_stream import PackedStream
from lumir.kernels.nvidia.skinny_stream import Stream
from lumir.mlir import ir
from lumir.schedule.schedule import Schedule
from lumir.target import Target

Value = ir.Value


@dataclass(frozen=True)
class SkinnySchedule(Schedule):
    """How the weight is dealt out. Its rows are the product's many columns.

    Args:
        instruction: "mma" (tensor cores, the weight as the 16-row operand), "wgmma" (as the 64-row operand) or "simt"
            (multiply-adds on any type).
        rows: of the weight that a warp sums side by side; with wgmma a warpgroup.
        warps: that share those rows and split k between them; with wgmma the four of a warpgroup, which do not, or
            those of two or four warpgroups, which do, of a packed weight.
        across: how many such groups of warps stand side by side in a workgroup, each with rows of its own.
        unroll: 16-byte loads of a row that a thread has under way; with wgmma, of a packed weight in a stage.
        split: workgroups that split k between them, as one cluster, with wgmma.
        ahead: KiB of its part of the weight that a workgroup asks for before it waits for the kernels ahead of it.
        stages: 0 to load into registers; else the weight goes through rings in shared memory, of so many places for
            each warp. A place takes `unroll` loads of every row, and the workgroups stay, from tile to tile. With
            wgmma, of one ring for both operands, or for a packed weight.
        resident: workgroups that a multiprocessor has registers and shared memory for, at least.
    """

    instruction: Literal["mma", "wgmma", "simt"] = "mma"
    rows: int = 16
    warps: int = 8
    across: int = 1
    unroll: int = 4
    split: int = 1
    ahead: int = 0
    stages: int = 0
    resident: int = 1

    @property
    def block(self) -> int:
        """Threads of a workgroup; one more warp copies for wgmma."""
        return WARP * (self.warps * self.across + (self.instruction == "wgmma"))

    @property
    def tile(self) -> int:
        """Rows of the weight that a workgroup (or a cluster) sums."""
        return self.rows * self.across


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
    def weight_arguments(self) -> list[Value]:
        """The arguments that the weight is computed from."""
        return [argument for argument in self.dispatch.arguments if depends_on(self.facts.weight, argument)]

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
        return self.lanes * (WARP if self.schedule.instruction == "simt" else QUAD)

    @property
    def steps(self) -> int:
        """Turns of the loop, in which each part of k is `unroll` whole chunks."""
        return self.sizes[3] // self.chunk // (self.schedule.warps * self.schedule.unroll)

    @property
    def rest(self) -> int:
        """Chunks after the loop; the last may be ragged."""
        whole = self.steps * self.schedule.warps * self.schedule.unroll
        return -(-self.sizes[3] // self.chunk) - whole

    @property
    def tiles(self) -> int:
        return -(-self.sizes[2] // self.schedule.tile)

    @property
    def grid(self) -> tuple[int, int, int]:
        stays = self.schedule.stages and self.schedule.instruction == "mma"
        return self.staying if stays else self.tiles * self.schedule.split, self.sizes[0], 1

    @property
    def staying(self) -> int:
        """Workgroups that stay, from tile to tile."""
        return min(self.tiles, self.multiprocessors * self.schedule.resident)

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
    def stream(self) -> Stream:
        return Stream(self) if self.facts.packed is None else PackedStream(self)

    @property
    def shared_bytes(self) -> int:
        if self.schedule.instruction == "wgmma":
            return self.stream.nbytes
        return self.ring.nbytes if self.schedule.stages else self.partial_bytes


def problem_of(dispatch: Dispatch, schedule: SkinnySchedule, target: Target) -> SkinnyProblem:
    """Of a dispatch that has `SkinnyFacts`."""
    facts = SkinnyFacts.of(dispatch)
    assert facts is not None
    return SkinnyProblem(dispatch, schedule, facts, is_programmatic(target), target.multiprocessors)


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
        """Shared memory of a workgroup: the places, and the sums of two tiles."""
        return self.places * (self.place + BYTES) + 2 * self.problem.partial_bytes + 3 * 128

    @property
    def depth(self) -> int:
        """k of a place."""
        return self.problem.schedule.unroll * self.problem.chunk

    @property
    def turns(self) -> int:
        """Places that each warp reads for one tile; the last ones may lie beyond k."""
        return -(-self.problem.sizes[3] // (self.depth * self.problem.schedule.warps))

    @property
    def ragged(self) -> bool:
        return self.problem.sizes[3] % (self.depth * self.problem.schedule.warps) > 0
