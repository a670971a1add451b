"""In which order the blocks of a kernel take the tiles of a matrix."""

from lumir.kernels.index import Index, IndexMath
from lumir.mlir import arith
from lumir.sizes import Dim, minimum


def grouped(index: IndexMath, number: Index, down: Dim, across: Dim, group: int) -> tuple[Index, Index]:
    """Row and column of tile `number`: column by column through `group` rows of tiles, then the next rows.

    Tiles that run together then share a few rows and a few columns of operands, which the L2 cache keeps.
    """
    rows = minimum(group, down)
    which, inside = index.divmod(number, rows * across)
    first = index.scale(which, rows)
    if down % rows == 0:
        column, row = index.divmod(inside, rows)
    else:
        height = index.scalar(index.minimum(index.add(index.scale(first, -1), Index(down)), rows).base)
        at = index.scalar(inside.base)
        column, row = Index(arith.DivUIOp(at, height).result), Index(arith.RemUIOp(at, height).result)
    return index.add(first, row), column
