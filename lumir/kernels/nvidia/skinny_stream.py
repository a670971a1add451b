"""How both operands of a skinny product go through shared memory to wgmma."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lumir.artifact.tensor_map import TensorMap
from lumir.dtypes import byte_size
from lumir.kernels.dispatch import element_of, remembered
from lumir.kernels.index import Index, IndexMath
from lumir.kernels.nvidia.mbarrier import BYTES
from lumir.kernels.nvidia.tma_operand import Matrices, operand_of
from lumir.kernels.nvidia.wgmma import LINE, ROWS, Kinds
from lumir.mlir import ir
from lumir.target import Target

if TYPE_CHECKING:
    from lumir.kernels.nvidia.skinny_plan import SkinnyProblem

Value = ir.Value
CLUSTERS = (1, 2, 4, 8)
_LARGE = 4
"""Workgroups of a cluster from which on a few multiprocessors are left over."""
MOST_GROUPS = 4
"""Warpgroups of a workgroup that multiply."""


def clusters_at_once(split: int, target: Target) -> int:
    """Clusters of so many workgroups that run at once, one workgroup on a multiprocessor: 132, 66, 30, 15 of 132."""
    found = target.multiprocessors if split < _LARGE else target.multiprocessors * 10 // 11
    return found // split


@dataclass(frozen=True)
class Stream:
    """The ring that both operands go through.

    A stage is 128 bytes along k of the tile's rows, and behind them of the rows of activations. Each workgroup of a
    cluster has a part of k, of whole stages. Beyond the end of k the copy engine brings zeros, and for rows that the
    activations do not have.
    """

    problem: "SkinnyProblem"
    warps: ClassVar[tuple[int, ...]] = (4,)

    @property
    def rows(self) -> int:
        """Of the weight, in a stage."""
        return self.problem.schedule.tile

    @property
    def columns(self) -> int:
        """Rows of activations in a stage: the instruction's columns."""
        return -(-self.problem.sizes[1] // 8) * 8

    @property
    def kinds(self) -> Kinds:
        element = element_of(self.problem.facts.weight)
        kinds = Kinds.of(element, element)
        assert kinds is not None
        return kinds

    @property
    def k(self) -> int:
        """Elements of a stage along k."""
        return LINE // self.kinds.bytes

    @property
    def stages(self) -> int:
        return self.problem.schedule.stages

    @property
    def stage_bytes(self) -> int:
        return (self.rows + self.columns) * LINE

    @property
    def ring_bytes(self) -> int:
        """The ring, and what the instruction reads behind it: it multiplies 64 rows, however many there are."""
        behind = (ROWS - self.problem.schedule.rows - self.columns) * LINE
        return self.stages * self.stage_bytes + max(0, behind)

    @property
    def all_steps(self) -> int:
        """Stages along all of k."""
        return -(-self.problem.sizes[3] // self.k)

    @property
    def least_steps(self) -> int:
        """Stages along the part of k of one workgroup, or one more."""
        return self.all_steps // self.problem.schedule.split

    @property
    def even(self) -> bool:
        """Whether all workgroups of a cluster have the same number of stages."""
        return self.all_steps % self.problem.schedule.split == 0

    @property
    def teams(self) -> int:
        """Warpgroups of a workgroup that share rows, and take stages by turns.

        The ring is whole turns: each stage is always the same team's, since a barrier tells a fill from the one before
        it only to who has waited for that.
        """
        return self.problem.schedule.warps // 4

    @property
    def parts(self) -> int:
        """Sums that are joined of each element."""
        return self.problem.schedule.split * self.teams

    @property
    def elements(self) -> int:
        """Of the product, in a tile."""
        return self.rows * self.problem.sizes[1]

    @property
    def share(self) -> int:
        """Elements of a tile that one workgroup of a cluster stores."""
        return -(-self.elements // self.problem.schedule.split)

    @property
    def nbytes(self) -> int:
        """Shared memory of a workgroup: the ring, its barriers, and the sums that it gets from its cluster."""
        received = self.parts * self.share * byte_size(self.problem.space.accumulator)
        return self.ring_bytes + 2 * BYTES * self.stages + received + 3 * 128

    def tensor_maps(self) -> tuple[TensorMap, ...]:
        """Of the weight and of the activations."""
        assert self.matrices is not None
        weight, activations = self.matrices
        return weight.tensor_map(self.problem.columns, self.k), activations.tensor_map(self.columns, self.k)

    def weight_place(self, index: IndexMath, batch: Index, row: Index, step: Index) -> list[Value]:
        """The coordinates of the weight's box that starts at a row, for a stage along all of k."""
        assert self.matrices is not None
        return self.matrices[0].place(index, batch, row, index.scale(step, self.k))

    def activations_place(self, index: IndexMath, batch: Index, step: Index) -> list[Value]:
        assert self.matrices is not None
        return self.matrices[1].place(index, batch, Index(0), index.scale(step, self.k))

    @property
    def matrices(self) -> list[Matrices] | None:
        """The weight and the activations, if the copy engine can read both along k."""
        return remembered(self.problem.dispatch, "skinny_matrices", lambda _: self._matrices())

    def _matrices(self) -> list[Matrices] | None:
        space = self.problem.space
        operands = [operand_of(self.problem.dispatch, space, number) for number in (space.rhs, space.lhs)]
        found = [operand.matrices for operand in operands if operand is not None and operand.along_k]
        plain = [matrices for matrices in found if isinstance(matrices, Matrices)]
        return plain if len(plain) == len(operands) else None

    def problems(self) -> list[str]:
        """Why the schedule cannot run on a target that has wgmma."""
        if not self.problem.facts.cores:
            return ["operands are not both f16 or both bf16 with float32 sums"]
        if reasons := self.unreadable():
            return reasons
        schedule = self.problem.schedule
        if schedule.warps not in self.warps or schedule.rows % 8 or schedule.rows > ROWS:
            reasons.append(f"warpgroups are four warps with 8, 16, ... {ROWS} rows")
        if schedule.across > MOST_GROUPS:
            reasons.append(f"up to {MOST_GROUPS} warpgroups side by side")
        if schedule.split not in CLUSTERS or self.least_steps < 1:
            reasons.append("clusters of 1, 2, 4 or 8 workgroups, each with a part of k")
        if schedule.stages < 2:
            reasons.append("a ring has at least 2 stages")
        if self.teams > 1 and schedule.stages % self.teams:
            reasons.append(f"a ring of {schedule.stages} stages is not whole turns of {self.teams} teams")
        if not self.problem.narrow:
            reasons.append("the weight has too many elements")
        return reasons

    def unreadable(self) -> list[str]:
        """Why the copy engine cannot read an operand."""
        if self.matrices is None:
            return ["the copy engine cannot read an operand along k"]
        boxes = zip(self.matrices, (self.problem.columns, self.columns), strict=True)
        return [reason for operand, lines in boxes for reason in operand.problems(lines, self.k)]
