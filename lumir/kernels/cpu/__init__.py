"""Kernel families of the CPU, the most specific first."""

from lumir.kernels.cpu.attention import AttentionFamily
from lumir.kernels.cpu.contraction import ContractionFamily
from lumir.kernels.cpu.map import MapFamily
from lumir.kernels.cpu.rows import RowsFamily
from lumir.kernels.cpu.scan import ScanFamily
from lumir.kernels.cpu.scatter import ScatterFamily
from lumir.kernels.cpu.top_k import TopKFamily

FAMILIES = [
    AttentionFamily(),
    ContractionFamily(),
    RowsFamily(),
    ScanFamily(),
    TopKFamily(),
    ScatterFamily(),
    MapFamily(),
]
