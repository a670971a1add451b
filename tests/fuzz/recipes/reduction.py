# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
"""Reductions, scans, sorting, softmax."""

import numpy as np

from tests.fuzz.grower import Domain, Grower, NotAdded
from tests.fuzz.recipes.table import recipe
from tests.fuzz.values import FLOATS, Value

REDUCE = {
    "ReduceSum": Domain(-1e3, 1e3),
    "ReduceMean": Domain(-1e3, 1e3),
    "ReduceMax": Domain(-1e3, 1e3),
    "ReduceMin": Domain(-1e3, 1e3),
    "ReduceProd": Domain(-2, 2, away=0.5),
    "ReduceL1": Domain(-1e3, 1e3),
    "ReduceL2": Domain(-1e3, 1e3),
    "ReduceSumSquare": Domain(-1e2, 1e2),
    "ReduceLogSum": Domain(0.1, 1e3),
    "ReduceLogSumExp": Domain(-60, 60),
}
SMOOTH = 4e-6


def axes_of(g: Grower, rank: int) -> list[int] | None:
    """Any set of axes, some counted from the end; None for all."""
    if g.flag(4):
        return None
    return [i - rank if g.flag(3) else i for i in range(rank) if g.flag()]


@recipe("reduction", *REDUCE)
def reduce(g: Grower, op: str) -> None:
    x = g.pick((*FLOATS, "int32", "int64", "uint8", "int8"), domain=REDUCE[op], filled=True)
    axes = axes_of(g, x.rank)
    as_input = g.opset >= (13 if op == "ReduceSum" else 18)
    inputs = [x, g.fixed(axes)] if axes is not None and as_input else [x]
    options: dict[str, object] = {"keepdims": g.choose((None, 0, 1))}
    if as_input:
        options["noop_with_empty_axes"] = g.choose((None, 0, 1))
    elif axes:
        options["axes"] = axes
    exact = op in ("ReduceMax", "ReduceMin") or x.dtype not in FLOATS
    g.add(op, inputs, exact=exact, absolute=SMOOTH if "Log" in op else 0, **options)


@recipe("reduction", "ArgMax", "ArgMin")
def arg_reduce(g: Grower, op: str) -> None:
    x = _row(g, ("float32", "float64", "float16", "int32", "int8", "uint8", "int64"))
    options = {name: g.choose((None, 0, 1)) for name in ("keepdims", "select_last_index")}
    g.add(op, [x], exact=True, axis=_axis(g, x), **options)


@recipe("reduction", "CumSum", "CumProd")
def scan(g: Grower, op: str) -> None:
    if op == "CumProd" and g.opset < 26:
        op = "CumSum"
    x = _row(g, ("float32", "float64", "int32", "int64"))
    options = {name: g.choose((None, 0, 1)) for name in ("exclusive", "reverse")}
    g.add(op, [x, g.fixed(_axis(g, x), g.choose(("int64", "int32")))], exact=x.dtype not in FLOATS, **options)


@recipe("reduction", "TopK")
def top_k(g: Grower, op: str) -> None:
    """Results in order, and only of rows without ties: which of two equal elements comes first is left open."""
    x = _row(g, ("float32", "float64", "int64", "int32", "float16"))
    axis = _axis(g, x)
    ordered = np.sort(x.array, axis)
    if (np.diff(ordered, axis=axis) == 0).any():
        raise NotAdded("TopK of equal elements")
    k = g.integer(1, x.shape[axis])
    largest = g.choose((None, 0, 1))
    g.add("TopK", [x, g.fixed([k])], 2, exact=True, axis=axis, largest=largest)


@recipe("reduction", "Softmax", "LogSoftmax")
def softmax(g: Grower, op: str) -> None:
    x = g.pick(FLOATS, (1, 4), Domain(-50, 50))
    g.add(op, [x], absolute=SMOOTH, axis=g.choose((None, *range(-x.rank, x.rank))))


@recipe("reduction", "Hardmax")
def hardmax(g: Grower, op: str) -> None:
    x = _row(g, ("float32", "float64"))
    g.add(op, [x], exact=True, axis=g.choose((None, *range(-x.rank, x.rank))))


def _row(g: Grower, dtypes: tuple[str, ...]) -> Value:
    return g.pick(dtypes, (1, 4), filled=True)


def _axis(g: Grower, x: Value) -> int:
    return g.integer(-x.rank, x.rank - 1)
