"""Operands of attention as TMA reads them."""

from lumir.kernels.contraction_space import ContractionSpace
from lumir.kernels.dispatch import Dispatch
from lumir.kernels.nvidia.tma_operand import Matrices, operand_of
from lumir.kernels.nvidia.wgmma import LINE

LINE_ELEMENTS = LINE // 2
"""16-bit elements of a line in shared memory."""


def matrices_along(dispatch: Dispatch, space: ContractionSpace, number: int, *, along_k: bool) -> Matrices | None:
    """How TMA reads two-byte elements of an input, lines along k or along the rows; None where it cannot."""
    operand = operand_of(dispatch, space, number)
    if operand is None or operand.along_k != along_k or operand.matrices.size != 2:
        return None
    return None if operand.matrices.problems(1, LINE_ELEMENTS) else operand.matrices
