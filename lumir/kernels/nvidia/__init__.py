"""Kernel families of NVIDIA GPUs, the most specific first."""

from lumir.kernels.nvidia.attention import AttentionFamily
from lumir.kernels.nvidia.contraction import ContractionFamily
from lumir.kernels.nvidia.contraction_wgmma import WgmmaFamily
from lumir.kernels.nvidia.decode import DecodeFamily
from lumir.kernels.nvidia.map import MapFamily
from lumir.kernels.nvidia.prefill import PrefillFamily
from lumir.kernels.nvidia.row_parts import RowPartsFamily
from lumir.kernels.nvidia.rows import RowsFamily
from lumir.kernels.nvidia.scan import ScanFamily
from lumir.kernels.nvidia.skinny import SkinnyFamily
from lumir.kernels.nvidia.top_k import TopKFamily
from lumir.kernels.nvidia.transpose import TransposeFamily

FAMILIES = [
    DecodeFamily(),
    PrefillFamily(),
    AttentionFamily(),
    SkinnyFamily(),
    WgmmaFamily(),
    ContractionFamily(),
    ScanFamily(),
    TopKFamily(),
    RowsFamily(),
    RowPartsFamily(),
    TransposeFamily(),
    MapFamily(),
]
