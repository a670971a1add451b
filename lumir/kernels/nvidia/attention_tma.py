"""Operands of attention as TMA reads them."""

from lumir.kernels.attention_space import AttentionSpace
from lumir.kernels.contraction_space import ContractionSpace
from lumir.kernels.dispatch import Dispatch, element_of
from lumir.kernels.nvidia.tma_operand import Matrices, operand_of
from lumir.kernels.nvidia.wgmma import LINE
from lumir.mlir import ir

LINE_ELEMENTS = LINE // 2
"""16-bit elements of a line in shared memory."""


class TiledAttention:
    """What tiles of lines of 128 bytes make of an attention of 16-bit operands."""

    space: AttentionSpace

    @property
    def element(self) -> ir.Type:
        return element_of(self.space.first.operand(0))

    @property
    def depth_lines(self) -> int:
        """Lines that a query or key takes in shared memory."""
        return -(-self.space.shape[3] // LINE_ELEMENTS)

    @property
    def column_lines(self) -> int:
        """Lines that a value takes."""
        return -(-self.space.shape[4] // LINE_ELEMENTS)


def matrices_along(dispatch: Dispatch, space: ContractionSpace, number: int, *, along_k: bool) -> Matrices | None:
    """How TMA reads two-byte elements of an input, lines along k or along the rows; None where it cannot."""
    operand = operand_of(dispatch, space, number)
    if operand is None or operand.along_k != along_k or not isinstance(operand.matrices, Matrices):
        return None
    matrices = operand.matrices
    return None if matrices.size != 2 or matrices.problems(1, LINE_ELEMENTS) else matrices
