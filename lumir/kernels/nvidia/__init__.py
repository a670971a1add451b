"""Kernel families of NVIDIA GPUs, the most specific first."""

from lumir.kernels.nvidia.attention import AttentionFamily
from lumir.kernels.nvidia.contraction import ContractionFamily
from lumir.kernels.nvidia.map import MapFamily
from lumir.kernels.nvidia.rows import RowsFamily

FAMILIES = [AttentionFamily(), ContractionFamily(), RowsFamily(), MapFamily()]
