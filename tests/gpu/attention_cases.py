"""Attention dispatches by name: masks, head dimensions, grouped heads, layouts, ragged lengths."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import cases

from lumir.context import make_context
from lumir.dialects import build, shape_of_type
from lumir.mlir import ir
from lumir.size_text import declare
from lumir.sizes import Dim, size_of
from lumir.symbols import Symbol


@dataclass(frozen=True)
class Attention:
    """softmax(scale q k^T ...) v with b batches, h query heads on g key heads, m queries, n keys, depths d and e."""

    dtype: str = "float16"
    b: Dim = 2
    h: int = 4
    g: int = 4
    m: Dim = 50
    n: Dim = 77
    d: int = 64
    e: int = 64
    mask: str = ""
    causal: bool = False
    offset: Dim = 0
    window: int = 0
    softcap: float = 0.0
    unwritten: bool = False
    """Keys and values are inputs of the model."""
    packed: bool = False
    """Operands come as [b, s, heads * depth], and the result goes so."""

    @property
    def arguments(self) -> list[cases.Argument]:
        c = self
        if c.packed:
            shapes = [(c.b, c.m, c.h * c.d), (c.b, c.n, c.g * c.d), (c.b, c.n, c.g * c.e)]
        else:
            shapes = [(c.b, c.h, c.m, c.d), (c.b, c.g, c.n, c.d), (c.b, c.g, c.n, c.e)]
        masks = {
            "bool": [((c.b, 1, c.m, c.n), "bool")],
            "float": [((1, c.h, c.m, c.n), c.dtype)],
            "keys": [((c.b, 1, 1, c.n), "bool")],
            "lengths": [((c.b, 1, 1, 1), "int32")],
            "wide-lengths": [((c.b, 1, 1, 1), "int64")],
            "float32": [((c.m, c.n), "float32")],
        }
        return [*((shape, c.dtype) for shape in shapes), *masks.get(c.mask, [])]

    def text(self) -> str:
        return cases.dispatch(self.body, *self.arguments, unwritten=(1, 2) if self.unwritten else ())

    def body(self, q: ir.Value, k: ir.Value, v: ir.Value, *mask: ir.Value) -> ir.Value:
        c = self
        if c.packed:
            q, k, v = (self._heads(x, *size) for x, size in zip((q, k, v), ((c.h, c.d), (c.g, c.d), (c.g, c.e))))
        mask = tuple(lengths_of(x) if "lengths" in c.mask else x for x in mask)
        band = {"causal": c.causal, "offset": c.offset, "window": c.window}
        out = build("attention", q, k, v, *mask, scale=c.d**-0.5, **band, softcap=c.softcap)
        if not c.packed:
            return out
        out = build("transpose", out, permutation=[0, 2, 1, 3])
        return build("reshape", out, shape=[c.b, c.m, c.h * c.e])

    def _heads(self, x: ir.Value, heads: int, depth: int) -> ir.Value:
        length = shape_of_type(x.type)[1]
        x = build("reshape", x, shape=[self.b, length, heads, depth])
        return build("transpose", x, permutation=[0, 2, 1, 3])


def in_runs(case: Attention, runs: tuple[int, int]) -> str:
    """The attention of queries, and of keys and values, in runs of so many: [b, n / run, heads, run, depth]."""

    def apart(argument: cases.Argument, run: int) -> cases.Argument:
        (b, heads, n, depth), dtype = argument
        return (b, n // run, heads, run, depth), dtype

    def whole(x: ir.Value) -> ir.Value:
        b, count, heads, run, depth = shape_of_type(x.type)
        x = build("transpose", x, permutation=[0, 2, 1, 3, 4])
        return build("reshape", x, shape=[b, heads, count * run, depth])

    def body(*operands: ir.Value) -> ir.Value:
        band = {"causal": case.causal, "offset": case.offset, "window": case.window}
        return build("attention", *map(whole, operands), scale=case.d**-0.5, **band, softcap=case.softcap)

    queries, keys = runs
    arguments = [apart(a, run) for a, run in zip(case.arguments, (queries, keys, keys), strict=True)]
    return cases.dispatch(body, *arguments)


def lengths_of(small: ir.Value) -> ir.Value:
    """Numbers of keys from -40 to 360, of random numbers from -5 to 5."""

    def number(value: int) -> ir.Value:
        element = ir.RankedTensorType(small.type).element_type
        type_ = ir.RankedTensorType.get([], element)
        return build("constant", value=ir.DenseElementsAttr.get_splat(type_, ir.IntegerAttr.get(element, value)))

    return build("add", build("mul", small, number(40)), number(160))


_PLAIN = Attention()
_VARIANTS = {
    "plain": {},
    "aligned": {"m": 128, "n": 128},
    "causal": {"causal": True, "m": 77},
    "causal-long": {"causal": True, "m": 200, "n": 200, "b": 1},
    "causal-offset": {"causal": True, "offset": 27},
    "causal-nothing": {"causal": True, "offset": -30, "m": 60},
    "window": {"causal": True, "window": 20, "m": 77},
    "band": {"causal": True, "offset": 9, "window": 19, "m": 77},
    "grouped": {"g": 2},
    "grouped-causal": {"g": 1, "causal": True, "offset": 27},
    "bool-mask": {"mask": "bool"},
    "float-mask": {"mask": "float", "n": 78},
    "key-mask": {"mask": "keys"},
    "float32-mask": {"mask": "float32"},
    "softcap": {"softcap": 5.0},
    "lengths": {"mask": "lengths", "b": 7},
    "lengths-causal": {"mask": "lengths", "causal": True, "offset": -50, "g": 2},
    "everything": {"mask": "bool", "causal": True, "offset": 20, "softcap": 3.0, "g": 2, "packed": True},
    "packed": {"packed": True},
    "depth-16": {"d": 16, "e": 16},
    "depth-32": {"d": 32, "e": 32, "packed": True},
    "depth-80": {"d": 80, "e": 80},
    "depth-96": {"d": 96, "e": 96, "packed": True},
    "depth-128": {"d": 128, "e": 128},
    "depth-192": {"d": 192, "e": 128},
    "depth-256": {"d": 256, "e": 256, "b": 1},
    "depth-odd": {"d": 37, "e": 53},
    "one-query": {"m": 1, "n": 300, "g": 2},
    "one-key": {"n": 1},
    "one-head": {"h": 1, "g": 1, "b": 1, "m": 16, "n": 16},
}

CASES: dict[str, Callable[[], str]] = {
    f"{name}-{dtype}": replace(_PLAIN, dtype=dtype, **changes).text
    for name, changes in _VARIANTS.items()
    for dtype in ("float16", "bfloat16", "float32")
}


SYMBOLS = {"b": Symbol("b", 1, 5), "m": Symbol("m", 1, 700), "past": Symbol("past", 0, 3000)}
BINDINGS = [
    {"b": 1, "m": 1, "past": 0},
    {"b": 2, "m": 129, "past": 0},
    {"b": 5, "m": 64, "past": 65},
    {"b": 1, "m": 700, "past": 1000},
]

Open = Callable[[Mapping[str, Dim]], Attention]
"""Given sizes, or symbols in their place, an attention."""


def open_text(case: Open) -> str:
    """The dispatch with its sizes left to the launch."""
    with make_context(), ir.Location.unknown(), declare(SYMBOLS):
        return case({name: size_of(symbol) for name, symbol in SYMBOLS.items()}).text()
