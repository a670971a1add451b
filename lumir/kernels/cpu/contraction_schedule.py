"""How the CPU family `contraction` cuts a product into register tiles and workgroups, and how it numbers those."""

from dataclasses import dataclass

from lumir.kernels.contraction_space import ContractionSpace
from lumir.mlir import ir
from lumir.schedule.schedule import Schedule
from lumir.sizes import Dim


@dataclass(frozen=True)
class ContractionSchedule(Schedule):
    """Args:
    rows: rows of a register tile.
    vectors: vectors of a register tile's columns.
    lanes: elements of a vector.
    tiles: register tiles, one below the other, of a workgroup.
    padded: columns may be read past the last one, up to a whole tile: the right operand is packed.
    together: products that one instruction adds to a lane: 4 of bytes where the CPU can, else 1.
    """

    rows: int = 8
    vectors: int = 2
    lanes: int = 16
    tiles: int = 1
    padded: bool = False
    together: int = 1

    @property
    def columns(self) -> int:
        return self.vectors * self.lanes


@dataclass(frozen=True)
class Grid:
    """How workgroups are numbered: batch x outer columns x row blocks x strips of the last column dimension."""

    outer: Dim
    row_blocks: Dim
    strips: Dim

    @staticmethod
    def of(space: ContractionSpace, schedule: ContractionSchedule) -> "Grid":
        rows = -(-space.extent(space.m) // (schedule.rows * schedule.tiles))
        strips = -(-last_column_size(space) // schedule.columns)
        return Grid(space.extent((*space.batch, *space.n[:-1])), rows, strips)

    @property
    def size(self) -> Dim:
        return self.outer * self.row_blocks * self.strips


def last_column_size(space: ContractionSpace) -> Dim:
    return space.nest.sizes[space.n[-1]]


def is_packed(operand: ir.Value) -> bool:
    """The operand is an argument in tiles of columns, padded to whole tiles."""
    return not isinstance(operand.owner, ir.Block) and operand.owner.name == "linalg.unpack"
