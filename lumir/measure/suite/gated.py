"""silu(x w) * (x v): the gate and up projections of a transformer's feed-forward layer, as one product."""

from functools import partial
from typing import Any

from lumir.dialects import build
from lumir.dtypes import mlir_type
from lumir.measure.suite.benchmark import Benchmark
from lumir.measure.suite.torch_function import MODES, function_peers
from lumir.measure.texts import dispatch, silu
from lumir.mlir import ir

WIDTH, DEPTH = 14336, 4096
ROWS = (1, 4, 16, 128, 512, 2048)


def swiglu(m: int, n: int, k: int, dtype: str) -> str:
    """x [m, k], and a weight [2 n, k] that holds the gate and then the up projection."""

    def body(x: ir.Value, w: ir.Value) -> ir.Value:
        y = build("contract", x, w, equation="mk,nk->mn", to=mlir_type(dtype))
        gate, up = (build("slice", y, starts=[0, start], sizes=[m, n], steps=[1, 1]) for start in (0, n))
        return build("mul", silu(gate), up)

    return dispatch(body, ((m, k), dtype), ((2 * n, k), dtype), unwritten=[1])


def _apart(torch: Any, x: Any, w: Any) -> Any:
    gate, up = w.chunk(2)
    return torch.nn.functional.silu(x @ gate.t()) * (x @ up.t())


def _merged(torch: Any, x: Any, w: Any) -> Any:
    gate, up = (x @ w.t()).chunk(2, dim=-1)
    return torch.nn.functional.silu(gate) * up


def gated() -> list[Benchmark]:
    functions = {"two": _apart, "one": _merged}
    peers = {
        f"{mode}, {name}": function_peers(function)[mode]
        for name, function in functions.items()
        for mode in list(MODES)[:2]
    }
    return [
        Benchmark("gated", f"{m}x{WIDTH}x{DEPTH}", partial(swiglu, m, WIDTH, DEPTH, "bfloat16"), peers) for m in ROWS
    ]
