"""The benchmark set of `lumir-bench kernels`."""

from lumir.measure.suite.attention import decode, few_queries, other_attention, prefill, valid_keys
from lumir.measure.suite.benchmark import Benchmark
from lumir.measure.suite.convolution import conv, grouped_conv
from lumir.measure.suite.gated import gated
from lumir.measure.suite.gemm import fp8, gemm, int8, tf32
from lumir.measure.suite.grid import few_tiles, grid
from lumir.measure.suite.moves import elementwise, transposes
from lumir.measure.suite.reductions import norms, orders, reductions
from lumir.measure.suite.rows import rows
from lumir.measure.suite.skinny import int4, skinny


def benchmarks() -> list[Benchmark]:
    """All of them, in the order in which they are reported."""
    makers = (
        gemm,
        fp8,
        int8,
        tf32,
        gated,
        skinny,
        int4,
        prefill,
        decode,
        few_queries,
        other_attention,
        valid_keys,
        rows,
        norms,
        reductions,
        orders,
        conv,
        grouped_conv,
        transposes,
        elementwise,
    )
    return [item for make in makers for item in make()]


__all__ = ["Benchmark", "benchmarks", "few_tiles", "grid"]
