"""Kernel families of NVIDIA GPUs, the most specific first."""

from lumir.kernels.nvidia.contraction import ContractionFamily
from lumir.kernels.nvidia.map import MapFamily
from lumir.kernels.nvidia.rows import RowsFamily

FAMILIES = [ContractionFamily(), RowsFamily(), MapFamily()]
