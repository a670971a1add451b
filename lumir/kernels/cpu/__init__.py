"""Kernel families of the CPU, the most specific first."""

from lumir.kernels.cpu.contraction import ContractionFamily
from lumir.kernels.cpu.map import MapFamily
from lumir.kernels.cpu.rows import RowsFamily

FAMILIES = [ContractionFamily(), RowsFamily(), MapFamily()]
